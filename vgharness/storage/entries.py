"""What the names of saved files, and their first and last bytes, say of them: a list of thousands reads no more."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, Literal, NamedTuple

from vgharness.errors import UsageError
from vgharness.records import SCHEMA_VERSION, SESSION_VERSION
from vgharness.storage.reading import check_regular, check_version, read_content, without_path
from vgharness.system.files import shown

Kind = Literal["run", "session"]

FINISHED: Final = "finished"

_FILE = re.compile(r"([0-9]{4,})_(.+)\.json")
# How this package's own files begin; of any other the whole is read.
_HEAD = re.compile(
    rb'\{\s*"schema_version":\s*(?P<version>\d+),\s*(?:"kind":\s*"(?P<kind>session)",\s*)?'
    rb'"created":\s*"(?P<created>[^"\\]*)"(?:,\s*"status":\s*"(?P<status>\w+)")?'
    rb'(?:,\s*"commit":\s*(?:null|"(?P<commit>[\w-]*)"))?'
)
_HEAD_BYTES: Final = 384


class Skipped(NamedTuple):
    """A file that is no saved run, or none that can be read, and why."""

    path: Path
    reason: str


class Entry(NamedTuple):
    """What the name of a saved file, and its first and last bytes, say of it.

    status: how it ended; of sessions of older versions, which do not say, ``finished``.
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
        Skipped(path, "not a saved run: its name is not NNNN_name.json")
        for path, place in found
        if not place and not path.name.startswith(".")
    ]
    return sorted(places, key=lambda place: (place.number, place.name)), others


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
            file.seek(max(0, size - 2))
            whole = file.read().rstrip().endswith(b"}")
    except OSError as error:
        raise UsageError(f"{shown(path)}: cannot be read ({error.strerror})") from error
    if (begins := _HEAD.match(head)) and whole:
        fields = {name: None if x is None else x.decode(errors="replace") for name, x in begins.groupdict().items()}
        version = int(begins["version"])
    else:
        fields = read_content(path)
        version = fields["schema_version"]
    kind, status, commit = (fields.get(name) for name in ("kind", "status", "commit"))
    if kind not in (None, "session"):
        raise UsageError(f"{shown(path)}: not a run of vgharness (its kind is {kind!r})")
    check_version(path, version, SCHEMA_VERSION if kind is None else SESSION_VERSION)
    return Entry(
        path=path,
        machine=path.parent.name,
        number=place.number,
        name=place.name,
        kind="session" if kind else "run",
        created=str(fields.get("created", "")),
        size=size,
        status=str(status or FINISHED),
        commit=str(commit) if commit else None,
    )
