"""Every page at the widths of a phone, a tablet, a laptop and a large screen, light and dark."""

from collections.abc import Callable

import pytest
from opened_page import Opened
from pages import HOSTILE, PAGES

pytestmark = pytest.mark.browser

WIDTHS = (400, 800, 1280, 1920)
SCHEMES = ("light", "dark")
SOUND = {"wider": 0, "cut": [], "overlapping": []}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", PAGES)
def test_nothing_is_cut_and_nothing_lies_on_something_else(
    opened: Callable[..., Opened], name: str, width: int
) -> None:
    page = opened(name, width)
    found = {}
    for state in ("folded", "unfolded"):
        if state == "unfolded":
            page.rule("openAll")
        for scheme in SCHEMES:
            page.wear(scheme)
            page.picture(f"{scheme}-{state}")
            found[state, scheme] = page.rule("layout")
    assert {where: faults for where, faults in found.items() if faults != SOUND} == {}
    assert page.said == []
    assert [each for each in page.asked if not each.startswith("data:")] == []


@pytest.mark.parametrize("name", ["hostile", "hostile-session", "hostile-training"])
def test_what_comes_from_outside_is_text_and_turns_nothing_round(opened: Callable[..., Opened], name: str) -> None:
    page = opened(name)
    page.rule("openAll")
    assert page.page.title() != "pwned"
    assert page.page.locator("script, img[onerror], svg[onload]").count() == 0
    assert page.rule("reversed", list(HOSTILE)) == []
    text = page.page.locator("body").text_content() or ""
    assert text.count("<script>") >= 10
    assert "49" not in text.replace(" ", "").split("{{7*7}}")[1][:2]
