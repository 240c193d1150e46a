"""A ring far too small: what is lost is told by hook, the ledger stays exact, the counts heal."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final

from .namespaces import Namespace
from .serving import Serving
from .sockets import accept, connect, listen, reset, wait_for_fin
from .states import last_differences, listed
from .waiting import until

if TYPE_CHECKING:
    import socket

    from .serving import Scrape

_RING: Final = "8k"
"""50 records: one reader's pause."""
_PORT: Final = 8001
_ROUND: Final = 30
_PAIRS_KEPT: Final = 25
_HEALED_S: Final = 60.0
"""One period of snapshots."""
_AGREE_S: Final = 30.0
_SCRAPE_PERIOD_S: Final = 1.0


def test_losses_are_told_and_the_counts_heal() -> None:
    with ExitStack() as kept:
        namespace = kept.enter_context(Namespace("overload"))
        serving = kept.enter_context(Serving("--ring-size", _RING)).wait_until_tracing()
        with ThreadPoolExecutor(2) as pool:
            rounds = [
                pool.submit(_play, namespace, address, kept, serving)
                for address in ("127.0.0.1", "::1")
            ]
        listeners = [one.result() for one in rounds]
        healed = until(lambda: _healed(serving), "the counts to heal", _HEALED_S)
        assert healed is not None
        assert healed.value("tcptrace_state_counts_suspect") == 0
        assert last_differences(serving, namespace, _AGREE_S) == {}
        assert listed(namespace)["established"] >= 4 * _PAIRS_KEPT
        _check(healed)
        told = serving.scrape()
        assert told.by("counter", "tcptrace_reconciliation_difference", netns=namespace.inode)
        ledgers = told.values("tcptrace_reconciliation_difference", netns=namespace.inode)
        assert set(ledgers.values()) == {0}
        late = kept.enter_context(Namespace("late"))
        with late.inside():
            listener = kept.enter_context(listen(("127.0.0.1", _PORT)))
            for end in _couple(listener, "127.0.0.1"):
                kept.enter_context(end)
        _lose(namespace, listeners[0], "127.0.0.1", serving)
        again = until(lambda: _healed(serving, late, healed), "the rest to heal", _HEALED_S)
        assert again is not None
        assert again.value("tcptrace_state_counts_suspect") == 1
        for where in (namespace, late):
            assert last_differences(serving, where, _AGREE_S) == {}
        assert listed(late)["established"] == 2
        for labels in told.values("tcptrace_kernel_difference", netns=namespace.inode):
            assert dict(labels)["cause"] == "lost_events"
            assert dict(labels)["direction"] == "below"


def _play(namespace: Namespace, address: str, kept: ExitStack, serving: Serving) -> socket.socket:
    """As much as goes until records are lost: sockets that stay, end with a FIN or with a RST."""
    with namespace.inside():
        listener = kept.enter_context(listen((address, _PORT), backlog=2 * _ROUND))
        for pair in [_couple(listener, address) for _ in range(_PAIRS_KEPT)]:
            for end in pair:
                kept.enter_context(end)
    _lose(namespace, listener, address, serving)
    return listener


def _lose(namespace: Namespace, listener: socket.socket, address: str, serving: Serving) -> None:
    """Bursts until more records are lost, and one more."""
    before = _lost(serving.scrape())

    def has_lost() -> bool:
        with namespace.inside():
            _burst(listener, address)
        return _lost(serving.scrape()) > before

    until(has_lost, "records to be lost")
    with namespace.inside():
        _burst(listener, address)


def _couple(listener: socket.socket, address: str) -> tuple[socket.socket, socket.socket]:
    client = connect((address, _PORT))
    return client, accept(listener)


def _burst(listener: socket.socket, address: str) -> None:
    pairs = [_couple(listener, address) for _ in range(_ROUND)]
    for number, (client, server) in enumerate(pairs):
        if number % 3:
            client.close()
            wait_for_fin(server)
            server.close()
        else:
            reset(client)
            server.close()


def _lost(scrape: Scrape) -> int:
    return scrape.total("tcptrace_events_lost_total")


def _healed(
    serving: Serving, late: Namespace | None = None, before: Scrape | None = None
) -> Scrape | None:
    """A snapshot healed every namespace but the late one: nothing was there when tracing began.

    Asks as seldom as Prometheus does: what is asked over TCP is traced too.
    """
    time.sleep(_SCRAPE_PERIOD_S)
    scrape = serving.scrape()
    suspects = scrape.by("netns", "tcptrace_namespace_counts_suspect")
    heals = scrape.value("tcptrace_heals_total")
    is_healed = set(suspects) == ({str(late.inode)} if late else set())
    more = heals - (before.value("tcptrace_heals_total") if before else 0)
    return scrape if is_healed and more else None


def _check(scrape: Scrape) -> None:
    """The metrics say what was lost, of which hook, and that it is mended."""
    by_hook = scrape.by("hook", "tcptrace_hook_events_lost_total")
    assert sum(by_hook.values()) == _lost(scrape) > 0
    assert by_hook["inet_sock_set_state"] > 0
    assert not [hook for hook in by_hook if "kind" in hook or "," in hook]
    lost_at = scrape.value("tcptrace_last_loss_timestamp_seconds")
    healed_at = scrape.value("tcptrace_last_heal_timestamp_seconds")
    assert 0 < healed_at - lost_at < _HEALED_S
    assert scrape.total("tcptrace_snapshots_total") >= 2
    mended = scrape.total("tcptrace_healed_lives_total")
    assert mended + scrape.total("tcptrace_corrected_lives_total") > 0
    assert scrape.total("tcptrace_partial_lives_total", reason="gap") > 0
