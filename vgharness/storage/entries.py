"""What the names of saved files, and their first and last bytes, say of them: a list of thousands reads no more."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Final, Literal, NamedTuple

from vgharness.errors import UsageError
from vgharness.records import SCHEMA_VERSION, SESSION_VERSION, TRAINING_VERSION
from vgharness.storage.reading import check_regular, check_version, first_line, is_training, read_content, without_path
from vgharness.system.files import identity_of, shown
from vgharness.system.locks import is_held

Kind = Literal["run", "session", "training"]

FINISHED: Final = "finished"
RUNNING: Final = "running"
KILLED: Final = "killed"
LOG_SUFFIX: Final = ".jsonl"  # of a training's log; all else is .json

_FILE = re.compile(r"([0-9]{4,})_(.+)\.jsonl?")
# A folder beside a training's log: what it takes to show the birth of a NaN again.
_REPRODUCER = re.compile(r"([0-9]{4,})_.+\.reproducer")
# How this package's own files begin; of any other the whole is read.
_HEAD = re.compile(
    rb'\{\s*"schema_version":\s*(?P<version>\d+),\s*(?:"kind":\s*"(?P<kind>session|training)",\s*)?'
    rb'"created":\s*"(?P<created>[^"\\]*)"(?:,\s*"status":\s*"(?P<status>\w+)")?'
    rb'(?:,\s*"commit":\s*(?:null|"(?P<commit>[\w-]*)"))?'
)
_HEAD_BYTES: Final = 384
# The last line of a training log that ended.
_END = re.compile(rb'\{\s*"line":\s*"end",\s*"status":\s*"(?P<status>finished|interrupted|failed)".*\}')
_TAIL_BYTES: Final = 512
_KIND: Final = "training"


class Skipped(NamedTuple):
    """A file that is no saved run, or none that can be read, and why."""

    path: Path
    reason: str


class Entry(NamedTuple):
    """What the name of a saved file, and its first and last bytes, say of it.

    status: how it ended; of sessions of older versions, which do not say, ``finished``; of a training that has not
        ended ``running``, and ``killed`` where the process that wrote it is gone.
    commit: that the tested project was at; ``None``: in no repository, or the file's beginning does not say.
    """

    path: Path
    machine: str
    number: int
    name: str
    kind: Kind
    created: str
    size: int
    status: str
    commit: str | None


class Place(NamedTuple):
    """A saved file, as its name has it."""

    path: Path
    number: int
    name: str


def places_in(folder: Path) -> tuple[list[Place], list[Skipped]]:
    """The saved files by number, and the files of other names; only names are read."""
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise UsageError(f"{shown(folder)}: cannot be read ({error.strerror}); let this user read it") from error
    found = [(path, place_of(path)) for path in paths]
    places = [place for _, place in found if place]
    others = [
        Skipped(path, "not a saved run: its name is not NNNN_name.json or NNNN_name.jsonl")
        for path, place in found
        if not place and not path.name.startswith(".") and not _REPRODUCER.fullmatch(path.name)
    ]
    return sorted(places, key=lambda place: (place.number, place.name)), others


def next_number(folder: Path) -> int:
    """The number that no saved file has, nor what lies beside one that was removed."""
    beside = (int(found[1]) for path in folder.iterdir() if (found := _REPRODUCER.fullmatch(path.name)))
    return max([0, *beside, *(place.number for place in places_in(folder)[0])]) + 1


def place_of(path: Path) -> Place | None:
    """What the name of one file says; ``None``: it is none of a saved file."""
    found = _FILE.fullmatch(path.name)
    return Place(path, int(found[1]), found[2]) if found else None


def look(place: Place) -> Entry | Skipped:
    """What can be seen of the file without reading the whole, or why it cannot be loaded."""
    try:
        return _entry(place)
    except UsageError as error:
        return Skipped(place.path, without_path(place.path, error))


def _entry(place: Place) -> Entry:
    path = place.path
    check_regular(path)
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
            size = file.seek(0, 2)
            file.seek(max(0, size - _TAIL_BYTES))
            tail = file.read().rstrip()
    except OSError as error:
        raise UsageError(f"{shown(path)}: cannot be read ({error.strerror})") from error
    begins = _HEAD.match(head)
    is_log = path.suffix == LOG_SUFFIX
    if begins and (is_log or tail.endswith(b"}")) and is_training(head) == is_log:
        fields = {name: None if x is None else x.decode(errors="replace") for name, x in begins.groupdict().items()}
        version = int(begins["version"])
    else:
        fields = first_line(path) if is_log else read_content(path)
        version = fields["schema_version"]
    kind, status, commit = (fields.get(name) for name in ("kind", "status", "commit"))
    if kind != _KIND if is_log else kind not in (None, "session"):
        raise UsageError(
            f"{shown(path)}: not {'a training log' if is_log else 'a run'} of vgharness (its kind is {kind!r})"
        )
    check_version(path, version, TRAINING_VERSION if is_log else SCHEMA_VERSION if kind is None else SESSION_VERSION)
    return Entry(
        path=path,
        machine=path.parent.name,
        number=place.number,
        name=place.name,
        kind="training" if is_log else "session" if kind else "run",
        created=str(fields.get("created", "")),
        size=size,
        status=_status_of_log(path, tail) if is_log else str(status or FINISHED),
        commit=str(commit) if commit else None,
    )


def _status_of_log(path: Path, tail: bytes) -> str:
    """How the training ended, by the log's last line; where that does not say it, whether it goes on."""
    end = _END.match(tail.rpartition(b"\n")[2])
    return status_of(path, end["status"].decode() if end else RUNNING)


def status_of(log: Path, status: str) -> str:
    """The ``status`` that stands in a log, or ``killed`` where it is ``running`` and nobody writes the file."""
    return KILLED if status == RUNNING and not is_written(log) else status


# --- whether a training log is written now -------------------------------------------------------------------


def is_written(log: Path) -> bool:
    """Whether a process that lives writes the log. Where that cannot be seen, it is taken to be so."""
    lock = lock_of(log)
    if identity_of(lock) is None:
        return False
    try:
        return is_held(lock)
    except OSError:
        return True


def lock_of(log: Path) -> Path:
    """The file of the lock that is held while a training log is written."""
    return log.with_name(f".{log.stem}.lock")


def remove_free_locks(folder: Path) -> None:
    """Removes what trainings that were killed have left of their locks. To be called while no other process claims a
    number."""
    with contextlib.suppress(OSError):
        for path in folder.glob(".[0-9]*_*.lock"):
            if identity_of(path) is not None and not is_held(path):
                path.unlink()
