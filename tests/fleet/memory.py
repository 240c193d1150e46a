"""What series cost Prometheus: `python -m tests.fleet.memory [HOSTS]`. Needs no kernel.

A recording's metrics, served once and scraped as those of many hosts, with all rules that ship.
Its memory by series, some scrapes after the start: chunks of two hours are not in it.
"""

from __future__ import annotations

import json
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from faults.prometheus import Prometheus
from faults.scrapes import last_scrape

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT: Final = Path(__file__).resolve().parents[2]
RECORDING: Final = ROOT / "tests/data/faults/healthy.tcptrace"
HOSTS: Final = 500
SCRAPE_S: Final = 10.0
SCRAPES: Final = 6
DEADLINE_S: Final = 240.0


class _Metrics(BaseHTTPRequestHandler):
    text: bytes

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(self.text)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


def main(arguments: Sequence[str]) -> int:
    hosts = int(arguments[0]) if arguments else HOSTS
    samples = last_scrape(RECORDING)
    _Metrics.text = "".join(f"{key} {value}\n" for key, value in samples.items()).encode()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Metrics)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    target = f"127.0.0.1:{server.server_address[1]}"
    targets = {f"host-{number}": target for number in range(hosts)}
    with (
        tempfile.TemporaryDirectory(prefix="tcptrace-memory-") as scratch,
        Prometheus(Path(scratch), SCRAPE_S, targets) as prometheus,
    ):
        empty = _own(prometheus, "process_resident_memory_bytes")
        prometheus.load(sorted((ROOT / "dashboards/alerts").glob("*.yaml")))
        prometheus.wait_for(
            lambda: (
                _own(prometheus, "prometheus_tsdb_head_chunks_created_total") > 0
                and _samples(prometheus) >= SCRAPES
            ),
            "scrapes",
            DEADLINE_S,
        )
        series = _own(prometheus, "prometheus_tsdb_head_series")
        used = _own(prometheus, "process_resident_memory_bytes")
    told = {
        "hosts": hosts,
        "series_scraped_of_each": len(samples),
        "series": int(series),
        "resident_bytes": int(used),
        "bytes_a_series": round((used - empty) / series),
    }
    print(json.dumps(told))
    return 0


def _own(prometheus: Prometheus, name: str) -> float:
    """One of Prometheus' metrics of itself."""
    for line in prometheus.get("/metrics").splitlines():
        if line.startswith(f"{name} "):
            return float(line.split()[1])
    raise AssertionError(f"Prometheus tells no {name}")


def _samples(prometheus: Prometheus) -> float:
    found = prometheus.query('min(count_over_time(up{job="tcptrace"}[5m]))')
    return found[0].points[0][1] if found else 0.0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
