from __future__ import annotations

import re

import pytest

from tcptrace.errors import CannotTrace
from tcptrace.kernel.layouts import Member
from tcptrace.kernel.views import VIEWS, render


class FakeBtf:
    """A kernel whose members all lie at `offset`, but those that it lacks."""

    def __init__(self, *lacking: str, offset: int = 24, size: int = 4) -> None:
        self.lacking = lacking
        self.found = Member(offset, size)

    def member(self, struct: str, path: str) -> Member | None:
        return None if f"{struct}.{path}" in self.lacking else self.found

    def arguments(self, function: str) -> int | None:
        raise NotImplementedError


def rendered(btf: FakeBtf) -> str:
    return render(btf)


@pytest.mark.parametrize(
    ("size", "declared"),
    [(1, "__u8 sk_err"), (2, "__u16 sk_err"), (4, "__u32 sk_err"), (16, "__u8 sk_err[16]")],
)
def test_a_member_lies_at_its_offset_with_its_size(size: int, declared: str) -> None:
    text = rendered(FakeBtf(size=size))
    line = f"    struct {{ __u8 before_sk_err[24]; {declared}; }} __attribute__((packed));\n"
    assert line in text


def test_nothing_lies_before_the_first_member() -> None:
    text = rendered(FakeBtf(offset=0))
    assert "    struct { __u32 sk_err; } __attribute__((packed));\n" in text
    assert "before_" not in text


def test_pointers_are_pointers() -> None:
    assert "void * skc_net;" in rendered(FakeBtf(size=8))


def test_every_struct_and_member_is_there() -> None:
    text = rendered(FakeBtf())
    for struct, members in VIEWS.items():
        (body,) = re.findall(rf"struct {struct} {{ union {{\n(.*?)\n}}; }};", text, re.DOTALL)
        assert len(body.splitlines()) == len(members)


def test_a_member_that_may_be_lacking_is_a_feature_flag() -> None:
    """A kernel without IPv6."""
    assert "#define HAVE_skc_v6_daddr 1\n" in rendered(FakeBtf())
    without = rendered(FakeBtf("sock.__sk_common.skc_v6_daddr"))
    assert "HAVE_skc_v6_daddr" not in without
    assert "HAVE_skc_v6_rcv_saddr" in without


def test_a_member_that_must_be_there_is_an_error() -> None:
    with pytest.raises(CannotTrace, match=r"struct sock has no sk_ack_backlog: see `tcptrace"):
        rendered(FakeBtf("sock.sk_ack_backlog"))
