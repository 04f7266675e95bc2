"""The file of a training log → what it holds, or one line that says what is wrong with it and where.

A last line that was cut off, as a killed process or a full disk leaves it, is passed over.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final, NamedTuple, NoReturn

from pydantic import ValidationError

from vgharness.errors import UsageError
from vgharness.formatting import escaped, shorten
from vgharness.records import (
    FROM_FILE,
    TRAINING_LINE,
    TRAINING_VERSION,
    Birth,
    BirthLine,
    EndLine,
    LogRow,
    NoteLine,
    ProblemLine,
    RowsLine,
    Snapshot,
    SnapshotLine,
    StepsLine,
    TrainingHead,
    TrainingLine,
    TrainingLog,
    TrainingProblem,
    first_of,
)
from vgharness.storage.reading import content_of, read_bytes, upgraded, validated
from vgharness.storage.upgrades import TRAINING_UPGRADES
from vgharness.system.files import shown

_LONGEST_REASON: Final = 300
_END_BYTES: Final = 512
_LARGE: Final = (b'{"line":"rows"', b'{"line":"snapshot"')


def load_training_log(path: Path | str) -> TrainingLog:
    """Reads and validates a saved training log, also that of a training that goes on or was killed.

    Raises :class:`~vgharness.errors.UsageError` that says what is wrong with the file.
    """
    return log_of(Path(path), read_bytes(Path(path)))


def log_of(path: Path, content: bytes) -> TrainingLog:
    """The log that is in a file's ``content``. Raises :class:`~vgharness.errors.UsageError`; ``path`` is its name."""
    head, *lines = content.split(b"\n")
    reader = _Reader(path, _head(path, head))
    for number, line in enumerate(lines, 2):
        if line.strip():
            reader.take(number, line, last=number == len(lines) + 1)
    return reader.log()


def _head(path: Path, line: bytes) -> TrainingHead:
    content = content_of(path, line, "a training log")
    if content.get("kind") != "training":
        raise UsageError(f"{shown(path)}: not a training log; `vgharness list` shows what each file is")
    return validated(
        path, upgraded(path, content, TRAINING_VERSION, TRAINING_UPGRADES), TrainingHead, "head of a training log"
    )


class Overview(NamedTuple):
    """What a list says of a log.

    steps: the most that a model had taken; of a log that does not say how it ended, as far as its snapshots tell.
    """

    steps: int
    problems: int
    warnings: int
    births: int


def overview_of(path: Path) -> Overview:
    """The overview of the log in ``path``; what is damaged in it is passed over. Raises
    :class:`~vgharness.errors.UsageError` where it cannot be read."""
    end = _read(read_bytes(path, last=_END_BYTES).rstrip().rpartition(b"\n")[2])
    if isinstance(end, EndLine):
        return Overview(end.steps, end.problems, end.warnings, end.births)
    head, *lines = read_bytes(path).split(b"\n")
    first_step = _head(path, head).first_step
    others = [found for line in lines if not line.startswith(_LARGE) and (found := _read(line)) is not None]
    problems = {found.number: found.problem for found in others if isinstance(found, ProblemLine)}
    warnings = sum(problem.severity == "warning" for problem in problems.values())
    births = sum(isinstance(found, BirthLine) for found in others)
    steps = [found.steps for found in others if isinstance(found, StepsLine)]
    last = next((found for line in reversed(lines) if isinstance(found := _read(line), SnapshotLine)), None)
    taken = max([*steps, last.snapshot.step - first_step if last else 0])
    return Overview(taken, len(problems) - warnings, warnings, births)


def _read(line: bytes) -> TrainingLine | None:
    try:
        return TRAINING_LINE.validate_json(line, context=FROM_FILE)
    except ValidationError:
        return None


class _Reader:
    """Gathers what the lines say."""

    def __init__(self, path: Path, head: TrainingHead) -> None:
        self._path, self._head = path, head
        self._rows: dict[int, tuple[LogRow, ...]] = {}
        self._snapshots: dict[int, Snapshot] = {}
        self._problems: dict[int, TrainingProblem] = {}
        self._births: list[Birth] = []
        self._notes: list[str] = []
        self._steps = {model.name: model.steps for model in head.models}
        self._end: EndLine | None = None
        self._at = 1

    def take(self, number: int, line: bytes, *, last: bool) -> None:
        """Reads line ``number``. ``last``: nothing ends it, so that it may have been cut off."""
        self._at = number
        if last and not _is_whole(line):
            return
        try:
            found = TRAINING_LINE.validate_json(line, context=FROM_FILE)
        except ValidationError as error:
            self._refuse(shorten(first_of(error), _LONGEST_REASON))
        if self._end is not None:
            self._refuse("there is more after the line that says how the training ended")
        self._note(found)

    def _note(self, line: TrainingLine) -> None:
        match line:
            case RowsLine():
                if line.number in self._rows:
                    self._refuse(f"rows {line.number} are there twice")
                self._rows[line.number] = line.rows
            case SnapshotLine():
                self._check(line)
                self._snapshots[line.number] = line.snapshot
            case ProblemLine():
                self._known(line.problem.model)
                self._problems[line.number] = line.problem
            case BirthLine():
                self._known(line.birth.model)
                self._births.append(line.birth)
            case NoteLine():
                self._notes.append(line.note)
            case StepsLine():
                self._known(line.model)
                self._steps[line.model] = line.steps
            case EndLine():
                self._end = line

    def _check(self, line: SnapshotLine) -> None:
        snapshot = line.snapshot
        self._known(snapshot.model)
        if line.number in self._snapshots:
            self._refuse(f"snapshot {line.number} is there twice")
        if len(self._rows.get(snapshot.rows, ())) != len(snapshot.states) or snapshot.rows not in self._rows:
            self._refuse(f"the snapshot of step {snapshot.step} lacks its rows")

    def _known(self, model: str) -> None:
        if model not in self._steps:
            self._refuse(f"{escaped(shorten(model, 60))!r} is no watched model")

    def _refuse(self, reason: str) -> NoReturn:
        raise UsageError(f"{shown(self._path)}: line {self._at}: {reason}; was it edited?")

    def log(self) -> TrainingLog:
        """What was gathered. Lists of rows that no snapshot has are left out, the others numbered anew."""
        snapshots = [self._snapshots[number] for number in sorted(self._snapshots)]
        used = sorted({snapshot.rows for snapshot in snapshots})
        places = {number: place for place, number in enumerate(used)}
        for snapshot in snapshots:  # the last one may be later than what was said of the steps
            self._steps[snapshot.model] = max(self._steps[snapshot.model], snapshot.step - self._head.first_step)
        fields = self._head.model_dump(include={"schema_version", "kind", "created", "commit", "command", "every"})
        return TrainingLog(
            **fields,
            first_step=self._head.first_step,
            machine=self._head.machine,
            extra=self._head.extra,
            status=self._end.status if self._end else "running",
            models=tuple(x.model_copy(update={"steps": self._steps[x.name]}) for x in self._head.models),
            rows=tuple(self._rows[number] for number in used),
            snapshots=tuple(
                x if places[x.rows] == x.rows else x.model_copy(update={"rows": places[x.rows]}) for x in snapshots
            ),
            problems=tuple(self._problems[number] for number in sorted(self._problems)),
            births=tuple(self._births),
            notes=tuple(self._notes),
        )


def _is_whole(line: bytes) -> bool:
    """Whether an object is closed in it: no part of one that was cut off is."""
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True
