"""The folder of one cell in training: what was kept of it after its last epoch, its result once it has ended.

==============  =======================================================================================
``cell.json``   which cell it is of which study's configuration, and what its attempts so far raised
``checkpoint``  what it takes to go on from its last epoch: two lines of JSON, then the state as bytes
``done.json``   its result, once it has ended; then there is no ``checkpoint`` any more
==============  =======================================================================================

Each file is written whole, so that a process that is killed leaves the old one or the new one. What is damaged, foreign
or of another configuration is set aside under another name and never read again.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, Literal, NamedTuple, TypeVar

from pydantic import ValidationError

from vgharness.errors import UsageError
from vgharness.formatting import in_one_line
from vgharness.records import FROM_FILE, Cell, CellResult, Name, Precision, Record, Run, first_of
from vgharness.storage.reading import check_regular
from vgharness.system.files import remove_litter, shown, write_whole

MOST_ATTEMPTS: Final = 3  # of a cell that raises

_CELL, _CHECKPOINT, _DONE = "cell.json", "checkpoint", "done.json"
_SET_ASIDE: Final = "set-aside"
_HEAD_BYTES: Final = 1000  # of a checkpoint's first line, at most

_AnyFile = TypeVar("_AnyFile", bound="_File")


class Configuration(Record):
    """All that what a cell computes depends on, bit for bit on a CPU.

    format: of what is kept; another one is another configuration.
    cell: what is trained.
    precision: of the arithmetic.
    images: the SHA-256 of the images.
    classes: how many there are.
    train_images, test_images: how many there are.
    torch: the version of PyTorch.
    device: ``cpu`` or ``cuda``.
    """

    format: Literal[1] = 1
    cell: Cell
    precision: Precision
    images: str
    classes: int
    train_images: int
    test_images: int
    torch: str
    device: Literal["cpu", "cuda"]

    @staticmethod
    def of(cell: Cell, run: Run) -> Configuration:
        """That of one of the run's cells."""
        return Configuration(
            cell=cell,
            precision=run.study.precision,
            images=run.data.sha256,
            classes=len(run.data.classes),
            train_images=run.data.train_images,
            test_images=run.data.test_images,
            torch=run.machine.versions.get("torch", ""),
            device="cpu" if run.machine.device == "cpu" else "cuda",
        )

    @property
    def address(self) -> str:
        """The name of the cell's folder: a hash of all of it."""
        content = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:32]


class Checkpoint(NamedTuple):
    """What a cell goes on from.

    result: what there is of it, as it is if nothing more comes: ``interrupted``.
    state: of its network, its optimizer and its generators.
    """

    result: CellResult
    state: bytes


class Seen(NamedTuple):
    """What the small parts of a cell's files say, for a list.

    cell: which; ``None``: that cannot be read.
    done: whether it has ended.
    epoch: the last one that was kept.
    failures: what its attempts raised.
    """

    cell: Cell | None
    done: bool
    epoch: int
    failures: tuple[str, ...]


class _File(Record):
    configuration: Configuration


class _CellFile(_File):
    failures: tuple[Name, ...] = ()


class _ResultFile(_File):
    result: CellResult


class _Head(Record):
    """A checkpoint's first line.

    format: of the file.
    epoch: the last one that was kept.
    sha256: of all that follows.
    """

    format: Literal[1] = 1
    epoch: int
    sha256: str


class _DamagedError(Exception):
    """Why a file cannot be used."""


class CellWork:
    """The folder of one cell.

    Nothing that goes wrong with its files raises: what cannot be written is not kept, what cannot be read is as if it
    were not there, and either is said to ``warn`` in one line.
    """

    def __init__(self, folder: Path, configuration: Configuration, warn: Callable[[str], None]) -> None:
        self._folder, self._configuration, self._warn = folder, configuration, warn
        self._failures: tuple[str, ...] | None = None  # until it is read
        self._warned = False  # that it is not kept

    @property
    def failures(self) -> tuple[str, ...]:
        """What the attempts to train it have raised so far, those of earlier processes too."""
        if self._failures is None:
            found = self._read(_CELL, _CellFile)
            self._failures = found.failures if found else ()
        return self._failures

    def begin(self) -> None:
        """Makes the folder, and says in it which cell this is."""
        remove_litter(self._folder)
        if not (self._folder / _CELL).exists():
            self._write(_CELL, _CellFile(configuration=self._configuration))

    def add_failure(self, reason: str) -> None:
        """Counts an attempt that raised."""
        self._failures = (*self.failures, reason)
        self._write(_CELL, _CellFile(configuration=self._configuration, failures=self._failures))

    def result(self) -> CellResult | None:
        """What came of it, if it has ended."""
        found = self._read(_DONE, _ResultFile)
        return found.result if found else None

    def end(self, result: CellResult) -> None:
        """Keeps the result of a cell that has ended, and no more its checkpoint."""
        if self._write(_DONE, _ResultFile(configuration=self._configuration, result=result)):
            with contextlib.suppress(OSError):
                (self._folder / _CHECKPOINT).unlink(missing_ok=True)

    def checkpoint(self) -> Checkpoint | None:
        """What to go on from; ``None``: from the start."""
        path = self._folder / _CHECKPOINT
        try:
            content = _content(path)
            return None if content is None else self._parsed(content)
        except _DamagedError as error:
            self.set_aside(_CHECKPOINT, str(error))
            return None

    def keep(self, checkpoint: Checkpoint) -> None:
        """Keeps what the cell is to go on from, in place of what was kept before."""
        facts = _ResultFile(configuration=self._configuration, result=checkpoint.result)
        body = facts.model_dump_json().encode() + b"\n" + checkpoint.state
        head = _Head(epoch=len(checkpoint.result.epochs), sha256=hashlib.sha256(body).hexdigest())
        self._write_bytes(_CHECKPOINT, head.model_dump_json().encode() + b"\n" + body)

    def set_aside(self, name: str = _CHECKPOINT, reason: str = "") -> None:
        """Gives a file that cannot be used another name, which is said."""
        path = self._folder / name
        names = [f"{name}.{_SET_ASIDE}", *(f"{name}.{number}.{_SET_ASIDE}" for number in range(2, 1000))]
        aside = next((x for x in map(self._folder.joinpath, names) if not x.exists()), self._folder / names[-1])
        try:
            path.replace(aside)
        except OSError as error:
            self._warn(f"{shown(path)}: {reason}; it cannot be set aside ({error.strerror}): remove it")
            return
        over = "" if name == _CELL else f", and {self._configuration.cell.name} starts over"
        self._warn(f"{shown(path)}: {reason}; set aside as {aside.name}{over}")

    def remove(self) -> None:
        """Removes these files and, if nothing else is in it, the folder. What cannot be removed stays."""
        with contextlib.suppress(OSError):
            remove_litter(self._folder)
            for name in (_CHECKPOINT, _DONE, _CELL):
                (self._folder / name).unlink(missing_ok=True)
            self._folder.rmdir()

    def _parsed(self, content: bytes) -> Checkpoint:
        first, _, body = content.partition(b"\n")
        facts, _, state = body.partition(b"\n")
        head = _validated(_Head, first)
        if hashlib.sha256(body).hexdigest() != head.sha256:
            raise _DamagedError("damaged (its hash is another one)")
        result = self._own(_validated(_ResultFile, facts)).result
        if result.cell != self._configuration.cell or result.status != "interrupted":
            raise _DamagedError("not what is kept of a cell in training")
        return Checkpoint(result, state)

    def _read(self, name: str, kind: type[_AnyFile]) -> _AnyFile | None:
        try:
            content = _content(self._folder / name)
            return None if content is None else self._own(_validated(kind, content))
        except _DamagedError as error:
            self.set_aside(name, str(error))
            return None

    def _own(self, found: _AnyFile) -> _AnyFile:
        if found.configuration != self._configuration:
            raise _DamagedError("of another configuration")
        return found

    def _write(self, name: str, record: Record) -> bool:
        return self._write_bytes(name, record.model_dump_json().encode())

    def _write_bytes(self, name: str, content: bytes) -> bool:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            write_whole(self._folder / name, content)
        except OSError as error:
            if not self._warned:
                self._warned = True
                cell = self._configuration.cell.name
                self._warn(f"{shown(self._folder / name)} cannot be written ({error.strerror}): {cell} is not kept")
            return False
        return True


def look_at(folder: Path) -> Seen:
    """What a cell's folder holds, as far as names and first lines say it; changes nothing."""
    cell: Cell | None = None
    failures: tuple[str, ...] = ()
    epoch = 0
    with contextlib.suppress(_DamagedError):
        if content := _content(folder / _CELL):
            found = _validated(_CellFile, content)
            cell, failures = found.configuration.cell, found.failures
    with contextlib.suppress(_DamagedError, OSError, UsageError):
        check_regular(folder / _CHECKPOINT)
        with (folder / _CHECKPOINT).open("rb") as file:
            epoch = _validated(_Head, file.readline(_HEAD_BYTES)).epoch
    return Seen(cell, (folder / _DONE).exists(), epoch, failures)


def _content(path: Path) -> bytes | None:
    """``None``: there is no such file."""
    if not os.path.exists(path):  # noqa: PTH110 - this never raises
        return None
    try:
        check_regular(path)
        return path.read_bytes()
    except UsageError as error:
        raise _DamagedError(str(error).partition(": ")[2]) from error
    except OSError as error:
        raise _DamagedError(f"cannot be read ({error.strerror})") from error


_AnyRecord = TypeVar("_AnyRecord", bound=Record)


def _validated(kind: type[_AnyRecord], content: bytes) -> _AnyRecord:
    try:
        return kind.model_validate_json(content, context=FROM_FILE)
    except ValidationError as error:
        raise _DamagedError(f"damaged ({first_of(error)})") from error
    except (ValueError, RecursionError) as error:
        raise _DamagedError(f"damaged ({in_one_line(error)})") from error
