"""Saves, lists, finds and loads: ``<root>/<machine id>/NNNN_<name>.json``, never one over another.

Two kinds of file stand side by side: a study's `Run`, which has no ``kind``, and a pytest `Session`. Each is validated,
written to a temporary file, flushed to the disk, closed and then renamed, so that a reader or a crash never meets half
of one; numbers are claimed under a lock. What cannot be read is passed over with its reason and never touched. A list
of thousands of files reads only their first and last bytes.
"""

from __future__ import annotations

import errno
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Literal, NamedTuple, TypeVar

from filelock import FileLock
from pydantic import ValidationError

from vgharness.errors import UsageError
from vgharness.records import FROM_FILE, SCHEMA_VERSION, SESSION_VERSION, Record, Run, Session, first_of
from vgharness.storage.upgrades import RUN_UPGRADES, SESSION_UPGRADES, Content, Upgrades
from vgharness.system.environment import machine_prefix
from vgharness.system.files import check_folder, shown, write_whole

DEFAULT_ROOT = Path(".gradflow")

Kind = Literal["run", "session"]
AnyRecord = TypeVar("AnyRecord", bound=Record)

_FILE = re.compile(r"([0-9]{4,})_(.+)\.json")
# How this package's own files begin; of any other the whole is read.
_HEAD = re.compile(rb'\{\s*"schema_version":\s*(\d+),\s*(?:"kind":\s*"(session)",\s*)?"created":\s*"([^"\\]*)"')
_HEAD_BYTES: Final = 256
_HALF_CHARACTER = re.compile(rb"\\u[dD][89a-fA-F]")  # also where it is one of two that make a whole one
_LOCK_SECONDS: Final = 60.0


class Skipped(NamedTuple):
    """A file that is no saved run, or none that can be read, and why."""

    path: Path
    reason: str


class Entry(NamedTuple):
    """What the name of a saved file, and its first and last bytes, say of it."""

    path: Path
    machine: str
    number: int
    name: str
    kind: Kind
    created: str
    size: int


class Listing(NamedTuple):
    """All that is in a store, in the order of machines and numbers."""

    entries: tuple[Entry, ...]
    skipped: tuple[Skipped, ...]


class Found(NamedTuple):
    """The file that was asked for, and later ones that were passed over because they cannot be read."""

    path: Path
    skipped: tuple[Skipped, ...] = ()


class _Place(NamedTuple):
    path: Path
    number: int
    name: str


class RunStore:
    """The folder of saved runs and sessions."""

    def __init__(self, root: Path = DEFAULT_ROOT) -> None:
        self.root = root

    def save(self, run: Run | Session, name: str) -> Path:
        """Saves under the next free number and returns the file's path.

        Raises :class:`~vgharness.errors.UsageError` for a name that is no file's name, for a record that is not valid
        (one that was copied with other fields), and where nothing can be written; what was saved before is then as it
        was.
        """
        check_name(name)
        folder = self.root / run.machine.id
        content = to_json(run)
        try:
            self._make_root()
            folder.mkdir(exist_ok=True)
            with FileLock(folder / ".lock", timeout=_LOCK_SECONDS):
                number = max((place.number for place in _places(folder)), default=0) + 1
                path = folder / f"{number:04}_{name}.json"
                write_whole(path, content)
        except OSError as error:
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

    def entries(self) -> Listing:
        """Every saved run and session. Only the ends of each file are read: what is wrong in between is found when it
        is loaded."""
        entries, skipped = [], []
        for folder in self._folders():
            places = _places(folder)
            known = {place.path for place in places}
            skipped += [
                Skipped(path, "not a saved run: its name is not NNNN_name.json")
                for path in sorted(folder.iterdir())
                if path not in known and not path.name.startswith(".")
            ]
            for place in places:
                try:
                    entries.append(_look(place))
                except UsageError as error:
                    skipped.append(Skipped(place.path, _reason(place.path, error)))
        return Listing(tuple(entries), tuple(skipped))

    def find(self, which: str | None = None, kind: Kind | None = "session") -> Found:
        """The saved file of that ``kind`` (``None``: of either) that ``which`` means: a number (``3``, ``0003``), a
        name (its latest), the path of a file, or ``None`` for the latest of all.

        The latest is the one with the highest number; of several machines', the one written last. Raises
        :class:`~vgharness.errors.UsageError` where there is none, and where a number is there twice.
        """
        if which is not None and _is_path(which):
            if not Path(which).is_file():
                raise UsageError(f"{which}: there is no such file; `vgharness list` shows what is saved")
            return Found(Path(which))
        per_machine = [_places(folder) for folder in self._folders()]
        if which is not None and which.isdecimal():
            numbered = [place.path for places in per_machine for place in places if place.number == int(which)]
            if len(numbered) > 1:
                raise UsageError(
                    f"number {which} is there {len(numbered)} times: give the path of one, such as {numbered[0]}"
                )
            if numbered:
                return Found(numbered[0])
        named = ([place for place in places if which in (None, place.name)] for places in per_machine)
        return self._latest(named, which, kind)

    def _latest(self, per_machine: Iterable[list[_Place]], which: str | None, kind: Kind | None) -> Found:
        latest: list[Entry] = []
        skipped: list[Skipped] = []
        for places in per_machine:
            for place in reversed(places):
                try:
                    entry = _look(place)
                except UsageError as error:
                    skipped.append(Skipped(place.path, _reason(place.path, error)))
                    continue
                if kind in (None, entry.kind):
                    latest.append(entry)
                    break
        if latest:
            return Found(max(latest, key=lambda entry: entry.path.stat().st_mtime_ns).path, tuple(skipped))
        what = kind or "run or session"
        wanted = f"{'saved ' if which is None else ''}{what}{'' if which is None else f' {which!r}'}"
        unreadable = f" ({len(skipped)} cannot be read)" if skipped else ""
        raise UsageError(f"{shown(self.root)}: no {wanted} here{unreadable}; `vgharness list` shows what is saved")

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
    content = record.model_dump_json(indent=1, warnings=False).encode()
    try:
        type(record).model_validate_json(content, context=FROM_FILE)
    except ValidationError as error:
        raise UsageError(f"not saved, for the record is not valid: {first_of(error)}") from error
    return content


def check_name(name: str) -> None:
    """Raises :class:`~vgharness.errors.UsageError` for a name that cannot be part of a file's."""
    if not re.fullmatch(r"[\w.-]+", name) or name.startswith("."):
        raise UsageError(f"run name {name!r}: use letters, digits, '_', '-' and '.' only, not first '.'")


def load_run(path: Path) -> Run:
    """Reads and validates a study's saved run. Raises :class:`~vgharness.errors.UsageError` that says what is
    wrong with the file."""
    return _run(path, _read(path))


def load_session(path: Path) -> Session:
    """Reads and validates a saved pytest session. Raises :class:`~vgharness.errors.UsageError` that says what is
    wrong with the file."""
    return _session(path, _read(path))


def load(path: Path) -> Run | Session:
    """Whichever of the two the file is."""
    content = _read(path)
    return _session(path, content) if content.get("kind") == "session" else _run(path, content)


def _run(path: Path, content: Content) -> Run:
    if content.get("kind") == "session":
        raise UsageError(f"{shown(path)}: a pytest session, not a study's run; `vgharness show` shows it")
    return _validate(path, _upgrade(path, content, SCHEMA_VERSION, RUN_UPGRADES), Run, "run")


def _session(path: Path, content: Content) -> Session:
    if "kind" not in content and "study" in content:
        raise UsageError(f"{shown(path)}: a study's run, not a pytest session; `vgharness report` writes its page")
    return _validate(path, _upgrade(path, content, SESSION_VERSION, SESSION_UPGRADES), Session, "session")


def _places(folder: Path) -> list[_Place]:
    """The saved files by number; only their names are read."""
    try:
        paths = list(folder.iterdir())
    except OSError as error:
        raise UsageError(f"{shown(folder)}: cannot be read ({error.strerror}); let this user read it") from error
    found = ((path, _FILE.fullmatch(path.name)) for path in paths)
    return sorted((_Place(path, int(m[1]), m[2]) for path, m in found if m), key=lambda p: (p.number, p.name))


def _is_path(which: str) -> bool:
    return Path(which).name != which or (which.endswith(".json") and Path(which).is_file())


def _look(place: _Place) -> Entry:
    """Raises ``UsageError`` where the file's ends show that it cannot be loaded."""
    path = place.path
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
            size = file.seek(0, 2)
            file.seek(max(0, size - 2))
            whole = file.read().rstrip().endswith(b"}")
    except OSError as error:
        raise UsageError(f"{shown(path)}: cannot be read ({error.strerror})") from error
    if (begins := _HEAD.match(head)) and whole:
        kind, version, created = begins[2], int(begins[1]), begins[3].decode(errors="replace")
    else:
        content = _read(path)
        kind, version, created = content.get("kind"), content["schema_version"], str(content.get("created", ""))
    is_session = kind in ("session", b"session")
    if not is_session and kind is not None:
        raise UsageError(f"{shown(path)}: not a run of vgharness (its kind is {kind!r})")
    _check_version(path, version, SESSION_VERSION if is_session else SCHEMA_VERSION)
    return Entry(path, path.parent.name, place.number, place.name, "session" if is_session else "run", created, size)


def _read(path: Path) -> Content:
    try:
        text = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{shown(path)}: cannot be read ({error.strerror})") from error
    try:
        content = json.loads(text, parse_constant=_refuse)
        if _HALF_CHARACTER.search(text):
            json.dumps(content, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"{shown(path)}: a text in it holds half a character; was it edited?") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{shown(path)}: not a whole JSON file ({error}); was it cut off?") from error
    if not isinstance(content, dict) or not isinstance(content.get("schema_version"), int):
        raise UsageError(f"{shown(path)}: not a run of vgharness (it has no schema_version)")
    return content


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _check_version(path: Path, found: int, known: int) -> None:
    if found > known:
        raise UsageError(
            f"{shown(path)}: written by a newer vgharness (schema {found}, this one knows {known}); upgrade vgharness"
        )


def _upgrade(path: Path, content: Content, known: int, upgrades: Upgrades) -> Content:
    _check_version(path, content["schema_version"], known)
    for version in range(content["schema_version"], known):
        if version not in upgrades:
            break  # validation names the version
        try:
            content = {**upgrades[version](content), "schema_version": version + 1}
        except (KeyError, TypeError, AttributeError):  # it lacks what every file of its version has
            break
    return content


def _validate(path: Path, content: Content, record: type[AnyRecord], what: str) -> AnyRecord:
    try:
        return record.model_validate(content, context=FROM_FILE)
    except ValidationError as error:
        raise UsageError(f"{shown(path)}: not a valid {what}: {first_of(error)}") from error


def _reason(path: Path, error: UsageError) -> str:
    return str(error).removeprefix(f"{shown(path)}: ")


def _fix(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "free some space there or give another folder; what was saved before is whole"
    if error.errno == errno.ENAMETOOLONG:
        return "give a shorter name"
    if isinstance(error, TimeoutError):
        return f"another process has held its lock for {_LOCK_SECONDS:.0f} seconds; end it or give another folder"
    return "let this user write there or give another folder"
