from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tcptrace import __version__
from tcptrace.sinks.metrics.exposition import Exposition
from tcptrace.sinks.metrics.health import health_families
from tcptrace.wire.head import AttachedHook, Losses, ProgramRuns
from unit import samples


def told(losses: Losses = samples.NO_LOSSES, *runs: ProgramRuns) -> dict[str, float]:
    return {
        f"{sample.name}{sorted(sample.labels.values())}": sample.value
        for family in health_families(samples.head(), losses, runs)
        for sample in family.samples
    }


def test_nothing_is_missing_and_nothing_costs() -> None:
    assert told() == {
        "tcptrace_events_lost_total[]": 0,
        "tcptrace_hook_misses_total['tcp_set_state']": 0,
        "tcptrace_hook_misses_total['inet_csk_accept']": 0,
        f"tcptrace_build_info['{__version__}', '6.1.0-28-amd64', 'fentry']": 1,
    }


def test_losses_misses_and_costs() -> None:
    runs = (
        ProgramRuns("tcp_set_state", "fentry", 10, 2_500_000_000),
        ProgramRuns("inet_csk_accept", "fexit", 0, 0),
    )
    found = told(Losses(7, {"tcp_set_state": 3}, ()), *runs)
    assert found["tcptrace_events_lost_total[]"] == 7
    assert found["tcptrace_hook_misses_total['tcp_set_state']"] == 3
    assert found["tcptrace_program_runs_total['fentry', 'tcp_set_state']"] == 10
    assert found["tcptrace_program_run_seconds_total['fentry', 'tcp_set_state']"] == 2.5
    assert not any("fexit" in name for name in found)


@given(st.lists(st.text(max_size=100), max_size=6), st.text(), st.text())
def test_a_recordings_head_may_be_anybodys(hooks: list[str], kernel: str, carrier: str) -> None:
    """Control characters, lone surrogates, names that are the same once they are bounded."""
    head = samples.head()._replace(
        hooks=tuple(AttachedHook(hook, "fentry") for hook in hooks),
        kernel=kernel,
        carrier=carrier,
    )
    losses = Losses(0, dict.fromkeys(hooks, 1), ())
    text, _ = Exposition(lambda: health_families(head, losses, ())).render("")
    series = [line.rpartition(b" ")[0] for line in text.splitlines() if line[:1] != b"#"]
    assert len(set(series)) == len(series)


def test_lone_surrogates_can_be_encoded() -> None:
    head = samples.head()._replace(kernel="\ud800", hooks=(AttachedHook("\udfff", "fentry"),))
    text, _ = Exposition(lambda: health_families(head, samples.NO_LOSSES, ())).render("")
    assert b"\\\\ud800" in text
