"""Saves, lists, finds and loads: ``<root>/<machine id>/NNNN_<name>.json``, never one over another.

Three kinds of file stand side by side: a study's `Run`, which has no ``kind``, a pytest `Session`, and the log of a
training, ``.jsonl``, which `training_log` writes. Each of the former is validated, written to a temporary file, flushed
to the disk, closed and then renamed, so that a reader or a crash never meets half of one; numbers are claimed under a
lock. What cannot be read is passed over with its reason and never touched.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Final, NamedTuple

from filelock import FileLock
from pydantic import ValidationError

from vgharness.errors import UsageError
from vgharness.records import (
    BASELINE_VERSION,
    FROM_FILE,
    SCHEMA_VERSION,
    SESSION_VERSION,
    Baseline,
    Run,
    Session,
    TrainingLog,
    first_of,
)
from vgharness.storage.entries import FINISHED, LOG_SUFFIX, Entry, Kind, Place, Skipped, look, next_number, places_in
from vgharness.storage.reading import IS_LOG, content_of, is_training, read_bytes, read_content, upgraded, validated
from vgharness.storage.training_reading import log_of
from vgharness.storage.upgrades import RUN_UPGRADES, SESSION_UPGRADES, Content
from vgharness.storage.work import StudySeen, StudyWork, forget, studies_in
from vgharness.system.environment import commit_named, machine_prefix
from vgharness.system.files import check_folder, shown, write_whole

DEFAULT_ROOT = Path(".gradflow")
Kinds = Kind | tuple[Kind, ...] | None

_LOCK_SECONDS: Final = 60.0
_WORDS: Final[dict[Kind, str]] = {"run": "run", "session": "session", "training": "training log"}
_COMMIT = re.compile(r"[0-9a-f]{7,40}")


class NotFoundError(UsageError):
    """What was asked for is not there."""


class Listing(NamedTuple):
    """All that is in a store, in the order of machines and numbers."""

    entries: tuple[Entry, ...]
    skipped: tuple[Skipped, ...]


class Found(NamedTuple):
    """The file that was asked for, and later ones that were passed over, with the reason."""

    path: Path
    skipped: tuple[Skipped, ...] = ()


class RunStore:
    """The folder of saved runs and sessions."""

    def __init__(self, root: Path | str = DEFAULT_ROOT) -> None:
        self.root = Path(root)

    def save(self, run: Run | Session, name: str) -> Path:
        """Saves under the next free number and returns the file's path.

        Raises :class:`~vgharness.errors.UsageError` for a name that is no file's name, for a record that is not valid
        (one that was copied with other fields), and where nothing can be written; what was saved before is then as it
        was.
        """
        check_name(name)
        return self.add(run.machine.id, f"{name}.json", to_json(run))

    def add(
        self, machine: str, ending: str, content: bytes, *, beforehand: Callable[[Path], None] = lambda path: None
    ) -> Path:
        """Writes ``NNNN_ending`` with the next free number into the folder of the ``machine`` of that id.

        beforehand: is called with the file's path before that is there, while no other process claims a number.

        Raises :class:`~vgharness.errors.UsageError` where nothing can be written; what was saved before is as it was.
        """
        folder = self.root / machine
        try:
            self._make_root()
            folder.mkdir(exist_ok=True)
            with FileLock(folder / ".lock", timeout=_LOCK_SECONDS):
                path = folder / f"{next_number(folder):04}_{ending}"
                beforehand(path)
                write_whole(path, content)
        except OSError as error:
            name = ending.rpartition(".")[0]
            raise UsageError(
                f"{shown(folder)}: {name!r} was not saved ({error.strerror or error}): {_fix(error)}"
            ) from error
        return path

    def check(self, option: str) -> None:
        """Checks that this machine can save here: in the store's folder, and in folders of its own that are there.

        Raises :class:`~vgharness.errors.UsageError` with the name of the ``option`` that gave the store.
        """
        check_folder(self.root, option)
        for folder in self.root.glob(f"{machine_prefix()}*"):
            check_folder(folder, option)

    def work(self, run: Run, warn: Callable[[str], None]) -> StudyWork:
        """What is kept of the cells of ``run`` while they train; ``warn`` is called with a line for what cannot be.

        Raises :class:`~vgharness.errors.UsageError` where nothing can be saved here.
        """
        try:
            self._make_root()
        except OSError as error:
            raise UsageError(f"{shown(self.root)}: cannot be written to ({error.strerror}); {_fix(error)}") from error
        check_folder(self.root / run.machine.id, "the folder of saved runs")
        return StudyWork(self.root / run.machine.id, run, warn)

    def forget_work(self, run: Run) -> None:
        """Removes what was kept of the cells of ``run`` while they trained; to be called once it is saved."""
        forget(self.root / run.machine.id, run)

    def studies(self) -> list[StudySeen]:
        """The studies that are not finished, of every machine."""
        return [study for folder in self._folders() for study in studies_in(folder)]

    def entries(self) -> Listing:
        """Every saved run and session. Only the ends of each file are read: what is wrong in between is found when it
        is loaded."""
        entries: list[Entry] = []
        skipped: list[Skipped] = []
        for folder in self._folders():
            places, others = places_in(folder)
            skipped += others
            for seen in map(look, places):
                (entries if isinstance(seen, Entry) else skipped).append(seen)  # type: ignore[arg-type]
        return Listing(tuple(entries), tuple(skipped))

    def find(self, which: str | None = None, kind: Kinds = "session", *, whole: bool = False) -> Found:
        """The saved file of that ``kind`` (or of one of several; ``None``: of any) that ``which`` means: a number
        (``3``, ``0003``), a name (its latest), the path of a file, a git commit or ref that it was measured at (its
        latest), or ``None`` for the latest of all.

        The latest is the one with the highest number; of several machines', the one written last. ``whole``: of those
        that a name, a commit or ``None`` means, the latest that finished, passing over those that were cut short or
        left tests out. Raises :class:`~vgharness.errors.UsageError` where there is none, and where a number is there
        twice.
        """
        one = self._of_path_or_number(which)
        if one is not None:
            return Found(one)
        per_machine = [places_in(folder)[0] for folder in self._folders()]
        named = [[place for place in places if which in (None, place.name)] for places in per_machine]
        if which is not None and not any(named):
            commit = _commit(which)
            if commit is not None:
                return self._latest(per_machine, which, kind, whole=whole, commit=commit)
        return self._latest(named, which, kind, whole=whole)

    def find_all(self, which: str, kind: Kind = "session") -> tuple[Path, ...]:
        """The files of that ``kind`` that ``which`` means, in the order of their numbers: all whose name a glob such as
        ``nightly*`` matches, and else the one that :meth:`find` finds. Raises
        :class:`~vgharness.errors.UsageError`."""
        if not set(which) & set("*?[") or Path(which).exists():
            return (self.find(which, kind).path,)
        entries = [x for x in self.entries().entries if x.kind == kind and fnmatchcase(x.name, which)]
        if not entries:
            raise NotFoundError(
                f"{shown(self.root)}: no {_WORDS[kind]} {which!r} here; `vgharness list` shows what is saved"
            )
        return tuple(entry.path for entry in entries)

    def _of_path_or_number(self, which: str | None) -> Path | None:
        if which is not None and is_path(which):
            if not Path(which).exists():
                raise NotFoundError(f"{which}: there is no such file; `vgharness list` shows what is saved")
            return Path(which)
        if which is None or not which.isdecimal():
            return None
        places = (place for folder in self._folders() for place in places_in(folder)[0])
        numbered = [place.path for place in places if place.number == int(which)]
        if len(numbered) > 1:
            raise UsageError(
                f"number {which} is there {len(numbered)} times: give the path of one, such as {numbered[0]}"
            )
        return numbered[0] if numbered else None

    def _latest(
        self, per_machine: Iterable[list[Place]], which: str | None, kind: Kinds, *, whole: bool, commit: str = ""
    ) -> Found:
        latest: list[Entry] = []
        cut_short: list[list[Entry]] = []
        skipped: list[Skipped] = []
        for places in per_machine:
            cut_short.append([])
            for entry in _looked(reversed(places), kind, commit, skipped):
                if not whole or entry.status == FINISHED:
                    latest.append(entry)
                    break
                cut_short[-1].append(entry)
        if latest:
            skipped += [Skipped(x.path, f"the session is {x.status}") for each in cut_short for x in each]
        candidates = latest or [each[0] for each in cut_short if each]
        if candidates:
            return Found(max(candidates, key=lambda entry: entry.path.stat().st_mtime_ns).path, tuple(skipped))
        *others, last = (_WORDS[each] for each in _kinds(kind))
        what = f"{', '.join(others)} or {last}" if others else last
        wanted = f"{'saved ' if which is None else ''}{what}{'' if which is None else f' {which!r}'}"
        unreadable = f" ({len(skipped)} cannot be read)" if skipped else ""
        kind_of_error = UsageError if skipped else NotFoundError
        raise kind_of_error(f"{shown(self.root)}: no {wanted} here{unreadable}; `vgharness list` shows what is saved")

    def _make_root(self) -> None:
        """Saved runs are this machine's own: a new folder of them is kept out of a repository around it."""
        self.root.mkdir(parents=True, exist_ok=True)
        if not any(self.root.iterdir()):
            write_whole(self.root / ".gitignore", b"*\n")

    def _folders(self) -> list[Path]:
        try:
            return sorted(path for path in self.root.iterdir() if path.is_dir() and not path.name.startswith("."))
        except FileNotFoundError:
            return []
        except OSError as error:
            raise UsageError(
                f"{shown(self.root)}: cannot be read ({error.strerror}); give the store's folder"
            ) from error


def to_json(record: Run | Session) -> bytes:
    """The content of ``record``'s file. Raises :class:`~vgharness.errors.UsageError` where it could not be loaded."""
    content = record.model_dump_json(warnings=False).encode()
    try:
        type(record).model_validate_json(content, context=FROM_FILE)
    except ValidationError as error:
        raise UsageError(f"not saved, for the record is not valid: {first_of(error)}") from error
    return content


def check_name(name: str) -> None:
    """Raises :class:`~vgharness.errors.UsageError` for a name that cannot be part of a file's."""
    if not re.fullmatch(r"[\w.-]+", name) or name.startswith("."):
        raise UsageError(f"run name {name!r}: use letters, digits, '_', '-' and '.' only, not first '.'")


def load_run(path: Path | str) -> Run:
    """Reads and validates a study's saved run. Raises :class:`~vgharness.errors.UsageError` that says what is
    wrong with the file."""
    return _run(Path(path), read_content(Path(path)))


def load_session(path: Path | str) -> Session:
    """Reads and validates a saved pytest session, or a baseline file as one. Raises
    :class:`~vgharness.errors.UsageError` that says what is wrong with the file."""
    return _session(Path(path), read_content(Path(path)))


def load(path: Path) -> Run | Session | TrainingLog:
    """Whichever of the three the file is."""
    text = read_bytes(path)
    if is_training(text):
        return log_of(path, text)
    content = content_of(path, text, "a run of vgharness")
    return _session(path, content) if content.get("kind") in ("session", "baseline") else _run(path, content)


def load_measured(path: Path) -> Run | Session:
    """A study's run or a session, whichever the file is. Raises :class:`~vgharness.errors.UsageError`, also for a
    training log."""
    loaded = load(path)
    if isinstance(loaded, TrainingLog):
        raise UsageError(f"{shown(path)}: {IS_LOG}")
    return loaded


def is_path(which: str) -> bool:
    """Whether that means a file, not the name of a saved one."""
    return Path(which).name != which or (which.endswith((".json", LOG_SUFFIX)) and Path(which).exists())


def _run(path: Path, content: Content) -> Run:
    if content.get("kind") in ("session", "baseline"):
        raise UsageError(f"{shown(path)}: a pytest session, not a study's run; `vgharness show` shows it")
    return validated(path, upgraded(path, content, SCHEMA_VERSION, RUN_UPGRADES), Run, "run")


def _session(path: Path, content: Content) -> Session:
    if content.get("kind") == "baseline":
        return baseline_of(path, content).as_session()
    if "kind" not in content and "study" in content:
        raise UsageError(
            f"{shown(path)}: a study's run, not a pytest session; `vgharness report RUN` writes its page, "
            "`vgharness compare A B` compares two"
        )
    return validated(path, upgraded(path, content, SESSION_VERSION, SESSION_UPGRADES), Session, "session")


def baseline_of(path: Path, content: Content) -> Baseline:
    """Validates the content of a baseline file. Raises :class:`~vgharness.errors.UsageError`."""
    return validated(path, upgraded(path, content, BASELINE_VERSION, {}), Baseline, "baseline")


def _kinds(kind: Kinds) -> tuple[Kind, ...]:
    if kind is None:
        return tuple(_WORDS)
    return kind if isinstance(kind, tuple) else (kind,)


def _looked(places: Iterable[Place], kind: Kinds, commit: str, skipped: list[Skipped]) -> Iterator[Entry]:
    """Those of that ``kind`` that were measured at ``commit``; ``skipped`` gathers what cannot be read."""
    for place in places:
        seen = look(place)
        if isinstance(seen, Skipped):
            skipped.append(seen)
        elif seen.kind in _kinds(kind) and (not commit or _commit_of(seen).startswith(commit)):
            yield seen


def _commit_of(entry: Entry) -> str:
    """An older version's file does not say it at its beginning."""
    if entry.kind == "training":
        return entry.commit or ""
    return entry.commit or str(read_content(entry.path).get("commit") or "")


def _commit(which: str) -> str | None:
    """The commit that is meant, or the beginning of its name; None: none is."""
    return which if _COMMIT.fullmatch(which) else commit_named(which)


def _fix(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "free some space there or give another folder; what was saved before is whole"
    if error.errno == errno.ENAMETOOLONG:
        return "give a shorter name"
    if isinstance(error, TimeoutError):
        return f"another process has held its lock for {_LOCK_SECONDS:.0f} seconds; end it or give another folder"
    return "let this user write there or give another folder"
