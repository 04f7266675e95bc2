"""A training's log → one self-contained HTML page: what went wrong and at which step, and how its gradients went."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final

from jinja2 import Template

from vgharness.formatting import moment, shorten
from vgharness.gradflow.summary import FACTOR_HEADING
from vgharness.records import Document, TrainingLog, Verdict
from vgharness.report.claim_rows import FILTERS, claim_values
from vgharness.report.templates import environment
from vgharness.report.training.answer import headline
from vgharness.report.training.heat import LEVELS
from vgharness.report.training.models import MOST_MODELS, models_of
from vgharness.system.files import write_text

PAGE: Final = "training.html"
_MOST_NOTES: Final = 40
_MOST_EXTRA: Final = 40
_LONGEST_TEXT: Final = 2000


def write_training_page(
    log: TrainingLog, page: Path, *, document: Document | None = None, verdicts: Sequence[Verdict] = ()
) -> Path:
    """Writes ``page`` and returns its path. ``verdicts``: those on the claims of ``document``."""
    write_text(page, render_training(log, document=document, verdicts=verdicts))
    return page


def render_training(log: TrainingLog, *, document: Document | None = None, verdicts: Sequence[Verdict] = ()) -> str:
    """The page as a string, its size bounded whatever the log. Whatever the log holds is escaped."""
    extra = list(log.extra.items())
    return _template().render(
        log=log,
        headline=headline(log),
        models=models_of(log),
        models_left_out=max(len(log.models) - MOST_MODELS, 0),
        when=moment(log.created),
        notes=[shorten(note, _LONGEST_TEXT) for note in log.notes[:_MOST_NOTES]],
        notes_left_out=max(len(log.notes) - _MOST_NOTES, 0),
        extra=[(shorten(key, 100), shorten(str(value), 400)) for key, value in extra[:_MOST_EXTRA]],
        factor_heading=FACTOR_HEADING,
        levels=LEVELS,
        **claim_values(document, verdicts),
    )


@cache
def _template() -> Template:
    """Compiling it takes longer than filling it in."""
    pages = environment()
    pages.filters |= {**FILTERS, "cut": lambda text: shorten(text, _LONGEST_TEXT)}
    return pages.get_template("training.html.j2")
