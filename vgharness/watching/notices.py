"""What ``watch`` says: warnings and errors, a line each."""

from __future__ import annotations

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


def line_of(problem: TrainingProblem) -> str:
    """The problem in one line: its kind, where, since when, the evidence, and what usually helps; or that it ended."""
    where = ", ".join(filter(None, (problem.model, problem.layer)))
    what = f"{problem.kind}{f' ({where})' if where else ''}"
    if problem.ended is not None:
        return escaped(f"step {problem.ended}: {what} has ended, which began at step {problem.began}")
    advice = f" {problem.advice}" if problem.advice else ""
    return escaped(f"step {problem.began}: {what}: {problem.evidence.rstrip('.')}.{advice}")
