"""What is kept of studies that are not finished: ``<store>/<machine id>/.work/``.

================  =======================================================================================
``<address>/``    the folder of one cell, named by the hash of all that its result depends on
``<study>.json``  one study: who trains it, and which cells it has
``<study>.lock``  held by the process that trains it, and free once that is gone
``.lock``         of those that look through the studies, for a moment
================  =======================================================================================

A cell belongs to no study: another one that has the same cell goes on with it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal, NamedTuple

from filelock import FileLock
from pydantic import ValidationError

from vgharness.errors import UsageError
from vgharness.formatting import moment
from vgharness.records import FROM_FILE, Cell, Record, Run
from vgharness.storage.checkpoints import CellWork, Configuration, Seen, look_at
from vgharness.system.files import remove_litter, shown, write_whole
from vgharness.system.locks import is_held

WORK: Final = ".work"
_TURN_SECONDS: Final = 60.0


class StudyNote(Record):
    """Which study a process trains, or has trained until it ended.

    format: of the file.
    preset: the study's name.
    command: what goes on with it.
    host: the machine's name.
    process: the number of the process there.
    since: when it began, ISO 8601, UTC.
    cells: the addresses of the cells, in the study's order.
    """

    format: Literal[1] = 1
    preset: str
    command: str
    host: str
    process: int
    since: str
    cells: tuple[str, ...]

    @property
    def holder(self) -> str:
        """``process 123 on somewhere, since 2026-07-01 12:00 UTC``."""
        return f"process {self.process} on {self.host}, since {moment(self.since)}"


class StudySeen(NamedTuple):
    """A study that is not finished, as ``vgharness status`` lists it.

    note: which.
    trains: whether a process trains it now.
    cells: what there is of those of its cells that were begun.
    """

    note: StudyNote
    trains: bool
    cells: tuple[Seen, ...]


class StudyWork:
    """What is kept of one study's cells, by the process that trains it; to be used with ``with``, around the training.

    folder: of this machine in the store.
    run: the study, as it is known beforehand.
    warn: is called with one line where something cannot be kept or read.
    """

    def __init__(self, folder: Path, run: Run, warn: Callable[[str], None]) -> None:
        self._folder, self._run, self._warn = folder / WORK, run, warn
        self._configurations = {cell: Configuration.of(cell, run) for cell in run.study.cells}
        self._cells: dict[Cell, CellWork] = {}
        self._held = ExitStack()

    def cell(self, cell: Cell) -> CellWork:
        """The folder of one of the study's cells."""
        if cell not in self._cells:
            configuration = self._configurations[cell]
            self._cells[cell] = CellWork(self._folder / configuration.address, configuration, self._warn)
        return self._cells[cell]

    def start_over(self) -> None:
        """Forgets all that was kept of the study's cells."""
        for cell in self._configurations:
            self.cell(cell).remove()
        self._cells.clear()

    def __enter__(self) -> StudyWork:
        """Takes the study's cells for this process.

        Raises :class:`~vgharness.errors.UsageError` where another process that lives trains one of them, and where
        nothing can be written.
        """
        addresses = tuple(each.address for each in self._configurations.values())
        note = StudyNote(
            preset=self._run.study.preset,
            command=self._run.command,
            host=platform.node(),
            process=os.getpid(),
            since=datetime.now(UTC).isoformat(timespec="seconds"),
            cells=addresses,
        )
        own = self._folder / f"{_name_of(addresses)}.json"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with _turn(self._folder):
                _keep_out_of_git(self._folder)
                remove_litter(self._folder)
                for path, other in _notes(self._folder):
                    if set(other.cells) & set(addresses) and is_held(path.with_suffix(".lock")):
                        raise UsageError(
                            f"{other.holder}, trains networks of this study; wait for it, or end it and go on from "
                            "where it was (vgharness status)"
                        )
                write_whole(own, note.model_dump_json().encode())
                self._held.enter_context(FileLock(own.with_suffix(".lock"), timeout=0))
        except OSError as error:
            raise UsageError(
                f"{shown(self._folder)}: what is trained cannot be kept there ({error.strerror or error}); let this "
                "user write there or start in another folder"
            ) from error
        return self

    def __exit__(self, *_: object) -> None:
        self._held.close()


def forget(folder: Path, run: Run) -> None:
    """Removes what was kept in ``folder``, this machine's in the store, of a run that is finished and saved: its cells'
    folders, but for those that another study in work has, and its own note. What cannot be removed stays."""
    work = folder / WORK
    done = {Configuration.of(cell, run).address: cell for cell in run.study.cells}
    with contextlib.suppress(OSError), _turn(work):
        wanted: set[str] = set()
        for path, note in _notes(work):
            lock = path.with_suffix(".lock")
            if is_held(lock) or not set(note.cells) <= set(done):
                wanted |= set(note.cells)
            else:
                path.unlink()
                lock.unlink(missing_ok=True)
        for address, cell in done.items():
            if address not in wanted:
                CellWork(work / address, Configuration.of(cell, run), lambda line: None).remove()


def studies_in(folder: Path) -> list[StudySeen]:
    """The studies that are not finished in ``folder``, a machine's in the store. Only names and first lines are read,
    and nothing changed."""
    work = folder / WORK
    return [
        StudySeen(
            note,
            is_held(path.with_suffix(".lock")),
            tuple(look_at(work / address) for address in note.cells if (work / address).is_dir()),
        )
        for path, note in _notes(work)
    ]


def _name_of(addresses: tuple[str, ...]) -> str:
    return hashlib.sha256(" ".join(sorted(addresses)).encode()).hexdigest()[:32]


def _notes(work: Path) -> Iterator[tuple[Path, StudyNote]]:
    """Those that can be read; others are none of ours."""
    for path in sorted(work.glob("*.json")):
        with contextlib.suppress(OSError, ValidationError):
            yield path, StudyNote.model_validate_json(path.read_bytes(), context=FROM_FILE)


def _turn(work: Path) -> FileLock:
    return FileLock(work / ".lock", timeout=_TURN_SECONDS)


def _keep_out_of_git(work: Path) -> None:
    """Also where the saved runs beside it are not: this is of no use to anybody else."""
    if not (work / ".gitignore").exists():
        write_whole(work / ".gitignore", b"*\n")
