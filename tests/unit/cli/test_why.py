from __future__ import annotations

import json
import signal
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from tcptrace.cli import why
from tcptrace.cli.main import run
from tcptrace.errors import BadArgument, BadRecording, FoundFaults
from tcptrace.kernel import live
from tcptrace.sinks import verdicts as sink
from tcptrace.sinks.terminal import Paint
from tcptrace.verdicts.inquest import Looked, Seen
from tcptrace.wire.events import Stage
from tcptrace.wire.head import AttachedHook
from unit.hosts import FakeHost

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytest import CaptureFixture, MonkeyPatch  # noqa: PT013 - types alone

HOME: Final = Path(__file__).resolve().parents[2] / "data/faults"
OVERFLOW: Final = str(HOME / "accept-queue-overflow.tcptrace")
HEALTHY: Final = str(HOME / "healthy.tcptrace")


@pytest.fixture(autouse=True)
def _plain(monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "90")


def test_a_verdict_is_told_and_is_the_exit_status(capsys: CaptureFixture[str]) -> None:
    assert run(["why", "--replay", OVERFLOW]) == FoundFaults.exit_code
    told = capsys.readouterr()
    assert told.out.startswith("✗ 8080 (web, pid 194): accept queue too small for its bursts")
    assert max(map(len, told.out.splitlines())) <= 90
    assert "\x1b" not in told.out
    assert told.err.splitlines()[-1] == "tcptrace: 1 verdict"


def test_a_healthy_host_takes_a_line(capsys: CaptureFixture[str]) -> None:
    assert run(["why", "--replay", HEALTHY]) == 0
    assert capsys.readouterr().out.startswith("nothing wrong found: 1 listener, ")


@pytest.mark.parametrize(
    "what",
    [
        "8080",
        "http-alt",
        "web",
        "0.0.0.0",  # noqa: S104 - a listener's
        "0.0.0.0:8080",
        "10.9.0.1",
        "10.9.0.1:8080",
        "10.9.0.1:http-alt",
        "10.9.0.0/24",
        "10.9.0.0/24:8080",
    ],
)
def test_it_can_be_asked_about_one_subject(what: str, capsys: CaptureFixture[str]) -> None:
    assert run(["why", what, "--replay", OVERFLOW]) == FoundFaults.exit_code
    assert "✗ 8080" in capsys.readouterr().out


@pytest.mark.parametrize("recording", sorted((HOME.parent).rglob("*.tcptrace")), ids=str)
def test_a_verdicts_own_subject_is_found(recording: Path, capsys: CaptureFixture[str]) -> None:
    code = run(["why", "--replay", str(recording)])
    told = capsys.readouterr().out
    if code == FoundFaults.exit_code:
        what = told.removeprefix("✗ ").partition(" ")[0].removesuffix(":")
        assert run(["why", what, "--replay", str(recording)]) == code
        assert capsys.readouterr().out == told


def test_the_others_verdicts_are_not_its_own(capsys: CaptureFixture[str]) -> None:
    assert run(["why", "8081", "--replay", OVERFLOW]) == 0
    told = capsys.readouterr().out
    assert told.startswith("nothing wrong found with 8081: ")
    assert told.endswith("; 1 verdict on others\n")


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("9", "on port 9"),
        ("discard", "on port 9 or of a process named discard"),
        ("10.9.0.2:9", "at 10.9.0.2:9"),
        ("[2001:db8::1]:9", "at [2001:db8::1]:9"),
        ("no\x1bbody", "of a process named no\\x1bbody"),
    ],
)
def test_what_nobody_saw_is_told_apart_from_what_is_well(
    what: str, told: str, capsys: CaptureFixture[str]
) -> None:
    for json_option in ([], ["--json"]):
        assert run(["why", what, *json_option, "--replay", OVERFLOW]) == 0
        shown = capsys.readouterr()
        lines = (shown.err if json_option else shown.out).splitlines()
        assert lines[-1].startswith(f"no listener {told} was seen, nor any trouble with it: ")


@pytest.mark.parametrize("what", ["0", "99999", "10.9.0.1:99999", "10.9.0.1:no-service", ""])
def test_what_can_be_no_subject_is_refused(what: str, capsys: CaptureFixture[str]) -> None:
    assert run(["why", what, "--replay", OVERFLOW]) == BadArgument.exit_code
    assert capsys.readouterr().out == ""


def test_json_is_an_object_a_line(capsys: CaptureFixture[str]) -> None:
    assert run(["why", "--json", "--replay", OVERFLOW]) == FoundFaults.exit_code
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line)["cause"] == "accept_queue_too_small"
    assert run(["why", "--json", "--replay", HEALTHY]) == 0
    assert capsys.readouterr().out == ""


def interrupted(call: Callable[..., Any]) -> Callable[..., Any]:
    """Does the same, but that Ctrl-C is pressed before it first does."""
    pressed = [signal.SIGINT]

    def interrupt(*arguments: Any, **options: Any) -> Any:
        if pressed:
            signal.raise_signal(pressed.pop())
        return call(*arguments, **options)

    return interrupt


@pytest.mark.parametrize("told", [OVERFLOW, HEALTHY])
def test_a_signal_after_the_last_reading_spares_the_answer(
    told: str, capsys: CaptureFixture[str], monkeypatch: MonkeyPatch
) -> None:
    name = "render" if told is OVERFLOW else "silence"
    monkeypatch.setattr(sink, name, interrupted(getattr(sink, name)))
    assert run(["why", "--replay", told]) == (7 if told is OVERFLOW else 0)
    assert capsys.readouterr().out.startswith("✗ 8080" if told is OVERFLOW else "nothing wrong")


@pytest.mark.parametrize("at", ["read", "ledger_reading", "losses", "close"])
def test_so_does_one_while_a_host_is_looked_at(
    at: str, capsys: CaptureFixture[str], monkeypatch: MonkeyPatch
) -> None:
    host = FakeHost()
    monkeypatch.setattr(host, "weaknesses", (), raising=False)
    monkeypatch.setattr(host, at, interrupted(getattr(host, at)))
    monkeypatch.setattr(why, "begun", nullcontext)
    monkeypatch.setattr(live, "open_live", lambda _: host)
    assert run(["why", "--duration", "100ms"]) == 0
    assert capsys.readouterr().out.startswith("nothing wrong found: 1 listener, ")
    assert host.closed


@pytest.mark.parametrize(
    ("name", "dropped"),
    [
        ("abort-on-overflow-6.12", "127.0.0.1:8080: 1 × final ACK answered with RST: accept queue"),
        ("ack-dropped-6.12", "127.0.0.1:8080: 1 × final ACK dropped: accept queue full"),
        ("syn-queue-full-6.12", "127.0.0.1:8080: 1 × SYN dropped: SYN queue full"),
    ],
)
def test_silence_over_drops_says_what_was_dropped(
    name: str, dropped: str, capsys: CaptureFixture[str]
) -> None:
    recording = str(HOME.parent / f"lives/{name}.tcptrace")
    for what in ([], ["8080"], ["127.0.0.1"]):
        assert run(["why", *what, "--replay", recording]) == 0
        first, second = capsys.readouterr().out.splitlines()
        told = f" with {what[0]}" if what else ""
        assert first.startswith(f"no verdict{told}, though there were drops: 1 listener, ")
        assert second.startswith(f"  {dropped}")
    assert run(["why", "127.0.0.2", "--replay", recording]) == 0
    assert capsys.readouterr().out.startswith("no listener at 127.0.0.2 was seen, nor any trouble")


def test_silence_tells_the_stages_with_most_drops() -> None:
    end = Seen("192.0.2.1", 80)
    drops = [(end, stage, 10 - stage) for stage in Stage if stage]
    told = sink.silence(Looked(1, 1, 1, 0, [end], drops), None, 0, Paint(enabled=False))
    assert len(told.splitlines()) == 7
    assert told.splitlines()[1].startswith("  192.0.2.1:80: 9 × ")
    assert told.splitlines()[-1] == f"  and less at {len(drops) - 5} other stages"


@pytest.mark.parametrize(
    ("name", "options", "doubt"),
    [
        ("events-lost", [], "1,894 events lost"),
        ("ledger-disagrees", [], "figures differ from the kernel's own, ListenDrops -14"),
        (
            "close-wait-leak",
            ["--max-connections", "20"],
            "89 connections folded, more open than --max-connections",
        ),
    ],
)
def test_what_evidence_may_be_lacking_is_told(
    name: str, options: list[str], doubt: str, capsys: CaptureFixture[str]
) -> None:
    assert run(["why", *options, "--replay", str(HOME / f"{name}.tcptrace")]) == 0
    told = capsys.readouterr().err.splitlines()
    assert told[1:] == [f"tcptrace: {doubt}: verdicts may lack evidence"]


def test_of_a_host_is_told_the_same(capsys: CaptureFixture[str], monkeypatch: MonkeyPatch) -> None:
    host = FakeHost(b"", step_ms=1000)
    host.trace_head = host.head._replace(hooks=(AttachedHook("tcp_conn_request", "fexit"),))
    host.kernel = lambda: {"ListenDrops": host.reads}
    monkeypatch.setattr(host, "weaknesses", (), raising=False)
    monkeypatch.setattr(why, "begun", nullcontext)
    monkeypatch.setattr(live, "open_live", lambda _: host)
    assert run(["why", "--duration", "200ms"]) == 0
    assert (
        "tcptrace: figures differ from the kernel's own, ListenDrops -" in capsys.readouterr().err
    )


def test_what_is_no_recording_is_refused(tmp_path: Path, capsys: CaptureFixture[str]) -> None:
    assert run(["why", "--replay", str(tmp_path / "none")]) == BadArgument.exit_code
    other = tmp_path / "other"
    other.write_text("something else")
    assert run(["why", "--replay", str(other)]) == BadRecording.exit_code
    assert all(line.startswith("tcptrace: ") for line in capsys.readouterr().err.splitlines())


def test_a_damaged_recording_tells_what_was_good(
    tmp_path: Path, capsys: CaptureFixture[str]
) -> None:
    damaged = tmp_path / "damaged.tcptrace"
    whole = Path(OVERFLOW).read_bytes()
    damaged.write_bytes(whole[:90_000] + bytes(3000) + whole[93_000:])
    assert run(["why", "--replay", str(damaged)]) == BadRecording.exit_code
    assert "✗ 8080" in capsys.readouterr().out
