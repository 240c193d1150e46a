from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

from tcptrace.cli import verify
from tcptrace.cli.main import run
from tcptrace.kernel import live
from unit.hosts import FakeHost
from unit.sources import close_and_interrupt

if TYPE_CHECKING:
    from pytest import CaptureFixture, MonkeyPatch  # noqa: PT013 - types alone


def test_a_signal_at_the_end_spares_the_report(
    capsys: CaptureFixture[str], monkeypatch: MonkeyPatch
) -> None:
    host = FakeHost()
    monkeypatch.setattr(host, "weaknesses", (), raising=False)
    monkeypatch.setattr(host, "close", close_and_interrupt(host))
    monkeypatch.setattr(verify, "begun", nullcontext)
    monkeypatch.setattr(live, "open_live", lambda _: host)
    assert run(["verify", "--duration", "1ms"]) == 0
    assert capsys.readouterr().out
    assert host.closed
