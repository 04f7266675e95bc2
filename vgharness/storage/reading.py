"""A saved file → its content, of the version that this package knows; or one line that says what is wrong with it."""

from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path
from typing import Final, TypeVar

from pydantic import ValidationError

from vgharness.errors import UsageError
from vgharness.records import FROM_FILE, Record, first_of
from vgharness.storage.upgrades import Content, Upgrades
from vgharness.system.files import shown

AnyRecord = TypeVar("AnyRecord", bound=Record)

IS_LOG: Final = "a training log, no run and no session; `vgharness show` shows it"

_HALF_CHARACTER = re.compile(rb"\\u[dD][89a-fA-F]")  # also where it is one of two that make a whole one
_HEAD_BYTES: Final = 384
_TRAINING = re.compile(rb'\s*\{\s*"schema_version":\s*\d+,\s*"kind":\s*"training"')


def read_content(path: Path) -> Content:
    """The JSON object in ``path``. Raises :class:`~vgharness.errors.UsageError`, also for what is no regular file: a
    pipe would wait for a writer, and for a training log, which is no single object."""
    text = read_bytes(path)
    if is_training(text):
        raise UsageError(f"{shown(path)}: {IS_LOG}")
    return content_of(path, text, "a run of vgharness")


def first_line(path: Path) -> Content:
    """The JSON object that is the first line of a training log. Raises :class:`~vgharness.errors.UsageError`."""
    return content_of(path, read_bytes(path).partition(b"\n")[0], "a training log")


def read_bytes(path: Path, *, last: int | None = None) -> bytes:
    """What is in a regular file, or its ``last`` bytes. Raises :class:`~vgharness.errors.UsageError`."""
    check_regular(path)
    try:
        with path.open("rb") as file:
            if last is not None:
                file.seek(max(0, file.seek(0, os.SEEK_END) - last))
            return file.read()
    except OSError as error:
        raise UsageError(f"{shown(path)}: cannot be read ({error.strerror})") from error


def is_log(path: Path) -> bool:
    """Whether the file is a training log, by its beginning. Raises :class:`~vgharness.errors.UsageError` where it
    cannot be read."""
    check_regular(path)
    try:
        with path.open("rb") as file:
            return is_training(file.read(_HEAD_BYTES))
    except OSError as error:
        raise UsageError(f"{shown(path)}: cannot be read ({error.strerror})") from error


def is_training(text: bytes) -> bool:
    """Whether a file that begins with ``text`` is a training log."""
    return _TRAINING.match(text) is not None


def content_of(path: Path, text: bytes, what: str) -> Content:
    """The JSON object that is the whole ``text``. Raises :class:`~vgharness.errors.UsageError`, of the file ``path``,
    which is not ``what`` it was to be."""
    try:
        content = json.loads(text, parse_constant=_refuse)
        if _HALF_CHARACTER.search(text):
            json.dumps(content, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"{shown(path)}: a text in it holds half a character; was it edited?") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{shown(path)}: not a whole JSON file ({error}); was it cut off?") from error
    if not isinstance(content, dict) or not isinstance(content.get("schema_version"), int):
        raise UsageError(f"{shown(path)}: not {what} (it has no schema_version)")
    return content


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def check_regular(path: Path) -> None:
    """Raises :class:`~vgharness.errors.UsageError` for what is no regular file, or not there, without opening it."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"{shown(path)}: cannot be read ({reason})") from error
    if stat.S_ISDIR(mode):
        raise UsageError(f"{shown(path)}: cannot be read (Is a directory)")
    if not stat.S_ISREG(mode):
        raise UsageError(f"{shown(path)}: cannot be read (this is no regular file)")


def check_version(path: Path, found: int, known: int) -> None:
    """Raises :class:`~vgharness.errors.UsageError` for a file of a newer version than is known."""
    if found > known:
        raise UsageError(
            f"{shown(path)}: written by a newer vgharness (schema {found}, this one knows {known}); upgrade vgharness"
        )


def upgraded(path: Path, content: Content, known: int, upgrades: Upgrades) -> Content:
    """``content`` as the version ``known`` has it."""
    check_version(path, content["schema_version"], known)
    for version in range(content["schema_version"], known):
        if version not in upgrades:
            break  # validation names the version
        try:
            content = {**upgrades[version](content), "schema_version": version + 1}
        except (KeyError, TypeError, AttributeError):  # it lacks what every file of its version has
            break
    return content


def validated(path: Path, content: Content, record: type[AnyRecord], what: str) -> AnyRecord:
    """``content`` as a record. Raises :class:`~vgharness.errors.UsageError`."""
    try:
        return record.model_validate(content, context=FROM_FILE)
    except ValidationError as error:
        raise UsageError(f"{shown(path)}: not a valid {what}: {first_of(error)}") from error


def without_path(path: Path, error: UsageError) -> str:
    """What an error says, where the path is shown already."""
    return str(error).removeprefix(f"{shown(path)}: ")
