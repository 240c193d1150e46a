"""The parts of the bench: what each measures, where, and by which module."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

CHECKOUT = Path(__file__).resolve().parents[2]
NATIVE = "natively"
ROOTS = Path(os.environ.get("TCPTRACE_VM_DIR") or CHECKOUT / ".vm") / "roots"


class Part(NamedTuple):
    """A part of the bench.

    Attributes:
        name: as the command line has it.
        title: a heading.
        means: a sentence or two for below the heading.
        kernels: in whose guests it runs; none: here.
        icount: with one CPU, whose clock counts instructions.
        timeout_s: of the guest.
        module: what measures it; the part's name if empty.
        arguments: the module's.
        root: of which release the guest's file system is; empty: of this machine's.
    """

    name: str
    title: str
    means: str
    kernels: tuple[str, ...] = ()
    icount: bool = False
    timeout_s: int = 1500
    module: str = ""
    arguments: tuple[str, ...] = ()
    root: str = ""

    def command(self, kernel: str) -> list[str]:
        """What measures it, by hand."""
        module = ["python", "-m", f"tests.bench.{self.module or self.name}", *self.arguments]
        if kernel == NATIVE:
            return module
        options = ["--icount"] if self.icount else []
        if self.root:
            options += ["--root", f".vm/roots/{self.root}"]
        return ["tests/vm/run", *options, "--timeout", str(self.timeout_s), kernel, *module]


_BOTH = ("6.1", "6.12")
PARTS = (
    Part(
        "instructions",
        "Instructions a connection",
        "What a connection on loopback costs more while it is traced, both ends, in instructions: "
        "in a guest with one CPU whose clock counts them, so that the figures repeat within a "
        "fraction of a percent. One process connects to itself, accepts and closes; `probes` is "
        "what is added to it, `tracer` what the tracer's processes take, writing to a file "
        "included. tcplife tells a line at a connection's end and tcpstates a line a transition; "
        "`tcptrace port` tells whole lives, `serve` metrics of these and both queues of every "
        "listener.",
        _BOTH,
        icount=True,
    ),
    Part(
        "peers",
        "Peers of a newer release",
        "The same workload and the same guest, with the tools of Debian 13.",
        ("6.12",),
        icount=True,
        module="instructions",
        arguments=("bcc", "libbpf-tools"),
        root="trixie",
    ),
    Part(
        "hooks",
        "By hook",
        "The same workload, with a collector that only drains the ring, beside the floors: empty "
        "programs on the same hooks, and programs that only fill a record and send it. `own` is "
        "what a program takes itself, as the kernel counts run time (kernel.bpf_stats_enabled) "
        "less what that counting adds; what carries it to its hook comes on top.",
        _BOTH,
        icount=True,
    ),
    Part(
        "resident",
        "Resident memory",
        "Of what the collector's memory is made, when it rests and after some connections.",
        ("6.1",),
    ),
    Part(
        "first_line",
        "Command to first line",
        "From the command to the first line that tells of a connection. A guest is emulated, and "
        "about ten times slower than the machine itself.",
        _BOTH,
    ),
    Part(
        "held",
        "As fast as ab connects",
        "nginx serves, ab connects as fast as the guest lets it, two ends a connection. `told "
        "whole`: ends of which the tool told the last change of state.",
        ("6.1",),
    ),
    Part(
        "load",
        "Events and losses by connections a second",
        "A client connects so many times a second, if it can, while the tracer runs on the same "
        "CPU: one whose clock counts instructions, 1,000 million a second. `told` are the events "
        "that the tracer had taken by the end of that time.",
        ("6.1",),
        icount=True,
    ),
    Part(
        "userland",
        "Userland alone",
        "From the ring's bytes to what each command tells, on one CPU.",
    ),
    Part(
        "profile",
        "Where userland's time goes",
        "By module of tcptrace, with what it calls in libraries and the interpreter: py-spy looks "
        "at the process a thousand times a second, while it does the same as above again and "
        "again.",
    ),
    Part(
        "lives",
        "Open lives",
        "What an event costs and what a life takes, with more and more lives open; of connections "
        "that begin and end beside those, and of those themselves as they end and others begin.",
    ),
    Part(
        "scrape",
        "A scrape",
        "From the request to the bytes, time on the CPU; every figure of every listener has "
        "changed since the scrape before.",
    ),
    Part(
        "start",
        "How commands begin",
        "Those that need no kernel, from the command to its end; those that trace, from the "
        "command to the first probe that it would attach.",
    ),
)


class PartError(Exception):
    """A part did not end as it should; says which."""


def measure(part: Part, kernel: str) -> dict[str, Any]:
    """Runs a part; its progress goes to standard error.

    Returns:
        Its tables, and the guest's kernel.

    Raises:
        PartError: it did not.
    """
    where = CHECKOUT / ".vm"
    where.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=where) as directory:
        file = Path(directory, "figures.json")
        command = part.command(kernel)
        if kernel == NATIVE:
            command[0] = sys.executable
        else:
            # Where guests are few, something else may have to hand them out.
            run = os.environ.get("TCPTRACE_VM_RUN", "tests/vm/run")
            command[:1] = [run, "--progress", "--rwdir", directory]
            if part.root:
                command[command.index("--root") + 1] = str(ROOTS / part.root)
        command += ["--json", str(file)]
        done = subprocess.run(command, cwd=CHECKOUT, check=False, stdout=subprocess.PIPE, text=True)
        print(done.stdout, file=sys.stderr, flush=True)
        if done.returncode:
            raise PartError(f"{part.name} on {kernel}: exit status {done.returncode}")
        told: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        if kernel == NATIVE:
            del told["kernel"]  # of no matter to it
        return told
