"""How many series a host has: `python -m tests.fleet.series`, as root on the kernel to trace.

An idle host, one with 100 listeners and with 1,000, and one with network namespaces as a node with
pods has them. With --synthetic they are the bench's, of records that no kernel sent, and 10,000
sockets in 10 namespaces are open: what docs/fleet.md tells comes from that.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import urllib.request
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import yaml
from bench.scrape import FORMATS, watched
from live.namespaces import Namespace
from live.serving import Scrape, Serving
from live.sockets import LOOPBACK, connect, listen
from live.waiting import until

from tcptrace.exporting import Exporter
from tcptrace.sinks.metrics.catalogue import BY_NAME, Type

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_FIRST_PORT: Final = 20_000
_LISTENERS: Final = (0, 100, 1000)
_NAMESPACES: Final = 50
_CONNECTIONS: Final = 3
_SOCKETS: Final = 10_000
SHARD: Final = Path(__file__).resolve().parents[2] / "packaging/prometheus/shard.yml"


class Counted(NamedTuple):
    """What one scrape brings."""

    name: str
    series: int
    native: int
    """With histograms as native ones."""
    lean: int
    """Those that are left when what packaging/prometheus/shard.yml names is dropped."""
    text_bytes: int
    protobuf_bytes: int


def dropped() -> re.Pattern[str]:
    """The names that packaging/prometheus/shard.yml drops."""
    config = yaml.safe_load(SHARD.read_text(encoding="utf-8"))
    ((rule,),) = (one["metric_relabel_configs"] for one in config["scrape_configs"])
    assert rule["action"] == "drop"
    return re.compile(rule["regex"])


def count(name: str, text: str, protobuf_bytes: int = 0) -> Counted:
    """Counts the series of a scrape."""
    samples = [line for line in text.splitlines() if line and not line.startswith("#")]
    names = Counter(line.partition("{")[0].partition(" ")[0] for line in samples)
    classic = _of_histograms(names, {"_bucket", "_sum", "_count"})
    native = len(samples) - classic + _of_histograms(names, {"_count"})
    lean = sum(number for one, number in names.items() if not dropped().fullmatch(one))
    return Counted(name, len(samples), native, lean, len(text.encode()), protobuf_bytes)


def _of_histograms(names: Mapping[str, int], suffixes: set[str]) -> int:
    """Those that have a native form: gauge histograms have none."""
    histograms = [one.name for one in BY_NAME.values() if one.type is Type.HISTOGRAM]
    return sum(names[one + suffix] for one in histograms for suffix in suffixes)


def synthesized() -> Iterator[Counted]:
    """The bench's hosts, rendered by the real exporter."""
    for listeners in _LISTENERS:
        exporter = Exporter()
        _, exporter.watch = watched(listeners, _SOCKETS if listeners else 0)
        text = exporter.render(FORMATS["text"])[0].decode()
        size = len(exporter.render(FORMATS["protobuf"])[0])
        yield count(_name(listeners), text, size)


def measure() -> Iterator[Counted]:
    """The host as it is; then with ever more listeners; then with namespaces."""
    with ExitStack() as sockets, Serving() as serving:
        serving.wait_until_tracing()
        made = 0
        for wanted in _LISTENERS:
            for port in range(_FIRST_PORT + made, _FIRST_PORT + wanted):
                sockets.enter_context(listen((LOOPBACK, port)))
            made = wanted
            until(lambda: _listeners(serving.scrape()) >= made, "the listeners")  # noqa: B023
            yield _scraped(_name(wanted), serving)
    with ExitStack() as stack:
        for number in range(_NAMESPACES):
            namespace = stack.enter_context(Namespace(f"pod-{number}"))
            with namespace.inside():
                listener = stack.enter_context(listen((LOOPBACK, 8080)))
                for _ in range(_CONNECTIONS):
                    with connect((LOOPBACK, 8080)):
                        listener.accept()[0].close()
        serving = stack.enter_context(Serving())
        serving.wait_until_tracing()
        until(lambda: _listeners(serving.scrape()) >= _NAMESPACES, "the listeners")
        yield _scraped(f"{_NAMESPACES} namespaces, a listener in each", serving)


def _name(listeners: int) -> str:
    return f"{listeners:,} listeners" if listeners else "idle"


def _listeners(scrape: Scrape) -> int:
    return len(scrape.values("tcptrace_listener_sockets"))


def _scraped(name: str, serving: Serving) -> Counted:
    request = urllib.request.Request(serving.url, headers={"Accept": FORMATS["protobuf"]})  # noqa: S310 - ours
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - ours
        size = len(answer.read())
    return count(name, serving.scrape().text, size)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fleet.series", description=__doc__)
    parser.add_argument("--synthetic", action="store_true")
    options = parser.parse_args(arguments)
    for counted in synthesized() if options.synthetic else measure():
        print(json.dumps(counted._asdict()), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
