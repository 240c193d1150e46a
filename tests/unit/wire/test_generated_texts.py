"""What is generated from the one definition: that it agrees with it, and that C takes it."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tcptrace.tcp import State
from tcptrace.wire import cheader, document, ledger
from tcptrace.wire.events import Flag, Kind, Stage
from tcptrace.wire.layout import FIELDS, RECORD_SIZE

if TYPE_CHECKING:
    from pathlib import Path

COMPILER = shutil.which("cc") or shutil.which("clang")


@pytest.mark.parametrize(
    ("prefix", "enum"), [("STATE", State), ("KIND", Kind), ("STAGE", Stage), ("FLAG", Flag)]
)
def test_every_member_is_defined_in_c(prefix: str, enum: type[State | Kind | Stage | Flag]) -> None:
    header = cheader.render()
    for member in enum:
        assert f"#define {prefix}_{member.name} {member.value}\n" in header


def test_every_member_is_documented() -> None:
    page = document.render()
    for enum in (Kind, Stage, Flag):
        for member in enum:
            assert f"| {member.value} | `{member.name}` |" in page
    for field in FIELDS:
        assert f"| {field.offset} | `{field.name}` | {field.wire.ctype} |" in page


def test_every_kind_says_what_it_means() -> None:
    rows = [row for row in document.render().splitlines() if row.startswith("| ")]
    kinds = [row for row in rows if any(f"| {kind.value} | `{kind.name}`" in row for kind in Kind)]
    assert len(kinds) == len(Kind)
    assert not [row for row in kinds if row.endswith("|  |")]


@pytest.mark.skipif(COMPILER is None, reason="no C compiler here; the live suite compiles it too")
def test_c_lays_the_record_out_alike(tmp_path: Path) -> None:
    checks = [
        f'_Static_assert(__builtin_offsetof(struct record, {field.name}) == {field.offset}, "");'
        for field in FIELDS
    ]
    checks += [
        f'_Static_assert(__builtin_offsetof(struct slot, {field.name}) == {field.offset}, "");'
        for field in ledger.FIELDS
    ]
    types = (
        "typedef unsigned char __u8; typedef unsigned short __u16;"
        "typedef unsigned int __u32; typedef unsigned long long __u64;"
    )
    source = tmp_path / "record.c"
    size = f'_Static_assert(sizeof(struct record) == {RECORD_SIZE}, "");'
    source.write_text("\n".join([types, cheader.render(), *checks, size]), encoding="utf-8")
    done = subprocess.run(
        [str(COMPILER), "-std=c11", "-fsyntax-only", str(source)], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
