"""A study's run, its verdicts, and a session as tables for a notebook."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, Literal

from vgharness.display.html import Column, HtmlTable
from vgharness.display.text import FACTOR_HEADING
from vgharness.formatting import count, duration, listing, moment, number, shorten, with_span
from vgharness.records.verdict import SYMBOLS, Reading, Verdict, tally_line

if TYPE_CHECKING:
    from vgharness.records.flow import GradientFlow
    from vgharness.records.run import CellResult, Run
    from vgharness.records.session import Sample, Session

_LONGEST: Final = 60
_MOST_KINDS: Final = 4


def run_line(run: Run) -> str:
    """``study quick, finished, 18 networks; 2 reproduced, 1 not run``."""
    judged = f"; {tally_line(run.verdicts)}" if run.verdicts else ""
    return f"study {run.study.preset}, {run.status}, {count(len(run.results), 'network')}{judged}"


def run_lines(run: Run) -> list[str]:
    """What was trained, how it came out, and on what, a line each."""
    cells = [result.cell for result in run.results]
    seeds = dict.fromkeys(cell.seed for cell in cells)
    epochs = sorted({len(result.epochs) for result in run.results})
    ended = [result for result in run.results if result.status not in ("finished", "running")]
    trained = f"{epochs[0]} to {epochs[-1]} epochs" if len(epochs) > 1 else count(sum(epochs), "epoch")
    settings = "; ".join(list(dict.fromkeys(cell.settings for cell in cells))[:_MOST_KINDS])
    lines = [
        f"{settings}; {listing(dict.fromkeys(cell.activation for cell in cells), most=8)}; "
        f"{count(len(seeds), 'seed')} ({listing(seeds, most=6)}); {trained}; {run.study.precision}",
        f"{run.data.description}; {run.machine.device}; {moment(run.created)}; took {duration(run.seconds)}",
    ]
    if ended:
        lines.append(f"not trained to the end: {listing((f'{x.cell.name} ({x.status})' for x in ended), most=4)}")
    return lines


def run_html(run: Run) -> HtmlTable:
    """A row for each kind of network, and below it one for each verdict."""
    kinds: dict[tuple[str, str], list[CellResult]] = {}
    for result in run.results:
        kinds.setdefault((result.cell.activation, result.cell.settings), []).append(result)
    accuracy = [_mean([x.epochs[-1].test_accuracy for x in own if x.epochs], "linear") for own in kinds.values()]
    before = [_mean([_factor(x, at_start=True) for x in own]) for own in kinds.values()]
    after = [_mean([_factor(x, at_start=False) for x in own]) for own in kinds.values()]
    columns = [
        Column("network", [f"{activation}, {settings}" for activation, settings in kinds], "text"),
        Column("seeds", [len(own) for own in kinds.values()]),
        Column("test accuracy, %", accuracy),
        Column(f"{FACTOR_HEADING} at initialisation", before),
        Column("", before, "bar"),
        Column("over the last epoch", after),
        Column("", after, "bar"),
    ]
    verdicts = [verdicts_html("verdicts", run.verdicts)] if run.verdicts else []
    return HtmlTable(run_line(run), columns, run_lines(run), verdicts)


def verdicts_html(title: str, verdicts: Sequence[Verdict]) -> HtmlTable:
    """A row for each verdict."""
    return HtmlTable(
        title,
        [
            Column("claim", [f"{x.claim}{f' ({x.variant})' if x.variant else ''}" for x in verdicts], "text"),
            Column("verdict", [f"{SYMBOLS[x.outcome]} {x.outcome}" for x in verdicts], "text"),
            Column("sentence", [x.sentence for x in verdicts], "text"),
            Column("why", [x.reason or _measured(x) for x in verdicts], "text"),
        ],
    )


def verdict_line(verdict: Verdict) -> str:
    """``✓ reproduced: it-is-so (script): accuracy 52.9 (52.1 to 53.7) %, expected 45 to 55``."""
    variant = f" ({verdict.variant})" if verdict.variant else ""
    why = verdict.reason or _measured(verdict)
    return f"{SYMBOLS[verdict.outcome]} {verdict.outcome}: {verdict.claim}{variant}{f': {why}' if why else ''}"


def readings_html(verdict: Verdict) -> HtmlTable:
    """A row for each reading."""
    rows = verdict.readings
    columns = [
        Column("reading", [x.label for x in rows], "text"),
        Column("outcome", [f"{SYMBOLS[x.outcome]} {x.outcome}" for x in rows], "text"),
        Column("expected", [f"{x.expected} {x.unit}".strip() for x in rows], "text"),
        Column("measured", [_value(x) for x in rows], "text"),
        Column("seeds", [len(x.values) for x in rows]),
        Column("why", [x.reason for x in rows], "text"),
    ]
    return HtmlTable(verdict_line(verdict), columns, [verdict.sentence])


def session_line(session: Session) -> str:
    """``12 measurements, finished, 2026-01-31 12:00:00``."""
    when = f", {moment(session.created)}" if session.created else ""
    return f"{count(len(session.samples), 'measurement')}, {session.status}{when}"


def session_html(session: Session) -> HtmlTable:
    """A row for each measurement."""
    rows = session.samples
    factors = [_mean([_of_flow(flow) for flow in x.flows]) for x in rows]
    columns = [
        Column("measurement", [x.label for x in rows], "text"),
        Column("test", [x.outcome or "–" for x in rows], "text"),
        Column("seeds", [len(x.seeds) for x in rows]),
        Column("layers", [len(x.keys) for x in rows]),
        Column("‖∂L/∂h‖₂, first layer → last", [_ends(x) for x in rows], "text"),
        Column(f"{FACTOR_HEADING}, per layer", factors),
        Column("", factors, "bar"),
    ]
    command = [f"{shorten(session.command, _LONGEST)}; {session.machine.device}"]
    return HtmlTable(f"session: {session_line(session)}", columns, [*command, *session.caveats])


def _ends(sample: Sample) -> str:
    means = [_mean(values) for values in sample.values("signal_l2").values()]
    return f"{number(means[0])} → {number(means[-1])}" if means else "–"


def _factor(result: CellResult, *, at_start: bool) -> float | None:
    flow = result.initial if at_start else (result.epochs[-1].flow if result.epochs else None)
    return None if flow is None else _of_flow(flow)


def _of_flow(flow: GradientFlow) -> float | None:
    return flow.factor() if flow.factors() else None


def _measured(verdict: Verdict) -> str:
    deciding = next((reading for reading in verdict.readings if not reading.context and reading.values), None)
    if deciding is None:
        return ""
    return f"{deciding.label} {_value(deciding)}, expected {f'{deciding.expected} {deciding.unit}'.strip()}"


def _value(reading: Reading) -> str:
    unit = f" {reading.unit}" if reading.unit else ""
    return with_span(reading.value, reading.low, reading.high, unit=unit) if reading.values else "–"


def _mean(values: Sequence[float | None], scale: Literal["log", "linear"] = "log") -> float | None:
    """Over seeds; ``None`` without values."""
    from vgharness.statistics import mean_over_seeds  # scipy is slow to import

    found = [math.nan if value is None else value for value in values]
    return float(mean_over_seeds(found, scale)) if found else None
