from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tcptrace.lifecycle.connection import Connection, Process
from tcptrace.lifecycle.names import Names, PodNames
from tcptrace.lifecycle.workload import parse
from tcptrace.sinks.terminal import Paint
from tcptrace.sinks.text import TextPrinter
from tcptrace.sinks.timeline import TimelinePrinter
from tcptrace.sinks.units import WallClock
from tcptrace.sinks.whereabouts import container_text, namespace_text, places, unit_text
from unit import samples

ID = "3f2a9c71d5e84b06" * 4
POD = f"/kubepods/burstable/pod2c48913c-b29f-11e7-9350-020968147796/{ID}"


@pytest.mark.parametrize(
    ("path", "text"),
    [
        (f"/docker/{ID}", "docker 3f2a9c71d5e8"),
        (f"/ecs/{ID}", "container 3f2a9c71d5e8"),
        (POD, "container 3f2a9c71d5e8 in pod 2c48913c"),
        (POD.rpartition("/")[0], "pod 2c48913c"),
        ("/lxc.payload.web", "lxc web"),
        ("/system.slice/nginx.service", ""),
        ("/", ""),
    ],
)
def test_a_container_in_words(path: str, text: str) -> None:
    assert container_text(parse(path), Names()) == text


def test_names_from_the_runtime_say_it_all() -> None:
    names = Names()
    names.containers.learn(ID, PodNames("nginx", "web-0", "shop\n"))
    assert container_text(parse(POD), names) == "pod shop\\n/web-0 (nginx)"


@pytest.mark.parametrize(
    ("unit", "comm", "text"),
    [
        ("nginx.service", b"nginx", ""),
        ("ssh.service", b"sshd", ""),
        ("shop.service", b"python3", "shop.service"),
        ("shop.service", None, "shop.service"),
        ("session-3.scope", b"bash", ""),
        ("user@1000.service", b"x", ""),
        ("init.scope", b"systemd", ""),
    ],
)
def test_a_unit_is_told_where_it_says_more_than_the_process(
    unit: str, comm: bytes | None, text: str
) -> None:
    process = None if comm is None else Process(1, comm)
    assert unit_text(parse(f"/system.slice/{unit}"), process) == text


def test_a_namespace_is_told_unless_it_is_the_tracers_own() -> None:
    names = Names(own_netns=1)
    names.namespaces.learn(2, "blue")
    names.namespaces.learn(1, "mine")
    assert [namespace_text(netns, names) for netns in (1, 2, 3)] == [
        "",
        "netns blue (2)",
        "netns 3",
    ]
    assert namespace_text(3, Names()) == ""


def life() -> tuple[Connection, Names]:
    connection = samples.server()
    connection.cgroup = 9
    names = Names(own_netns=1)
    names.cgroups.learn(9, POD)
    names.namespaces.learn(connection.netns, "blue")
    return connection, names


def test_a_line_and_a_story_say_where_it_was() -> None:
    connection, names = life()
    stream = io.StringIO()
    TextPrinter(stream, WallClock(samples.head()), Paint(enabled=False), names=names).show(
        connection, samples.START
    )
    TimelinePrinter(stream, WallClock(samples.head()), Paint(enabled=False), 200, names=names).show(
        connection, samples.START
    )
    where = f"container 3f2a9c71d5e8 in pod 2c48913c · netns blue ({connection.netns})"
    lines = stream.getvalue().splitlines()
    assert lines[1].endswith(f"nginx[1234] · {where}")
    assert lines[2].endswith(f"nginx[1234] · {where}")


def test_nothing_known_is_nothing_told() -> None:
    connection, _ = life()
    stream = io.StringIO()
    TextPrinter(stream, WallClock(samples.head()), Paint(enabled=False)).show(
        connection, samples.START
    )
    assert stream.getvalue().splitlines()[1].endswith("nginx[1234]")


@given(st.text(max_size=400), st.text(max_size=400), st.text(max_size=400))
def test_whatever_it_is_called_it_is_safe_and_short(path: str, name: str, unit: str) -> None:
    names = Names(own_netns=1)
    names.namespaces.learn(2, name)
    names.containers.learn(ID, PodNames(name, name, name))
    for cgroup in (path, POD, f"/lxc.payload.{name}", f"/a.slice/{unit}.service"):
        for text in places(2, parse(cgroup), None, names):
            assert text.isprintable()
            assert len(text) <= 210
