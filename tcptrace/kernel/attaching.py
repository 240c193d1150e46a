"""Has a child do all that needs bcc and root, while this process gets ready for what follows."""

from __future__ import annotations

import json
import os
import signal
import socket
import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn

from tcptrace.errors import CannotTrace
from tcptrace.kernel import privileges

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tcptrace.kernel.options import TraceOptions

_MOST_DESCRIPTORS: Final = 250
_MOST_MANIFEST: Final = 1 << 20
_EVERY_DESCRIPTOR: Final = 1 << 20
_STDERR: Final = 2


class Attached(NamedTuple):
    """What the loader handed over."""

    manifest: dict[str, Any]
    ring: int
    counters: int
    ledger: tuple[int, ...]
    """Slots and control, if the trace keeps a ledger."""
    links: tuple[int, ...]
    programs: tuple[int, ...]


class Attaching:
    """The loader at work: a fork of this process, which it does not outlive.

    Args:
        options: what it attaches.
        count_hits: whether each hook counts how often it runs.
    """

    def __init__(self, options: TraceOptions, *, count_hits: bool = False) -> None:
        self.options = options
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        collector = os.getpid()
        with theirs:
            self._child = os.fork()
            if self._child == 0:
                _load(options, collector, theirs, count_hits=count_hits)

    def wait(self) -> Attached:
        """Returns what it has attached.

        Raises:
            CannotTrace: as the loader says, or because it died.
        """
        try:
            message, descriptors, flags, _ = socket.recv_fds(
                self._ours, _MOST_MANIFEST, _MOST_DESCRIPTORS
            )
        except ConnectionError:
            message, descriptors, flags = b"", [], 0
        except BaseException:
            self.give_up()
            raise
        status = self._await_death()
        if not message:
            raise CannotTrace(f"{_death_of(status)}: see `tcptrace doctor`")
        manifest = json.loads(message)
        if "error" in manifest:
            raise CannotTrace(manifest["error"])
        if flags & socket.MSG_CTRUNC:
            for descriptor in descriptors:
                os.close(descriptor)
            raise CannotTrace("too few file descriptors are allowed here: raise `ulimit -n` to 256")
        ring, counters, *rest = descriptors
        split = 2 if self.options.ledger else 0
        ledger, pairs = rest[:split], rest[split:]
        return Attached(
            manifest, ring, counters, tuple(ledger), tuple(pairs[0::2]), tuple(pairs[1::2])
        )

    def give_up(self) -> None:
        """Ends the loader if nobody has waited for it, and with it what it has attached."""
        if self._child:
            os.kill(self._child, signal.SIGKILL)
            self._await_death()

    def _await_death(self) -> int:
        self._ours.close()
        _, status = os.waitpid(self._child, 0)
        self._child = 0
        return os.waitstatus_to_exitcode(status)


@contextmanager
def begin(options: TraceOptions) -> Iterator[Attaching]:
    """Begins to attach; within it, this is waited for.

    Raises:
        BadArgument: `--user` names nobody, or root.
        CannotTrace: not root.
    """
    privileges.find_user(options.user)
    if os.geteuid() != 0:
        raise CannotTrace("tracing needs root (sudo tcptrace …): see `tcptrace doctor`")
    attaching = Attaching(options)
    try:
        yield attaching
    finally:
        attaching.give_up()


def attach(options: TraceOptions, *, count_hits: bool = False) -> Attached:
    """Attaches, and waits for it.

    Raises:
        CannotTrace: as the loader says, or because it died.
    """
    return Attaching(options, count_hits=count_hits).wait()


def _load(
    options: TraceOptions, collector: int, channel: socket.socket, *, count_hits: bool
) -> NoReturn:
    """In the child: whatever happens, nothing of what the parent has begun is ended here."""
    try:
        # A Ctrl-C on the terminal is for the collector, which then closes what this one sends.
        os.setsid()
        _keep_only(channel.fileno())
        from tcptrace.kernel.loader import serve  # noqa: PLC0415 - the collector never needs it

        serve(options, collector, channel, count_hits=count_hits)
    except BaseException:  # noqa: BLE001 - it ends here; stderr is whoever's who debugs
        traceback.print_exc()
    finally:
        os._exit(1)


def _keep_only(descriptor: int) -> None:
    """What the collector has open is not the loader's; nor has it anything to say, but by it."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in range(_STDERR if os.environ.get("TCPTRACE_DEBUG") else _STDERR + 1):
        os.dup2(nowhere, standard)
    os.closerange(_STDERR + 1, descriptor)
    os.closerange(descriptor + 1, _EVERY_DESCRIPTOR)


def _death_of(status: int) -> str:
    if status == -signal.SIGKILL:
        return "the loader was killed, as when memory is short: it needs 130 MB for some seconds"
    return f"the loader died, status {status} (TCPTRACE_DEBUG=1 shows why)"
