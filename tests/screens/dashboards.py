"""Draws the dashboards' panels into docs/img/dashboard-*.png, without Grafana.

`python -m tests.screens.dashboards [NAME…]`: the recording of an overflow is served by the exporter
at the speed at which it was made (a minute), a real Prometheus scrapes it, and answers the queries
of every panel; for the fleet recordings of several faults are, each as a host of its own. Places,
titles, units and legends are the dashboards' own; the drawing isn't Grafana's.
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
    from collections.abc import Mapping, Sequence

    from faults.replayed import Scraped

CHECKOUT: Final = Path(__file__).resolve().parents[2]
IMAGES: Final = CHECKOUT / "docs" / "img"
FAULTS: Final = CHECKOUT / "tests/data/faults"
RECORDING: Final = FAULTS / "accept-queue-overflow.tcptrace"
INSTANCE: Final = "web-1:9436"
HOSTS: Final = {
    INSTANCE: RECORDING,
    "web-2:9436": FAULTS / "accept-loop-slow.tcptrace",
    "edge-1:9436": FAULTS / "syn-flood.tcptrace",
    "app-1:9436": FAULTS / "close-wait-leak.tcptrace",
    "db-1:9436": FAULTS / "healthy.tcptrace",
}
FLEET: Final = "fleet"
PORT: Final = "8080"
"""What is chosen on the listener's dashboard."""
SCRAPE_S: Final = 1.0
FOOTNOTE: Final = (
    "The panels' data, drawn without Grafana: its own drawing differs. {} of a real kernel, served "
    "by tcptrace serve --replay, scraped and answered by Prometheus."
)


def main(names: Sequence[str]) -> int:
    boards = {path.stem.removeprefix("tcptrace-"): path for path in BOARDS}
    asked = set(names or boards)
    for hosts, drawn in (({INSTANCE: RECORDING}, asked - {FLEET}), (HOSTS, asked & {FLEET})):
        if drawn:
            _draw_all({name: boards[name] for name in sorted(drawn)}, hosts)
    return 0


def _draw_all(boards: Mapping[str, Path], hosts: Mapping[str, Path]) -> None:
    footnote = FOOTNOTE.format(
        f"A recording ({RECORDING.name})" if len(hosts) == 1 else f"{len(hosts)} recordings"
    )
    with (
        tempfile.TemporaryDirectory(prefix="tcptrace-dashboards-") as scratch,
        scraped(hosts, Path(scratch), 1, SCRAPE_S) as seen,
    ):
        for name, path in boards.items():
            image = IMAGES / f"dashboard-{name}.png"
            chosen = f"Host {INSTANCE}" if len(hosts) == 1 else f"{len(hosts)} hosts"
            empty = draw_board(read_board(path), seen, image, chosen, footnote)
            said = f"; no data: {', '.join(empty)}" if empty else ""
            print(f"screens: {image.relative_to(CHECKOUT)}{said}", flush=True)


def draw_board(
    board: dict[str, Any], seen: Scraped, image: Path, chosen: str, footnote: str
) -> list[str]:
    """Draws one dashboard; returns the panels that have nothing to show."""
    placed = list(panels(board))
    rows = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in placed)
    sheet = Sheet(rows)
    sheet.write(GAP + 4, HEADER / 2, board["title"], size=15, bold=True)
    variables = {variable["name"] for variable in board["templating"]["list"]}
    chosen += f", port {PORT}" if "port" in variables else ""
    sheet.write(WIDTH - GAP, HEADER / 2, chosen, size=9, colour=FAINT, to="right")
    span = Span(seen.from_s, seen.to_s)
    empty = [
        panel["title"] for panel in placed if not draw(sheet, panel, answers_to(panel, seen), span)
    ]
    sheet.write(GAP + 4, sheet.height - FOOTER / 2, footnote, size=8, colour=FAINT)
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
    sys.exit(main(sys.argv[1:]))
