"""What is watched as lines of plain files: JSON with everything, CSV with a row for each snapshot and layer."""

from __future__ import annotations

import contextlib
import json
import os
import stat
from pathlib import Path
from typing import Any, Final

from vgharness.errors import UsageError
from vgharness.records import SNAPSHOT_QUANTITIES, LogRow, Snapshot, TrainingProblem
from vgharness.report.csv_text import as_csv
from vgharness.system.files import check_file, shown

_TRAINING: Final = ("loss", "total_norm", "clipped_norm", "greatest_norm", "loss_scale", "skipped")
_COLUMNS: Final = ("model", "step", "batch", "layer", "forward_pass", "backward_pass", "state", *SNAPSHOT_QUANTITIES,
                   *_TRAINING)  # fmt: skip
_NO_WAITING: Final = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


class JsonlSink:
    """Writes what ``watch`` measures as lines of JSON, each of which stands for itself.

    >>> watch(model, optimizer, log=["training", JsonlSink("gradients.jsonl")])

    A line is ``{"snapshot": {...}}``, a snapshot's fields with a list ``layers`` in place of its columns, or
    ``{"problem": {...}}``, one that began, or, where ``ended`` is set, ended.
    """

    def __init__(self, path: Path | str, *, append: bool = False) -> None:
        """``append``: adds lines to a file that exists, which is refused otherwise.

        Raises :class:`~vgharness.errors.UsageError` for a file that exists, a device, a folder, and what cannot be
        written.
        """
        self._lines = _Lines(Path(path), "JsonlSink", append)

    def snapshot(self, snapshot: Snapshot, rows: tuple[LogRow, ...]) -> None:
        fields = snapshot.model_dump(mode="json", exclude={"rows", "states", "values"})
        layers = [
            {**row.model_dump(mode="json"), "state": state, **{name: values[at] for name, values in columns.items()}}
            for columns in [snapshot.values]
            for at, (row, state) in enumerate(zip(rows, snapshot.states, strict=True))
        ]
        self._write({"snapshot": {**fields, "layers": layers}})

    def problem(self, problem: TrainingProblem) -> None:
        self._write({"problem": problem.model_dump(mode="json")})

    def close(self) -> None:
        self._lines.close()

    def _write(self, line: dict[str, Any]) -> None:
        self._lines.add(f"{json.dumps(line, allow_nan=False)}\n")


class CsvSink:
    """Writes what ``watch`` measures as CSV, a row for each snapshot and layer; problems are not in it.

    >>> watch(model, optimizer, log=["training", CsvSink("gradients.csv")])
    """

    def __init__(self, path: Path | str, *, append: bool = False) -> None:
        """``append``: adds rows to a file of the same columns that exists, which is refused otherwise.

        Raises :class:`~vgharness.errors.UsageError` for a file that exists or has other columns, a device, a folder,
        and what cannot be written.
        """
        self._lines = _Lines(Path(path), "CsvSink", append, head=as_csv(_COLUMNS, ()))

    def snapshot(self, snapshot: Snapshot, rows: tuple[LogRow, ...]) -> None:
        of_all = {name: getattr(snapshot, name) for name in ("model", "step", "batch", *_TRAINING)}
        cells = [
            {
                **of_all,
                "layer": row.name,
                "forward_pass": row.forward_pass,
                "backward_pass": row.backward_pass,
                "state": state,
                **{name: values[at] for name, values in snapshot.values.items()},
            }
            for at, (row, state) in enumerate(zip(rows, snapshot.states, strict=True))
        ]
        self._lines.add(as_csv(_COLUMNS, cells).split("\n", 1)[1])

    def problem(self, problem: TrainingProblem) -> None:
        """Has no place in a table of layers."""

    def close(self) -> None:
        self._lines.close()


class _Lines:
    """Adds lines to a file; what could not be written whole is taken back."""

    def __init__(self, path: Path, option: str, append: bool, head: str = "") -> None:
        check_file(path, option)
        self._path, self._append, self._head = path, append, head.encode()
        self._descriptor: int | None = None
        if path.exists():
            if not append:
                raise UsageError(f"{option} {shown(path)}: there is such a file; give append=True, or another one")
            self._check_head(option)

    def add(self, text: str) -> None:
        """Writes ``text`` at the end of the file. Raises ``OSError`` where that fails, which leaves it as it was."""
        if self._descriptor is None:
            self._descriptor = self._open()
        _write_all(self._descriptor, text.encode("utf-8", "backslashreplace"))

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _check_head(self, option: str) -> None:
        with self._path.open("rb") as file:
            start = file.read(len(self._head))
        if start and start != self._head:
            raise UsageError(f"{option} {shown(self._path)}: it has other columns; give another file")

    def _open(self) -> int:
        """Makes the file with the first line: of several processes that train one model only one does."""
        new = 0 if self._append else os.O_EXCL
        descriptor = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | new | _NO_WAITING, 0o666)
        try:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise OSError(f"{shown(self._path)} is no file any more")
            if found.st_size == 0:
                _write_all(descriptor, self._head)
            else:
                os.lseek(descriptor, -1, os.SEEK_END)
                if os.read(descriptor, 1) != b"\n":  # a line that was cut off
                    _write_all(descriptor, b"\n")
        except BaseException:
            os.close(descriptor)
            raise
        return descriptor


def _write_all(descriptor: int, content: bytes) -> None:
    before = os.fstat(descriptor).st_size
    try:
        left = content
        while left:
            left = left[os.write(descriptor, left) :]
    except BaseException:
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, before)
        raise
