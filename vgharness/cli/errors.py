"""What the faces print alike: verdicts as a table, bad input as one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vgharness.errors import UsageError
from vgharness.records import PRECISIONS, Outcome, Precision, Run
from vgharness.report.wording import deciding, interval, measured, tally

_STYLES: dict[Outcome, str] = {
    "reproduced": "green",
    "not reproduced": "bold red",
    "inconclusive": "yellow",
    "not run": "dim",
    "error": "bold magenta",
}


USAGE = 2


@contextmanager
def usage_errors(program: str) -> Iterator[None]:
    """Bad input ends the program with its one line on stderr and exit status 2."""
    try:
        yield
    except UsageError as error:
        typer.echo(f"{program}: {error}", err=True)
        raise typer.Exit(USAGE) from None


def named_precision(name: str) -> Precision:
    """``name`` as one of the known ones. Raises :class:`~vgharness.errors.UsageError` where it is none."""
    for known in PRECISIONS:
        if name == known:
            return known
    raise UsageError(f"--precision {name}: use {', '.join(PRECISIONS)}")


def print_verdicts(console: Console, run: Run) -> None:
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
                table.add_row(
                    verdict.claim,
                    Text(verdict.outcome, _STYLES[verdict.outcome]),
                    f"{reading.expected} {reading.unit}",
                    Text(f"{measured(reading)}; {interval(reading)}" if reading.values else verdict.reason),
                )
        console.print(table)
    console.print(", ".join(f"{count} {outcome}" for outcome, count in tally(run.verdicts)))
