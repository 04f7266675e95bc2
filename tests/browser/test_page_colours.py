"""Contrast of every text by own arithmetic, and colours that stay apart for readers who do not see green."""

from __future__ import annotations

import io
from collections.abc import Callable
from itertools import combinations

import numpy as np
import numpy.typing as npt
import pytest
from colours import Colours, contrast, difference, lab, linear, without_green
from opened_page import Opened
from pages import PAGES
from PIL import Image

from vgharness.theory.activations import FUNCTIONS

pytestmark = pytest.mark.browser

SCHEMES = ("light", "dark")
CHUNK = 4_000  # pixels of height photographed at a time
TALLEST = 24_000  # what lies below looks as what lies above it
LARGE, LARGE_BOLD = 24.0, 18.66  # pixels, from which on WCAG asks 3 in place of 4.5
# A line or a curve may pass behind a few letters of a label; what most of it stands on must let it be read.
MOST_OF_IT = 0.9
# In CIEDE2000 about 2 is seen side by side and 10 at a glance: a colour is looked up across a page, not side by side.
AT_A_GLANCE = 10.0
# WCAG's least contrast of what is drawn.
DRAWN = 3.0
# "not run" decides nothing either, and shares the grey of "inconclusive"; its tile is dotted.
OUTCOMES = ("reproduced", "mixed", "not-reproduced", "inconclusive", "error")


def grounds(page: Opened) -> npt.NDArray[np.uint8]:
    """The page without its letters, [height, width, 3]."""
    page.page.add_style_tag(
        content="* { -webkit-text-fill-color: transparent !important; caret-color: transparent !important; }"
        "svg text, svg tspan { fill: transparent !important; }"
    )
    width, height = page.page.evaluate("innerWidth"), min(page.rule("height"), TALLEST)
    parts = []
    for top in range(0, height, CHUNK):
        clip = {"x": 0, "y": top, "width": width, "height": min(CHUNK, height - top)}
        shot = page.page.screenshot(full_page=True, clip=clip)
        parts.append(np.asarray(Image.open(io.BytesIO(shot)).convert("RGB")))
    return np.concatenate(parts)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", [400, 1280])
@pytest.mark.parametrize("name", PAGES)
def test_every_text_can_be_read(opened: Callable[..., Opened], name: str, width: int, scheme: str) -> None:
    page = opened(name, width, scheme)
    if name != "large":
        page.rule("openAll")
    inks = page.rule("inks")
    assert inks
    ground = grounds(page)
    faint = []
    for ink in inks:
        top, bottom, left, right = (max(round(ink[side]), 0) for side in ("top", "bottom", "left", "right"))
        behind = ground[top:bottom, left:right].reshape(-1, 3).astype(np.float64)
        if not len(behind):
            continue
        seen = ink["opacity"] * np.array(ink["colour"]) + (1 - ink["opacity"]) * behind
        least = 3.0 if ink["size"] >= LARGE or (ink["bold"] and ink["size"] >= LARGE_BOLD) else 4.5
        ratio = float(np.quantile(contrast(seen, behind), 1 - MOST_OF_IT))
        if ratio < least:
            faint.append(f"{ratio:.2f} of {least}: “{ink['text']}” at {left},{top}")
    assert faint == []


def apart(colours: dict[str, list[int]], seen: Callable[[object], Colours]) -> dict[str, float]:
    """The pairs that are not told apart at a glance, with their difference."""
    places = {name: lab(seen(colour)) for name, colour in colours.items()}
    differences = {f"{a} and {b}": difference(places[a], places[b]) for a, b in combinations(places, 2)}
    return {pair: round(each, 1) for pair, each in differences.items() if each < AT_A_GLANCE}


@pytest.mark.parametrize("sight", [linear, without_green], ids=["all colours", "without green"])
@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("what", ["verdicts", "activations"])
def test_colours_stay_apart(
    opened: Callable[..., Opened], what: str, scheme: str, sight: Callable[[object], Colours]
) -> None:
    page = opened("committed", scheme=scheme)
    classes = OUTCOMES if what == "verdicts" else [f"c-{name} coloured" for name in FUNCTIONS]
    colours = page.rule("colours", classes)
    assert len({tuple(colour) for colour in colours.values()}) == len(classes)  # they are styled at all
    assert apart(colours, sight) == {}
    paper = page.rule("paper")
    assert {name: colour for name, colour in colours.items() if contrast(colour, paper) < DRAWN} == {}


def test_the_arithmetic_is_that_of_its_sources() -> None:
    """Pairs of Sharma, Wu and Dalal's table 1; black on white; grey is grey without green too."""
    pairs = [
        ((50, 2.6772, -79.7751), (50, 0, -82.7485), 2.0425),
        ((50, 2.49, -0.001), (50, -2.49, 0.0009), 7.1792),
        ((50, 2.49, -0.001), (50, -2.49, 0.0011), 7.2195),
        ((50, 2.5, 0), (73, 25, -18), 27.1492),
        ((60.2574, -34.0099, 36.2677), (60.4626, -34.1751, 39.4387), 1.2644),
        ((2.0776, 0.0795, -1.1350), (0.9033, -0.0636, -0.5514), 0.9082),
    ]
    for one, other, expected in pairs:
        assert difference(np.array(one), np.array(other)) == pytest.approx(expected, abs=1e-4)
    assert float(contrast([0, 0, 0], [255, 255, 255])) == pytest.approx(21)
    assert without_green([119, 119, 119]) == pytest.approx(linear([119, 119, 119]), abs=1e-4)
    red, green = lab(without_green([200, 60, 60])), lab(without_green([95, 100, 50]))
    assert difference(red, green) < difference(lab(linear([200, 60, 60])), lab(linear([95, 100, 50]))) / 2
