"""Words for verdicts on remote ends, CLOSE_WAIT, TIME_WAIT and RSTs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tcptrace.lifecycle.ledger import Address
from tcptrace.sinks.terminal import process_text
from tcptrace.sinks.units import duration, plural
from tcptrace.sinks.verdict_words.told import clauses, seconds
from tcptrace.tcp import address_text
from tcptrace.wire.events import Stage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tcptrace.sinks.verdict_words.told import Told


def silent(told: Told) -> Iterator[str]:
    """Nobody answers."""
    unanswered = _calls(told.number("connects_unanswered"))
    yield f"{unanswered} not answered, though the SYN was sent again"
    if told.has("connects_late"):
        yield f"{_calls(told.number('connects_late'))} answered only after the SYN was sent again"
    yield from _waits(told)
    if not told.has("connects_late"):
        yield "a closed port would refuse: packets are filtered, or the host is gone"


def late(told: Told) -> Iterator[str]:
    """Answers come, but late."""
    yield f"{_calls(told.number('connects_late'))} answered only after the SYN was sent again"
    if told.has("connects_unanswered"):
        yield f"{_calls(told.number('connects_unanswered'))} not answered"
    yield from _waits(told)
    yield (
        "SYNs or their answers get lost on the way, its listener drops SYNs, or the way there and"
        " back takes longer than the SYN's first timer (1 s)"
    )


def look_on_the_way(told: Told) -> Iterator[str]:
    """Where to look."""
    yield (
        "trace the other end if it is yours (`tcptrace why PORT` there): its listener drops SYNs,"
        f" or packets get lost on the way; `ping {_host(told)}` tells how long the way takes"
    )


def _calls(number: int) -> str:
    return f"{plural(number, 'connect() call')} {'was' if number == 1 else 'were'}"


def _waits(told: Told) -> Iterator[str]:
    """How long it takes: till an answer came, or till the caller gave up."""
    delays = told.verdict.delays_ns
    if delays:
        yield f"clients wait {seconds(delays)}: the SYN's retransmits"
    waiting = told.number("connects_waiting")
    given_up = told.number("connects_unanswered") - waiting
    after, again = told.number("gave_up_after_ns") / 1e9, told.number("syns_sent_again")
    usual = f", mostly after {after:g} s and {plural(again, 'SYN')} sent again" if again else ""
    yield clauses(
        f"{given_up:,} gave up{usual}" if given_up else "",
        f"{waiting:,} {'waits' if waiting == 1 else 'wait'} still" if waiting else "",
    )


def look_there(told: Told) -> Iterator[str]:
    """Where to look."""
    host = _host(told)
    yield (
        f"see whether {host} is up, and what drops packets to this port on the way: security"
        f" groups, `nft list ruleset`, `ip route get {host}`"
    )
    yield "until it answers, a shorter connect timeout here fails sooner"


def refuses(told: Told) -> Iterator[str]:
    """RSTs."""
    refused, connects = told.number("connects_refused"), told.text("connects")
    others = refused - told.verdict.hurt
    yield f"{refused:,} of {connects} connect() calls answered with RST (ECONNREFUSED)"
    if others > 0:
        yield f"{others:,} of them got in by localhost's other address, it seems"
    yield "the host is there, and nobody listens on this port (or a firewall rejects)"


def start_it(told: Told) -> Iterator[str]:
    """What to do about it."""
    port = told.verdict.where.port
    host = _host(told)
    yield f"start the service, or see what it is bound to (`ss -ltnp 'sport = :{port}'` on {host})"


def listener_drops(told: Told) -> Iterator[str]:
    """Both ends are traced."""
    hurt = told.number("connects_unanswered") + told.number("connects_late")
    stage = told.verdict.stage
    why = ""
    if stage is Stage.OTHER:
        why = ", mostly for other reasons than a full queue"
    elif stage is not None:
        why = f", mostly at the stage {stage.name.lower()}"
    yield (
        f"both ends are traced: its listener dropped SYNs or final ACKs of"
        f" {plural(hurt, 'connection')} from here{why}"
    )
    yield from _waits(told)


def ask_listener(told: Told) -> Iterator[str]:
    """Where to look."""
    port = told.verdict.where.port
    yield (
        f"`tcptrace port {port} --timeline` tells the stage of each drop; `other` is no route back,"
        " no memory, or a security module: see `ip route get CLIENT` there, and its kernel log"
    )


def close_wait(told: Told) -> Iterator[str]:
    """Who holds what."""
    process = told.verdict.process
    holder = process_text(process) if process is not None else "a process that was not seen"
    old, oldest = told.number("close_waits_old"), told.number("oldest_ns")
    yield (
        f"{plural(old, 'connection')} closed by their peers and still held by {holder}, the oldest"
        f" for {duration(oldest)}"
    )
    yield "no timer of the kernel ends CLOSE_WAIT: in the end the process has no descriptors left"


def close_it(told: Told) -> Iterator[str]:
    """What to change."""
    process = told.verdict.process
    look = f": `ls /proc/{process.pid}/fd | wc -l` shows how many it holds" if process else ""
    yield f"have it close() a connection when read() returns 0 (end of file){look}"
    yield "until then a restart is all that frees them; no sysctl does"


def time_wait(told: Told) -> Iterator[str]:
    """How many ports are left."""
    waits, ports = told.number("time_waits"), told.number("ephemeral_ports")
    yield (
        f"{waits:,} of {plural(ports, 'ephemeral port')} are in TIME_WAIT after connections to it"
        " from one address, that this host closed first"
    )
    failed = told.number("connects_failed")
    if failed:
        yield f"{plural(failed, 'connect() call')} found no port (EADDRNOTAVAIL)"
    else:
        yield "connect() to it soon finds none (EADDRNOTAVAIL)"
    if told.has("ports_reusable"):
        yield (
            "connect() may use one again after a second, by net.ipv4.tcp_tw_reuse, where TCP has"
            " timestamps; that is not enough here"
        )


def spare_ports(told: Told) -> Iterator[str]:
    """What to change."""
    ports = told.text("ephemeral_ports")
    yield "use connections again (a pool, keep-alive), or let the other end close first"
    now = f" (now {told.text('tw_reuse')})" if "tw_reuse" in told.figures else ""
    reuse = f", set net.ipv4.tcp_tw_reuse{now} to 1" if not told.has("ports_reusable") else ""
    yield (
        f"else widen net.ipv4.ip_local_port_range (now {ports} ports){reuse}, or connect from"
        " several addresses: each has its own ports; tcp_max_tw_buckets is not the limit here"
    )


def resets(told: Told) -> Iterator[str]:
    """Who sends them."""
    sent, received = told.number("resets_sent"), told.number("resets_received")
    peer = address_text(told.verdict.peer) if told.verdict.peer else ""
    ours = f"{plural(sent, 'connection')} reset by this end"
    if told.verdict.process is not None and sent:
        ours += f" ({process_text(told.verdict.process)})"
    who = f"mostly {peer}" if peer else f"{told.text('peers')} addresses"
    theirs = f"{plural(received, 'connection')} reset by the other end ({who})"
    parts = [(sent, ours), (received, theirs)]
    yield clauses(*(text for number, text in sorted(parts, reverse=True) if number))


def ask_sender(told: Told) -> Iterator[str]:
    """What makes one send them."""
    if told.number("resets_sent") >= told.number("resets_received"):
        yield (
            "a process resets what it closes with unread data, or with SO_LINGER 0; and the kernel"
            " what comes after close(): read to the end before close()"
        )
    else:
        yield (
            "ask the sender: a timeout of its own, a proxy or firewall that forgot the connection,"
            " or a crash; `tcptrace port PORT --timeline` shows after which state they come"
        )


def _host(told: Told) -> str:
    where = told.verdict.where
    return where.address if isinstance(where, Address) else address_text(where.address)
