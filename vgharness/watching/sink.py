"""What else is given what is watched, as it comes: a tracker, a file of a user's own."""

from __future__ import annotations

from typing import Protocol

from vgharness.records import LogRow, Snapshot, TrainingProblem


class Sink(Protocol):
    """Takes what ``watch`` measures while a training runs; what it raises is said once and ends no training."""

    def snapshot(self, snapshot: Snapshot, rows: tuple[LogRow, ...]) -> None:
        """A snapshot was taken; ``rows`` are those that its values are of."""

    def problem(self, problem: TrainingProblem) -> None:
        """A problem began, or, where its ``ended`` is set, ended."""

    def close(self) -> None:
        """Nothing more comes."""
