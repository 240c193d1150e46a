"""The page as somebody sees it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Locator, Page

DEADLINE_MS = 60_000
WIDE, NARROW = 1600, 360
expect.set_options(timeout=DEADLINE_MS)
_WATCH_POLICY = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) =>
  window.violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}`));
"""


class View:
    """A browser's window.

    Attributes:
        page: what it shows.
        complaints: what the browser said on its console, and errors of scripts.
    """

    def __init__(self, page: Page) -> None:
        self.page = page
        self.complaints: list[str] = []
        page.set_default_timeout(DEADLINE_MS)
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.add_init_script(_WATCH_POLICY)

    @classmethod
    @contextmanager
    def of(
        cls,
        browser: Browser,
        url: str,
        width: int = WIDE,
        scheme: Literal["light", "dark"] = "light",
        *,
        height: int = 900,
        **options: Any,
    ) -> Iterator[View]:
        """Opens a window, waits for the first figures, and closes it at the end."""
        size: Any = {"width": width, "height": height}
        context = browser.new_context(viewport=size, color_scheme=scheme, **options)
        try:
            view = cls(context.new_page())
            view.page.goto(url)
            view.page.locator("#diagram svg").wait_for()
            yield view
        finally:
            context.close()

    def locate(self, selector: str) -> Locator:
        return self.page.locator(selector)

    def text(self, selector: str) -> str:
        return self.page.locator(selector).inner_text()

    @property
    def violations(self) -> list[str]:
        """Of the content security policy."""
        found: list[str] = self.page.evaluate("window.violations")
        return found

    def asked_again(self) -> None:
        """Waits until the page has shown two more answers."""
        for _ in range(2):
            with self.page.expect_response("**/now.json"):
                pass

    def flaws(self) -> list[str]:
        """What axe-core finds, by WCAG 2.2 A and AA and its best practices."""
        found = Axe().run(self.page)
        return [
            f"{one['id']}: {node['html'][:120]} {node.get('failureSummary', '')[:200]}"
            for one in found.response["violations"]
            for node in one["nodes"]
        ]
