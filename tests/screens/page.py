"""Photographs the page of `tcptrace serve` into docs/img/page-*.png, in a real Chromium.

`python -m tests.screens.page`: the recording of an overflow is served while it is replayed, four
times as fast as it was made; the pictures are of the moment when most of it has passed.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Final

CHECKOUT: Final = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(CHECKOUT / "tests"))

from browser.serving import FAULTS, serving  # noqa: E402 - it lies in tests/
from browser.viewing import View  # noqa: E402
from playwright.sync_api import sync_playwright  # noqa: E402

RECORDING: Final = FAULTS / "accept-queue-overflow.tcptrace"
SPEED: Final = "4"
STEPS: Final = 9
"""How many bars the first queue's chart has at least when a picture is taken."""
PICTURES: Final[dict[str, dict[str, Any]]] = {
    "page-light": {"scheme": "light", "width": 1440, "height": 1080},
    "page-dark": {"scheme": "dark", "width": 1440, "height": 1080},
    "page-narrow": {"scheme": "light", "width": 360, "height": 1080},
}


def main() -> int:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium")
        for name, options in PICTURES.items():
            with (
                serving(RECORDING, "--speed", SPEED) as served,
                View.of(browser, served.url, **options) as view,
            ):
                chart = view.locate(".card .chart").first
                chart.locator(".over").nth(STEPS - 1).wait_for(state="attached")
                view.locate(".verdict").wait_for()
                life = view.locate("#slow .life").first
                life.locator("summary").click()
                life.locator(".story table").wait_for()
                view.page.evaluate("scrollTo(0, 0)")
                image = CHECKOUT / "docs/img" / f"{name}.png"
                view.page.screenshot(path=image)
                print(f"screens: {image.relative_to(CHECKOUT)}", flush=True)
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
