from __future__ import annotations

import math
import os
from ipaddress import ip_network
from pathlib import Path

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcptrace.cli import params


def test_ports() -> None:
    assert params.port("8080") == 8080
    for bad in ("0", "65536", "99999999999999999999", "-1", "no-such-service", "", "80x", "\0"):
        with pytest.raises(click.BadParameter):
            params.port(bad)


@pytest.mark.parametrize(
    ("text", "seconds"), [("10s", 10), ("500ms", 0.5), ("2m", 120), ("1h", 3600), ("5", 5)]
)
def test_durations(text: str, seconds: float) -> None:
    assert params.seconds(text) == pytest.approx(seconds)


def test_what_is_no_duration() -> None:
    for bad in ("", "0", "-1s", "1d", "1 s", "inf", "nan", "9" * 400):
        with pytest.raises(click.BadParameter):
            params.seconds(bad)


def test_networks() -> None:
    assert params.network("10.1.2.3/8") == ip_network("10.0.0.0/8")
    assert params.network("2001:db8::1") == ip_network("2001:db8::1/128")
    with pytest.raises(click.BadParameter):
        params.network("10.0.0.0/33")


def test_network_namespaces(tmp_path: Path) -> None:
    own = Path("/proc/self/ns/net").stat().st_ino
    assert params.network_namespace("/proc/self/ns/net") == own
    assert params.network_namespace(str(os.getpid())) == own
    other = tmp_path / "file"
    other.touch()
    for bad in (str(other), "no-such-name", "999999999", "/nowhere", "a\0b", "x" * 5000):
        with pytest.raises(click.BadParameter):
            params.network_namespace(bad)


def test_process_ids() -> None:
    assert params.process_id(str(os.getpid())) == os.getpid()
    for bad in ("0", "-5", "self", "999999999", "٣"):
        with pytest.raises(click.BadParameter):
            params.process_id(bad)


def test_speeds_and_families() -> None:
    assert params.speed("max") == math.inf
    assert params.speed("0.5") == 0.5
    assert params.family("6") == 6
    for bad in ("0", "-1", "inf", "nan", "fast"):
        with pytest.raises(click.BadParameter):
            params.speed(bad)
        with pytest.raises(click.BadParameter):
            params.family(bad)


@pytest.mark.parametrize(
    "read", [params.port, params.seconds, params.network, params.speed, params.family]
)
@given(text=st.text(max_size=30))
def test_any_text_is_taken_or_refused(read: object, text: str) -> None:
    assert callable(read)
    try:
        read(text)
    except click.BadParameter as error:
        assert error.message.endswith(".")  # noqa: PT017 - either way is right


@pytest.mark.parametrize(
    ("text", "pages"),
    [("8192", 2), ("8K", 2), ("8M", 2048), ("1m", 256), ("1024M", 1 << 18)],
)
def test_ring_sizes(text: str, pages: int) -> None:
    assert params.ring_size(text) == pages


def test_what_is_no_ring_size() -> None:
    for bad in ("", "0", "4k", "4096", "12k", "8G", "2048M", "-8M", "8 M", "8M\n", "٨M", "9" * 99):
        with pytest.raises(click.BadParameter):
            params.ring_size(bad)


@given(text=st.text(max_size=30) | st.from_regex(r"[0-9.kM]{0,12}"))
def test_any_size_is_taken_or_refused(text: str) -> None:
    try:
        params.ring_size(text)
    except click.BadParameter as error:
        assert error.message.endswith(".")  # noqa: PT017 - either way is right
