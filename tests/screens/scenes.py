"""What the pictures show, played on the kernel that this runs on; needs root.

`python -m tests.screens.scenes DIR [NAME]…` writes DIR/NAME.typescript for each picture: the bytes
that a terminal got, behind a prompt with the command.
"""

from __future__ import annotations

import socket
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from .terminal import Terminal
from .traffic import PORT, call, server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Typescripts = dict[str, bytes]
WIDTH = 100
TRACING = "Ctrl-C ends"
ELISION = b"\x1b[2m\xe2\x80\xa6\x1b[0m\r\n"
DROPPED_CLIENT = "127.0.0.4"
"""The third client: it finds the queue of listen(1) full, which holds two."""

OVERFLOW = "tests/data/faults/accept-queue-overflow.tcptrace"
FOUND_FAULTS = 7
"""The exit status of `why`."""


def play_overflow() -> Typescripts:
    with Terminal(["port", str(PORT)], WIDTH) as terminal:
        prompt = terminal.got
        terminal.wait_for(TRACING)
        with server(2, 2.5):
            call(8)
        lives = terminal.settle()
        summary = terminal.press_ctrl_c()
    return {"port": lives, "summary": prompt + ELISION + summary}


def play_timeline() -> Typescripts:
    """One connection, its SYN dropped once: tried again after 1 s, when the stall is over."""
    arguments = ["port", str(PORT), "--timeline", "--cidr", DROPPED_CLIENT]
    with Terminal(arguments, WIDTH) as terminal:
        terminal.wait_for(TRACING)
        with server(1, 1.1):
            call(3)
        lives = terminal.settle()
        terminal.press_ctrl_c()
    return {"timeline": lives}


def play_stacks() -> Typescripts:
    with Terminal(["port", str(PORT), "--timeline", "--stacks"], WIDTH) as terminal:
        terminal.wait_for(TRACING)
        with server(8, 0):
            call(1)
        lives = terminal.settle()
        terminal.press_ctrl_c()
    return {"stacks": lives}


def play_listeners() -> Typescripts:
    """The overflow again, beside a listener that is well and a reuseport group."""
    with ExitStack() as others:
        for port, backlog, members in ((443, 511, 1), (9000, 128, 3)):
            for _ in range(members):
                other = others.enter_context(socket.socket())
                other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                other.bind(("", port))
                other.listen(backlog)
        with Terminal(["listeners", "--once", "--interval", "6s"], WIDTH) as terminal:
            terminal.wait_for(TRACING)
            with server(2, 3.0):
                call(8)
                return {"listeners": terminal.rest()}


def play_why() -> Typescripts:
    """On a recording of an overflow: bursts that the accept queue does not hold."""
    with Terminal(["why", "--replay", OVERFLOW], WIDTH, status=FOUND_FAULTS) as terminal:
        prompt, _opening, *told = terminal.rest().split(b"\r\n")
    return {"why": b"\r\n".join([prompt, *told])}


def play_doctor() -> Typescripts:
    with Terminal(["doctor"], WIDTH) as terminal:
        return {"doctor": terminal.rest()}


PICTURES: dict[str, Callable[[], Typescripts]] = {
    "port": play_overflow,
    "summary": play_overflow,
    "timeline": play_timeline,
    "listeners": play_listeners,
    "why": play_why,
    "doctor": play_doctor,
    "stacks": play_stacks,
}


def plays_of(names: list[str]) -> Iterator[Callable[[], Typescripts]]:
    """Yields each play that the pictures need, once."""
    yield from dict.fromkeys(PICTURES[name] for name in names)


def main() -> int:
    directory, names = Path(sys.argv[1]), sys.argv[2:] or list(PICTURES)
    for play in plays_of(names):
        print(f"screens: {play.__name__}", flush=True)
        for name, typescript in play().items():
            (directory / f"{name}.typescript").write_bytes(typescript)
    return 0


if __name__ == "__main__":
    sys.exit(main())
