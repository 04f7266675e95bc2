"""Two runs → one self-contained HTML page: what changed, then each claim before and after, then what else differs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from markupsafe import Markup

from vgharness.formatting import moment
from vgharness.records import SYMBOLS, Reading, Run, tally_line
from vgharness.report.claim_rows import FILTERS, anchor_of, document_link
from vgharness.report.past.section import short_commit
from vgharness.report.svg.strips import can_be_drawn, strip, strip_axes
from vgharness.report.templates import environment
from vgharness.report.verdict_table import interval, marked, measured
from vgharness.report.versus.pairs import ClaimPair, ReadingPair, Versus, headline
from vgharness.report.versus.settings import settings_of
from vgharness.system.files import write_text
from vgharness.theory import FUNCTIONS

PAGE: Final = "compare.html"
_MOST_STRIPS: Final = 6  # of a claim; the table below them has all its readings
_MANY: Final = 40  # claims: then those that did not change have no strips


class PairRow(NamedTuple):
    """A reading, as the page shows it: what stands above its strip, its strips before and after
    on one axis where it has any, and its numbers."""

    label: str
    drawn: Markup | None
    before: str
    after: str
    difference: str
    is_clear: bool


class ClaimRow(NamedTuple):
    """A claim, as the page shows it. ``parts``: of its sentence, each with whether it is judged."""

    claim: ClaimPair
    anchor: str
    parts: list[tuple[str, bool]]
    rows: tuple[PairRow, ...]

    @property
    def paired(self) -> list[tuple[PairRow, ReadingPair]]:
        """Each row with what it shows."""
        return list(zip(self.rows, self.claim.readings, strict=True))


class Side(NamedTuple):
    """One of the two runs in words."""

    label: str
    when: str
    commit: str
    counts: str


def write_comparison(found: Versus, before: str, after: str, page: Path) -> Path:
    """Writes ``page`` and returns its path. ``before``, ``after``: what the runs are called."""
    write_text(page, render_comparison(found, before, after))
    return page


def render_comparison(found: Versus, before: str, after: str) -> str:
    """The page as a string. Whatever the runs hold is escaped."""
    pages = environment()
    pages.filters |= FILTERS
    document = found.after.document
    settings = settings_of(found.before, found.after)
    with_strips = len(found.claims) <= _MANY
    return pages.get_template("compare.html.j2").render(
        headline=headline(found),
        document=document,
        document_link=document_link(document),
        symbols=SYMBOLS,
        functions=FUNCTIONS,
        sides=(_side(found.before, before), _side(found.after, after)),
        changed=_claim_rows(found.changed, with_strips=True),
        unchanged=_claim_rows(found.unchanged, with_strips=with_strips),
        only=[
            (when, verdicts)
            for when, verdicts in (("before", found.only_before), ("after", found.only_after))
            if verdicts
        ],
        differing=[setting for setting in settings if setting.differs],
        same=[setting for setting in settings if not setting.differs],
    )


def _side(run: Run, label: str) -> Side:
    return Side(label, moment(run.created), short_commit(run.commit), tally_line(run.verdicts))


def _claim_rows(claims: Sequence[ClaimPair], *, with_strips: bool) -> list[ClaimRow]:
    return [
        ClaimRow(
            claim,
            anchor_of(claim.after),
            marked(claim.after.sentence, claim.after.words),
            tuple(_pair_rows(claim, with_strips=with_strips)),
        )
        for claim in claims
    ]


def _pair_rows(claim: ClaimPair, *, with_strips: bool) -> list[PairRow]:
    drawable = [pair for pair in claim.readings if _can_be_drawn(pair)][:_MOST_STRIPS] if with_strips else []
    axes = strip_axes(reading for pair in drawable for reading in (pair.before, pair.after))
    rows = []
    for pair in claim.readings:
        numbers = _numbers(pair)
        drawn = None
        if pair in drawable:
            axis = axes[pair.after.unit, pair.after.scale]
            drawn = strip(pair.before, axis, f"before: {numbers[0]}", ticks=0, hollow=True)
            drawn += strip(pair.after, axis, f"after: {numbers[1]}")
        clear = pair.difference is not None and pair.difference.is_clear
        rows.append(PairRow(pair.after.label, drawn, *numbers, is_clear=clear))
    return rows


def _can_be_drawn(pair: ReadingPair) -> bool:
    """Whether both have a value, on one scale, that is no count."""
    return (
        all(map(can_be_drawn, (pair.before, pair.after)))
        and pair.before.scale == pair.after.scale
        and pair.before.unit == pair.after.unit
    )


def _numbers(pair: ReadingPair) -> tuple[str, str, str]:
    """Before, after and their difference, in words."""
    if pair.difference is None:
        shown = f"none: {pair.why}"
    else:
        same = {each.seed for each in pair.before.values} == {each.seed for each in pair.after.values}
        seeds = "same seeds" if pair.difference.paired else "other networks" if same else "other seeds"
        shown = f"{pair.difference.in_words()}, {seeds}"
    return _value(pair.before), _value(pair.after), shown


def _value(reading: Reading) -> str:
    return f"{measured(reading)}, {interval(reading)}" if reading.values else reading.outcome
