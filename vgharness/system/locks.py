"""Processes that take turns."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from filelock import FileLock, Timeout

_SECONDS: Final = 60.0


@contextmanager
def turn_at(path: Path) -> Iterator[None]:
    """Within, no other process of this machine that asks for it has a turn at ``path``, a file or a folder.

    The lock's file is not beside it, where it would be one more file in a repository. Raises ``OSError`` (as
    ``TimeoutError``) where another process has its turn for a minute.
    """
    name = hashlib.sha256(os.path.realpath(path).encode("utf-8", "surrogateescape")).hexdigest()[:16]
    with FileLock(Path(tempfile.gettempdir()) / f"vgharness-{name}.lock", timeout=_SECONDS):
        yield


def is_held(lock: Path) -> bool:
    """Whether a process that lives holds the lock whose file this is; that of one that was killed is free."""
    if not lock.exists():
        return False
    try:
        with FileLock(lock, timeout=0):
            return False
    except Timeout:
        return True
