"""Where the sockets of a trace are: names of the cgroups and network namespaces in its records.

Read by the unprivileged collector while it traces: /sys/fs/cgroup and /run/netns are for everybody.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcptrace.kernel import netns
from tcptrace.kernel.cgroups import walk_cgroups
from tcptrace.kernel.lookup import Lookup
from tcptrace.kernel.netns_names import NamespaceNames
from tcptrace.lifecycle.names import Names
from tcptrace.lifecycle.workload import parse
from tcptrace.wire import framing

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tcptrace.kernel.pods import PodLookup
    from tcptrace.wire.framing import Framing


class Surroundings:
    """Keeps names up to date.

    Args:
        stride: bytes from one record to the next.
        pods: asks a container runtime, if there is one to ask.
        handling: how the places are found that records name.

    Attributes:
        names: what is known by now.
    """

    def __init__(
        self, stride: int, pods: PodLookup | None = None, handling: Framing = framing
    ) -> None:
        self._framing = handling
        self.names = Names(own_netns=netns.inode_of(netns.OWN))
        self._stride = stride
        self._pods = pods
        if pods is not None:
            self.names.containers = pods.known
        self._cgroups = Lookup(walk_cgroups, self.names.cgroups, self._ask_runtime)
        self._namespaces = NamespaceNames(self.names.namespaces)
        self._cgroups.walk_once()

    def notice(self, batch: bytes) -> None:
        """Looks for what some records name; to be called with every batch, empty ones too."""
        if batch:
            places = self._framing.places_in(batch, self._stride)
            self.want_cgroups({cgroup for _, cgroup in places})
            self._namespaces.want({inode for inode, _ in places})
            # A record with a cgroup can be a life's first.
            self._namespaces.renew({inode for inode, cgroup in places if cgroup})
        self._cgroups.look()
        self._namespaces.follow()
        if self._pods is not None:
            self._pods.look()

    def is_due(self) -> bool:
        """Whether it should be called again at once, since something is still to be found."""
        return self._cgroups.is_due()

    @property
    def trouble(self) -> str:
        """What keeps names from being found; "" while all is well."""
        return self._pods.trouble if self._pods is not None else ""

    def want_cgroups(self, ids: Iterable[int]) -> None:
        """Looks for these cgroups from now on."""
        self._cgroups.want(ids)

    def want_namespaces(self, inodes: Iterable[int]) -> None:
        """Has these namespaces called what they are called now."""
        self._namespaces.want(inodes)

    def is_named(self, inode: int) -> bool:
        """Whether a namespace has a name now."""
        return self._namespaces.is_named(inode)

    def _ask_runtime(self, cgroup: str) -> None:
        if self._pods is not None:
            self._pods.want(parse(cgroup).container)

    def close(self) -> None:
        """Ends what was started."""
        if self._pods is not None:
            self._pods.close()
