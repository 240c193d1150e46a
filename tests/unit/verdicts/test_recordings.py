"""Each fault that was recorded on a real kernel has its verdict, and no other."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest
from faults.plays import PLAYS

from tcptrace.answering import Answer, of_recording
from tcptrace.lifecycle.figures import COUNTED
from tcptrace.lifecycle.ledger import Ledger
from tcptrace.lifecycle.names import Names
from tcptrace.lifecycle.tally import Tally
from tcptrace.lifecycle.tracker import Tracker
from tcptrace.replay import AT_ONCE, ReplaySource
from tcptrace.sinks.recording import RecordingReader
from tcptrace.sinks.terminal import Paint
from tcptrace.sinks.verdicts import headline, sentences, silence
from tcptrace.sinks.wanted import Wanted
from tcptrace.stopping import Limits, Stop
from tcptrace.verdicts.inquest import Inquest
from tcptrace.verdicts.verdict import Cause, Confidence
from tcptrace.verdicts.window import WHOLE_NS, WINDOW_NS
from tcptrace.watching import Watch
from tcptrace.wire.decode import decode_batch

if TYPE_CHECKING:
    from tcptrace.verdicts.verdict import Verdict

HOME: Final = Path(__file__).resolve().parents[2] / "data"
DEMO: Final = HOME / "demo-6.12.tcptrace"


def path_of(name: str) -> Path:
    return HOME / "faults" / f"{name}.tcptrace"


def answer_of(path: Path) -> Answer:
    """As `tcptrace why --replay` finds it."""
    with path.open("rb") as file:
        source = ReplaySource(RecordingReader(file, str(path)), AT_ONCE)
        return of_recording(source, Stop(Limits()), io.StringIO(), "")


@pytest.mark.parametrize("name", ["healthy", "ledger-disagrees"])
def test_recordings_from_before_a_hook_had_another_name_compare_each_figure(name: str) -> None:
    with path_of(name).open("rb") as file:
        hooks = {hook.name for hook in RecordingReader(file, name).head.hooks}
    assert "inet_twsk_alloc" in hooks
    assert [one.name for one in COUNTED.values() if hooks.isdisjoint(one.hooks)] == []


def watched(path: Path, length_ns: int = WHOLE_NS) -> list[Verdict]:
    """As a watch finds it that counts plain lives many at once."""
    stop = Stop(Limits())
    with path.open("rb") as file:
        source = ReplaySource(RecordingReader(file, str(path)), AT_ONCE)
        watch = Watch(source, Tally(), 100, verdicts_ns=length_ns)

        def tick() -> None:
            stop.asked |= source.finished

        watch.run(stop, tick)
        with watch.lock:
            return watch.verdicts()


@pytest.mark.parametrize("name", PLAYS)
def test_a_recording_has_its_own_verdict_alone(name: str) -> None:
    cause = PLAYS[name].cause
    answer = answer_of(path_of(name))
    assert [one.cause for one in answer.verdicts] == ([cause] if cause else [])
    assert answer.looked.listeners or answer.looked.connects


@pytest.mark.parametrize("name", PLAYS)
def test_a_watch_finds_the_same(name: str) -> None:
    cause = PLAYS[name].cause
    assert [one.cause for one in watched(path_of(name))] == ([cause] if cause else [])


@pytest.mark.parametrize("name", ["demo-6.12", "lives/syn-dropped-6.12"])
@pytest.mark.parametrize("length_ns", [WHOLE_NS, WINDOW_NS])
def test_it_does_so_where_no_ledger_was_recorded(name: str, length_ns: int) -> None:
    path = HOME / f"{name}.tcptrace"
    (verdict,) = watched(path, length_ns)
    assert verdict == dataclasses.replace(the_one_of(path), last_at_ns=verdict.last_at_ns)
    assert "accept() takes" in sentences(verdict, Names())


def the_one_of(path: Path) -> Verdict:
    (verdict,) = answer_of(path).verdicts
    return verdict


def test_it_tells_what_an_operator_needs() -> None:
    verdict = the_one_of(path_of("accept-queue-overflow"))
    told = sentences(verdict, Names())
    for part in (
        "8080 (web, pid 194)",
        "accept queue (limit 8) was full in 51 % of the seconds",
        "58 final ACKs and 176 SYNs dropped",
        "Clients wait 1 s: the SYN's retransmits",
        "connections wait 136ms",
        "listen backlog to 32 or more",
        "somaxconn is 4,096, not the limit here",
    ):
        assert part in told
    assert verdict.confidence is Confidence.CERTAIN
    assert (verdict.hurt, verdict.of) == (176, 320)
    assert verdict.delays_ns == (1_000_000_000,)


def test_a_headline_is_one_line() -> None:
    told = headline(the_one_of(path_of("syn-retransmits")), Names())
    assert told.startswith("10.9.0.2:9002 (of web, pid 189): remote does not answer · 32 of ")
    assert "\n" not in told


def test_a_recording_without_a_ledger_has_what_its_lives_tell() -> None:
    verdict = the_one_of(DEMO)
    assert (verdict.cause, verdict.confidence) == (Cause.ACCEPT_LOOP_SLOW, Confidence.LIKELY)
    assert (verdict.hurt, verdict.of) == (5, 8)
    assert "somaxconn" not in sentences(verdict, Names())  # nobody told it


def test_time_begins_with_the_trace_not_when_the_first_life_ends() -> None:
    verdict = the_one_of(DEMO)
    assert verdict.figures["seconds"] == pytest.approx(5.2)
    assert verdict.figures["accept_rate"] == pytest.approx(8 / 5.17, abs=0.01)
    looked = answer_of(HOME / "lives/request-expires-6.12.tcptrace").looked
    assert looked.length_ns // 100_000_000 == 74


def test_a_verdict_goes_away_after_its_fault() -> None:
    """The recording's last evidence is as old as the window, in a watch that goes on."""
    path = path_of("accept-queue-overflow")
    with path.open("rb") as file:
        source = ReplaySource(RecordingReader(file, str(path)), AT_ONCE)
        ledger = Ledger(100)
        inquest = Inquest(ledger, source.head.began_monotonic_ns)
        tracker = Tracker(inquest.closed, lambda _: None, None)
        last = None
        while (batch := source.read(0)) is not None:
            reading = source.ledger_reading()
            if reading is not None and reading is not last:
                last = reading
                ledger.absorb(reading)
                inquest.read(reading)
            tracker.feed(decode_batch(batch))
    assert last is not None
    tracker.finish(last.at_ns)
    assert [one.cause for one in inquest.verdicts(tracker, last.at_ns)]
    emptied = [(number, slot._replace(accept_queue_len=0)) for number, slot in last.slots]
    for second in range(1, 70):
        later = last._replace(at_ns=last.at_ns + second * 1_000_000_000, slots=emptied)
        ledger.absorb(later)
        inquest.read(later)
    assert inquest.verdicts(tracker, later.at_ns) == []


def test_silence_says_what_was_looked_at() -> None:
    looked = answer_of(path_of("healthy")).looked
    told = silence(looked, None, 0, Paint(enabled=False))
    assert told == (
        "nothing wrong found: 1 listener, 205 connections in, 107 connect() calls out in 50.2s"
    )
    wanted = Wanted("8080", 8080)
    assert silence(looked, wanted, 1, Paint(enabled=False)).endswith("; 1 verdict on others")
