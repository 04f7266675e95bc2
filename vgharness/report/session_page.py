"""A session → one self-contained HTML page: each model's layers, and what is wrong with their gradients."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from vgharness.formatting import escaped, interval, number, percent
from vgharness.gradflow.diagnosis import Diagnosis, diagnose, summary
from vgharness.gradflow.summary import FACTOR_HEADING, LayerSummary, layer_summaries
from vgharness.records import Sample, Session
from vgharness.report.templates import environment
from vgharness.statistics import Summary
from vgharness.system.files import write_text


class _Row(NamedTuple):
    """One layer as text."""

    layer: str
    state: str
    signal: str
    factor: str
    weight: str
    saturated: str


class _Section(NamedTuple):
    """What the page shows of one sample."""

    sample: Sample
    diagnosis: Diagnosis
    summary: str
    saturation: bool
    rows: tuple[_Row, ...]


def write_session_page(session: Session, page: Path) -> Path:
    """Writes ``page`` and returns its path."""
    write_text(page, render_session(session))
    return page


def render_session(session: Session) -> str:
    """The page as a string. Whatever the session holds is escaped."""
    template = environment().get_template("session.html.j2")
    sections = [_section(sample) for sample in session.samples]
    return template.render(session=session, sections=sections, factor_heading=FACTOR_HEADING)


def _section(sample: Sample) -> _Section:
    diagnosis = diagnose(sample.flows, sample.later)
    rows = tuple(map(_row, layer_summaries(sample)))
    return _Section(sample, diagnosis, summary(diagnosis), "saturated" in sample.quantities, rows)


def _row(layer: LayerSummary) -> _Row:
    return _Row(
        layer=escaped(str(layer.key)),
        state=layer.state,
        signal=_with_interval(layer.signal),
        factor=number(layer.factor.value) if layer.factor else "",
        weight=_with_interval(layer.values["weight_l2"]),
        saturated=percent(layer.values["saturated"].value, missing="–"),
    )


def _with_interval(found: Summary) -> str:
    return number(found.value) + (f" [{interval(found)}]" if found.low is not None else "")
