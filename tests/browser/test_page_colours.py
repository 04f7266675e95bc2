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
from PIL import Image

from vgharness.theory.activations import FUNCTIONS

pytestmark = pytest.mark.browser

# Of pages that are made of the same parts one.
LOOKS = ("training", "committed", "quick", "depths", "earlier", "comparison", "session", "remedies", "history")
SCHEMES = ("light", "dark")
CHUNK = 4_000  # pixels of height photographed at a time
TALLEST = 12_000  # what lies below looks as what lies above it
FAINTEST = 8.0  # of 255, by which a place changes when its letter is left out
WITHOUT_LETTERS = """
* { -webkit-text-fill-color: transparent !important; }
svg text, svg tspan { fill: transparent !important; }
"""
LARGE, LARGE_BOLD = 24.0, 18.66  # pixels, from which on WCAG asks 3 in place of 4.5
# A line or a curve may pass behind a few letters of a label; what most of them stand on must let them be read.
MOST_OF_IT = 0.9
# In CIEDE2000 about 2 is seen side by side and 10 at a glance: a colour is looked up across a page, not side by side.
AT_A_GLANCE = 10.0
# WCAG's least contrast of what is drawn.
DRAWN = 3.0
# "not run" decides nothing either, and shares the grey of "inconclusive"; its tile is dotted.
OUTCOMES = ("reproduced", "mixed", "not-reproduced", "inconclusive", "error")
# The others are slate, told apart by dashes.
OWN_COLOURS = [name for name, function in FUNCTIONS.items() if not function.dash]


def photographed(page: Opened) -> npt.NDArray[np.float64]:
    """The page as it is seen, [height, width, 3]."""
    width, height = page.page.evaluate("innerWidth"), min(page.rule("height"), TALLEST)
    parts = []
    for top in range(0, height, CHUNK):
        clip = {"x": 0, "y": top, "width": width, "height": min(CHUNK, height - top)}
        shot = page.page.screenshot(full_page=True, clip=clip)
        parts.append(np.asarray(Image.open(io.BytesIO(shot)).convert("RGB")))
    return np.concatenate(parts).astype(np.float64)


def beside_letters(whole: npt.NDArray[np.float64], bare: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """What letters stand on and touch, [places, 3]: of a piece of the page, and of the same without its letters."""
    letters = np.abs(whole - bare).max(axis=2) > FAINTEST
    around = np.pad(letters, 1)
    touched = np.zeros_like(letters)
    for down, across in ((0, 1), (2, 1), (1, 0), (1, 2), (1, 1)):
        touched |= around[down : down + letters.shape[0], across : across + letters.shape[1]]
    return np.asarray(bare[touched] if touched.any() else bare.reshape(-1, 3))


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("width", [400, 1280])
@pytest.mark.parametrize("name", LOOKS)
def test_every_text_can_be_read(opened: Callable[..., Opened], name: str, width: int, scheme: str) -> None:
    page = opened(name, width, scheme)
    page.rule("openAll")
    inks = page.rule("inks")
    assert inks
    whole = photographed(page)
    page.page.add_style_tag(content=WITHOUT_LETTERS)
    bare = photographed(page)
    faint = []
    for ink in inks:
        if ink["bottom"] > len(whole):
            continue
        top, bottom, left, right = (max(round(ink[side]), 0) for side in ("top", "bottom", "left", "right"))
        box = np.s_[top:bottom, left:right]
        behind = beside_letters(whole[box], bare[box])
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
    page = opened("quick", scheme=scheme)  # has networks of every activation
    classes = OUTCOMES if what == "verdicts" else [f"c-{name} coloured" for name in OWN_COLOURS]
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
