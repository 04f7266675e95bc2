"""Writes the page of whatever was saved: a study's run, a pytest session, a training log."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from vgharness.records import Run, Session, TrainingLog
from vgharness.report.session_page import write_session_page
from vgharness.report.training_page import PAGE as TRAINING_PAGE
from vgharness.report.training_page import write_training_page

SESSION_PAGE: Final = "gradflow.html"


def write_report(record: Run | Session | TrainingLog, out: Path | str) -> Path:
    """Writes the page of ``record`` into the folder ``out``, which is made where it is not there, and returns its path:
    of a study's run ``index.html``, with its figures and files for programs beside it, of a session ``gradflow.html``,
    of a training log ``training.html``."""
    folder = Path(out)
    if isinstance(record, Run):
        from vgharness.report.study_page import write_report as write_study  # matplotlib is slow to import

        return write_study(record, folder)
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(record, TrainingLog):
        return write_training_page(record, folder / TRAINING_PAGE)
    return write_session_page(record, folder / SESSION_PAGE)
