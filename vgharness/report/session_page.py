"""A session → one self-contained HTML page: each model's layers, and what is wrong with their gradients."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from vgharness.formatting import escaped, interval, listing, number, percent
from vgharness.gradflow.diagnosis import Diagnosis, diagnose, summary
from vgharness.gradflow.rows import Row, table_rows
from vgharness.gradflow.summary import FACTOR_HEADING
from vgharness.records import Document, Sample, Session, Verdict
from vgharness.report.claim_rows import FILTERS, claim_values
from vgharness.report.tables import BRANCH, row_factor, row_notes
from vgharness.report.templates import environment
from vgharness.statistics import Summary
from vgharness.system.files import write_text


class _Row(NamedTuple):
    """One row as text.

    feeds: where it does not feed the row below, the layers that it does feed.
    """

    kind: str
    label: str
    origin: str | None
    feeds: str
    state: str
    signal: str
    factor: str
    weight: str
    saturated: str
    output_rms: str
    output_zeros: str


class _Section(NamedTuple):
    """What the page shows of one sample."""

    sample: Sample
    diagnosis: Diagnosis
    summary: str
    saturation: bool
    outputs: bool
    rows: tuple[_Row, ...]
    notes: tuple[str, ...]


def write_session_page(
    session: Session,
    page: Path,
    *,
    parameters: bool = False,
    document: Document | None = None,
    verdicts: Sequence[Verdict] = (),
) -> Path:
    """Writes ``page`` and returns its path. ``parameters``: with a row for each. ``verdicts``: those on the claims of
    ``document``, shown first."""
    write_text(page, render_session(session, parameters=parameters, document=document, verdicts=verdicts))
    return page


def render_session(
    session: Session, *, parameters: bool = False, document: Document | None = None, verdicts: Sequence[Verdict] = ()
) -> str:
    """The page as a string, of what :func:`write_session_page` takes. Whatever the session holds is escaped."""
    pages = environment()
    pages.filters |= FILTERS
    return pages.get_template("session.html.j2").render(
        session=session,
        sections=[_section(sample, parameters) for sample in session.samples],
        factor_heading=FACTOR_HEADING,
        branch=BRANCH,
        **claim_values(document, verdicts),
    )


def _section(sample: Sample, parameters: bool) -> _Section:
    diagnosis = diagnose(sample.flows, sample.later)
    named = {problem.layer for problem in diagnosis.problems}
    rows = table_rows(sample, parameters=parameters, named=named)
    return _Section(
        sample=sample,
        diagnosis=diagnosis,
        summary=summary(diagnosis),
        saturation="saturated" in sample.quantities,
        outputs=any(layer.output_rms is not None for flow in sample.flows for layer in flow.layers),
        rows=tuple(map(_row, rows)),
        notes=row_notes(rows),
    )


def _row(row: Row) -> _Row:
    values = row.layer.values if row.layer else {}
    weight = row.value if row.kind == "parameter" else values.get("weight_l2")
    return _Row(
        kind=row.kind,
        label=escaped(row.label.strip()),
        origin=None if row.origin is None else escaped(row.origin),
        feeds="" if row.feeds_below or row.layer is None else escaped(listing(row.layer.feeds or (), most=3)),
        state=row.state,
        signal=_with_interval(row.value) if row.kind != "parameter" else "",
        factor=row_factor(row),
        weight=_with_interval(weight) if weight else "",
        saturated=percent(values["saturated"].value, missing="–") if values else "",
        output_rms=_with_interval(values["output_rms"]) if values else "",
        output_zeros=percent(values["output_zeros"].value, missing="–") if values else "",
    )


def _with_interval(found: Summary) -> str:
    return number(found.value) + (f" [{interval(found)}]" if found.low is not None else "")
