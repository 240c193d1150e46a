from __future__ import annotations

import io
import json
import socket
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tcptrace.lifecycle.connection import Connection, Process
from tcptrace.sinks.jsonl import JsonPrinter
from tcptrace.sinks.units import WallClock
from unit import samples


def line_of(life: Connection) -> str:
    stream = io.BytesIO()
    JsonPrinter(stream, WallClock(samples.head()), {1: "tcp_set_state"}.get).show(life, 0)
    return stream.getvalue().decode()


def told(life: Connection) -> dict[str, Any]:
    told: dict[str, Any] = json.loads(line_of(life))
    return told


def test_a_server_life() -> None:
    life = told(samples.overflowed())
    assert life["schema"] == "tcptrace.connection.v1"
    assert life["local"] == {"address": "10.0.0.1", "port": 8080}
    assert life["process"] == {"pid": 1234, "comm": "nginx"}
    assert [span["state"] for span in life["states"]][:2] == ["NEW_SYN_RECV", "SYN_RECV"]
    assert life["handshake"]["synack_retransmits"] == 2
    assert life["accept_wait_ns"] == 1198 * samples.US
    assert life["closed"] == {"by": "remote", "how": "fin"}
    assert [drop["stage"] for drop in life["drops"]] == [
        "syn_accept_queue_full",
        "ack_accept_queue_full",
        "ack_accept_queue_full",
    ]
    assert len(life["events"]) == 6
    assert life["began_at"] == "2025-11-21T21:17:05.000000Z"


def test_what_was_not_seen_is_null() -> None:
    life = told(samples.leaked())
    assert life["states"][0] == {"state": "ESTABLISHED", "at_ns": None, "duration_ns": None}
    assert life["handshake"]["syn_at_ns"] is None
    assert life["accept_wait_ns"] is None
    assert life["closed"] == {"by": None, "how": None}
    assert (life["partial"], life["partial_reasons"]) == (True, ["began_before"])


def test_time_wait_is_its_state_and_its_end() -> None:
    life = samples.client()
    life.spans[-1].duration_ns = 60 * samples.S
    life.timewait_end = "timer"
    assert told(life)["time_wait"] == {
        "at_ns": life.timewait_at_ns,
        "duration_ns": 60 * samples.S,
        "end": "timer",
    }
    assert told(samples.server())["time_wait"] is None


def test_v4_mapped_and_the_errors_name() -> None:
    life = samples.refused()
    life.family = socket.AF_INET6
    assert (told(life)["family"], told(life)["v4_mapped"]) == ("ipv4", True)
    assert told(life)["error"] == "ECONNREFUSED"
    life.error = 9999
    assert told(life)["error"] == "errno 9999"


def test_stacks_are_there_only_where_they_were_taken() -> None:
    life = samples.server()
    life.spans[0].stack = (1, 255)
    states = told(life)["states"]
    assert states[0]["stack"] == ["tcp_set_state", "_stext+0xff"]
    assert "stack" not in states[1]


@given(st.binary(max_size=16))
def test_any_name_makes_one_line_of_ascii(comm: bytes) -> None:
    life = samples.server()
    life.process = Process(1, comm)
    line = line_of(life)
    assert line.isascii()
    assert line.rstrip("\n").isprintable()
    assert json.loads(line)["process"]["comm"] == comm.partition(b"\0")[0].decode(
        "utf-8", "backslashreplace"
    )
