from __future__ import annotations

import json
from pathlib import Path

import pytest
from bench.answer import answered
from bench.document import FIGURES, page
from bench.excerpt import BEGIN, replaced

from tcptrace.sinks.metrics import document as metrics
from tcptrace.wire import cheader, document

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("bpf/wire.h", cheader.render()),
        ("docs/events.md", document.render()),
        ("docs/metrics.md", metrics.render()),
    ],
)
def test_what_is_generated_is_up_to_date(path: str, text: str) -> None:
    """`python -m tcptrace.wire.cheader > bpf/wire.h`, and document > docs/events.md, mend it."""
    assert (ROOT / path).read_text(encoding="utf-8") == text


def test_pages_tell_the_figures_that_are_committed() -> None:
    """`python -m tests.bench.document` mends it."""
    figures = json.loads(FIGURES.read_text(encoding="utf-8"))
    assert (ROOT / "docs/performance.md").read_text(encoding="utf-8") == page(figures)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert replaced(readme, figures) == readme
    faq = (ROOT / "docs/faq.md").read_text(encoding="utf-8")
    assert answered(faq, figures) == faq
    assert BEGIN in readme
    assert BEGIN in faq
