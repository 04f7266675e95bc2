"""axe-core has nothing to say, and the keyboard is enough."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from opened_page import Opened
from pages import PAGES

pytestmark = pytest.mark.browser

MOST_STOPS = 150  # a page of 1,000 claims has as many and more
# Of pages that are like others but for their length axe looks at what stands unfolded when they are opened: all of a
# page of 1,000 claims takes it many minutes.
LONG = ("large", "full", "depths")
AXE = [(name, state) for name in PAGES for state in ("folded", "unfolded") if state == "folded" or name not in LONG]
# A page that is marked as interim loads itself again: that is what it is for, and no script is to do it.
ALLOWED = {"running": {"meta-refresh"}}


@pytest.mark.parametrize("width", [400, 1280])
@pytest.mark.parametrize(("name", "state"), AXE)
def test_axe_finds_nothing(opened: Callable[..., Opened], name: str, state: str, width: int) -> None:
    from axe_playwright_python.base import AXE_SCRIPT

    page = opened(name, width)
    page.page.evaluate(AXE_SCRIPT)
    if state == "unfolded":
        page.rule("openAll")
    found = []
    for scheme, rules in (("light", {}), ("dark", {"runOnly": ["color-contrast"]})):  # nothing else changes with it
        page.wear(scheme)
        result = page.page.evaluate("options => axe.run(options)", {"resultTypes": ["violations"], **rules})
        for violation in result["violations"]:
            if violation["id"] not in ALLOWED.get(name, ()):
                found += [f"{scheme}: {violation['id']}: {node['html'][:120]}" for node in violation["nodes"]]
    assert found == []


def tabbed(page: Opened) -> list[dict[str, Any]]:
    """What has the focus, one Tab after the other, until it leaves the page."""
    stops = []
    while len(stops) < MOST_STOPS:
        page.page.keyboard.press("Tab")
        stop = page.rule("focus")
        if stop is None:
            break
        stops.append(stop)
    return stops


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_tab_goes_through_the_page_in_its_order_and_is_seen(
    opened: Callable[..., Opened], name: str, scheme: str
) -> None:
    page = opened(name, scheme=scheme)
    stops = tabbed(page)
    assert stops, "nothing takes the focus"
    assert stops[0]["href"], f"the first stop is no skip link but {stops[0]}"
    assert stops[0]["href"].startswith("#"), f"the first stop is no skip link but {stops[0]}"
    assert stops[0]["text"].startswith("Skip")
    assert all(a["place"] < b["place"] for a, b in pairwise(stops))
    assert [stop for stop in stops if not stop["ring"]] == []
    assert [stop for stop in stops if not stop["seen"]] == []


@pytest.mark.parametrize("name", PAGES)
def test_the_skip_link_skips(opened: Callable[..., Opened], name: str) -> None:
    page = opened(name)
    page.page.keyboard.press("Tab")
    first = page.rule("focus")
    page.page.keyboard.press("Enter")
    page.page.keyboard.press("Tab")
    after = page.rule("focus")
    target = page.page.evaluate(
        "id => [...document.querySelectorAll('*')].indexOf(document.getElementById(id))", str(first["href"])[1:]
    )
    assert target > first["place"]
    assert after is None or after["place"] >= target  # a page with nothing to reach after it ends there


@pytest.mark.parametrize("name", PAGES)
def test_what_is_folded_unfolds_by_keyboard(opened: Callable[..., Opened], name: str) -> None:
    page = opened(name)
    summaries = page.page.locator("summary").filter(visible=True)
    for place in range(min(summaries.count(), 30)):
        summary = summaries.nth(place)
        is_open = "each => each.parentElement.open"
        before = summary.evaluate(is_open)
        summary.focus()
        for key, after in (("Enter", not before), ("Space", before)):
            page.page.keyboard.press(key)
            assert summary.evaluate(is_open) == after


@pytest.mark.parametrize("name", PAGES)
def test_choices_are_made_by_arrow_keys(opened: Callable[..., Opened], name: str) -> None:
    page = opened(name)
    choices = page.page.locator("input[type=radio]")
    if choices.count() < 2:
        return
    page.rule("openAll")
    every = page.rule("shown", ".group > li")
    choices.first.focus()
    shown = []
    for _ in range(choices.count()):
        page.page.keyboard.press("ArrowDown")
        shown.append(page.rule("shown", ".group > li"))
    assert shown[-1] == every  # round once
    assert sum(shown[:-1]) == every > 0  # each row is in one of the choices
