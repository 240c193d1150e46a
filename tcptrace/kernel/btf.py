"""Reads struct layouts and prototypes from the running kernel's BTF, through libbpf.

libbpf is there wherever bcc is (bcc depends on it) and finds a name among 100,000 types in C;
reading the members of the few types found is done here.

Source: include/uapi/linux/btf.h (struct btf_type and what follows it), libbpf's btf.h.
"""

from __future__ import annotations

import ctypes
import re
import struct
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, Self

from tcptrace.errors import CannotTrace
from tcptrace.kernel.layouts import Member

if TYPE_CHECKING:
    from collections.abc import Iterable

VMLINUX: Final = Path("/sys/kernel/btf/vmlinux")

_HEADER = struct.Struct("<HBBIIIII")
_ENUMERATOR = struct.Struct("<Ii")
_KIND_PTR = 2
_KIND_ARRAY = 3
_KIND_STRUCT = 4
_KIND_UNION = 5
_KIND_TYPEDEF = 8
_KIND_FUNC = 12
_KIND_VAR = 14
_COMPOSITES = (_KIND_STRUCT, _KIND_UNION)


class _Type(ctypes.Structure):
    """struct btf_type."""

    _fields_ = (
        ("name_off", ctypes.c_uint32),
        ("info", ctypes.c_uint32),
        ("size_or_type", ctypes.c_uint32),
    )

    @property
    def kind(self) -> int:
        return int(self.info) >> 24 & 0x1F

    @property
    def vlen(self) -> int:
        return int(self.info) & 0xFFFF

    @property
    def has_bitfields(self) -> bool:
        return bool(self.info >> 31)


class _Member(ctypes.Structure):
    """struct btf_member."""

    _fields_ = (
        ("name_off", ctypes.c_uint32),
        ("type", ctypes.c_uint32),
        ("offset", ctypes.c_uint32),
    )


class _Found(NamedTuple):
    """A member within one struct: its byte offset there, and its type."""

    offset: int
    type_id: int


class NoBtf(CannotTrace):
    """There is none, or this libbpf can't read it: only the kernel's headers tell its layouts."""


class Btf:
    """The kernel's own type information."""

    def __init__(self, lib: ctypes.CDLL, handle: int, path: Path) -> None:
        self._lib = lib
        self._path = path
        self._btf = ctypes.c_void_p(handle)
        self._arguments: dict[str, int | None] = {}
        self._ids: dict[tuple[str, int], int | None] = {}

    @classmethod
    def of_kernel(cls, path: Path = VMLINUX) -> Self:
        """Parses the kernel's BTF.

        Raises:
            NoBtf: the kernel has none, or libbpf is too old to read it.
            CannotTrace: libbpf is missing.
        """
        if not path.exists():
            raise NoBtf(f"this kernel has no BTF ({path} is missing)")
        lib = _libbpf()
        handle = lib.btf__parse(bytes(path), None)
        if not handle or handle > 2**64 - 4096:
            raise NoBtf(f"this host's libbpf can't read the kernel's BTF ({path})")
        return cls(lib, handle, path)

    def member(self, struct: str, path: str) -> Member | None:
        """See Layouts."""
        type_id = self._id(struct, _KIND_STRUCT)
        if type_id is None:
            return None
        offset = 0
        for name in path.split("."):
            found = self._find(type_id, name)
            if found is None:
                return None
            offset += found.offset
            type_id = found.type_id
        return Member(offset, self._size(type_id))

    def has_bitfield(self, struct: str, name: str) -> bool:
        """Whether a struct has this member, and it is a bitfield."""
        type_id = self._id(struct, _KIND_STRUCT)
        if type_id is None:
            return False
        composite = self._type(type_id)
        return composite.has_bitfields and any(
            member.offset >> 24 and self._name(member.name_off) == name
            for member in _members(composite)
        )

    def arguments(self, function: str) -> int | None:
        """See Layouts; None if BTF doesn't know the function."""
        if function not in self._arguments:
            self._arguments[function] = self._count_arguments(function)
        return self._arguments[function]

    def function(self, name: str) -> int | None:
        """The id of a function; None if BTF doesn't know it."""
        return self._id(name, _KIND_FUNC)

    def variable(self, name: str) -> int | None:
        """The id of a per-CPU variable; None if there is none."""
        return self._id(name, _KIND_VAR)

    def tracepoint(self, name: str) -> int | None:
        """The id of a tracepoint's prototype; None if there is none."""
        return self._id(f"btf_trace_{name}", _KIND_TYPEDEF)

    def constants(self, names: Iterable[str]) -> dict[str, int]:
        """The values of enums' constants, those that are known; libbpf finds no unnamed enum."""
        raw = self._path.read_bytes()
        found = {name: enumerator(raw, name) for name in names}
        return {name: value for name, value in found.items() if value is not None}

    def _count_arguments(self, function: str) -> int | None:
        type_id = self.function(function)
        if type_id is None:
            return None
        return self._type(self._type(type_id).size_or_type).vlen

    def _id(self, name: str, kind: int) -> int | None:
        """By libbpf, which looks through 100,000 types."""
        if (name, kind) not in self._ids:
            type_id = int(self._lib.btf__find_by_name_kind(self._btf, name.encode(), kind))
            self._ids[name, kind] = type_id if type_id > 0 else None
        return self._ids[name, kind]

    def _type(self, type_id: int) -> _Type:
        address = self._lib.btf__type_by_id(self._btf, type_id)
        return _Type.from_address(address)

    def _size(self, type_id: int) -> int:
        return int(self._lib.btf__resolve_size(self._btf, type_id))

    def _name(self, offset: int) -> str:
        name: bytes = self._lib.btf__name_by_offset(self._btf, offset) or b""
        return name.decode()

    def _find(self, type_id: int, name: str) -> _Found | None:
        type_id = self._lib.btf__resolve_type(self._btf, type_id)
        composite = self._type(type_id)
        if composite.kind not in _COMPOSITES:
            return None
        for member in _members(composite):
            member_name = self._name(member.name_off)
            bits = member.offset & 0xFFFFFF if composite.has_bitfields else member.offset
            is_bitfield = composite.has_bitfields and member.offset >> 24
            if member_name == name:
                return None if is_bitfield else _Found(bits // 8, member.type)
            if not member_name:
                inner = self._find(member.type, name)
                if inner is not None:
                    return _Found(bits // 8 + inner.offset, inner.type_id)
        return None


def _members(composite: _Type) -> Iterable[_Member]:
    base = ctypes.addressof(composite) + ctypes.sizeof(_Type)
    return (_Member * composite.vlen).from_address(base)


def enumerator(btf: bytes, name: str) -> int | None:
    """The value of an enum's constant, found without walking over all types.

    Args:
        btf: the whole of it: struct btf_header, types, strings.
        name: of the constant; another one beside it in its enum must begin as it does.
    """
    *_, header_len, type_off, type_len, string_off, string_len = _HEADER.unpack_from(btf)
    types = memoryview(btf)[header_len + type_off :][:type_len]
    strings = header_len + string_off
    at = btf.find(f"\0{name}\0".encode(), strings, strings + string_len) + 1 - strings
    if at <= 0:
        return None
    prefix = name[: name.rindex("_") + 1].encode()
    for match in re.finditer(re.escape(at.to_bytes(4, "little")), types):
        found = match.start()
        # Any word may happen to be this one: an enumerator has others of its kind beside it.
        beside = (found - _ENUMERATOR.size, found + _ENUMERATOR.size)
        if found % 4 == 0 and any(
            _name_at(types, place) != at
            and btf.startswith(prefix, strings + _name_at(types, place))
            for place in beside
        ):
            return int(_ENUMERATOR.unpack_from(types, found)[1])
    return None


def _name_at(types: memoryview, place: int) -> int:
    """The name that an enumerator at this place would have; 0, which is none, outside."""
    if not 0 <= place <= len(types) - _ENUMERATOR.size:
        return 0
    return int(_ENUMERATOR.unpack_from(types, place)[0])


@cache
def _libbpf() -> ctypes.CDLL:
    """Loads libbpf.

    Raises:
        CannotTrace: it is not installed.
    """
    for name in ("libbpf.so.1", "libbpf.so.0"):
        try:
            lib = ctypes.CDLL(name)
        except OSError:
            continue
        lib.btf__parse.restype = ctypes.c_void_p
        lib.btf__type_by_id.restype = ctypes.c_void_p
        lib.btf__name_by_offset.restype = ctypes.c_char_p
        lib.btf__resolve_size.restype = ctypes.c_int64
        for function in (lib.btf__type_by_id, lib.btf__resolve_size, lib.btf__resolve_type):
            function.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
        lib.btf__name_by_offset.argtypes = [ctypes.c_void_p, ctypes.c_uint32]
        lib.btf__find_by_name_kind.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_uint32]
        lib.btf__parse.argtypes = [ctypes.c_char_p, ctypes.c_void_p]
        return lib
    raise CannotTrace("libbpf is missing (it comes with bcc): apt-get install python3-bpfcc")
