"""One line a connection, for people: when, who, how long each stage took, and how it ended.

What doesn't fit the terminal's width goes to an indented line below; without a terminal each
connection stays on one line, whole.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from tcptrace.lifecycle.connection import Connection, Role
from tcptrace.lifecycle.names import Names
from tcptrace.sinks.terminal import flow, process_text
from tcptrace.sinks.units import duration
from tcptrace.sinks.whereabouts import places
from tcptrace.sinks.words import end_words, remarks, troubles
from tcptrace.tcp import Endpoint, address_text

if TYPE_CHECKING:
    from typing import TextIO

    from tcptrace.sinks.terminal import Paint
    from tcptrace.sinks.units import WallClock

_ROLES: Final = {Role.CLIENT: "cli", Role.SERVER: "srv", Role.UNKNOWN: "?"}
_FIXED_WIDTH: Final = 50
"""Columns of everything but the two endpoints and what stands behind END."""
_END_WIDTH: Final = 11
_MIN_ENDPOINT: Final = 15
_IPV4_ENDPOINT: Final = 21
"""Columns of 255.255.255.255:65535: an IPv4 endpoint is never shortened."""
_TAIL_WIDTH: Final = 16
"""Columns to leave for the process where addresses could take them."""
_FIRST_BELOW: Final = " " * 13 + "└ "
_NEXT_BELOW: Final = " " * 15


class TextPrinter:
    """Prints lives as lines, each when its full socket is gone.

    Args:
        stream: where to.
        clock: tells the time of day.
        paint: colours, or none.
        width: the terminal's columns; None if there is no terminal.
        names: of cgroups and network namespaces.
    """

    after_time_wait = False

    def __init__(
        self,
        stream: TextIO,
        clock: WallClock,
        paint: Paint,
        width: int | None = None,
        names: Names | None = None,
    ) -> None:
        self._names = names or Names()
        self._stream = stream
        self._clock = clock
        self._paint = paint
        self._width = width
        self._endpoint_cap = (
            None
            if width is None
            else max(_IPV4_ENDPOINT, (width - _FIXED_WIDTH - _TAIL_WIDTH) // 2)
        )
        self._endpoint_width = 0

    def begin(self) -> None:
        """Prints nothing yet: the header's widths come from the first connection."""

    def flush(self) -> None:
        """Hands everything printed to the reader."""
        self._stream.flush()

    def show(self, connection: Connection, now_ns: int) -> None:
        """Prints one life.

        Args:
            connection: its full socket is gone, or the trace has ended.
            now_ns: the source's time, CLOCK_MONOTONIC.
        """
        self._fit(connection)
        end = end_words(connection)
        gone_ns = connection.gone_at_ns
        ended_ns = now_ns if gone_ns is None else gone_ns
        setup_ns, open_ns = _setup_and_open(connection, ended_ns)
        cells = [
            self._paint(self._clock.time_of_day(ended_ns), "dim"),
            f"{_ROLES[connection.role]:3}",
            self._endpoint(connection.local),
            self._endpoint(connection.remote),
            f"{duration(setup_ns):>5}",
            f"{duration(connection.accept_wait_ns):>6}",
            f"{duration(open_ns):>5}",
            self._paint(end.text, end.colour) + " " * (_END_WIDTH - len(end.text)),
        ]
        room = (
            None if self._width is None else self._width - _FIXED_WIDTH - 2 * self._endpoint_width
        )
        first, below = self._tail(connection, now_ns, room)
        self._stream.write(" ".join([*cells, first]).rstrip() + "\n")
        indent = _FIRST_BELOW
        for line in below:
            self._stream.write(f"{indent}{self._paint(line, 'warn')}\n")
            indent = _NEXT_BELOW

    def _tail(self, connection: Connection, now_ns: int, room: int | None) -> tuple[str, list[str]]:
        """Lays out what stands behind END: what fits the line, and the lines below it."""
        process = _process_piece(connection)
        pieces = [process]
        if any(
            len(str(end)) > self._endpoint_width for end in (connection.local, connection.remote)
        ):
            pieces += [str(connection.local), str(connection.remote)]
        workload = self._names.workload(connection.cgroup)
        owner = connection.process or connection.listening_process
        pieces += places(connection.netns, workload, owner, self._names)
        pieces += [*troubles(connection), *remarks(connection, now_ns)]
        if room is None:
            return " · ".join(pieces), []
        fitting = int(process == "-")
        while fitting < len(pieces) and len(" · ".join(pieces[: fitting + 1])) <= room:
            fitting += 1
        below = (
            flow(pieces[fitting:], (self._width or 0) - len(_FIRST_BELOW))
            if pieces[fitting:]
            else []
        )
        return " · ".join(pieces[:fitting]), below

    def _fit(self, connection: Connection) -> None:
        """Widens the endpoint columns if this one needs it, and then prints the header anew."""
        longest = max(
            _MIN_ENDPOINT,
            *(len(_host(end)) + len(":65535") for end in (connection.local, connection.remote)),
        )
        if self._endpoint_cap is not None:
            longest = min(longest, self._endpoint_cap)
        if longest <= self._endpoint_width:
            return
        self._endpoint_width = longest
        header = (
            f"{'ENDED':12} {'WHO':3} {'LOCAL':{longest}} {'REMOTE':{longest}} "
            f"{'SETUP':>5} {'ACCEPT':>6} {'OPEN':>5} {'END':{_END_WIDTH}} PROCESS"
        )
        self._stream.write(self._paint(header, "strong") + "\n")

    def _endpoint(self, endpoint: Endpoint) -> str:
        """Writes an endpoint in its column, its address shortened in the middle if it must be."""
        text = str(endpoint)
        excess = len(text) - self._endpoint_width
        if excess > 0:
            address = address_text(endpoint.address)
            keep = len(address) - excess - 1
            head = (keep + 1) // 2
            short = f"{address[:head]}…{address[len(address) - (keep - head) :]}"
            text = f"[{short}]:{endpoint.port}"
        return f"{text:{self._endpoint_width}}"


def _host(endpoint: Endpoint) -> str:
    text = address_text(endpoint.address)
    return text if endpoint.is_ipv4 else f"[{text}]"


def _setup_and_open(connection: Connection, ended_ns: int) -> tuple[int | None, int | None]:
    """Finds how long it took to establish, or to fail, and how long it was open then, in ns."""
    if connection.established_at_ns is not None:
        return connection.handshake_ns, max(0, ended_ns - connection.established_at_ns)
    if connection.syn_at_ns is not None:
        return max(0, ended_ns - connection.syn_at_ns), None
    return None, None


def _process_piece(connection: Connection) -> str:
    """Names the process; in parentheses the listening one, if accept() never took it."""
    if connection.process is not None:
        return process_text(connection.process)
    if connection.listening_process is not None:
        return f"({process_text(connection.listening_process)})"
    return "-"
