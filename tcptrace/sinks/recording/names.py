"""Names that a trace has learnt, as a recording's blocks, and back: each time what is new.

A JSON object: the tracer's own network namespace, [id, path] of cgroups, [inode number, name] of
network namespaces ("" where a number has none any more), [id, name, pod, namespace] of containers.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, TypeVar

from tcptrace.lifecycle.names import Names, PodNames

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_ITEMS_A_BLOCK: Final = 64
"""A path takes 6 bytes of JSON a character at most, so that these fit in."""
_MOST_NAME: Final = 1024
_MOST_NUMBER: Final = (1 << 64) - 1
_Key = TypeVar("_Key")
_Name = TypeVar("_Name")


class BadNames(ValueError):  # noqa: N818
    """The bytes are no names."""


class NamesEncoder:
    """Turns what is new into blocks."""

    def __init__(self) -> None:
        self._told = Names()
        self._changes = -1

    def blocks(self, names: Names) -> Iterator[bytes]:
        """Returns the payloads of blocks with what is new or has changed."""
        if names.changes == self._changes:
            return
        self._changes = names.changes
        told = self._told
        if names.own_netns != told.own_netns:
            told.own_netns = names.own_netns
            yield json.dumps({"own_netns": names.own_netns}).encode()
        yield from self.cgroups(names.cgroups)
        nameless = [(inode, "") for inode in told.namespaces if inode not in names.namespaces]
        for inode, _ in nameless:
            told.namespaces.forget(inode)
        namespaces = nameless + _news(names.namespaces, told.namespaces)
        containers = _news(names.containers, told.containers)
        lists: dict[str, list[list[Any]]] = {
            "namespaces": [[inode, name[:_MOST_NAME]] for inode, name in namespaces],
            "containers": [[key, *pod] for key, pod in containers],
        }
        for key, items in lists.items():
            yield from _parts(key, items)

    def cgroups(self, paths: Mapping[int, str]) -> Iterator[bytes]:
        """Returns the payloads of blocks with paths that are new or have changed."""
        told = self._told.cgroups
        news = [(number, path) for number, path in paths.items() if told.get(number) != path]
        for number, path in news:
            told.learn(number, path)
        yield from _parts("cgroups", [[number, path[:_MOST_NAME]] for number, path in news])


def _parts(key: str, items: list[list[Any]]) -> Iterator[bytes]:
    for start in range(0, len(items), _ITEMS_A_BLOCK):
        yield json.dumps({key: items[start : start + _ITEMS_A_BLOCK]}).encode()


def _news(names: dict[_Key, _Name], told: dict[_Key, _Name]) -> list[tuple[_Key, _Name]]:
    """What was not told yet; it is told from now on, and what is known no more may be told anew."""
    news = [(key, name) for key, name in names.items() if told.get(key) != name]
    if news:
        told.clear()
        told.update(names)
    return news


def take_names(names: Names, payload: bytes) -> None:
    """Takes the next block.

    Raises:
        BadNames: it is something else.
    """
    try:
        told = json.loads(payload)
        names.own_netns = _number(told.get("own_netns", names.own_netns))
        for number, path in told.get("cgroups", ()):
            names.cgroups.learn(_number(number), str(path))
        for inode, name in told.get("namespaces", ()):
            if name:
                names.namespaces.learn(_number(inode), str(name))
            else:
                names.namespaces.forget(_number(inode))
        for key, *pod in told.get("containers", ()):
            container, name, namespace = map(str, pod)
            names.containers.learn(str(key), PodNames(container, name, namespace))
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise BadNames("a block of broken names") from error


def _number(value: object) -> int:
    if type(value) is not int or not 0 <= value <= _MOST_NUMBER:
        raise BadNames("a name of a number that is none of 64 bits")
    return value
