"""The table of listeners, and its JSON."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcptrace.lifecycle.accept_waits import AcceptWaits
from tcptrace.lifecycle.ledger import Ledger
from tcptrace.lifecycle.names import Names
from tcptrace.lifecycle.overview import Overview, Row
from tcptrace.sinks.listeners import SORTS, as_json, matches, render, selected
from tcptrace.sinks.terminal import Paint
from tcptrace.wire.events import Stage
from tcptrace.wire.ledger import COUNTS, Count, LedgerReading, Slot
from unit.samples import MS, START, S
from unit.slots import NETNS, overflow, reading, slot

if TYPE_CHECKING:
    from tcptrace.lifecycle.ledger import Address

PLAIN, COLOURED = Paint(enabled=False), Paint(enabled=True)
ESCAPES = re.compile("\x1b\\[[0-9;]*m")


def rows_of(
    *readings: LedgerReading, most: int = 1000, waits: dict[Address, AcceptWaits] | None = None
) -> list[Row]:
    """What an overview says that looks at each reading."""
    ledger, overview = Ledger(most), Overview()
    rows: list[Row] = []
    for one in readings:
        ledger.absorb(one)
        rows = overview.look(ledger, waits or {}, one.at_ns)
    return rows


def table(rows: list[Row], width: int | None = None, names: Names | None = None) -> str:
    return render(rows, PLAIN, names or Names(), note=["2 listeners", "12:34:56"], width=width)


def test_a_listener_on_one_line() -> None:
    one = slot(accept_queue_len=3, syn_queue_len=2, syn_queue_young=1)
    note, *lines = table(rows_of(reading(1, {1: one}))).splitlines()
    assert note == "2 listeners · 12:34:56"
    assert [(line[:17], line[17:63], line[63:]) for line in lines] == [
        (
            "LISTENER         ",
            "OWNER             ACCEPT Q PEAK     SYN Q PEAK",
            "   DROPS     /s ACCEPT/s   p99",
        ),
        (
            "0.0.0.0:80       ",
            "nginx[1234]          3/128    3     2/128    2",
            "       0      -        -     -",
        ),
    ]


def test_drops_are_told_by_stage_with_their_rates() -> None:
    before = slot(counts={Stage.SYN_ACCEPT_QUEUE_FULL: 4, Stage.REQUEST_EXPIRED: 1})
    after = slot(counts={Stage.SYN_ACCEPT_QUEUE_FULL: 8, Stage.REQUEST_EXPIRED: 1})
    lines = table(rows_of(reading(1, {1: before}), reading(3, {1: after}))).splitlines()
    assert lines[2].split()[-4:] == ["9", "2.0", "-", "-"]
    assert lines[3:] == [
        "  └ 8 × SYN dropped: accept queue full (2.0/s) · 1 × half-open request expired"
    ]


def test_cookies_are_told() -> None:
    one = slot(counts={Count.COOKIE_SENT: 12345, Count.COOKIE_VALID: 2})
    assert table(rows_of(reading(1, {1: one}))).splitlines()[-1] == (
        "  └ SYN cookies: 12,345 sent · their final ACKs: 2 valid, 0 invalid"
    )


def test_accepts_and_waits() -> None:
    waits = AcceptWaits()
    (row,) = rows_of(reading(1, {1: slot()}))
    address = row.listening.address
    ledger, overview = Ledger(10), Overview()
    for second in (1, 3):
        ledger.absorb(reading(second, {1: slot()}))
        (row,) = overview.look(ledger, {address: waits}, START + second * S)
        for _ in range(3):
            waits.add(5 * MS, START + second * S)
    assert (row.accepts, row.accept_rate, row.accept_wait_p99_ns) == (3, 1.5, 5 * MS)
    assert table([row]).splitlines()[-1].split()[-2:] == ["1.5", "5.0ms"]


def test_a_reuseport_group_has_a_line_for_each_socket() -> None:
    group = {1: slot(pid=1, accept_queue_len=2), 2: slot(pid=2), 3: slot(pid=0, comm=bytes(16))}
    lines = table(rows_of(reading(1, group))).splitlines()
    assert lines[2].split()[:4] == ["0.0.0.0:80", "3", "sockets", "2/384"]
    assert [line.split()[:3] for line in lines[3:]] == [
        ["·", "nginx[1]", "2/128"],
        ["·", "nginx[2]", "0/128"],
        ["·", "-", "0/128"],
    ]


def test_a_closed_listener_and_those_without_a_slot() -> None:
    gone = slot(closed_at_ns=START, counts={Stage.LISTENER_CLOSED: 2})
    full = overflow({Stage.OTHER: 7})
    lines = table(rows_of(reading(1, {0: full, 1: gone}))).splitlines()
    assert lines[2].split() == ["other", "-", "-", "-", "-", "-", "7", "-", "-", "-"]
    assert lines[4].split() == ["0.0.0.0:80", "closed", "-", "-", "-", "-", "2", "-", "-", "-"]


def test_no_listeners() -> None:
    assert table([]).splitlines()[-1] == "no listeners"


def test_an_address_too_long_for_its_column_has_a_line_of_its_own() -> None:
    long = slot("2001:db8:85a3:17:1:8a2e:370:7334", 8080)
    lines = table(rows_of(reading(1, {1: long, 2: slot("192.0.2.111", 443)}))).splitlines()
    assert lines[2] == "[2001:db8:85a3:17:1:8a2e:370:7334]:8080"
    assert lines[3].startswith(" " * 17 + "nginx[1234]")
    assert lines[4].startswith("192.0.2.111:443  nginx[1234]")
    wide = table(rows_of(reading(1, {1: long})), width=140).splitlines()
    assert len(wide) == 3
    assert wide[2].startswith("[2001:db8:85a3:17:1:8a2e:370:7334]:8080  nginx[1234]")


def test_namespaces_are_told_where_they_are_worth_it() -> None:
    rows = rows_of(reading(1, {1: slot(), 2: slot(netns=7, port=81)}))
    names = Names(own_netns=NETNS)
    assert table(rows, names=names).splitlines()[3].startswith("0.0.0.0:81@7  ")
    names.namespaces.learn(7, "blue\x1b[2J")
    lines = table(rows, names=names).splitlines()
    assert lines[2].startswith("0.0.0.0:80 ")
    assert lines[3].startswith("0.0.0.0:81@blue\\x1b[2J  ")


def test_containers_and_units_have_a_line_of_their_own() -> None:
    found = {
        1: slot(port=1, cgroup=1),
        2: slot(port=2, cgroup=2),
        3: slot(port=3, cgroup=3),
        4: slot(port=4, cgroup=4),
    }
    cgroups = {
        1: f"/docker/{'0123456789ab' + '0' * 52}",
        2: "/system.slice/nginx.service",
        3: "/system.slice/shop.service",
        4: "/lxc.payload.a\x1b[2J",
    }
    lines = table(rows_of(reading(1, found, cgroups=cgroups))).splitlines()
    assert [line for line in lines if line.startswith("  ·")] == [
        "  · docker 0123456789ab",
        "  · shop.service",
        "  · lxc a\\x1b[2J",
    ]


def test_colours() -> None:
    def colour(*slots: Slot) -> str:
        rows = rows_of(*(reading(n, {1: one}) for n, one in enumerate(slots, 1)))
        return render(rows, COLOURED, Names(), note=["x"]).splitlines()[2][:5]

    drops = slot(counts={Stage.OTHER: 1})
    assert colour(slot(), drops) == "\x1b[31m"
    assert colour(drops, drops) == "\x1b[33m"
    assert colour(slot(accept_queue_len=4, accept_queue_limit=4)) == "\x1b[33m"
    assert not colour(slot()).startswith("\x1b")


@pytest.mark.parametrize(
    ("length", "shown"),
    [
        (9999, "9999"),
        (10_000, "10k"),
        (65_535, "65k"),
        (999_999, "999k"),
        (1_000_000, "1.0M"),
        (9_999_999, "9.9M"),
        (10_000_000, "10M"),
        (2**32 - 1, "4.2G"),
    ],
)
def test_lengths_take_four_columns(length: int, shown: str) -> None:
    one = slot(accept_queue_len=length, accept_queue_limit=length, syn_queue_len=length)
    cells = table(rows_of(reading(1, {1: one}))).splitlines()[2].split()
    assert cells[2:4] == [f"{shown}/{shown}", shown]
    assert cells[5] == shown


U32 = st.integers(0, 2**32 - 1)
HOSTILE_SLOTS = st.builds(
    slot,
    st.sampled_from(["0.0.0.0", "::", "2001:db8:1234:5678:9abc:def0:1234:5678", "10.1.2.3"]),  # noqa: S104
    st.integers(1, 65535),
    netns=st.sampled_from([NETNS, 7, 2**32 - 1]),
    pid=U32,
    comm=st.binary(min_size=16, max_size=16)
    | st.sampled_from([b"\xff" * 15 + b"\0", b"a\nb\r\x1b[2J\x9b\xe2\x80\xae\0\0\0\0"]),
    closed_at_ns=st.sampled_from([0, 0, START]),
    syncookies=st.integers(0, 2),
    max_syn_backlog=U32,
    accept_queue_len=U32,
    accept_queue_limit=U32,
    syn_queue_len=U32,
    syn_queue_young=U32,
    counts=st.lists(st.integers(0, 2**40), min_size=COUNTS, max_size=COUNTS).map(tuple),
)


@given(
    st.lists(HOSTILE_SLOTS, max_size=12),
    st.dictionaries(st.sampled_from([NETNS, 7]), st.text(max_size=300), max_size=2),
    st.dictionaries(
        st.integers(0, 2), st.text(max_size=300).map("/lxc.payload.{}".format), max_size=2
    ),
    st.sampled_from([95, 100, 132]),
    st.booleans(),
)
def test_no_line_is_too_wide_and_none_steers_the_terminal(
    found: list[Slot],
    namespaces: dict[int, str],
    cgroups: dict[int, str],
    width: int,
    coloured: bool,
) -> None:
    names = Names()
    names.namespaces.update(namespaces)
    first = reading(1, {n: one._replace(counts=(0,) * COUNTS) for n, one in enumerate(found, 1)})
    rows = rows_of(first, reading(2, dict(enumerate(found, 1)), epoch=0, cgroups=cgroups))
    paint = COLOURED if coloured else PLAIN
    note = ["1,234 listeners", "12:34:56", "differs from the kernel: " + "x" * 60]
    text = render(rows, paint, names, note=note, width=None if width == 100 else width)
    for line in ESCAPES.sub("", text).split("\n"):
        assert len(line) <= width, line
        assert line.isprintable()
    assert coloured or "\x1b" not in text


def test_the_note_is_broken_where_it_is_too_long() -> None:
    text = render([], PLAIN, Names(), note=["a" * 60, "b" * 60])
    assert text.splitlines()[:2] == ["a" * 60, "b" * 60]


class TestSelection:
    ROWS = rows_of(
        reading(1, {1: slot(port=80), 2: slot("::1", 443, comm=b"sshd\0"), 3: slot(port=8080)}),
        reading(
            3,
            {
                1: slot(port=80, counts={Stage.OTHER: 9}),
                2: slot("::1", 443, comm=b"sshd\0", accept_queue_len=128, syn_queue_len=1),
                3: slot(port=8080, syn_queue_len=5, accept_queue_len=1),
            },
        ),
    )

    def ports(self, sort: str, wanted: str | None = None) -> list[int]:
        return [row.listening.address.port for row in selected(self.ROWS, wanted, sort)]

    @pytest.mark.parametrize(
        ("sort", "expected"),
        [
            ("drops", [80, 443, 8080]),
            ("accept", [443, 8080, 80]),
            ("syn", [8080, 443, 80]),
            ("port", [80, 443, 8080]),
        ],
    )
    def test_orders(self, sort: str, expected: list[int]) -> None:
        assert self.ports(sort) == expected

    def test_by_rate(self) -> None:
        waits = AcceptWaits()
        (row,) = (row for row in self.ROWS if row.listening.address.port == 8080)
        ledger, overview = Ledger(10), Overview()
        for second in (1, 2):
            ledger.absorb(reading(second, {1: slot(port=80), 2: slot(port=8080)}))
            rows = overview.look(ledger, {row.listening.address: waits}, START + second * S)
            waits.add(1, START + second * S)
        assert [one.listening.address.port for one in selected(rows, None, "rate")] == [8080, 80]

    def test_every_order_is_an_option(self) -> None:
        from tcptrace.cli.listeners import _SORTS  # noqa: PLC0415 - only here

        assert set(SORTS) == set(_SORTS)

    @pytest.mark.parametrize(
        ("wanted", "expected"),
        [("80", [80]), ("::1", [443]), ("ssh", [443]), ("0.0.0.0", [80, 8080]), ("y", [])],  # noqa: S104
    )
    def test_filters(self, wanted: str, expected: list[int]) -> None:
        assert self.ports("port", wanted) == expected

    def test_one_without_an_owner_has_no_name(self) -> None:
        (row,) = rows_of(reading(1, {1: slot(pid=0)}))
        assert matches(row, "80")
        assert not matches(row, "nginx")


class TestJson:
    def told(self, *readings: LedgerReading) -> dict[str, Any]:
        (row,) = rows_of(*readings)
        line = as_json(row, "2025-11-21T21:17:03.000000Z", Names())
        assert "\n" not in line
        told: dict[str, Any] = json.loads(line)
        return told

    def test_a_listener(self) -> None:
        one = slot(
            counts={Stage.OTHER: 2, Count.SYN_QUEUED: 5, Count.COOKIE_SENT: 3},
            accept_queue_len=4,
            cgroup=7,
        )
        told = self.told(reading(1, {1: one}, cgroups={7: "/a"}))
        assert told["drops"]["other"] == 2
        assert told["syn_cookies"] == {"sent": 3, "valid": 0, "invalid": 0}
        assert (told["syns"], told["cgroup"], told["is_open"]) == (5, "/a", True)
        assert told["owner"] == {"pid": 1234, "comm": "nginx"}
        assert told["sockets"][0]["accept_queue"] == {"length": 4, "limit": 128, "peak": 4}

    def test_a_closed_one_without_an_owner(self) -> None:
        told = self.told(reading(1, {1: slot(pid=0, closed_at_ns=START)}))
        assert (told["is_open"], told["owner"], told["sockets"]) == (False, None, [])
        assert told["cgroup"] is None

    def test_a_hostile_comm_is_text(self) -> None:
        told = self.told(reading(1, {1: slot(comm=b"\xff\"\n'\x1b\0".ljust(16, b"\0"))}))
        assert told["owner"]["comm"] == "\\xff\"\n'\x1b"
