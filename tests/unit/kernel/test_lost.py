"""Lost records are told by the hook whose they were."""

from __future__ import annotations

import pytest

from tcptrace.kernel.hooks import SUBJECTS
from tcptrace.kernel.lost import _SENDERS, LOST_TOO, lost_by_hook
from tcptrace.wire.events import Kind

TRACED = [hook.name for subject in SUBJECTS for hook in subject.traced]
PROBED = [hook.name for subject in SUBJECTS for hook in subject.probed]


def test_every_kind_has_a_sender_by_either_way() -> None:
    for hooks in (TRACED, PROBED):
        for kind in Kind:
            (name,) = lost_by_hook({kind: 1}, hooks)
            assert not name.startswith("kind")


def test_no_sender_is_misspelt() -> None:
    former = [hook.former for subject in SUBJECTS for hook in subject.traced]
    assert {name for names in _SENDERS.values() for name in names} <= {*TRACED, *PROBED, *former}


@pytest.mark.parametrize(
    ("place", "traced", "probed"),
    [
        (Kind.STATE_CHANGED, "inet_sock_set_state", "tcp_set_state"),
        (Kind.STATE_CHANGED + LOST_TOO, "inet_sock_set_state", "inet_csk_listen_start"),
        (Kind.CHILD_CREATED + LOST_TOO, "tcp_v6_syn_recv_sock", "tcp_v6_syn_recv_sock"),
        (Kind.ACCEPTED, "inet_csk_accept", "inet_csk_accept"),
        (Kind.ACCEPTED + LOST_TOO, "security_sock_graft", "security_sock_graft"),
        (Kind.RESET_SENT, "tcp_send_reset", "tcp_v4_send_reset, tcp_v6_send_reset"),
        (Kind.RESET_SENT + LOST_TOO, "tcp_send_reset", "tcp_send_active_reset"),
    ],
)
def test_which(place: int, traced: str, probed: str) -> None:
    assert lost_by_hook({place: 3}, TRACED) == {traced: 3}
    assert lost_by_hook({place: 3}, PROBED) == {probed: 3}


def test_they_are_added_up_and_zeros_left_out() -> None:
    lost: dict[int, int] = {Kind.SYN_QUEUED: 2, Kind.SYN_COOKIE_SENT: 3, Kind.SEEN: 0}
    assert lost_by_hook(lost, TRACED) == {"tcp_make_synack": 5}


def test_a_kind_of_no_known_hook_is_told_by_its_number() -> None:
    assert lost_by_hook({31: 1}, TRACED) == {"kind 31": 1}
