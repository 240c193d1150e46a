"""Draws the dashboards' panels into docs/img/dashboard-*.png, without Grafana.

`python -m tests.screens.dashboards`: the recording of an overflow is served by the exporter at the
speed at which it was made (a minute), a real Prometheus scrapes it, and answers the queries of
every panel. Places, titles, units and legends are the dashboards' own; the drawing isn't Grafana's.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from faults.boards import BOARDS, panels, read_board, with_values
from faults.replayed import scraped

from .canvas import FAINT, FOOTER, GAP, HEADER, WIDTH, Sheet
from .panels import Answers, Span, draw

if TYPE_CHECKING:
    from faults.replayed import Scraped

CHECKOUT: Final = Path(__file__).resolve().parents[2]
IMAGES: Final = CHECKOUT / "docs" / "img"
RECORDING: Final = CHECKOUT / "tests/data/faults/accept-queue-overflow.tcptrace"
INSTANCE: Final = "web-1:9436"
PORT: Final = "8080"
"""What is chosen on the listener's dashboard."""
SCRAPE_S: Final = 1.0
FOOTNOTE: Final = (
    "The panels' data, drawn without Grafana: its own drawing differs. A recording of a real kernel"
    f" ({RECORDING.name}), served by tcptrace serve --replay, scraped and answered by Prometheus."
)


def main() -> int:
    with (
        tempfile.TemporaryDirectory(prefix="tcptrace-dashboards-") as scratch,
        scraped(RECORDING, Path(scratch), 1, SCRAPE_S, INSTANCE) as seen,
    ):
        for path in BOARDS:
            image = IMAGES / f"dashboard-{path.stem.removeprefix('tcptrace-')}.png"
            empty = draw_board(read_board(path), seen, image)
            said = f"; no data: {', '.join(empty)}" if empty else ""
            print(f"screens: {image.relative_to(CHECKOUT)}{said}", flush=True)
    return 0


def draw_board(board: dict[str, Any], seen: Scraped, image: Path) -> list[str]:
    """Draws one dashboard; returns the panels that have nothing to show."""
    placed = list(panels(board))
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in placed)
    sheet = Sheet(rows)
    sheet.write(GAP + 4, HEADER / 2, board["title"], size=15, bold=True)
    variables = {variable["name"] for variable in board["templating"]["list"]}
    chosen = f"Host {INSTANCE}{f', port {PORT}' if 'port' in variables else ''}"
    sheet.write(WIDTH - GAP, HEADER / 2, chosen, size=9, colour=FAINT, to="right")
    span = Span(seen.from_s, seen.to_s)
    empty = [
        panel["title"] for panel in placed if not draw(sheet, panel, answers_to(panel, seen), span)
    ]
    sheet.write(GAP + 4, sheet.height - FOOTER / 2, FOOTNOTE, size=8, colour=FAINT)
    image.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(image)
    return empty


def answers_to(panel: dict[str, Any], seen: Scraped) -> Answers:
    """What Prometheus answers to a panel's queries."""
    answers: Answers = {}
    for target in panel.get("targets", ()):
        expr = with_values(target["expr"], SCRAPE_S, PORT)
        ask = seen.at_the_end if target["instant"] else seen.over_time
        answers[target["refId"]] = ask(expr)
    return answers


if __name__ == "__main__":
    sys.exit(main())
