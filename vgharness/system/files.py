"""The one door through which files are written: whole or not at all, and nothing that exists is lost.

Links are followed, the mode of a file that exists is kept and the umask of a new one; what is no regular file (a
device, a pipe, a folder) is refused. The ``check_`` functions are for before the work: they refuse what would fail
after it.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import platform
import re
import secrets
import stat
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NamedTuple

from vgharness.errors import UsageError
from vgharness.formatting import escaped
from vgharness.system.process import is_gone

_TRIES: Final = 100
_TRIAL_BYTES: Final = 65_536  # that a folder must take: of a full disk an empty file says nothing
_LITTER_SECONDS: Final = 3600.0
# Of a temporary file: the host and the process that write it.
_PART: Final = re.compile(r"\.(?:([0-9a-f]{8})-(\d+)-)?[0-9a-f]{16}\.part")


def write_whole(path: Path, content: bytes) -> None:
    """Writes ``content`` to ``path`` so that the file is there whole or as it was before.

    The content goes to a temporary file beside it, which is flushed to the disk, closed and renamed. Raises
    ``OSError``, also for what exists and is no regular file.
    """
    target = Path(os.path.realpath(path))  # renaming onto a link would replace the link
    mode = _mode_of_regular(target)
    temporary = _beside(target)
    try:
        with os.fdopen(temporary[0], "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if mode is not None:
            temporary[1].chmod(mode)
        temporary[1].replace(target)
    except BaseException:
        temporary[1].unlink(missing_ok=True)
        raise


class FileIdentity(NamedTuple):
    """Which file a path leads to, for as long as that exists."""

    device: int
    number: int


def identity_of(path: Path) -> FileIdentity | None:
    """Which regular file ``path`` leads to; ``None``: to none, or it cannot be seen. Nothing is opened."""
    try:
        found = path.stat()
    except (OSError, ValueError):
        return None
    return FileIdentity(found.st_dev, found.st_ino) if stat.S_ISREG(found.st_mode) else None


def replace_end(path: Path, identity: FileIdentity, start: int, content: bytes) -> None:
    """Writes ``content`` in place of all that the file has from byte ``start`` on; what is before that is not touched.

    Raises ``OSError``, also where ``path`` does not lead to the file of that ``identity`` any more, or that is shorter
    than ``start``.
    """
    if identity_of(path) != identity:
        raise FileNotFoundError(errno.ENOENT, "the file was removed or replaced")
    descriptor = os.open(path, os.O_WRONLY | getattr(os, "O_BINARY", 0))
    try:
        if os.fstat(descriptor).st_size < start:
            raise OSError(errno.EIO, "something else has shortened the file")
        os.ftruncate(descriptor, start)
        os.lseek(descriptor, start, os.SEEK_SET)
        left = memoryview(content)
        while left:
            left = left[os.write(descriptor, left) :]
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """:func:`write_whole` in UTF-8; lone surrogates, which it lacks, as their escape."""
    write_whole(path, text.encode("utf-8", "backslashreplace"))


def check_file(path: Path, option: str) -> None:
    """Checks that :func:`write_whole` will be able to write ``path``, leaving everything as it is.

    Raises :class:`~vgharness.errors.UsageError` with the name of the ``option`` that gave the path: for a folder, a
    device, a pipe, a name that is too long, a folder that is not there or may not be written to.
    """
    try:
        target = Path(os.path.realpath(path))
        _mode_of_regular(target)
        if not target.parent.is_dir():
            raise UsageError(f"{option} {shown(path)}: there is no folder {shown(path.parent)}; make it first")
        descriptor, temporary = _beside(target)
        os.close(descriptor)
        temporary.unlink()
    except (OSError, ValueError) as error:
        raise UsageError(f"{option} {shown(path)}: {_why(error)}; give another file") from error


def check_folder(folder: Path, option: str, files: Iterable[str] = ()) -> None:
    """Checks that ``files`` can be written in ``folder``, which is made where it is not there, and removes its litter.

    Raises :class:`~vgharness.errors.UsageError` as :func:`check_file` does, and where the disk is full.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        remove_litter(folder)
        _try_to_write(folder)
    except (OSError, ValueError) as error:
        if os.path.exists(folder) and not os.path.isdir(folder):  # noqa: PTH110, PTH112 - these never raise
            raise UsageError(f"{option} {shown(folder)}: this is no folder; give a folder") from error
        raise UsageError(
            f"{option} {shown(folder)} cannot be written to ({_why(error)}): give another folder"
        ) from error
    for name in files:
        check_file(folder / name, option)


def remove_litter(folder: Path) -> None:
    """Removes what :func:`write_whole` has left in ``folder`` where it was killed: temporary files of a process that is
    gone, and those older than an hour. What cannot be removed stays."""
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if (found := _PART.fullmatch(path.name)) and _is_litter(path, *found.groups()):
                path.unlink(missing_ok=True)


def shown(path: Path | str) -> str:
    """A path as text for a line of output."""
    return escaped(str(path))


def _mode_of_regular(target: Path) -> int | None:
    """Its permissions, or None where it is not there yet. Raises ``OSError`` for what is no regular file, for one that
    this user may not write to, and for a name that the system refuses."""
    try:
        found = target.stat()
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, f"this is {kind_of(found.st_mode)}, not a file")
    if not os.access(target, os.W_OK):  # a rename would not ask
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    return stat.S_IMODE(found.st_mode)


def _beside(target: Path) -> tuple[int, Path]:
    """A new file in ``target``'s folder, with the mode that the umask gives, open for writing."""
    for _ in range(_TRIES):
        path = target.parent / f".{_host()}-{os.getpid()}-{secrets.token_hex(8)}.part"
        with contextlib.suppress(FileExistsError):
            return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666), path
    raise FileExistsError(errno.EEXIST, "no free name for a temporary file", str(target.parent))


def _try_to_write(folder: Path) -> None:
    descriptor, temporary = _beside(folder / "file")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(bytes(_TRIAL_BYTES))
            file.flush()
            os.fsync(file.fileno())
    finally:
        temporary.unlink()


def _host() -> str:
    """Stands for this machine's name in a file's."""
    return hashlib.sha256(platform.node().encode("utf-8", "surrogateescape")).hexdigest()[:8]


def _is_litter(path: Path, host: str | None, process: str | None) -> bool:
    if host == _host() and process is not None and is_gone(int(process)):
        return True
    with contextlib.suppress(FileNotFoundError):
        return time.time() - path.stat().st_mtime > _LITTER_SECONDS
    return False


def kind_of(mode: int) -> str:
    """What a path is that is no regular file, by its mode: ``a folder``, ``a pipe``, ``a device``."""
    kinds = (
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISFIFO, "a pipe"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a device"),
        (stat.S_ISSOCK, "a socket"),
    )
    return next((name for test, name in kinds if test(mode)), "something else")


def _why(error: Exception) -> str:
    return escaped((error.strerror if isinstance(error, OSError) else None) or str(error))
