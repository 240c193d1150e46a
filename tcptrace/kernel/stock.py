"""Takes stock: the ledger as it stands, and snapshots of all sockets.

Made while root, since other namespaces are opened then; used after the privileges are dropped.
"""

from __future__ import annotations

import time
from collections import Counter
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from tcptrace.errors import CannotTrace
from tcptrace.kernel.ledger import Census, LedgerMap
from tcptrace.kernel.namespaces import WatchedNamespace, watch_all
from tcptrace.kernel.owners import listeners_of, owners
from tcptrace.kernel.sock_diag import ALL_STATES, LISTEN_ONLY, count_by_state, dump
from tcptrace.wire.ledger import Inventory, LedgerReading, NamespaceFigures

if TYPE_CHECKING:
    from collections.abc import Callable

    from tcptrace.kernel.surroundings import Surroundings


class Stock:
    """The ledger of a live trace, and the namespaces that it can walk over.

    Args:
        ledger: descriptors of its slots and its control.
        netns: the inode number of the only namespace that is traced; None for all.
        surroundings: knows the namespaces' names, and finds cgroups.

    Raises:
        CannotTrace: the kernel lacks sock_diag.
    """

    def __init__(
        self, ledger: tuple[int, ...], netns: int | None, surroundings: Surroundings
    ) -> None:
        self._surroundings = surroundings
        self._names = surroundings.names.namespaces
        self._map = LedgerMap(*ledger)
        with ExitStack() as undo:
            undo.callback(self._map.close)
            self._namespaces, self._refused = watch_all(netns)
            for namespace in self._namespaces:
                undo.callback(namespace.close)
            if not self._namespaces:
                raise CannotTrace(_why_none(self._refused))
            self._owners = owners(listeners_of(one.diag for one in self._namespaces))
            undo.pop_all()

    @property
    def unwatched(self) -> str:
        """How many namespaces can't be walked over, and why; "" if all can."""
        if not self._refused:
            return ""
        reasons = Counter(self._refused.values()).most_common(1)
        return f"{len(self._refused)} not watched ({reasons[0][0]})"

    def snapshot(self, between: Callable[[], object]) -> set[int]:
        """Has the probes send a record of each socket.

        Args:
            between: called between the parts of the walk, so that the ring can be drained.

        Returns:
            The namespaces (inode numbers) that were walked over completely.
        """
        return self._walk(Census.ALL, ALL_STATES, between)

    def inventory(self) -> dict[int, Inventory]:
        """Has the kernel count each namespace's sockets; those that don't answer are left out."""
        found = {}
        for namespace in self._namespaces:
            with suppress(OSError):
                states = count_by_state(namespace.diag, ALL_STATES)
                found[namespace.inode] = Inventory(namespace.sockets_in_use(), states)
        return found

    def reading(self) -> LedgerReading:
        """Reads the ledger, every listener measured just before."""
        self._surroundings.want_namespaces(namespace.inode for namespace in self._namespaces)
        self._let_go()
        self._walk(Census.LISTENERS, LISTEN_ONLY, lambda: None)
        before = [namespace.counters() for namespace in self._namespaces]
        epoch, slots = self._map.read()
        after = [namespace.counters() for namespace in self._namespaces]
        figures = tuple(
            NamespaceFigures(
                namespace.inode,
                self._names.get(namespace.inode, ""),
                namespace.ephemeral_ports(),
                first.listening,
                last.listening,
                first.more,
                last.more,
                namespace.tw_reuse(),
            )
            for namespace, first, last in zip(self._namespaces, before, after, strict=True)
        )
        ids = {slot.cgroup for _, slot in slots if not slot.closed_at_ns}
        self._surroundings.want_cgroups(ids)
        known = self._surroundings.names.cgroups
        cgroups = {cgroup: known[cgroup] for cgroup in ids & known.keys()}
        return LedgerReading(time.monotonic_ns(), epoch, slots, figures, self._owners, cgroups)

    def _walk(self, census: Census, states: int, between: Callable[[], object]) -> set[int]:
        self._map.census(census)
        try:
            return {
                namespace.inode
                for namespace in self._namespaces
                if _is_walked(namespace, states, between)
            }
        finally:
            self._map.census(Census.OFF)

    def _let_go(self) -> None:
        """Namespaces that are gone but for us may end; in each is no TCP socket any more."""
        for namespace in list(self._namespaces):
            is_known = namespace.is_held() or self._surroundings.is_named(namespace.inode)
            if not is_known and not namespace.sockets_in_use():
                self._namespaces.remove(namespace)
                namespace.close()

    def close(self) -> None:
        """Gives everything back."""
        self._map.close()
        for namespace in self._namespaces:
            namespace.close()


def _why_none(refused: dict[int, str]) -> str:
    for reason in refused.values():
        return f"the network namespace can't be watched: {reason}"
    return "the network namespace is gone: name another one"


def _is_walked(namespace: WatchedNamespace, states: int, between: Callable[[], object]) -> bool:
    try:
        dump(namespace.diag, states, between)
    except OSError:
        return False
    return True
