"""A YAML file as sections with typed keys: bounded, and every complaint names file, line and key.

Works on YAML's nodes, not on the objects that a loader would construct: a user may be called 007 or
yes, a key that stands twice is seen, no tag constructs anything, and aliases stay references.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final

import yaml

from tcptrace.errors import BadArgument
from tcptrace.sinks.web.text import one_line

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

_LARGEST: Final = 64 << 10
"""Bytes of a document; PyYAML reads about 100 kB a second."""
_TAG: Final = "tag:yaml.org,2002:"
_SCALARS: Final = tuple(
    _TAG + kind for kind in ("str", "int", "float", "bool", "timestamp", "null")
)
_TRUTH: Final = {
    **dict.fromkeys(("true", "yes", "on"), True),
    **dict.fromkeys(("false", "no", "off"), False),
}
_NAME: Final = 60
"""How much of a name that isn't ours a message repeats, characters."""


def read_bounded(path: Path, largest: int) -> bytes:
    """Reads a whole regular file.

    Args:
        path: a FIFO or a device is refused rather than waited for.
        largest: bytes.

    Raises:
        BadArgument: it can't be read, is no regular file, or is larger.
    """
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise BadArgument(f"{one_line(str(path))}: is no regular file")
            data = file.read(largest + 1)
    except OSError as error:
        raise BadArgument(f"{one_line(str(path))}: can't be read: {error.strerror}") from error
    except ValueError as error:
        raise BadArgument(f"{one_line(str(path))}: is no file name") from error
    if len(data) > largest:
        raise BadArgument(f"{one_line(str(path))}: is larger than {largest >> 10} KiB")
    return data


def read_document(path: Path) -> Section:
    """Reads a file that holds one YAML mapping.

    Raises:
        BadArgument: it is something else, empty, or larger than 64 KiB.
    """
    data = read_bounded(path, _LARGEST)
    name = one_line(str(path))
    try:
        node = yaml.compose(data, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f", line {mark.line + 1}" if mark else ""
        raise BadArgument(f"{name}{where}: is no YAML: {one_line(error.problem or '?')}") from error
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        # Escapes beyond Unicode and numbers beyond reason get through PyYAML's own errors.
        raise BadArgument(f"{name}: is no YAML that can be read") from error
    if node is None:
        raise BadArgument(f"{name}: is empty")
    return Section(path, "", node)


class Section:
    """One mapping of the document.

    Args:
        path: the file.
        name: where the section is: keys joined by dots; empty for the whole document.
        node: what stands there.

    Raises:
        BadArgument: it is no mapping, is empty, or has a key twice.
    """

    def __init__(self, path: Path, name: str, node: yaml.Node) -> None:
        self.path = path
        self._name = name
        self._line = node.start_mark.line + 1
        self._nodes: dict[str, yaml.Node] = {}
        if not isinstance(node, yaml.MappingNode):
            raise self.wrong("", "must be a mapping of keys to values")
        for key, value in node.value:
            if not _is_text(key):
                raise self.wrong("", "a key must be text")
            if key.value in self._nodes:
                raise self.wrong(key.value, "stands twice")
            self._nodes[key.value] = value

    def __contains__(self, key: str) -> bool:
        """Whether the key is there."""
        return key in self._nodes

    def wrong(self, key: str, message: str) -> BadArgument:
        """Makes the complaint about a key, or about the section (empty `key`)."""
        node = self._nodes.get(key)
        line = self._line if node is None else node.start_mark.line + 1
        dotted = ".".join(one_line(part, _NAME) for part in (self._name, key) if part)
        where = f"{one_line(str(self.path))}, line {line}"
        return BadArgument(": ".join(part for part in (where, dotted, message) if part))

    def expect(self, known: Collection[str], unsupported: Mapping[str, str] | None = None) -> None:
        """Refuses keys that are neither known nor, with their own reason, unsupported."""
        for key in self._nodes:
            if unsupported and key in unsupported:
                raise self.wrong(key, unsupported[key])
            if key not in known:
                raise self.wrong(key, f"unknown key; there are {', '.join(known)}")

    def names(self) -> tuple[str, ...]:
        """Returns the keys that are there, in the file's order."""
        return tuple(self._nodes)

    def section(self, key: str) -> Section | None:
        """Returns the mapping under a key, None without the key; an empty one is refused."""
        if key not in self._nodes:
            return None
        section = Section(self.path, f"{self._name}.{key}".lstrip("."), self._nodes[key])
        if not section.names():
            raise self.wrong(key, "is empty; leave the key out if that is meant")
        return section

    def text(self, key: str, *, may_be_blank: bool = False) -> str | None:
        """Returns the text under a key, None without the key."""
        if key not in self._nodes:
            return None
        node = self._nodes[key]
        if not _is_text(node):
            raise self.wrong(key, "must be text")
        text = "" if node.tag == _TAG + "null" else str(node.value)
        if not text and not may_be_blank:
            raise self.wrong(key, "is empty; leave the key out if that is meant")
        return text

    def texts(self, key: str) -> tuple[str, ...]:
        """Returns the list of texts under a key, nothing without the key."""
        if key not in self._nodes:
            return ()
        node = self._nodes[key]
        if not isinstance(node, yaml.SequenceNode) or not all(map(_is_text, node.value)):
            raise self.wrong(key, "must be a list of texts")
        return tuple(str(item.value) for item in node.value)

    def flag(self, key: str, *, default: bool) -> bool:
        """Returns the truth value under a key."""
        if key not in self._nodes:
            return default
        node = self._nodes[key]
        truth = _TRUTH.get(str(node.value).lower()) if node.tag == _TAG + "bool" else None
        if truth is None:
            raise self.wrong(key, "must be true or false")
        return truth


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def _is_text(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.tag in _SCALARS
