"""Parts of prometheus_client without the whole of it."""

from __future__ import annotations

import subprocess
import sys

_SERVERS = ("ssl", "http.server", "urllib.request", "wsgiref.simple_server")


def _said_by(script: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return done.stdout.split()


def test_no_server_is_loaded() -> None:
    script = (
        "import sys, tcptrace.exporting\n"
        f"print(*(name for name in {_SERVERS!r} if name in sys.modules))"
    )
    assert _said_by(script) == []


def test_the_package_is_whole_for_others() -> None:
    script = (
        "from tcptrace.sinks.metrics.client import Metric\n"
        "import prometheus_client\n"
        "from prometheus_client.exposition import generate_latest\n"
        "print(prometheus_client.Metric is Metric, prometheus_client.REGISTRY is not None)"
    )
    assert _said_by(script) == ["True", "True"]


def test_it_may_have_been_loaded_before() -> None:
    script = (
        "import prometheus_client\n"
        "from tcptrace.sinks.metrics.client import Metric\n"
        "print(prometheus_client.Metric is Metric)"
    )
    assert _said_by(script) == ["True"]
