"""Where what is watched goes: the course of the training, the log, other sinks, and whoever is to be told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from vgharness.errors import UsageError
from vgharness.formatting import escaped, in_one_line
from vgharness.gradflow.course.course import Change, Course
from vgharness.records import LogRow, Snapshot, TrainingLog, TrainingProblem, TrainingStatus
from vgharness.storage.store import RunStore
from vgharness.storage.training_log import TrainingLogWriter
from vgharness.watching.model_watch import ModelWatch
from vgharness.watching.notices import (
    TrainingProblemError,
    TrainingProblemWarning,
    WatchWarning,
    line_of,
    warn_user,
)
from vgharness.watching.sink import Sink
from vgharness.watching.untold import Told

OnProblem = Literal["warn", "raise"] | Callable[[TrainingProblem], object] | None


class Outlets(NamedTuple):
    """Where it goes.

    name: of the log in the store; ``None``: it is kept in memory only.
    store: where the log is saved.
    sinks: what else is given it.
    on_problem: what happens where a problem begins or ends.
    quiet: whether nothing is to be said, as by all processes of a distributed training but the first.
    """

    name: str | None
    store: RunStore
    sinks: tuple[Sink, ...] = ()
    on_problem: OnProblem = "warn"
    quiet: bool = False


class Reporter:
    """Hands on what becomes known; ``head``: of the log.

    Nothing is said, and nothing raised, before :meth:`settle`: by then what was measured is in order.
    """

    def __init__(self, head: TrainingLog, outlets: Outlets) -> None:
        self._outlets = outlets
        self._notes: list[str] = []
        self._noted: set[str] = set()
        self._changes: list[Change] = []
        self._problems: list[TrainingProblem] = []  # of which the user is to be told
        self._born: set[str] = set()
        self._course = Course(every=head.every)
        self._writer = self._opened(head)

    def _opened(self, head: TrainingLog) -> TrainingLogWriter:
        name, store = self._outlets.name, self._outlets.store
        try:
            saved = store if name is not None and not self._outlets.quiet else None
            return TrainingLogWriter(head, store=saved, name=name or "training", warn=self.note)
        except (UsageError, OSError) as error:
            self.note(f"the log is kept in memory only: {error}")
            return TrainingLogWriter(head, store=None, name=name or "training", warn=self.note)

    @property
    def log(self) -> TrainingLog:
        return self._writer.log

    @property
    def path(self) -> Path | None:
        return self._writer.path

    @property
    def problems(self) -> tuple[TrainingProblem, ...]:
        return self._course.problems

    # --- what a model's watch hands on -----------------------------------------------------------------

    def snapshot(self, watched: ModelWatch, fields: dict[str, Any], rows: tuple[LogRow, ...]) -> None:
        snapshot = Snapshot(rows=self._writer.rows(rows), **fields)
        self._writer.steps(watched.name, watched.steps)
        self._writer.snapshot(snapshot)
        for sink in self._outlets.sinks:
            self._give(sink, "snapshot", snapshot, rows)
        self._changes += self._course.add(snapshot, rows)

    def stepped(self, watched: ModelWatch, told: Told) -> None:
        self._changes += self._course.stepped(
            watched.name,
            told.step,
            told.total_norm,
            loss_scale=watched.loss_scale(),
            skipped=told.skipped,
            loss=told.loss,
            without=told.without,
        )

    def note(self, text: str) -> None:
        text = escaped(" ".join(text.split()))
        if text not in self._noted:
            self._noted.add(text)
            self._notes.append(text)

    def folder(self, watched: ModelWatch) -> Path | None:
        path = self.path
        return None if path is None else path.with_name(f"{path.stem}{watched.suffix}.reproducer")

    def look_for_births(self, watched: ModelWatch) -> None:
        birth = watched.pulse.birth
        if birth is not None and watched.name not in self._born:
            self._born.add(watched.name)
            self._writer.birth(birth)
            self._changes += self._course.born(birth)

    # --- what is said ----------------------------------------------------------------------------------

    def settle(self, *, raising: bool = True) -> TrainingProblem | None:
        """Writes and says what has come. Returns the first problem that is to end the training, if one may.

        A callable that raises :class:`TrainingProblemError`, or what is no ``Exception`` such as ``KeyboardInterrupt``,
        ends it too; anything else that it raises is said once.
        """
        if not (self._changes or self._notes):
            return None  # as after most steps
        for change in self._take_changes():
            self._writer.problem(change.number, change.problem)
            if change.what != "again":
                self._problems.append(change.problem)
                for sink in self._outlets.sinks:
                    self._give(sink, "problem", change.problem)
        notes, self._notes = self._notes, []
        for note in notes:
            self._writer.note(note)
        problems, self._problems = self._problems, []
        if self._outlets.quiet:
            return None
        for note in notes:
            warn_user(note, WatchWarning)
        fatal = [problem for problem in problems if self._tell(problem, raising=raising)]
        return fatal[0] if fatal else None

    def _take_changes(self) -> Sequence[Change]:
        changes, self._changes = self._changes, []
        return changes

    def _tell(self, problem: TrainingProblem, *, raising: bool) -> bool:
        """Whether the training is to end for it."""
        told = self._outlets.on_problem
        if raising and told == "raise" and problem.severity == "problem" and problem.ended is None:
            return True
        if told in ("warn", "raise"):
            warn_user(line_of(problem), TrainingProblemWarning)
        elif callable(told):
            try:
                told(problem)
            except TrainingProblemError:
                raise
            except Exception as error:
                self.note(f"on_problem raised {in_one_line(error)}; the training goes on")
        return False

    def _give(self, sink: Sink, what: Literal["snapshot", "problem", "close"], *given: object) -> None:
        try:
            getattr(sink, what)(*given)
        except Exception as error:
            self.note(f"{type(sink).__name__}.{what} raised {in_one_line(error)}; the training goes on")

    def count_steps(self, steps: dict[str, int]) -> None:
        """Takes how many each model has taken, by its name."""
        for name, own in steps.items():
            self._writer.steps(name, own)

    def close(self, status: TrainingStatus, steps: dict[str, int]) -> None:
        """Nothing more comes."""
        self.count_steps(steps)
        for sink in self._outlets.sinks:
            self._give(sink, "close")
        for note in self._notes:
            self._writer.note(note)
        self._writer.close(status)
