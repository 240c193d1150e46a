"""Constants out of BTF bytes; layouts of a real kernel are for the live tests."""

from __future__ import annotations

import struct

import pytest

from tcptrace.kernel.btf import enumerator

STRINGS = b"\0LINUX_MIB_NUM\0LINUX_MIB_LISTENDROPS\0OTHER_LAST\0LONELY_ONE\0"
ENUM_OF_THREE = 6 << 24 | 3


def btf(*words: int) -> bytes:
    types = struct.pack(f"<{len(words)}I", *words)
    head = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(STRINGS))
    return head + types + STRINGS


def at(name: bytes) -> int:
    return STRINGS.index(name)


MIB = (0, ENUM_OF_THREE, 4, at(b"LINUX_MIB_NUM"), 0, at(b"LINUX_MIB_LISTENDROPS"), 20)


@pytest.mark.parametrize(
    ("name", "value"),
    [("LINUX_MIB_NUM", 0), ("LINUX_MIB_LISTENDROPS", 20), ("LINUX_MIB", None), ("GONE_ONE", None)],
)
def test_constants_of_an_enum_without_a_name(name: str, value: int | None) -> None:
    assert enumerator(btf(*MIB, at(b"OTHER_LAST"), 7), name) == value


def test_a_word_that_happens_to_be_the_names_offset_is_no_constant() -> None:
    """Such as a type's number, with anything behind it."""
    number = at(b"LINUX_MIB_LISTENDROPS")
    assert enumerator(btf(number, 5, number, 6, *MIB), "LINUX_MIB_LISTENDROPS") == 20


def test_a_name_that_is_no_constants() -> None:
    assert enumerator(btf(at(b"LONELY_ONE"), 1, 2, *MIB), "LONELY_ONE") is None
