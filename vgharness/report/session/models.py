"""What a session's page shows of each model: its headline, its charts, its numbers, how its test ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from vgharness.formatting import count, escaped, number, shorten
from vgharness.gradflow.diagnosis import Diagnosis, diagnose, summary
from vgharness.gradflow.rows import Row, table_rows
from vgharness.gradflow.summary import FACTOR_HEADING, SIGNAL
from vgharness.records import MarkLimits, Sample
from vgharness.report.session.answer import LONGEST_NAME, Finding, short_names
from vgharness.report.session.layers import Drawing, layers_drawing, numbers, steps_drawing
from vgharness.report.study.charts import Table
from vgharness.report.tables import farthest_from_one, row_notes

_MOST_OPEN: Final = 6  # models that are shown in full unasked
_MOST_LISTED: Final = 24  # healthy models whose names are shown unasked
_FAILED: Final = ("failed", "error")
_SYMBOLS: Final = {"problem": "✗", "warning": "!", "": "✓"}
_CLASSES: Final = {"problem": "not-reproduced", "warning": "mixed", "": "reproduced"}


class Model(NamedTuple):
    """One measured model.

    anchor: of its part of the page.
    name: short, and no other's.
    severity: of its most serious problem; empty: there is none.
    symbol: that as a sign.
    colour: class of its colour.
    brief: its diagnosis in a few words, for a tile.
    outcome: how its test ended, with what its mark expects of the diagnosis; empty: it was none.
    failed: whether the test failed.
    limits: what the test's mark accepts, in words.
    size: its layers and seeds, and the factor that is farthest from 1.
    layers: the chart of its layers.
    steps: that of its steps through time.
    steps_open: whether a problem is of a layer that has them.
    numbers: what both show, and more.
    has_elsewhere: whether some factor is against another layer than that of the next row.
    notes: what the signs in the table mean.
    """

    sample: Sample
    anchor: str
    name: str
    diagnosis: Diagnosis
    severity: str
    symbol: str
    colour: str
    brief: str
    outcome: str
    failed: bool
    limits: str
    size: str
    layers: Drawing | None
    steps: Drawing | None
    steps_open: bool
    numbers: Table
    has_elsewhere: bool
    notes: tuple[str, ...]

    @property
    def short(self) -> str:
        """Its name, not longer than a tile has room for."""
        return shorten(self.name, LONGEST_NAME)

    @property
    def is_remarkable(self) -> bool:
        """Whether it is more than a line that says that it is healthy."""
        return bool(self.severity) or self.failed

    @property
    def finding(self) -> Finding:
        return Finding(self.name, self.diagnosis, self.failed)


class Models(NamedTuple):
    """All of a session's: those with problems first, then warnings, then those that are well but whose test failed.

    open: whether the remarkable ones are shown in full.
    many_healthy: whether there are so many others that their lines are folded too.
    """

    remarkable: tuple[Model, ...]
    healthy: tuple[Model, ...]
    open: bool
    many_healthy: bool


def models_of(samples: Sequence[Sample], *, parameters: bool = False) -> Models:
    """What the page shows of ``samples``. ``parameters``: with a row for each in the tables."""
    found = [
        _model(sample, name, index, parameters)
        for index, (sample, name) in enumerate(zip(samples, short_names(samples), strict=True), 1)
    ]
    order = list(_SYMBOLS)
    remarkable = sorted((x for x in found if x.is_remarkable), key=lambda model: order.index(model.severity))
    healthy = tuple(model for model in found if not model.is_remarkable)
    return Models(tuple(remarkable), healthy, len(remarkable) <= _MOST_OPEN, len(healthy) > _MOST_LISTED)


def _model(sample: Sample, name: str, index: int, parameters: bool) -> Model:
    diagnosis = diagnose(sample.flows, sample.later)
    named = {problem.layer for problem in diagnosis.problems}
    rows = table_rows(sample, parameters=parameters, named=named)
    severity = diagnosis.problems[0].severity if diagnosis.problems else ""
    failed = sample.outcome in _FAILED
    return Model(
        sample=sample,
        anchor=f"model-{index}",
        name=name,
        diagnosis=diagnosis,
        severity=severity,
        symbol=_SYMBOLS["problem" if failed and not severity else severity],
        colour="error" if failed and not severity else _CLASSES[severity],
        brief=_brief(sample, diagnosis, failed),
        outcome=_outcome(sample),
        failed=failed,
        limits=_limits(sample.limits),
        size=_size(sample, rows),
        layers=layers_drawing(sample, diagnosis, rows, f"{shorten(name, LONGEST_NAME)}: {summary(diagnosis)}"),
        steps=steps_drawing(rows, f"{shorten(name, LONGEST_NAME)}: through time"),
        steps_open=_is_through_time(rows, named),
        numbers=numbers(sample, rows, f"{shorten(name, LONGEST_NAME)}, layer by layer"),
        has_elsewhere=any(row.factor is not None and not row.feeds_below for row in rows),
        notes=row_notes(rows),
    )


def _brief(sample: Sample, diagnosis: Diagnosis, failed: bool) -> str:
    """``vanishing from conv1``, ``dead from 2, as expected``."""
    if not diagnosis.problems:
        return "healthy, test failed" if failed else "healthy"
    first, *others = diagnosis.problems
    more = f" and {len(others)} more" if others else ""
    warning = "warning: " if first.severity == "warning" else ""
    expected = ", as expected" if sample.limits and sample.limits.expect == first.kind else ""
    return f"{warning}{first.kind} from {shorten(escaped(first.layer), LONGEST_NAME)}{more}{expected}"


def _outcome(sample: Sample) -> str:
    expected = sample.limits.expect if sample.limits else None
    ended = f"test {sample.outcome}" if sample.outcome else ""
    return ", ".join(filter(None, [ended, f"expects {expected}" if expected else ""]))


def _limits(limits: MarkLimits | None) -> str:
    """``factor toward the input from 0.5 to 2; over the whole path at least 0.01``; empty: there are none."""
    if limits is None:
        return ""
    of = "" if limits.quantity == SIGNAL else f" of {limits.quantity}"
    each = _span(limits.min_factor, limits.max_factor)
    whole = _span(limits.min_total, limits.max_total)
    said = [f"{FACTOR_HEADING}{of} {each}"] if each else []
    said += [f"{'' if each else f'{FACTOR_HEADING}{of} '}over the whole path {whole}"] if whole else []
    return "; ".join(said)


def _span(low: float | None, high: float | None) -> str:
    if low is not None and high is not None:
        return f"from {low:g} to {high:g}"
    return f"at least {low:g}" if low is not None else f"at most {high:g}" if high is not None else ""


def _size(sample: Sample, rows: Sequence[Row]) -> str:
    said = [count(len(sample.keys), "layer"), count(len(sample.seeds), "seed")]
    worst = farthest_from_one(rows)
    if worst is not None and (factor := rows[worst].factor) is not None:
        where = shorten(escaped(rows[worst].label.strip()), LONGEST_NAME)
        said.append(f"factor farthest from 1: {number(factor.value)} at {where}")
    return ", ".join(said)


def _is_through_time(rows: Sequence[Row], named: set[str]) -> bool:
    """Whether one of ``named`` is a layer with rows of its steps."""
    layer = ""
    for row in rows:
        if row.kind == "layer":
            layer = row.label
        elif row.kind == "steps" and layer in named:
            return True
    return False
