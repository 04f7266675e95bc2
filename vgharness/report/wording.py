"""Verdicts and their figures in words, the same in the terminal and on the page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from vgharness.records import OUTCOMES, Outcome, Reading, SeedValue, Verdict


def tally(judged: Iterable[Verdict | Reading]) -> list[tuple[Outcome, int]]:
    """How many came out how, leaving out what none did."""
    counts = Counter(each.outcome for each in judged)
    return [(outcome, counts[outcome]) for outcome in OUTCOMES if counts[outcome]]


def deciding(verdict: Verdict) -> Reading:
    """The first reading that came out as the whole claim did."""
    return next((r for r in verdict.readings if r.outcome == verdict.outcome), verdict.readings[0])


def number(value: float | None) -> str:
    """Three significant digits, whole numbers whole: ``52.9``, ``0.000123``, ``261,322``."""
    if value is None:
        return "not finite"
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:#.3g}"


def percent(share: float | None) -> str:
    """A share with two significant digits: ``0.24 %``, ``47 %``."""
    return "not finite" if share is None else f"{100 * share:.2g} %" if share < 1 else f"{100 * share:.0f} %"


def measured(reading: Reading) -> str:
    """The mean over the seeds with its unit: ``52.9 %``; a bound is marked so."""
    if not reading.values:
        return "–"
    bound = "≥ " if any(value.at_least for value in reading.values) else ""
    return f"{bound}{number(reading.mean)} {reading.unit}".rstrip()


def interval(reading: Reading) -> str:
    """``95 % in 51.8 to 54.0, 3 seeds``; without an interval the number of seeds alone."""
    count = len(reading.values)
    seeds = f"{count} seed" + ("" if count == 1 else "s")
    if reading.low is None or reading.high is None:
        return seeds
    if reading.method == "exact":
        return f"exact, {seeds}"
    return f"95 % in {number(reading.low)} to {number(reading.high)}, {seeds}"


def seed_value(value: SeedValue) -> str:
    """One seed's figure: ``42: 52.9``."""
    return f"{value.seed}: {'≥ ' if value.at_least else ''}{number(value.value)}"
