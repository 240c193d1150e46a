"""What the probes must know of the kernel's types, wherever it comes from: BTF or headers."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Member(NamedTuple):
    """Where a member lies: byte offset in its outermost struct, size in bytes."""

    offset: int
    size: int


class Layouts(Protocol):
    """The kernel's struct layouts and prototypes."""

    def member(self, struct: str, path: str) -> Member | None:
        """Finds a member by its dotted path, also inside anonymous structs and unions.

        Args:
            struct: the struct's tag, without `struct`.
            path: such as `__sk_common.skc_net.net`.

        Returns:
            None if this kernel has no such struct or member, or it is a bitfield.
        """

    def arguments(self, function: str) -> int | None:
        """How many arguments a kernel function takes; None if that is not known."""
