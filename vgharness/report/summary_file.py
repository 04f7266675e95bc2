"""A run as Markdown, for a README or a pull request: how its claims came out, and its figures, which lie beside it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from vgharness.formatting import count, listing, moment
from vgharness.records import SYMBOLS, Run, Verdict, tally_line
from vgharness.report.figures.pictures import Picture
from vgharness.report.tables import as_code, markdown_table, without_formatting
from vgharness.report.verdict_table import (
    deciding,
    expected,
    interval,
    leading,
    measured,
    named,
    standing_line,
)


def study_summary(run: Run, pictures: Iterable[Picture]) -> str:
    """The content of ``summary.md``. ``pictures``: the run's figures.

    Whatever is from outside (the document's title, claims, units, the command) is code: nothing in it is markup.
    """
    return "\n".join((*_heading(run), *_claims(run), *_figures(pictures)))


def _heading(run: Run) -> Iterator[str]:
    title = as_code(run.document.title) if run.document else "no document"
    yield f"## {title}, held against measured gradients"
    yield ""
    lines = [line for line in (tally_line(run.verdicts), standing_line(run.verdicts)) if line]
    yield f"**{'; '.join(lines) or 'No claims were judged.'}**"
    yield ""
    seeds = len({cell.seed for cell in run.study.cells})
    facts = [
        count(seeds, "seed"),
        f"images: {as_code(run.data.description)}",
        f"measured {as_code(moment(run.created))} UTC on {as_code(run.machine.device)}",
        *([f"commit {as_code(run.commit)}"] if run.commit else []),
    ]
    yield f"{listing(facts)}: {as_code(run.command)}"
    if run.status != "finished":
        yield f"\nThe run is {run.status}: not all networks were trained to their end."
    yield ""


def _claims(run: Run) -> Iterator[str]:
    if run.verdicts:
        headings = ("claim", "verdict", "value", "interval", "expected")
        yield from markdown_table(headings, [_row(verdict) for verdict in run.verdicts], texts=2)
        yield ""


def _row(verdict: Verdict) -> tuple[str, ...]:
    """Of the reading that stands for the verdict; how many more decide stands beside its value."""
    reading = leading(verdict)
    more = len(deciding(verdict)) - 1 if reading.values else 0
    value = as_code(measured(reading)) if reading.values else "–"
    return (
        as_code(named(verdict)),
        f"{SYMBOLS[verdict.outcome]} {verdict.outcome}",
        f"{value} and {count(more, 'reading')} more" if more else value,
        interval(reading) if reading.values else "–",
        as_code(expected(reading)),
    )


def _figures(pictures: Iterable[Picture]) -> Iterator[str]:
    for picture in pictures:
        yield f"![{without_formatting(picture.title)}]({picture.name}.png)"
        yield ""
