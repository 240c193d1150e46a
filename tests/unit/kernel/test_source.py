from __future__ import annotations

import struct
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

from tcptrace.errors import CannotTrace
from tcptrace.kernel import source
from tcptrace.kernel.options import TraceOptions
from tcptrace.kernel.source import bpf_directory, compiler_flags, join
from tcptrace.tcp import MAPPED_PREFIX


def defines(options: TraceOptions) -> dict[str, str]:
    flags = compiler_flags(options, Path("/bpf"))
    assert flags[0] == "-I/bpf"
    return dict(flag.removeprefix("-D").split("=", 1) for flag in flags[1:])


def test_no_filter_is_in_the_programs_that_was_not_asked_for() -> None:
    found = defines(TraceOptions())
    assert found.keys() == {"SECRET", "RING_PAGES", "COUNTERS"}


def test_each_trace_has_a_secret_of_its_own() -> None:
    assert defines(TraceOptions())["SECRET"] != defines(TraceOptions())["SECRET"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (TraceOptions(port=8080), {"FILTER_PORT": "8080"}),
        (TraceOptions(pid=7), {"FILTER_PID": "7"}),
        (TraceOptions(netns=4026531840), {"FILTER_NETNS": "4026531840U"}),
        (TraceOptions(family=4), {"FILTER_FAMILY": "AF_INET"}),
        (TraceOptions(family=6), {"FILTER_FAMILY": "AF_INET6"}),
    ],
)
def test_filters_are_compiled_in(options: TraceOptions, expected: dict[str, str]) -> None:
    assert defines(options).items() >= expected.items()


def test_the_ledger_is_compiled_in_on_request() -> None:
    found = defines(TraceOptions(ledger=True))
    assert found["LEDGER"] == "1"
    assert found["SLOTS"] == str(source.SLOTS)


@pytest.mark.parametrize(
    ("network", "inside", "outside"),
    [
        ("10.0.0.0/8", "10.255.255.255", "11.0.0.0"),
        ("192.0.2.128/25", "192.0.2.128", "192.0.2.127"),
        ("192.0.2.1/32", "192.0.2.1", "192.0.2.2"),
        ("0.0.0.0/0", "203.0.113.7", "2001:db8::1"),
        ("2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
        ("2001:db8::/61", "2001:db8:0:7::1", "2001:db8:0:8::"),
        ("2001:db8::/65", "2001:db8::1", "2001:db8::8000:0:0:0"),
        ("::1/128", "::1", "::2"),
    ],
)
def test_cidr_words_match_as_the_probes_compare_them(
    network: str, inside: str, outside: str
) -> None:
    """(address & mask) == net, word by word, as the 16 bytes lie in memory."""
    found = defines(TraceOptions(cidr=ip_network(network)))

    def matches(text: str) -> bool:
        address = ip_address(text)
        packed = address.packed if address.version == 6 else MAPPED_PREFIX + address.packed
        return all(
            word & _number(found[f"FILTER_CIDR_MASK_{index}"])
            == _number(found[f"FILTER_CIDR_NET_{index}"])
            for index, word in enumerate(struct.unpack("<2Q", packed))
        )

    assert found["FILTER_CIDR"] == "1"
    assert matches(inside)
    assert not matches(outside)


def _number(literal: str) -> int:
    return int(literal.removesuffix("ULL"), 16)


def test_the_sources_are_found_beside_the_package() -> None:
    assert (bpf_directory() / "probes/state.c").is_file()


def test_an_installation_without_them_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(source, "__file__", str(tmp_path / "tcptrace/kernel/source.py"))
    with pytest.raises(CannotTrace, match="install tcptrace again"):
        bpf_directory()


def test_every_probe_is_joined_once_under_its_own_name() -> None:
    text = join("VIEWS", "ENTRY POINTS", bpf_directory())
    for path in (bpf_directory() / "probes").glob("*.c"):
        assert text.count(f'#line 1 "{path.name}"\n') == 1
    assert text.index("VIEWS") < text.index('#include "wire.h"') < text.index("ENTRY POINTS")


def test_final_acks_are_known_before_what_a_rst_means() -> None:
    text = join("", "", bpf_directory())
    assert text.index('"accept_queue.c"') < text.index('"reset.c"')
