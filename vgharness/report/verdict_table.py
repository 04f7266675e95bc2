"""Verdicts and their readings in words, the same in the terminal and on the page; and the terminal's table of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from rich import box
from rich.table import Table
from rich.text import Text

from vgharness.formatting import count, escaped, number, span
from vgharness.records import OUTCOMES, Outcome, Reading, Run, SeedValue, Verdict

_STYLES: Final[dict[Outcome, str]] = {
    "reproduced": "green",
    "not reproduced": "bold red",
    "inconclusive": "yellow",
    "not run": "dim",
    "error": "bold magenta",
}


def tally(judged: Iterable[Verdict | Reading]) -> list[tuple[Outcome, int]]:
    """Counts the outcomes, in the order of ``OUTCOMES``, leaving out those that there are none of."""
    counts = Counter(each.outcome for each in judged)
    return [(outcome, counts[outcome]) for outcome in OUTCOMES if counts[outcome]]


def deciding(verdict: Verdict) -> Reading:
    """The first reading that came out as the whole claim did."""
    return next((r for r in verdict.readings if r.outcome == verdict.outcome), verdict.readings[0])


def measured(reading: Reading) -> str:
    """The value over the seeds with its unit, ``52.9 %``; ``≥`` before a lower bound."""
    if not reading.values:
        return "–"
    bound = "≥ " if any(value.at_least for value in reading.values) else ""
    return f"{bound}{number(reading.value, missing='not finite')} {reading.unit}".rstrip()


def interval(reading: Reading) -> str:
    """``95 % in 51.8 to 54.0, 3 seeds``; without an interval the number of seeds alone."""
    seeds = count(len(reading.values), "seed")
    if reading.low is None or reading.high is None:
        return seeds
    if reading.method == "exact":
        return f"exact, {seeds}"
    return f"95 % in {span(reading.low, reading.high)}, {seeds}"


def seed_value(value: SeedValue) -> str:
    """One seed's value: ``42: 52.9``."""
    return f"{value.seed}: {'≥ ' if value.at_least else ''}{number(value.value, missing='not finite')}"


def verdict_tables(run: Run) -> Iterator[Table]:
    """For each architecture a table of its claims, each with the reading that decided it."""
    for architecture in dict.fromkeys(verdict.architecture for verdict in run.verdicts):
        table = Table(box=box.SIMPLE_HEAD, title=f"architecture {architecture}", title_justify="left", pad_edge=False)
        table.add_column("claim", no_wrap=True)
        table.add_column("verdict", no_wrap=True)
        table.add_column("expected")
        table.add_column("measured")
        for verdict in run.verdicts:
            if verdict.architecture == architecture:
                reading = deciding(verdict)
                found = f"{measured(reading)}; {interval(reading)}" if reading.values else verdict.reason
                table.add_row(
                    Text(escaped(verdict.claim)),
                    Text(verdict.outcome, _STYLES[verdict.outcome]),
                    Text(escaped(f"{reading.expected} {reading.unit}")),
                    Text(escaped(found)),
                )
        yield table


def tally_line(run: Run) -> str:
    """``3 reproduced, 1 not run``."""
    return ", ".join(f"{many} {outcome}" for outcome, many in tally(run.verdicts))
