from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import sync_playwright

from browser.serving import FAULTS, serving
from browser.viewing import View

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

    from browser.serving import Serving


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium as the distribution has it; without one the tests fail."""
    path = shutil.which("chromium")
    assert path is not None, "there is no chromium; as root, run: tools/debian-packages"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def overflow() -> Iterator[Serving]:
    """An accept queue that overflows."""
    with serving(FAULTS / "accept-queue-overflow.tcptrace") as served:
        yield served


@pytest.fixture
def view(browser: Browser, overflow: Serving) -> Iterator[View]:
    """The page while the accept queue overflows, in a wide window."""
    with View.of(browser, overflow.url) as view:
        yield view
