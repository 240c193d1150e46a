"""Names for the numbers in records: of cgroups and network namespaces, and of pods' containers.

A source fills them, live or recorded; sinks look them up when they show a life, since a name may
become known only after a record. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeVar

from tcptrace.lifecycle.workload import Workload, parse

MOST_NAMES: Final = 10_000
"""Of each kind."""
MOST_NAME: Final = 253
"""Characters of a pod's or container's name, as Kubernetes allows them."""


_Key = TypeVar("_Key")
_Name = TypeVar("_Name")


class Known(dict[_Key, _Name]):
    """Some names; what was learnt first goes when there are too many.

    Attributes:
        changes: how often something was learnt or forgotten.
    """

    def __init__(self) -> None:
        super().__init__()
        self.changes = 0

    def learn(self, key: _Key, name: _Name) -> None:
        """Keeps a name."""
        self[key] = name
        self.changes += 1
        if len(self) > MOST_NAMES:
            del self[next(iter(self))]

    def forget(self, key: _Key) -> None:
        """Keeps a name no more, if there is one: it has become somebody else's."""
        if self.pop(key, None) is not None:
            self.changes += 1


class PodNames(NamedTuple):
    """What a container's runtime calls it and its pod."""

    container: str
    pod: str
    namespace: str


@dataclass(slots=True)
class Names:
    """What is known by name. All of it was chosen by somebody else."""

    own_netns: int = 0
    """The network namespace of the tracer itself: not worth telling. 0: unknown."""
    cgroups: Known[int, str] = field(default_factory=Known)
    """Paths below the hierarchy's root, by id."""
    namespaces: Known[int, str] = field(default_factory=Known)
    """As `ip netns` has them, by inode number."""
    containers: Known[str, PodNames] = field(default_factory=Known)
    """As a container runtime has them, by the container's id."""

    @property
    def changes(self) -> int:
        """How often something was learnt or forgotten."""
        return self.cgroups.changes + self.namespaces.changes + self.containers.changes

    def workload(self, cgroup: int) -> Workload | None:
        """Who is in a cgroup; None if its path isn't known."""
        path = self.cgroups.get(cgroup)
        return None if path is None else parse(path)

    def pod_names(self, workload: Workload | None) -> PodNames | None:
        """What the runtime calls a container and its pod."""
        return self.containers.get(workload.container) if workload is not None else None
