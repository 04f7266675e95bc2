"""A session's measurements as tables: for the end of pytest's output, and as Markdown for a CI's summary page."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from io import StringIO
from typing import TYPE_CHECKING, Final, NamedTuple

from vgharness.formatting import count, escaped, number
from vgharness.gradflow.overview import Overview, overview_of
from vgharness.pytest_plugin.options import DEFAULT_COLUMNS
from vgharness.records import Sample
from vgharness.report.tables import Sheet, comparison_table, markdown, session_table

if TYPE_CHECKING:
    from vgharness.gradflow.comparison import Comparison

_WIDTH: Final = 80
_NARROWEST: Final = 12  # of a test's name
_NO_PARAMETERS: Final = "without parameters"
_STYLES: Final = {"problem": "bold red", "warning": "yellow", None: ""}
_ORDER: Final = {"problem": 0, "warning": 1, None: 2}


class Measured(NamedTuple):
    """A sample with its values."""

    sample: Sample
    values: Overview


class Writer(NamedTuple):
    """Where a terminal's tables go: how wide it is, and whether it shows colour."""

    width: int
    colour: bool


def texts(
    samples: Sequence[Sample], option: argparse.Namespace, comparison: Comparison | None, writer: Writer
) -> Iterator[str]:
    """The session's measurements, as the options ``--gradflow-sort``, ``-columns``, ``-group-by`` and ``-name`` ask; a
    table for each, or a line with ``-q``."""
    measured = _in_order([Measured(sample, overview_of(sample)) for sample in samples], option.gradflow_sort)
    if option.gradflow_columns or option.gradflow_group_by:
        for sheet in rows(measured, option):
            yield _drawn(sheet, writer)
    elif option.verbose < 0:
        for each in measured:
            yield _line(each, option.gradflow_name)
    else:
        compared = {change.sample for change in comparison.changes} if comparison else ()
        for each in measured:
            sheet = session_table(each.sample, comparison if each.sample.label in compared else None)
            title = f"{label(each.sample, option.gradflow_name)} ({count(len(each.sample.seeds), 'seed')})"
            yield _drawn(sheet._replace(title=title, notes=(*sheet.notes, *_problems(each))), writer)


def rows(measured: Sequence[Measured], option: argparse.Namespace) -> Iterator[Sheet]:
    """Tables with a row for each measurement, and lines of what is wrong with it."""
    by, form = option.gradflow_group_by, option.gradflow_name
    columns = option.gradflow_columns or DEFAULT_COLUMNS
    groups: dict[str, list[tuple[str, Measured]]] = {}
    for each in measured:
        title, row = _grouped(each.sample, by, form)
        groups.setdefault(title, []).append((row, each))
    for title, members in groups.items():
        cells = [tuple(_cell(each, column) for column in columns) for _, each in members]
        taken = sum(2 + max(map(len, (column, *(x[i] for x in cells)))) for i, column in enumerate(columns))
        yield Sheet(
            title=title,
            names=(max(_WIDTH - taken, _NARROWEST),),
            headings=("test", *columns),
            rows=tuple((escaped(row), *own) for (row, _), own in zip(members, cells, strict=True)),
            styles=tuple(_STYLES[each.values.severity] for _, each in members),
            notes=tuple(f"{escaped(row)}: {text}" for row, each in members for text in _problems(each)),
        )


def as_markdown(samples: Sequence[Sample], option: argparse.Namespace, comparison: Comparison | None) -> str:
    """The same for a CI's summary page: a row for each measurement, and what changed."""
    measured = _in_order([Measured(sample, overview_of(sample)) for sample in samples], option.gradflow_sort)
    changes = comparison_table(comparison, "--gradflow-compare-fail") if comparison else ()
    sheets = [*rows(measured, option), *changes]
    return f"### Gradient flow\n\n{markdown(sheets)}\n"


def label(sample: Sample, form: str) -> str:
    """A measurement's name: of its test, with its own where it has one."""
    return f"{_test(sample.test, form)} {sample.name}".strip()


def _test(test: str, form: str) -> str:
    if form == "long":
        return test
    function, bracket, parameters = test.partition("[")
    name = function.partition("::")[2] or function
    if form == "short":
        name = name.rpartition("::")[2].removeprefix("test_")
    return name + bracket + parameters


def _grouped(sample: Sample, by: str | None, form: str) -> tuple[str, str]:
    """The title of the table that a measurement is in, and what its row is called there."""
    function, bracket, parameters = sample.test.partition("[")
    parameters = parameters.removesuffix("]")
    test, own = _test(sample.test, form), _test(function, form)
    if by == "func" and bracket:
        return own, f"{parameters} {sample.name}".strip()
    if by in ("func", "param"):
        return parameters if bracket else _NO_PARAMETERS, f"{own} {sample.name}".strip()
    if by == "name":
        return sample.name or "without a name", test
    return "all measurements", f"{test} {sample.name}".strip()


def _cell(each: Measured, column: str) -> str:
    values = each.values
    if column == "seeds":
        return str(len(each.sample.seeds))
    if column == "layers":
        return str(len(each.sample.keys))
    if column == "diagnosis":
        problems = values.diagnosis.problems
        return f"{problems[0].kind}{' (warning)' if values.severity == 'warning' else ''}" if problems else values.text
    shown = {"min": values.least, "max": values.most}
    return number(shown[column] if column in shown else getattr(values, column))


def _problems(each: Measured) -> tuple[str, ...]:
    """What is wrong, and no test need have failed for it: a warning, or a problem that was not checked for."""
    found = [f"{x.severity}: {x.kind} from {x.layer}: {x.evidence}" for x in each.values.diagnosis.problems]
    return tuple(map(escaped, found))


def _in_order(measured: Iterable[Measured], by: str) -> list[Measured]:
    keys = {
        "name": lambda each: each.sample.label,
        "min": lambda each: _last_if_nan(each.values.least),
        "total": lambda each: _last_if_nan(each.values.total),
        "factor": lambda each: _last_if_nan(each.values.factor),
        "problem": lambda each: _ORDER[each.values.severity],
    }
    return sorted(measured, key=keys[by]) if by in keys else list(measured)


def _last_if_nan(value: float) -> float:
    return math.inf if math.isnan(value) else value


def _line(each: Measured, form: str) -> str:
    values, sample = each.values, each.sample
    seeds = f"{count(len(sample.keys), 'layer')}, {count(len(sample.seeds), 'seed')}"
    factors = f"factor toward the input {number(values.least)} to {number(values.most)} per layer ({seeds})"
    return f"{escaped(label(sample, form))}: {factors}{''.join(f'; {text}' for text in _problems(each))}"


def _drawn(sheet: Sheet, writer: Writer) -> str:
    from rich.console import Console

    out = StringIO()
    console = Console(
        file=out, width=min(_WIDTH, writer.width), force_terminal=writer.colour, no_color=not writer.colour
    )
    console.print(sheet)
    return re.sub(r"[ \t]+$", "", out.getvalue(), flags=re.MULTILINE).rstrip("\n")
