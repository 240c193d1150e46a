"""What the page shows, and how it is used."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from browser.serving import FAULTS, serving
from browser.viewing import NARROW, WIDE, View
from tcptrace.lifecycle.transitions import NEXT
from tcptrace.tcp import State

if TYPE_CHECKING:
    from playwright.sync_api import Browser

    from browser.serving import Serving


def test_the_cause_is_the_first_thing_to_read(view: View) -> None:
    verdict = view.locate(".verdict").first
    expect(verdict.locator("h3")).to_contain_text("8080 (web, pid 194): accept queue")
    expect(verdict.locator(".advice")).to_contain_text("Raise the listen backlog")
    box = verdict.bounding_box()
    assert box is not None
    assert box["y"] + box["height"] < 500, "without scrolling"
    expect(view.page).to_have_title(re.compile(r"^\(1\) "))


def test_a_listener_with_both_queues(view: View) -> None:
    card = view.locate(".card").first
    expect(card.locator("h3")).to_have_text("0.0.0.0:8080@fault-server")
    text = card.inner_text()
    assert "web[194]" in text
    assert "accept queue 9 of 8" in text
    assert "SYN dropped: accept queue full" in text
    charts = card.get_by_role("img")
    assert charts.count() == 2
    expect(charts.first).to_have_attribute(
        "aria-label", "accept queue: 9 now, limit 8, longest in 15 minutes 9"
    )
    assert charts.first.locator(".over").count() > 8
    assert charts.first.locator(".drop").count() > 8


def test_drops_tell_whose_they_were(view: View) -> None:
    row = view.locate("#drops tbody tr").first
    text = row.inner_text()
    assert "accept queue full" in text
    assert "0.0.0.0:8080 · web[194]" in text
    assert "10.9.0.2:" in text
    assert "9 of 8" in text


def test_a_slow_handshake_unfolds_to_its_story(view: View) -> None:
    life = view.locate("#slow .life").first
    expect(life.locator(".what")).to_contain_text("handshake 1.3")
    expect(life.locator(".story")).to_be_hidden()
    life.locator("summary").click()
    story = life.locator(".story")
    expect(story).to_contain_text("SYN dropped: accept queue full 9/8")
    expect(story).to_contain_text("ESTABLISHED")
    expect(story).to_contain_text("accepted by web[194]")
    view.asked_again()
    expect(story).to_be_visible()


def test_a_failed_handshake_unfolds_too(view: View) -> None:
    life = view.locate(
        "#failed .life",
    ).first
    expect(life.locator(".what")).to_have_text("refused")
    life.locator("summary").click()
    expect(life.locator(".story")).to_contain_text("SYN_SENT")


def test_long_lists_are_cut_until_all_is_wanted(view: View) -> None:
    rows = view.locate("#drops tbody tr")
    expect(rows).to_have_count(12)
    view.page.get_by_role("button", name="Show all 50").last.click()
    expect(rows).to_have_count(50)
    view.page.get_by_role("button", name="Show fewer").click()
    expect(rows).to_have_count(12)


def test_every_state_and_every_transition_is_drawn(view: View) -> None:
    names = set(view.locate("#diagram .name").all_text_contents())
    assert names == {state.name for state in State}
    steps = sum(len(following) for following in NEXT.values()) + 2
    short_cuts = sum(State.CLOSE in following for following in NEXT.values()) - 2
    assert view.locate("#diagram .edge").count() == steps - short_cuts
    expect(view.locate("#transitions tbody tr")).to_have_count(steps)
    picture = view.locate("#diagram svg")
    assert "ESTABLISHED 11" in (picture.get_attribute("aria-label") or "")
    assert "TIME_WAIT 120" in (picture.get_attribute("aria-label") or "")


def test_no_line_of_the_diagram_leads_through_a_state(view: View) -> None:
    crossed = view.page.evaluate(
        """() => {
          const boxes = [...document.querySelectorAll("#diagram rect")].map((one) => one.getBBox());
          const inside = (x, y) => boxes.filter((box) => x > box.x + 1 && x < box.x + box.width - 1
            && y > box.y + 1 && y < box.y + box.height - 1).length;
          return [...document.querySelectorAll("#diagram polyline")].filter((line) => {
            const length = line.getTotalLength();
            for (let at = 1; at < length - 1; at++) {
              const point = line.getPointAtLength(at);
              if (inside(point.x, point.y)) return true;
            }
            return false;
          }).map((line) => line.getAttribute("points"));
        }"""
    )
    assert crossed == []


def test_it_is_used_by_keyboard_alone(view: View) -> None:
    keyboard = view.page.keyboard
    focused = view.locate(":focus")
    keyboard.press("Tab")
    expect(focused).to_have_text("Skip to what is wrong")
    keyboard.press("Enter")
    expect(focused).to_have_attribute("id", "verdicts")
    for _ in range(40):
        keyboard.press("Tab")
        if focused.evaluate("node => node.tagName") == "SUMMARY":
            break
    expect(focused).to_contain_text("handshake")
    outline = focused.evaluate("node => getComputedStyle(node).outlineStyle")
    assert outline == "solid", "one sees where one is"
    keyboard.press("Enter")
    expect(view.locate("#slow .life .story").first).to_contain_text("ESTABLISHED")
    view.asked_again()
    expect(focused).to_contain_text("handshake")
    keyboard.press("Tab")
    expect(focused).to_have_attribute("aria-label", re.compile(r"^Timeline of 10\.9\.0\.1:8080 ← "))


def test_it_can_be_paused(view: View) -> None:
    button = view.page.get_by_role("button", name="Pause")
    expect(button).to_have_attribute("aria-pressed", "false")
    button.press("Space")
    expect(button).to_have_attribute("aria-pressed", "true")
    expect(view.locate("#state")).to_have_text("Paused")


def test_a_recording_that_is_over_says_so(view: View) -> None:
    expect(view.locate("#state")).to_have_text("The recording is over")
    expect(view.locate("#when")).to_contain_text("as of ")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_axe_finds_nothing(browser: Browser, overflow: Serving, scheme: str, width: int) -> None:
    with View.of(browser, overflow.url, width, scheme) as view:  # type: ignore[arg-type]
        view.locate("#slow summary").first.click()
        view.locate("#slow .story table").first.wait_for()
        view.locate(".states summary").click()
        assert view.flaws() == []
        assert view.page.evaluate("document.documentElement.scrollWidth") == width
        colour = view.page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
        assert (colour == "rgb(255, 255, 255)") == (scheme == "light")


def test_nothing_moves_for_who_wants_no_motion(browser: Browser, overflow: Serving) -> None:
    with View.of(browser, overflow.url, reduced_motion="reduce") as view:
        bar = view.locate(".over").first
        assert bar.evaluate("node => getComputedStyle(node).transitionDuration") == "0s"


def test_the_policy_forbids_nothing_that_the_page_does(view: View) -> None:
    view.locate("#slow summary").first.click()
    view.locate("#slow .story table").first.wait_for()
    view.asked_again()
    assert view.violations == []
    assert view.complaints == []


def test_the_policy_forbids_all_else(view: View) -> None:
    """Whatever got into the page as HTML after all: it would not run, nor load anything."""
    view.page.evaluate(
        """async () => {
          const tries = [
            () => { document.querySelector("#host").innerHTML = "<p>"; },
            () => {
              const style = document.createElement("style");
              style.textContent = "p { color: red }";
              document.body.append(style);
            },
            () => {
              const image = document.createElement("img");
              image.src = "http://127.0.0.1:1/x.png";
              document.body.append(image);
            },
            () => {
              const frame = document.createElement("iframe");
              frame.src = "http://127.0.0.1:1/";
              document.body.append(frame);
            },
            () => fetch("http://127.0.0.1:1/"),
          ];
          for (const attempt of tries) try { await attempt(); } catch {}
        }"""
    )
    told = {violation.split()[0] for violation in view.violations}
    assert told == {
        "require-trusted-types-for",
        "style-src-elem",
        "img-src",
        "frame-src",
        "connect-src",
    }


def test_it_says_when_the_server_is_gone(browser: Browser) -> None:
    with serving(FAULTS / "healthy.tcptrace") as served, View.of(browser, served.url) as view:
        served.kill()
        expect(view.locate("#state")).to_have_text("No answer")
        expect(view.locate("#notes")).to_contain_text("What is below is as of")
        assert view.flaws() == []


def test_it_says_that_events_were_lost(browser: Browser) -> None:
    with serving(FAULTS / "events-lost.tcptrace") as served, View.of(browser, served.url) as view:
        expect(view.locate("#notes .note").first).to_contain_text("lost since the trace began")
