"""Names that come late, go early, and numbers that are used again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tcptrace.kernel import netns
from tcptrace.kernel.netns_names import NamespaceNames
from tcptrace.lifecycle.names import Known

if TYPE_CHECKING:
    from pathlib import Path


class Host:
    """Its names, its clock, and how long a read takes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
        self.path = path
        self.now_s = 1000.0
        self.changed = 0
        self.reads = 0
        self.takes_s = 0.0
        self.names: dict[int, str] = {}
        self.known: Known[int, str] = Known()
        monkeypatch.setattr("time.monotonic", lambda: self.now_s)
        monkeypatch.setattr(netns, "changed_ns", lambda: self.changed)
        monkeypatch.setattr(netns, "named", self._named)
        self.follower = NamespaceNames(self.known)
        self.now_s += 1

    def _named(self) -> dict[int, tuple[str, Path]]:
        self.reads += 1
        self.now_s += self.takes_s
        return {number: (name, self.path / name) for number, name in self.names.items()}

    def call(self, **names: int) -> None:
        self.names = {number: name for name, number in names.items()}
        self.changed += 1

    def want(self, *numbers: int) -> dict[int, str]:
        self.now_s += 1
        self.follower.want(numbers)
        return dict(self.known)

    def begin(self, *numbers: int) -> dict[int, str]:
        """Sockets do."""
        self.want(*numbers)
        self.follower.renew(numbers)
        return dict(self.known)


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Host:
    return Host(monkeypatch, tmp_path)


def test_only_what_is_asked_for_is_known(host: Host) -> None:
    host.call(blue=7, red=8)
    assert host.want(7) == {7: "blue"}


def test_a_namespace_that_got_its_name_later_shows_it(host: Host) -> None:
    assert host.want(7) == {}
    host.now_s += 1000
    host.call(blue=7)
    assert host.want(7) == {7: "blue"}


def test_a_number_that_is_used_again_has_its_new_owners_name(host: Host) -> None:
    host.call(blue=7)
    assert host.begin(7) == {7: "blue"}
    host.call(red=7)
    assert host.begin(7) == {7: "red"}


def test_also_if_nothing_is_told_of_it_any_more(host: Host) -> None:
    host.call(blue=7)
    host.want(7)
    host.call(red=7)
    host.now_s += 1
    host.follower.follow()
    assert host.known == {7: "red"}


def test_a_name_that_is_gone_stays_until_something_begins_there(host: Host) -> None:
    """What has happened there is told by it; who is there now has another name, or none."""
    host.call(blue=7)
    host.want(7)
    host.call()
    host.now_s += 1
    host.follower.follow()
    assert not host.follower.is_named(7)
    assert host.want(7) == {7: "blue"}  # the last that is told of it
    assert host.begin(7) == {}


def test_also_if_it_went_just_after_names_were_read(host: Host) -> None:
    """Names may not be read again at once: what begins then is judged by the next look."""
    host.call(blue=7, red=8)
    host.want(7, 8)
    host.now_s += 10
    host.call(blue=7, red=8, green=9)
    host.follower.want((9,))
    host.now_s += 0.01
    host.call(red=8)
    host.follower.want((7, 8))
    host.follower.renew((7, 8))
    host.now_s += 1
    host.follower.follow()
    assert host.known == {8: "red", 9: "green"}


def test_what_began_while_the_name_was_there_keeps_it(host: Host) -> None:
    host.call(blue=7)
    host.begin(7)
    host.now_s += 10
    host.call()
    host.follower.follow()
    assert not host.follower.is_named(7)
    assert host.known == {7: "blue"}


def test_a_file_that_becomes_a_mount_after_it_was_looked_at(host: Host) -> None:
    """The directory tells of the file alone."""
    host.changed += 1
    assert host.want(7) == {}
    host.names = {7: "blue"}
    assert host.want(7) == {7: "blue"}


def test_a_mount_that_is_replaced_is_noticed_after_a_while(host: Host) -> None:
    host.call(blue=7)
    host.want(7)
    host.now_s += 5
    host.names = {7: "red"}
    host.follower.follow()
    assert host.known == {7: "blue"}
    host.now_s += 60
    host.follower.follow()
    assert host.known == {7: "red"}


def test_while_nothing_changes_nothing_is_read(host: Host) -> None:
    host.call(blue=7)
    host.want(7, 8)
    host.now_s += 5
    before = host.reads
    for _ in range(30):
        host.want(7, 8)
        host.follower.follow()
    assert host.reads == before


def test_reading_takes_a_share_of_the_time_only(host: Host) -> None:
    host.takes_s = 0.5
    began_s, before = host.now_s, host.reads
    while host.now_s < began_s + 100:
        host.changed += 1
        host.follower.want((9,))
        host.now_s += 0.01
    assert 5 <= host.reads - before <= 11
