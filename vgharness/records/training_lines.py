"""The lines of a training log's file: first its head, then a line of JSON for each thing that was seen."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field, TypeAdapter

from vgharness.records.base import Count, JsonObject, Name, Record
from vgharness.records.provenance import Machine
from vgharness.records.training_log import (
    TRAINING_VERSION,
    Birth,
    LogRow,
    Snapshot,
    TrainingProblem,
    WatchedModel,
)


class TrainingHead(Record):
    """The first line of a training log: what was known when the watching began.

    schema_version: of this format.
    kind: sets it apart from a study's run and a session.
    created: when the watching began, ISO 8601, UTC.
    status: of the training when this line was written; a line ``end`` says how it ended. Without that it goes on, or
        was killed.
    commit: that the project was at, with ``-dirty`` where files differ; ``None`` outside a repository.
    command: what was typed.
    machine: where it was trained.
    every: how many steps lie between two snapshots that were taken. Of a long training some of those are left out.
    first_step: where it began; over 0 of a training that was resumed.
    models: in the order in which they were given.
    extra: whatever the user adds.
    """

    schema_version: Literal[1] = TRAINING_VERSION
    kind: Literal["training"] = "training"
    created: str
    status: Literal["running"] = "running"
    commit: str | None
    command: Name
    machine: Machine
    every: Count
    first_step: Count = 0
    models: tuple[WatchedModel, ...] = Field(min_length=1)
    extra: JsonObject = Field(default_factory=dict)


class RowsLine(Record):
    """Rows that snapshots refer to by their number; it comes before the first of those.

    line: the kind of line.
    number: which list of rows; of those that no snapshot refers to any more the file lacks some.
    rows: a row for each value of a snapshot's lists.
    """

    line: Literal["rows"]
    number: Count
    rows: tuple[LogRow, ...]


class SnapshotLine(Record):
    """What was measured at one step.

    line: the kind of line.
    number: the how-manieth of all snapshots it was when it was taken, from 0; of those that were left out the numbers
        are missing.
    snapshot: the values.
    """

    line: Literal["snapshot"]
    number: Count
    snapshot: Snapshot


class ProblemLine(Record):
    """A problem that began or changed.

    line: the kind of line.
    number: which, in the order in which they began; a later line replaces an earlier one of its number.
    problem: as it is from here on.
    """

    line: Literal["problem"]
    number: Count
    problem: TrainingProblem


class BirthLine(Record):
    """The first value of a model that was not finite.

    line: the kind of line.
    birth: where it came from.
    """

    line: Literal["birth"]
    birth: Birth


class NoteLine(Record):
    """What else is to be known.

    line: the kind of line.
    note: one line of text.
    """

    line: Literal["note"]
    note: Name


class StepsLine(Record):
    """How far a model's training is.

    line: the kind of line.
    model: the watched model's name; empty where it is the only one.
    steps: how many its optimizer has taken while it was watched; a later line replaces an earlier one.
    """

    line: Literal["steps"]
    model: Name = ""
    steps: Count


class EndLine(Record):
    """The last line of a training that ended.

    line: the kind of line.
    status: ``finished``; ``failed`` by an exception; ``interrupted`` by Ctrl-C or a signal.
    steps: the most that a model's optimizer has taken while it was watched.
    problems: how many there were that were more than warnings.
    warnings: how many warnings there were.
    births: how many models had a value that was not finite.
    """

    line: Literal["end"]
    status: Literal["finished", "interrupted", "failed"]
    steps: Count
    problems: Count
    warnings: Count
    births: Count


TrainingLine = RowsLine | SnapshotLine | ProblemLine | BirthLine | NoteLine | StepsLine | EndLine
# Reads any line but the first.
TRAINING_LINE: Final[TypeAdapter[TrainingLine]] = TypeAdapter(Annotated[TrainingLine, Field(discriminator="line")])
