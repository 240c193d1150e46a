"""What a shell completes: options and commands by click itself, ports and namespaces by a look.

The shells' scripts, packaging/completions, ask `tcptrace` at each Tab by the variable VARIABLE.
What a process or an administrator named is told only if it is a plain word: a shell pastes it.
"""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    import click

VARIABLE: Final = "_TCPTRACE_COMPLETE"
_NAMESPACES: Final = Path("/run/netns")
_TABLES: Final = (Path("/proc/net/tcp"), Path("/proc/net/tcp6"))
_LISTEN: Final = "0A"
_MOST: Final = 1_000
_MOST_READ: Final = 1 << 20
_PLAIN: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@+-]*")


def complete(group: click.Group, instruction: str) -> int:
    """Answers a shell; returns the exit code."""
    from click.shell_completion import shell_complete  # noqa: PLC0415 - seldom asked for

    return shell_complete(group, {}, "tcptrace", VARIABLE, instruction)


def namespaces(_ctx: click.Context, _param: click.Parameter, begun: str) -> list[str]:
    """Names of network namespaces, as `ip netns` has them."""
    with suppress(OSError):
        names = (path.name for path in _NAMESPACES.iterdir())
        return sorted(name for name in names if _PLAIN.fullmatch(name) and name.startswith(begun))[
            :_MOST
        ]
    return []


def ports(_ctx: click.Context, _param: click.Parameter, begun: str) -> list[str]:
    """Ports that somebody listens on in this network namespace."""
    found = {port for table in _TABLES for port in _listening(table)}
    return [text for port in sorted(found) if (text := str(port)).startswith(begun)][:_MOST]


def _listening(table: Path) -> Iterator[int]:
    with suppress(OSError, ValueError, IndexError):
        with table.open(encoding="ascii") as file:
            lines = file.read(_MOST_READ).splitlines()
        for line in lines[1:]:
            _, local, _, state, *_ = line.split()
            if state == _LISTEN:
                yield int(local.rpartition(":")[2], 16)
