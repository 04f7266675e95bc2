"""A session → one self-contained HTML page: what is wrong with each model's gradients, and where in it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

from jinja2 import Template

from vgharness.formatting import moment, shorten
from vgharness.gradflow.summary import FACTOR_HEADING
from vgharness.records import Document, RemedyRecord, Session, Verdict
from vgharness.report.claim_rows import FILTERS, claim_values
from vgharness.report.session.answer import LONGEST_NAME, beside, headline
from vgharness.report.session.models import models_of
from vgharness.report.session.remedies import remedy_part
from vgharness.report.templates import environment
from vgharness.system.files import write_text


def write_session_page(
    session: Session,
    page: Path,
    *,
    parameters: bool = False,
    document: Document | None = None,
    verdicts: Sequence[Verdict] = (),
    remedies: Sequence[RemedyRecord] = (),
) -> Path:
    """Writes ``page`` and returns its path.

    parameters: with a row for each in the tables. verdicts: those on the claims of ``document``, shown after the
    headline. remedies: what was tried on copies of the session's only model.
    """
    text = render_session(session, parameters=parameters, document=document, verdicts=verdicts, remedies=remedies)
    write_text(page, text)
    return page


def render_session(
    session: Session,
    *,
    parameters: bool = False,
    document: Document | None = None,
    verdicts: Sequence[Verdict] = (),
    remedies: Sequence[RemedyRecord] = (),
) -> str:
    """The page as a string, of what :func:`write_session_page` takes. Whatever the session holds is escaped."""
    models = models_of(session.samples, parameters=parameters)
    everything = (*models.remarkable, *models.healthy)
    findings = [model.finding for model in everything]
    return _template().render(
        session=session,
        models=models,
        everything=everything,
        headline=headline(findings),
        beside=beside(findings),
        when=moment(session.created),
        remedies=remedy_part(remedies),
        factor_heading=FACTOR_HEADING,
        **claim_values(document, verdicts),
    )


@cache
def _template() -> Template:
    """Compiling it takes longer than filling it in."""
    pages = environment()
    pages.filters |= {**FILTERS, "short": lambda name: shorten(name, LONGEST_NAME)}
    return pages.get_template("session.html.j2")
