"""Verdicts as a table in the terminal."""

from __future__ import annotations

from collections import Counter

from rich.console import Console
from rich.table import Table

from vgharness.records import Outcome, Reading, Run, Verdict
from vgharness.report import measured

_STYLES: dict[Outcome, str] = {
    "reproduced": "green",
    "not reproduced": "bold red",
    "inconclusive": "yellow",
    "not run": "dim",
    "error": "bold magenta",
}


def print_verdicts(console: Console, run: Run) -> None:
    """One row per claim and architecture, with the reading that decided it."""
    several = len({verdict.architecture for verdict in run.verdicts}) > 1
    table = Table(title="What the README says, and what was measured", title_justify="left", show_lines=False)
    for column, style in (("claim", ""), ("verdict", ""), ("expected", ""), ("measured", "")):
        table.add_column(column, style=style, overflow="fold")
    for verdict in run.verdicts:
        name = f"{verdict.claim} ({verdict.architecture})" if several else verdict.claim
        reading = deciding(verdict)
        figure = verdict.reason if verdict.outcome in ("not run", "error") else f"{reading.label}: {measured(reading)}"
        table.add_row(name, f"[{_STYLES[verdict.outcome]}]{verdict.outcome}", reading.expected, figure)
    console.print(table)
    counts = Counter(verdict.outcome for verdict in run.verdicts)
    console.print(", ".join(f"{counts[outcome]} {outcome}" for outcome in _STYLES if counts[outcome]))


def deciding(verdict: Verdict) -> Reading:
    """The first reading that came out as the whole did."""
    return next((r for r in verdict.readings if r.outcome == verdict.outcome), verdict.readings[0])
