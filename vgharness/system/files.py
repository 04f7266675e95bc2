"""Writing files so that nothing is lost: whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from vgharness.errors import UsageError


def write_whole(path: Path, content: bytes) -> None:
    """Writes ``path`` so that it is there whole or as it was before."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", suffix=".part", delete=False) as file:
        try:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).chmod(0o644)
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise


def check_writable(folder: Path, what: str, fix: str) -> None:
    """Makes ``folder`` and a file in it, and takes the file away again.

    Raises :class:`~vgharness.errors.UsageError` where that fails.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UsageError(f"{what} {folder} cannot be written to ({error.strerror}): {fix}") from error
