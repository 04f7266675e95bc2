"""Writes a training's log while it trains: ``<store>/<machine id>/NNNN_<name>.jsonl``, a line for each thing seen.

What lasts is appended, and never touched again until the file is written anew. After it stands what the next snapshot
replaces: each model's last snapshot and how far it is. A process that is killed in between leaves a file whose last
line may be cut off; `load_training_log` passes that over. The process holds the lock ``.NNNN_<name>.lock`` beside the
file, by which others see whether it still trains.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from filelock import FileLock
from pydantic_core import to_json

from vgharness.errors import UsageError
from vgharness.records import (
    Birth,
    BirthLine,
    EndLine,
    LogRow,
    NoteLine,
    ProblemLine,
    Record,
    RowsLine,
    Snapshot,
    SnapshotLine,
    StepsLine,
    TrainingHead,
    TrainingLog,
    TrainingProblem,
    TrainingStatus,
)
from vgharness.storage.entries import LOG_SUFFIX, lock_of, remove_free_locks
from vgharness.storage.store import check_name
from vgharness.storage.thinning import MOST_SNAPSHOTS, Taken, Thinned, in_order
from vgharness.storage.training_reading import load_training_log as load_training_log
from vgharness.storage.training_reading import log_of
from vgharness.system.files import FileIdentity, identity_of, replace_end, shown, write_whole

if TYPE_CHECKING:
    from vgharness.storage.store import RunStore

_DIGITS: Final = 6  # significant ones, of a value
_MOST_NOTES: Final = 256
_MOST_OUTDATED: Final = 512  # lines of problems that changed since, before the file is written anew
_CANNOT: Final = "the training's log cannot be written"
_LOCK_SECONDS: Final = 5.0  # somebody who looks whether it is held holds it for a moment


class TrainingLogWriter:
    """The log of one training: in memory, and in a file of a store.

    Once it is made nothing of it raises because of the file: what cannot be written is said once and kept in memory,
    and written when the file is next written anew, or at the end. A process that was forked from the one that made it
    changes nothing.

    head: what is known when the training begins.
    store: where the file goes; ``None``: there is none.
    name: of the file, after its number.
    warn: is called with one line, once, where something cannot be written.
    most: how many snapshots of one model are kept.

    Raises :class:`~vgharness.errors.UsageError` for a name that is no file's name.
    """

    path: Path | None

    def __init__(
        self,
        head: TrainingLog,
        *,
        store: RunStore | None,
        name: str,
        warn: Callable[[str], None],
        most: int = MOST_SNAPSHOTS,
    ) -> None:
        check_name(name)
        self.path = None
        self._store, self._name, self._warn, self._machine = store, name, warn, head.machine.id
        self._head = _head_of(head)
        self._process = os.getpid()
        self._models = {model.name: Thinned(most) for model in head.models}
        self._rows: dict[int, tuple[LogRow, ...]] = {}
        self._row_numbers: dict[tuple[LogRow, ...], int] = {}
        self._rows_asked: set[int] = set()  # numbers that were given, for which no snapshot has come yet
        self._rows_given = self._snapshots_taken = 0
        self._problems: dict[int, TrainingProblem] = {}
        self._births: list[Birth] = []
        self._notes: list[str] = list(head.notes)
        self._steps: dict[str, int] = {}
        self._end: EndLine | None = None
        self._known: TrainingLog | None = None  # the log as it is, where somebody asked for it
        # Of the file:
        self._lock: FileLock | None = None
        self._identity: FileIdentity | None = None
        self._written = 0  # bytes that last
        self._waiting: list[bytes] = []  # lines that last and are not in the file yet
        self._outdated = 0
        self._warned = self._broken = False
        self._write_anew()

    # --- what comes --------------------------------------------------------------------------------------

    def rows(self, rows: tuple[LogRow, ...]) -> int:
        """The number of these rows, by which a snapshot refers to them."""
        if rows not in self._row_numbers:
            number = self._rows_given
            self._rows_given += 1
            self._rows[number], self._row_numbers[rows] = rows, number
            self._waiting.append(_line(RowsLine(line="rows", number=number, rows=rows)))
        self._rows_asked.add(self._row_numbers[rows])
        return self._row_numbers[rows]

    def snapshot(self, snapshot: Snapshot) -> None:
        """Takes a snapshot of one of the models."""
        if not self._is_open():
            return
        line = _line(SnapshotLine(line="snapshot", number=self._snapshots_taken, snapshot=snapshot))
        taken = Taken(
            self._snapshots_taken, snapshot.step, snapshot.rows, line, greatest=_rounded(snapshot.greatest_norm)
        )
        self._snapshots_taken += 1
        self._rows_asked.discard(snapshot.rows)
        model = self._models[snapshot.model]
        self._waiting += (each.line for each in model.add(taken))
        if model.thin():
            self._write_anew()
        else:
            self._write()

    def problem(self, number: int, problem: TrainingProblem) -> None:
        """Takes a problem that began, or, of a number that was there, changed."""
        if not self._is_open():
            return
        before = self._problems.get(number)
        self._problems[number] = problem
        self._outdated += before is not None
        edges = {problem.began, problem.ended} - ({before.began, before.ended} if before else set())
        for step in edges - {None}:
            self._waiting += (each.line for each in self._models[problem.model].mark(step or 0))
        if self._outdated > _MOST_OUTDATED:
            self._write_anew()
        else:
            self._write(_line(ProblemLine(line="problem", number=number, problem=problem)))

    def birth(self, birth: Birth) -> None:
        """Takes the birth of a model's first value that is not finite."""
        if self._is_open():
            self._births.append(birth)
            self._waiting += (each.line for each in self._models[birth.model].mark(birth.step))
            self._write(_line(BirthLine(line="birth", birth=birth)))

    def note(self, text: str) -> None:
        """Takes a line that is to be known; one that is there already, and more than a few hundred, are left out."""
        if self._is_open() and text not in self._notes and len(self._notes) < _MOST_NOTES:
            self._notes.append(text)
            self._write(_line(NoteLine(line="note", note=text)))

    def steps(self, model: str, steps: int) -> None:
        """Takes how many steps a model's optimizer has taken; written together with what comes next."""
        if self._is_open():
            self._steps[model] = steps
            self._known = None

    def close(self, status: TrainingStatus) -> None:
        """Ends the log. What comes later, and a second end, change nothing."""
        if not self._is_open() or status == "running":
            return
        warnings = sum(problem.severity == "warning" for problem in self._problems.values())
        self._end = EndLine(
            line="end",
            status=status,
            steps=max(self._steps.values(), default=0),
            problems=len(self._problems) - warnings,
            warnings=warnings,
            births=len(self._births),
        )
        self._write()
        if self._broken:
            self._write_anew()
        self._let_go()

    @property
    def log(self) -> TrainingLog:
        """What is kept, as :func:`load_training_log` reads it."""
        if self._known is None:
            lasting, rest = self._lines()
            self._known = log_of(self.path or Path(self._name), b"".join([*lasting, *rest]))
        return self._known

    # --- the file ----------------------------------------------------------------------------------------

    def _is_open(self) -> bool:
        return self._end is None and os.getpid() == self._process

    def _lines(self) -> tuple[list[bytes], list[bytes]]:
        """All that the file is to hold: what lasts, and what does not."""
        rows = (RowsLine(line="rows", number=number, rows=rows) for number, rows in self._rows.items())
        last = {each.number for each in self._passing()}
        return [
            self._head,
            *map(_line, (NoteLine(line="note", note=text) for text in self._notes)),
            *map(_line, rows),
            *(each.line for each in in_order(self._models.values()) if each.number not in last),
            *map(
                _line,
                (ProblemLine(line="problem", number=number, problem=x) for number, x in sorted(self._problems.items())),
            ),
            *map(_line, (BirthLine(line="birth", birth=birth) for birth in self._births)),
        ], self._ending()

    def _ending(self) -> list[bytes]:
        """The lines that the next ones replace."""
        steps = [_line(StepsLine(line="steps", model=model, steps=steps)) for model, steps in self._steps.items()]
        passing = sorted(self._passing(), key=lambda each: each.number)
        return [*(each.line for each in passing), *steps, *([_line(self._end)] if self._end else [])]

    def _passing(self) -> Iterable[Taken]:
        return (model.last for model in self._models.values() if model.last is not None)

    def _write(self, *lines: bytes) -> None:
        """Adds the lines that wait, and ``lines``, to what lasts in the file."""
        self._known = None
        self._waiting += lines
        if self._broken or self.path is None or self._identity is None:
            self._waiting.clear()  # the file is to be written anew
            return
        lasting = b"".join(self._waiting)
        try:
            replace_end(self.path, self._identity, self._written, lasting + b"".join(self._ending()))
        except OSError as error:
            self._failed(f"{shown(self.path)}: {_CANNOT} ({error.strerror or error})")
        else:
            self._written += len(lasting)
        self._waiting.clear()

    def _write_anew(self) -> None:
        """Writes the whole file, without what is outdated in it; a new one where there is none of this log."""
        self._known = None
        if self._store is None:
            self._waiting.clear()
            return
        self._forget_rows()
        lasting, rest = self._lines()
        content = b"".join([*lasting, *rest])
        self._broken = True  # also where Ctrl-C comes in between
        try:
            if self.path is not None and self._is_own(self.path):
                write_whole(self.path, content)
            else:
                self._let_go()
                self.path = self._store.add(self._machine, f"{self._name}{LOG_SUFFIX}", content, beforehand=self._hold)
        except UsageError as error:
            self._failed(str(error))
        except OSError as error:
            self._failed(f"{shown(self.path or self._name)}: {_CANNOT} ({error.strerror or error})")
        else:
            self._identity = identity_of(self.path)
            self._written, self._outdated, self._broken = sum(map(len, lasting)), 0, False
        self._waiting.clear()

    def _is_own(self, path: Path) -> bool:
        """Whether the file that is there now is this log's."""
        if identity_of(path) is None:
            return False
        with path.open("rb") as file:
            return file.read(len(self._head)) == self._head

    def _forget_rows(self) -> None:
        """Drops the rows that no snapshot has any more."""
        used = self._rows_asked | {each.rows for model in self._models.values() for each in model.taken}
        for number in [number for number in self._rows if number not in used]:
            del self._row_numbers[self._rows.pop(number)]

    def _failed(self, reason: str) -> None:
        self._broken = True
        if not self._warned:
            self._warned = True
            self._warn(
                f"{reason}; the training goes on, its log is kept in memory and written at the end if that is possible"
            )

    def _hold(self, path: Path) -> None:
        """Takes the lock that says that this process writes the file."""
        remove_free_locks(path.parent)
        # Not of one thread: whoever ends the log may be another than who began it.
        lock = FileLock(lock_of(path), timeout=_LOCK_SECONDS, thread_local=False)
        with contextlib.suppress(OSError, NotImplementedError):  # a log without it is better than none
            lock.acquire()
            self._lock = lock

    def _let_go(self) -> None:
        if self._lock is not None:
            with contextlib.suppress(OSError):
                self._lock.release()
                Path(self._lock.lock_file).unlink(missing_ok=True)
            self._lock = None


def _head_of(log: TrainingLog) -> bytes:
    shared = TrainingHead.model_fields.keys() - {"status"}
    head = TrainingHead.model_validate({name: getattr(log, name) for name in shared})
    return head.model_dump_json().encode() + b"\n"


def _line(record: Record) -> bytes:
    return to_json(_rounded(record.model_dump(mode="json", exclude_defaults=True)), inf_nan_mode="null") + b"\n"


def _rounded(value: Any) -> Any:
    """The same with fewer digits."""
    if isinstance(value, dict):
        return {key: _rounded(each) for key, each in value.items()}
    if isinstance(value, list):  # of values there are thousands
        return [float(f"{each:.{_DIGITS}g}") if type(each) is float else _rounded(each) for each in value]
    return float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value
