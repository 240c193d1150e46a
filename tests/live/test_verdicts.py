"""`tcptrace why` while every fault happens at once, and what only looks like one beside them.

Each play has two network namespaces of its own, so that each fault is a negative for all the
others: whatever has a verdict in a play's namespaces must be that play's own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import jsonschema
import pytest
from faults.near import NEAR
from faults.others import OTHERS
from faults.plays import PLAYS

from tcptrace.verdicts.verdict import Cause

from .traced import TCPTRACE, Trace
from .waiting import DEADLINE_S

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.once, pytest.mark.surfaces]

CHECKOUT: Final = Path(__file__).resolve().parents[2]
FOUND_FAULTS: Final = 7
DURATION_S: Final = 35
_SECOND_RETRANSMIT_NS: Final = 3_000_000_000
BEGIN_S: Final = 400.0
"""Some sixty network namespaces are there to be read before tracing begins, and once more in the
first snapshot, while all the plays have begun."""
SCHEMA: Final[dict[str, Any]] = json.loads(
    Path(__file__).parents[2].joinpath("docs/schema/verdict-v1.json").read_bytes()
)
FAULTS: Final = {name: play for name, play in {**PLAYS, **OTHERS}.items() if play.cause}
OF_THE_CLIENTS_SIDE: Final = {Cause.REMOTE_LISTENER_DROPS}
"""Told of the namespace of the plays' clients; the others of their servers'."""


class Looked:
    """What `why` found, by play."""

    def __init__(self, places: dict[str, dict[str, int]], trace: Trace, status: int) -> None:
        self.verdicts = [json.loads(line) for line in trace.stdout_so_far()]
        self.status = status
        self.told = trace.stderr
        self.places = places
        self.names = {
            place[side]: name for name, place in places.items() for side in ("server", "client")
        }

    def of(self, name: str) -> list[dict[str, Any]]:
        """The verdicts on one play."""
        return [one for one in self.verdicts if self.names.get(one["netns"]) == name]


@pytest.fixture(scope="module")
def looked() -> Iterator[Looked]:
    command = [sys.executable, "-m", "tests.faults.troupe", *FAULTS, *NEAR]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=CHECKOUT
    ) as troupe:
        assert troupe.stdin is not None
        assert troupe.stdout is not None
        places = json.loads(troupe.stdout.readline())
        with Trace("why", "--json", "--duration", f"{DURATION_S}s") as trace:
            trace.wait_until_tracing(BEGIN_S)
            troupe.stdin.write("go\n")
            troupe.stdin.flush()
            status = trace.wait(DURATION_S + BEGIN_S)
            troupe.stdin.close()
            assert troupe.wait(DEADLINE_S) == 0, "a play ended early"
            yield Looked(places, trace, status)


def test_it_says_by_its_exit_status_that_something_is_wrong(looked: Looked) -> None:
    assert looked.status == FOUND_FAULTS, looked.told
    assert f"{len(looked.verdicts)} verdicts" in looked.told


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_has_its_verdict_and_no_other(looked: Looked, name: str) -> None:
    cause = FAULTS[name].cause
    assert [one["cause"] for one in looked.of(name)] == [cause], looked.of(name)
    (verdict,) = looked.of(name)
    is_servers = verdict["netns"] == looked.places[name]["server"]
    assert is_servers is (cause not in OF_THE_CLIENTS_SIDE)
    if verdict["process"] is not None:
        assert verdict["process"] == {"pid": looked.places[name]["pid"], "comm": name[:15]}
    else:
        assert cause is Cause.EPHEMERAL_PORTS_IN_TIME_WAIT


@pytest.mark.parametrize("name", NEAR)
def test_what_only_looks_like_one_has_none(looked: Looked, name: str) -> None:
    assert looked.of(name) == []


def test_nothing_is_told_of_anybody_else(looked: Looked) -> None:
    assert [one for one in looked.verdicts if one["netns"] not in looked.names] == []


def test_each_is_what_the_schema_says(looked: Looked) -> None:
    for verdict in looked.verdicts:
        print(verdict["text"])
        jsonschema.validate(verdict, SCHEMA, cls=jsonschema.Draft202012Validator)


def test_those_that_make_clients_wait_tell_by_which_timers(looked: Looked) -> None:
    waits = {one["cause"]: one["delays_ns"] for one in looked.verdicts}
    for cause in (Cause.ACCEPT_QUEUE_TOO_SMALL, Cause.ACCEPT_LOOP_SLOW, Cause.SYN_QUEUE_FULL):
        assert waits[cause]
        assert waits[cause][0] <= _SECOND_RETRANSMIT_NS


def test_a_healthy_host_is_told_so_in_a_line() -> None:
    done = subprocess.run(
        [TCPTRACE, "why", "--duration", "2s"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("nothing wrong found: ")
    assert len(done.stdout.splitlines()) == 1
