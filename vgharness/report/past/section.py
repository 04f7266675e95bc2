"""What the earlier runs look like at the end of a run's page: a row each, and how its key values went."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Final, NamedTuple
from urllib.parse import quote

from markupsafe import Markup

from vgharness.formatting import listing, moment, with_span
from vgharness.records import SYMBOLS, Outcome, tally, tally_line
from vgharness.report.history import RULE, STUDY, Point, Series, colour_of
from vgharness.report.past.digest import Digest
from vgharness.report.past.runs import FOLDER, Change, Past, PastRun, changes_of
from vgharness.report.svg.trail import Stop, Trail, draw, trail_axis

_SHOWN: Final = 5  # earlier runs; the rest is folded
_MOST_TRAILS: Final = 12
_MOST_POINTS: Final = 20
_MOST_CHANGES: Final = 3  # named in a row
_MANY: Final = 40  # claims: then each outcome's number stands in place of a symbol for each claim
_HEIGHT: Final = 44.0


class PastRow(NamedTuple):
    """A run as a row.

    label: its number and name.
    link: to its own page; empty: there is none.
    is_this: whether it is the run that the page is of.
    when, preset, data, device: facts of it; the last two as far as they are others than this run's.
    commit: short.
    tiles: its outcomes as symbols, each kind with its class and its text.
    says: the same in words.
    changes: verdicts that are other than before, in words.
    """

    label: str
    link: str
    is_this: bool
    when: str
    preset: str
    data: str
    device: str
    commit: str
    tiles: tuple[tuple[Outcome, str], ...]
    says: str
    changes: str


class TrailRow(NamedTuple):
    """One key value over the runs, with its numbers as a row of a table."""

    title: str
    drawn: Markup


class PastSection(NamedTuple):
    """The end of a run's page.

    rows: this run's and those of the newest earlier ones.
    folded: those of the older ones.
    trails: its key values.
    headings, numbers: those values' table, a row for each run.
    newer: label and link of the newest run of all, where that is not this one.
    notes: what else there is to say.
    rule: what counts as a change of a value.
    """

    rows: tuple[PastRow, ...]
    folded: tuple[PastRow, ...]
    trails: tuple[TrailRow, ...]
    headings: tuple[str, ...]
    numbers: tuple[tuple[str, ...], ...]
    newer: tuple[str, str] | None
    notes: tuple[str, ...]
    rule: str = RULE


def section_of(past: Past) -> PastSection | None:
    """The section; ``None``: no other run is in the store, and nothing was passed over."""
    if not past.earlier and past.newer is None and not past.skipped:
        return None
    runs = (past.this, *past.earlier)
    rows = tuple(_row(run, runs[place + 1 :], past) for place, run in enumerate(runs))
    series = [each for each in past.series() if len(each.points) > 1][:_MOST_TRAILS]
    return PastSection(
        rows=rows[: _SHOWN + 1],
        folded=rows[_SHOWN + 1 :],
        trails=tuple(TrailRow(_title(each), _trail(each)) for each in series),
        headings=("run", *map(_title, series)),
        numbers=tuple(_numbers(series)),
        newer=None if past.newer is None else (past.newer.label, _link(past.newer, past)),
        notes=tuple(_notes(past)),
    )


# --- rows ------------------------------------------------------------------------------------------------


def _row(run: PastRun, earlier: Sequence[PastRun], past: Past) -> PastRow:
    digest = run.digest
    status = "" if digest.status == "finished" else f", {digest.status}"
    return PastRow(
        label=run.label,
        link=_link(run, past),
        is_this=run is past.this,
        when=f"{moment(digest.created)}{status}",
        preset=digest.preset,
        data=_unless_same(digest.images, past.this.digest.images, is_this=run is past.this),
        device=_unless_same(digest.machine.hardware, past.this.digest.machine.hardware, is_this=run is past.this),
        commit=short_commit(digest.commit),
        tiles=tuple(_tiles(digest)),
        says=_says(digest),
        changes=_changes(changes_of(run, earlier)),
    )


def short_commit(commit: str | None) -> str:
    """``a4a1138b5``, ``a4a1138b5-dirty``."""
    if commit is None:
        return "–"
    name, dirty, _ = commit.partition("-dirty")
    return f"{name[:9]}{dirty}"


def _unless_same(text: str, of_this: str, *, is_this: bool) -> str:
    return "the same" if text == of_this and not is_this else text


def _link(run: PastRun, past: Past) -> str:
    has_page = run is past.this or run.page in past.pages
    return f"{FOLDER}/{quote(run.page)}" if has_page else ""


def _tiles(digest: Digest) -> Iterable[tuple[Outcome, str]]:
    if len(digest.verdicts) > _MANY:
        yield from ((outcome, f"{SYMBOLS[outcome]} {many} ") for outcome, many in tally(digest.verdicts))
        return
    for outcome, group in groupby(verdict.outcome for verdict in digest.verdicts):
        yield outcome, SYMBOLS[outcome] * len(list(group))


def _says(digest: Digest) -> str:
    if len(digest.verdicts) > _MANY:
        return tally_line(digest.verdicts)
    return listing(f"{verdict.claim}: {verdict.outcome}" for verdict in digest.verdicts) or "no verdicts"


def _changes(changes: Sequence[Change]) -> str:
    return listing((f"{each.claim}: {each.before} → {each.after}" for each in changes), most=_MOST_CHANGES)


def _notes(past: Past) -> Iterable[str]:
    if past.left_out:
        yield f"{past.left_out:,} older runs are not shown; vgharness list has all of them"
    if past.skipped:
        named = listing((f"{path.name} ({reason})" for path, reason in past.skipped), most=2)
        yield f"Passed over in the store: {named}"


# --- key values ------------------------------------------------------------------------------------------


def _title(series: Series) -> str:
    return f"{series.of.removeprefix(STUDY)}, {series.quantity}"


def _trail(series: Series) -> Markup:
    points = series.points[-_MOST_POINTS:]
    y = trail_axis([x for point in points for x in (point.value, point.low, point.high) if x is not None])
    says = f"{len(points)} runs; the last {_with_interval(points[-1])}"
    changed = [point for point in points if point.is_change]
    if changed:
        says += f"; changed at {listing(f'{point.number:04} ({short_commit(point.commit)})' for point in changed)}"
    return draw(Trail(_title(series), says, [_stop(point) for point in points], colour_of(series), y, _HEIGHT))


def _stop(point: Point) -> Stop:
    value = point.value if point.value is not None else math.nan
    return Stop(value, point.low, point.high, mark="" if point.is_change else None)


def _numbers(series: Sequence[Series]) -> Iterable[tuple[str, ...]]:
    """The newest first."""
    runs = {(point.created, point.number, point.name) for each in series for point in each.points[-_MOST_POINTS:]}
    by_run = [{(p.created, p.number, p.name): p for p in each.points} for each in series]
    for run in sorted(runs, reverse=True):
        cells = (_with_interval(points[run]) if run in points else "–" for points in by_run)
        yield f"{run[1]:04} {run[2]}", *cells


def _with_interval(point: Point) -> str:
    text = with_span(point.value, point.low, point.high, missing="not finite")
    return f"{text}, changed" if point.is_change else text
