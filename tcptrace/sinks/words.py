"""What happened to a connection, in words that text, timeline and summary share."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final, NamedTuple

from tcptrace.lifecycle.connection import Connection, How, Outcome, Partial, Role, Side
from tcptrace.sinks.units import duration, plural
from tcptrace.tcp import State
from tcptrace.wire.events import STACK_DEPTH, Kind, Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tcptrace.lifecycle.connection import Moment

_TRACER_FRAMES: Final = ("bpf_prog_", "bpf_trampoline_", "bpf_trace_run", "__traceiter_")

STAGE_WORDS: Final = {
    Stage.NONE: "dropped",
    Stage.SYN_ACCEPT_QUEUE_FULL: "SYN dropped: accept queue full",
    Stage.SYN_SYN_QUEUE_FULL: "SYN dropped: SYN queue full",
    Stage.SYN_LAST_QUARTER: "SYN dropped: tcp_max_syn_backlog nearly used up",
    Stage.ACK_ACCEPT_QUEUE_FULL: "final ACK dropped: accept queue full",
    Stage.ABORT_ON_OVERFLOW: "final ACK answered with RST: accept queue full",
    Stage.REQUEST_EXPIRED: "half-open request expired",
    Stage.LISTENER_CLOSED: "lost when its listener closed",
    Stage.OTHER: "dropped: no memory, no route or not allowed",
    Stage.REQUEST_RESET: "half-open request reset by its peer",
}

PARTIAL_WORDS: Final = {
    Partial.BEGAN_BEFORE: "began before the trace",
    Partial.GAP: "with events missing",
    Partial.END_LOST: "with its end unseen",
    Partial.FOLDED: "with its begin folded",
}

OUTCOME_WORDS: Final = {
    Outcome.CLOSED: "closed",
    Outcome.RESET: "reset",
    Outcome.REFUSED: "refused",
    Outcome.TIMEOUT: "timed out",
    Outcome.ABORTED: "aborted",
    Outcome.UNREACHABLE: "unreachable",
    Outcome.FAILED: "failed",
    Outcome.SYN_DROPPED: "SYN dropped",
    Outcome.EXPIRED: "expired",
    Outcome.HALF_OPEN_RESET: "SYN reset",
    Outcome.NEVER_ACCEPTED: "unaccepted",
    Outcome.GAVE_UP: "gave up",
    Outcome.OPEN: "still open",
    Outcome.UNKNOWN: "end unseen",
}
"""At most 11 columns: the summary's and the text line's words."""

OUTCOME_COLOURS: Final = {
    Outcome.CLOSED: "good",
    Outcome.OPEN: "dim",
    Outcome.RESET: "warn",
    Outcome.HALF_OPEN_RESET: "warn",
    Outcome.ABORTED: "warn",
    Outcome.UNKNOWN: "dim",
}
"""The others are bad."""

_HOW_WORDS: Final = {
    How.TIMEOUT: "timed out",
    How.ABORT: "aborted",
    How.LISTENER_CLOSED: "listener closed",
    How.EXPIRED: "expired",
    How.REFUSED: "refused",
    How.UNREACHABLE: "unreachable",
    How.LOCAL_ERROR: "failed",
    How.DROPPED: "SYN dropped",
    How.GAVE_UP: "gave up",
}
_TELLING: Final = {
    Outcome.REFUSED: "ECONNREFUSED",
    Outcome.TIMEOUT: "ETIMEDOUT",
    Outcome.RESET: "ECONNRESET",
    Outcome.ABORTED: "ECONNABORTED",
}
"""The error that an outcome has anyhow: not worth repeating."""


class EndWords(NamedTuple):
    """How it ended, and the colour of that."""

    text: str
    colour: str


def end_words(connection: Connection) -> EndWords:
    """Says in at most 11 columns how it ended and by whom: `remote FIN`, `timed out`."""
    outcome = connection.outcome
    text = OUTCOME_WORDS[outcome]
    if outcome in (Outcome.CLOSED, Outcome.RESET):
        text = who_and_how(connection) or text
    return EndWords(text, OUTCOME_COLOURS.get(outcome, "bad"))


def who_and_how(connection: Connection) -> str:
    """Says `remote FIN`, `local RST`, `both FIN`, `listener closed`; empty if it isn't known."""
    how = connection.closed_how
    if how is How.FIN:
        return f"{connection.closed_by} FIN" if connection.closed_by else "FIN"
    if how is How.RST_SENT:
        return f"{Side.LOCAL} RST"
    if how is How.RST_RECEIVED:
        return f"{Side.REMOTE} RST"
    return _HOW_WORDS[how] if how is not None else ""


def arrow(role: Role) -> str:
    """Points from the connecting to the listening end, between local and remote."""
    return {Role.CLIENT: "→", Role.SERVER: "←"}.get(role, "↔")


def error_name(error: int) -> str | None:
    """Names an errno: `ECONNRESET`; None for 0."""
    return errno.errorcode.get(error, f"errno {error}") if error else None


def queue_text(moment: Moment) -> str:
    """Says how full the accept queue was: `accept queue 2/1`."""
    return f"accept queue {moment.accept_queue_len}/{moment.accept_queue_limit}"


def _times(count: int) -> str:
    return f" ×{count}" if count > 1 else ""


def drop_text(moment: Moment, count: int = 1) -> str:
    """Says what was dropped and why: `final ACK dropped ×2: accept queue full 2/1`."""
    words = STAGE_WORDS[moment.stage]
    if moment.stage in (Stage.NONE, Stage.OTHER):
        packet = "SYN" if moment.kind is Kind.SYN_DROPPED else "final ACK"
        words = f"{packet} {words}"
    what, colon, why = words.partition(": ")
    times = _times(count)
    depth = ""
    if "accept queue" in why:
        depth = f" {moment.accept_queue_len}/{moment.accept_queue_limit}"
    elif "SYN queue" in why:
        depth = f" {moment.syn_queue_len}/{moment.accept_queue_limit}"
    return f"{what}{times}{colon}{why}{depth}"


def troubles(connection: Connection) -> list[str]:
    """Lists what went wrong within it, worst first, one short phrase each."""
    found = _drops(connection)
    if connection.syn_retransmits:
        found.append(f"SYN retransmitted{_times(connection.syn_retransmits)}")
    if connection.synack_retransmits:
        found.append(f"SYN-ACK retransmitted{_times(connection.synack_retransmits)}")
    if connection.outcome is Outcome.NEVER_ACCEPTED and connection.closed_how is not None:
        found.append(who_and_how(connection))
    return found + aftermath(connection)


def aftermath(connection: Connection) -> list[str]:
    """Lists what went wrong that no single event tells: segments sent again, the error."""
    found = []
    if connection.data_retransmits:
        found.append(f"{plural(connection.data_retransmits, 'segment')} retransmitted")
    name = error_name(connection.error)
    if name and name != _TELLING.get(connection.outcome):
        found.append(name)
    return found


def remarks(connection: Connection, now_ns: int) -> list[str]:
    """Lists what else is worth knowing: a state it is stuck in, cookies, why it is partial."""
    found = []
    if connection.outcome is Outcome.OPEN and connection.spans:
        last = connection.spans[-1]
        if last.state is not State.ESTABLISHED:
            since = "" if last.at_ns is None else f" for {duration(now_ns - last.at_ns)}"
            found.append(f"in {last.state.name}{since}")
    if connection.cookie:
        found.append("SYN cookie")
    if connection.fastopen:
        found.append("fast open")
    if connection.partial:
        reasons = ", ".join(PARTIAL_WORDS[reason] for reason in sorted(connection.partial))
        found.append(f"partial: {reasons}")
    return found


def _drops(connection: Connection) -> list[str]:
    """Says each stage at which packets of it were dropped once, with the last queue depth."""
    found = []
    for kind, total, packet in (
        (Kind.SYN_DROPPED, connection.syn_drops, "SYN"),
        (Kind.ACK_DROPPED, connection.ack_drops, "final ACK"),
    ):
        drops = [moment for moment in connection.moments if moment.kind is kind]
        stages = {moment.stage: moment for moment in drops}
        for stage, last in stages.items():
            count = sum(moment.stage is stage for moment in drops)
            if len(stages) == 1:
                count = max(count, total)
            found.append(drop_text(last, count))
        if total and not drops:
            found.append(f"{packet} dropped ×{total}")
    return found


def call_stack(stack: Sequence[int], symbol: Callable[[int], str | None]) -> list[str]:
    """Names a transition's kernel frames, innermost first, without those of the tracer itself.

    Args:
        stack: offsets from _stext.
        symbol: names an offset, or can't.
    """
    names: list[str] = []
    for frame in stack:
        name = symbol(frame) or f"_stext+{frame:#x}"
        # A function entered through a trampoline is there twice: before it and behind it.
        if not name.startswith(_TRACER_FRAMES) and names[-1:] != [name]:
            names.append(name)
    if len(stack) == STACK_DEPTH:
        names.append("…")
    return names
