"""What ``watch`` says: warnings and errors, a line each."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Final

import torch

import vgharness
from vgharness.formatting import escaped
from vgharness.records import TrainingProblem


class WatchWarning(UserWarning):
    """Something about the watching, not about the training; each is said once."""


class TrainingProblemWarning(UserWarning):
    """A problem of a training that began, or ended."""


class TrainingProblemError(RuntimeError):
    """A problem of a training that is to end it.

    Attributes:

    problem: which one.
    """

    def __init__(self, problem: TrainingProblem) -> None:
        super().__init__(line_of(problem))
        self.problem = problem

    def __reduce__(self) -> tuple[type[TrainingProblemError], tuple[TrainingProblem]]:
        return type(self), (self.problem,)


# What calls a watch: this package, and PyTorch, whose hooks do.
_CALLERS: Final = tuple(str(Path(str(package.__file__)).parent) for package in (vgharness, torch))


def warn_user(text: str, category: type[Warning]) -> None:
    """Warns at the line of the user's that led here, as that of the optimizer's step."""
    frame, level = sys._getframe(), 1
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_CALLERS):
        frame, level = frame.f_back, level + 1
    warnings.warn(text, category, stacklevel=level)


def line_of(problem: TrainingProblem) -> str:
    """The problem in one line: its kind, where, since when, the evidence, and what usually helps; or that it ended."""
    where = ", ".join(filter(None, (problem.model, problem.layer)))
    what = f"{problem.kind}{f' ({where})' if where else ''}"
    if problem.ended is not None:
        return escaped(f"step {problem.ended}: {what} has ended, which began at step {problem.began}")
    advice = f" {problem.advice}" if problem.advice else ""
    return escaped(f"step {problem.began}: {what}: {problem.evidence.rstrip('.')}.{advice}")
