"""The live source: drops privileges once all is attached, confines itself, drains the ring."""

from __future__ import annotations

import mmap
import os
import platform
import struct
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tcptrace.kernel import capabilities, netns, privileges, seccomp
from tcptrace.kernel.hooks import CENSUS_HOOK
from tcptrace.kernel.lost import lost_by_hook
from tcptrace.kernel.pods import PodLookup
from tcptrace.kernel.ring import Ring
from tcptrace.kernel.source import COUNTER_HITS, COUNTER_LOST, COUNTERS
from tcptrace.kernel.stock import Stock
from tcptrace.kernel.surroundings import Surroundings
from tcptrace.kernel.symbols import Symbols
from tcptrace.wire import framing
from tcptrace.wire.events import WIRE_VERSION
from tcptrace.wire.head import AttachedHook, Losses, ProgramRuns, TraceHead
from tcptrace.wire.layout import RECORD_SIZE, stride_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from tcptrace.kernel.attaching import Attached, Attaching
    from tcptrace.kernel.options import TraceOptions
    from tcptrace.lifecycle.names import Names
    from tcptrace.wire.framing import Framing
    from tcptrace.wire.ledger import Inventory, LedgerReading

BATCH_RECORDS: Final = 4096
_BPF_PAGE: Final = 4096
_LOST_COUNTERS: Final = COUNTER_HITS - COUNTER_LOST


class LiveSource:
    """Records from the running kernel, as reading.Source wants them.

    Attributes:
        head: what is traced.
        unconfined: why there is no seccomp filter; "" where there is one.
    """

    def __init__(
        self,
        attached: Attached,
        head: TraceHead,
        options: TraceOptions,
        pods: PodLookup | None = None,
    ) -> None:
        self.head = head
        self.unconfined = "not asked for"
        self._symbols = Symbols.of_kernel() if head.stacks else None
        self._attached = attached
        record_size = stride_of(head)
        handling = _handling()
        self._lacks = capabilities.missing()
        self._ring = Ring(attached.ring, options.ring_pages * _BPF_PAGE, record_size, handling)
        self._surroundings = Surroundings(record_size, pods, handling)
        size = -(-COUNTERS * 8 // mmap.PAGESIZE) * mmap.PAGESIZE
        self._counters = mmap.mmap(attached.counters, size, mmap.MAP_SHARED, mmap.PROT_READ)
        self._stock = None
        if attached.ledger:
            self._stock = Stock(attached.ledger, options.netns, self._surroundings)
        # A process that changed its user may not open its own fdinfo any more, but may read on.
        self._infos = [
            os.open(f"/proc/self/fdinfo/{descriptor}", os.O_RDONLY)
            for descriptor in attached.programs
        ]

    @property
    def weaknesses(self) -> list[str]:
        """What is not as it should be, in words."""
        told = [f"no seccomp filter: {self.unconfined}"] if self.unconfined else []
        if self._lacks:
            told.append(capabilities.told(self._lacks))
        if self._stock is not None and self._stock.unwatched:
            told.append(f"network namespaces: {self._stock.unwatched}")
        return told

    def read(self, timeout_s: float) -> bytes:
        """Returns the next records end to end; empty after the time."""
        self._ring.wait(0 if self._surroundings.is_due() else timeout_s)
        batch = self._ring.read(BATCH_RECORDS)
        self._surroundings.notice(batch)
        return batch

    @property
    def names(self) -> Names:
        """Names of what the records told of until now."""
        return self._surroundings.names

    @property
    def trouble(self) -> str:
        """What has gone wrong besides the tracing itself; "" while all is well."""
        return self._surroundings.trouble

    def now_ns(self) -> int:
        """The clock of the records."""
        return time.monotonic_ns()

    def symbol(self, offset: int) -> str | None:
        """Names the function at an offset from _stext; None if it can't."""
        return self._symbols.name(offset) if self._symbols else None

    def counter(self, number: int) -> int:
        """One of the probes' counters: COUNTER_* plus an offset."""
        return int(struct.unpack_from("=Q", self._counters, number * 8)[0])

    def hits(self) -> list[int]:
        """How often each hook ran, in the manifest's order, when the trace was opened to count."""
        return [
            self.counter(COUNTER_HITS + hook["index"])
            for hook in self._attached.manifest["attached"]
        ]

    def lost_records(self) -> int:
        """How many records found the ring full, so far."""
        return sum(struct.unpack_from(f"={_LOST_COUNTERS}Q", self._counters, COUNTER_LOST * 8))

    def losses(self) -> Losses:
        """Counts what was missed so far."""
        missed: dict[str, int] = {}
        uncounted = []
        for hook, info in zip(self.head.hooks, self._infos, strict=True):
            misses = _told_by(info).get(b"recursion_misses")
            if misses is None or (not misses and hook.carrier in ("kprobe", "kretprobe")):
                uncounted.append(f"{hook.name} ({hook.carrier})")
            if misses:
                missed[hook.name] = missed.get(hook.name, 0) + misses
        lost = {place: self.counter(COUNTER_LOST + place) for place in range(_LOST_COUNTERS)}
        by_hook = lost_by_hook(lost, (hook.name for hook in self.head.hooks))
        return Losses(sum(lost.values()), missed, tuple(uncounted), by_hook)

    @property
    def takes_snapshots(self) -> bool:
        """Whether it can: without the hook nothing would be found, which is not nothing there."""
        return self._stock is not None and any(hook.name == CENSUS_HOOK for hook in self.head.hooks)

    def snapshot(self, between: Callable[[], None]) -> set[int]:
        """Has a record of every socket sent; returns the namespaces that it covers."""
        if self._stock is None or not self.takes_snapshots:
            return set()
        return self._stock.snapshot(lambda: between() if self._ring.is_filling else None)

    def ledger_reading(self) -> LedgerReading | None:
        """Returns the ledger as it stands, listeners measured just now; None without one."""
        return self._stock.reading() if self._stock else None

    def inventory(self) -> dict[int, Inventory]:
        """Returns what the kernel says of its own sockets, by namespace."""
        return self._stock.inventory() if self._stock else {}

    def programs(self) -> list[ProgramRuns]:
        """What each program has cost until now; zeros unless kernel.bpf_stats_enabled."""
        found = []
        for hook, info in zip(self.head.hooks, self._infos, strict=True):
            told = _told_by(info)
            runs, run_time_ns = told.get(b"run_cnt", 0), told.get(b"run_time_ns", 0)
            found.append(ProgramRuns(hook.name, hook.carrier, runs, run_time_ns))
        return found

    def close(self) -> None:
        """Detaches every probe: their descriptors were the only thing that held them."""
        self._surroundings.close()
        self._ring.close()
        self._counters.close()
        if self._stock is not None:
            self._stock.close()
        attached = self._attached
        for descriptor in (
            *attached.links,
            *attached.programs,
            attached.ring,
            attached.counters,
            *attached.ledger,
            *self._infos,
        ):
            os.close(descriptor)


def open_live(attaching: Attaching) -> LiveSource:
    """Drops privileges once all is attached: then the process is the unprivileged collector.

    Raises:
        BadArgument: `--cri-socket` is no socket.
        NotThere: there is no such `--cri-socket`.
        CannotTrace: the loader says why, or no container runtime answers.
    """
    options = attaching.options
    user = privileges.find_user(options.user)
    pods = PodLookup(Path(options.cri_socket), options.user) if options.cri_socket else None
    try:
        attached = attaching.wait()
    except BaseException:
        if pods is not None:
            pods.close()
        raise
    source = LiveSource(attached, head_of(options, attached), options, pods)
    privileges.require_one_thread()
    privileges.drop(user)
    source.unconfined = seccomp.confine(terminal=options.terminal)
    return source


def _handling() -> Framing:
    """By numpy where that is loaded anyway."""
    if "numpy" not in sys.modules:
        return framing
    from tcptrace.wire import columns  # noqa: PLC0415 - it takes a while to load

    return columns


def head_of(options: TraceOptions, attached: Attached) -> TraceHead:
    """Describes a trace that begins now."""
    manifest = attached.manifest
    return TraceHead(
        wire_version=WIRE_VERSION,
        record_size=RECORD_SIZE,
        stacks=options.stacks,
        kernel=platform.release(),
        machine=platform.machine(),
        hostname=platform.node(),
        began_monotonic_ns=time.monotonic_ns(),
        began_realtime_ns=time.time_ns(),
        what=describe(options),
        port=options.port,
        carrier=manifest["carrier"],
        hooks=tuple(AttachedHook(hook["name"], hook["carrier"]) for hook in manifest["attached"]),
        untold=tuple(dict.fromkeys(hook["tells"] for hook in manifest["lacking"])),
        uncompared=tuple(manifest["uncompared"]),
    )


def describe(options: TraceOptions) -> str:
    """The filter in words."""
    parts = [] if options.port is None else [f"port {options.port}"]
    if options.pid is not None:
        parts.append(f"pid {options.pid}")
    if options.netns is not None:
        name, _ = netns.named().get(options.netns, ("", None))
        parts.append(f"netns {name} ({options.netns})" if name else f"netns {options.netns}")
    if options.cidr is not None:
        parts.append(str(options.cidr))
    if options.family is not None:
        parts.append(f"IPv{options.family}")
    return ", ".join(parts) or "everything"


def _told_by(info: int) -> dict[bytes, int]:
    """Reads the numbers that the kernel tells of a program."""
    pairs = (line.partition(b":") for line in os.pread(info, 4096, 0).splitlines())
    return {name: int(value) for name, _, value in pairs if value.strip().isdigit()}
