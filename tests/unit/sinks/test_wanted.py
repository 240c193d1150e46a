"""Which verdicts are about what was asked for."""

from __future__ import annotations

from typing import Final

import pytest

from tcptrace.cli.params import subject
from tcptrace.lifecycle.connection import Process
from tcptrace.lifecycle.ledger import Address
from tcptrace.tcp import Endpoint
from tcptrace.verdicts.verdict import Cause, Confidence, Verdict
from unit import slots

HOSTILE: Final = Process(812, b"we\x1bb\0\0")


def verdict(where: Address | Endpoint, *, peer: str = "") -> Verdict:
    packed = slots.packed(peer) if peer else b""
    told = (Cause.RESET_STORM, Confidence.CERTAIN, slots.NETNS, where, HOSTILE, 0, None, 9, 9)
    return Verdict(*told, (), {}, 0, packed)


def listener(address: str) -> Verdict:
    return verdict(Address(slots.NETNS, address, 8080))


@pytest.mark.parametrize(
    ("told", "found", "missed"),
    [
        (
            listener("0.0.0.0"),  # noqa: S104 - a listener's
            ["8080", "198.51.100.7", "198.51.100.7:8080", "we", "we\\x1bb"],
            ["80", "808", "2001:db8::1", "198.51.100.7:80", "812", "webb"],
        ),
        (
            listener("::"),
            ["::", "198.51.100.7:8080", "[2001:db8::1]:8080", "2001:db8::/32", "[::]:8080"],
            ["[2001:db8::1]:80"],
        ),
        (
            listener("192.0.2.1"),
            ["192.0.2.1", "192.0.2.0/24", "192.0.2.0/24:8080", "192.0.2.1:http-alt", "http-alt"],
            ["192.0.2.2", "0.0.0.0", "192.0.2.1:80"],  # noqa: S104 - as above
        ),
        (
            verdict(Endpoint(slots.packed("2001:db8::5"), 443), peer="192.0.2.9"),
            ["443", "https", "2001:db8::5", "[2001:db8::5]", "[2001:db8::5]:443", "192.0.2.9"],
            ["2001:db8::6", "2001:db8::5:443", "192.0.2.9:443", "192.0.2.8", "nginx"],
        ),
    ],
)
def test_what_a_verdict_is_about(told: Verdict, found: list[str], missed: list[str]) -> None:
    assert [text for text in found if not subject(text).is_in(told)] == []
    assert [text for text in missed if subject(text).is_in(told)] == []
