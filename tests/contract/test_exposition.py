"""What `tcptrace serve` serves is the catalogue's, and what Prometheus' own tools take."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from unit.hosts import FakeHost
from unit.scraping import OPENMETRICS, Scrape, exporter_of, full_host, scrape

from tcptrace.sinks.metrics.catalogue import BY_NAME, METRICS, Type

if TYPE_CHECKING:
    from tcptrace.exporting import Exporter

CLASSIC = "text/plain; version=0.0.4"
FORMATS = (CLASSIC, OPENMETRICS)
SUFFIXES = {
    Type.COUNTER: {""},
    Type.GAUGE: {""},
    Type.HISTOGRAM: {"_bucket", "_count", "_sum"},
    Type.GAUGE_HISTOGRAM: {"_bucket", "_gcount", "_gsum"},
}


@pytest.fixture(scope="module")
def exporter() -> Exporter:
    return exporter_of(full_host())


@pytest.fixture(scope="module", params=FORMATS, ids=["classic", "openmetrics"])
def scraped(exporter: Exporter, request: pytest.FixtureRequest) -> Scrape:
    return scrape(exporter, request.param)


def helps(text: str) -> dict[str, str]:
    return dict(re.findall(r"^# HELP (\S+) (.*)$", text, re.MULTILINE))


def test_every_family_of_the_catalogue_is_served_and_no_other(scraped: Scrape) -> None:
    ours = {name for name in helps(scraped.text) if not name.startswith("process_")}
    wanted = {metric.name for metric in METRICS}
    if "# EOF" in scraped.text:
        wanted = {name.removesuffix("_total") for name in wanted}
    else:
        ours -= {"tcptrace_socket_age_seconds_gcount", "tcptrace_socket_age_seconds_gsum"}
    assert ours == wanted


def test_every_sample_has_the_catalogues_name_and_labels(scraped: Scrape) -> None:
    found: set[str] = set()
    for sample in scraped.samples:
        if sample.name.startswith("process_"):
            continue
        (name, suffix) = next(
            (metric.name, suffix)
            for metric in METRICS
            for suffix in SUFFIXES[metric.type]
            if sample.name == metric.name + suffix
        )
        labels = set(BY_NAME[name].labels) | ({"le"} if suffix == "_bucket" else set())
        assert set(sample.labels) == labels, sample
        found.add(name)
    assert found == set(BY_NAME), "a metric without a sample shows nothing of its labels"


def test_every_help_is_the_catalogues(scraped: Scrape) -> None:
    told = helps(scraped.text)
    for metric in METRICS:
        name = metric.name
        help_text = told.get(name) or told[name.removesuffix("_total")]
        assert help_text.replace('\\"', '"').replace("\\\\", "\\") == metric.help


def test_no_series_is_told_twice(scraped: Scrape) -> None:
    series = [(one.name, tuple(sorted(one.labels.items()))) for one in scraped.samples]
    assert len(set(series)) == len(series)


def test_both_formats_say_the_same(exporter: Exporter) -> None:
    def figures(accept: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
        return {
            (one.name, tuple(sorted(one.labels.items()))): one.value
            for one in scrape(exporter, accept).samples
            if not one.name.startswith("process_")
        }

    assert figures(CLASSIC) == figures(OPENMETRICS)


def test_no_line_holds_a_control_character(scraped: Scrape) -> None:
    assert all(line.isprintable() for line in scraped.text.split("\n"))


def test_its_own_process_is_told(scraped: Scrape) -> None:
    assert scraped.value("process_resident_memory_bytes") > 0


@pytest.mark.parametrize("host", [full_host, FakeHost], ids=["full", "quiet"])
def test_promtool_takes_it(host: type[FakeHost]) -> None:
    """And its lint has no complaint."""
    program = shutil.which("promtool")
    assert program, "promtool is missing: `make setup-system` installs it (package prometheus)"
    text, _ = exporter_of(host()).render(CLASSIC)
    done = subprocess.run(
        [program, "check", "metrics"], input=text, capture_output=True, check=False, timeout=60
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")
