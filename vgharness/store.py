"""Saves and loads runs: ``<root>/<machine id>/NNNN_<name>.json``, never one over another.

A run is written to a temporary file, flushed to the disk and then renamed, so that a
reader or a crash never meets half a run; numbers are claimed under a lock.
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from filelock import FileLock
from pydantic import ValidationError

from vgharness.errors import UsageError
from vgharness.files import write_whole
from vgharness.records import SCHEMA_VERSION, Run

DEFAULT_ROOT = Path(".gradflow")


class RunStore:
    """The folder of saved runs."""

    def __init__(self, root: Path = DEFAULT_ROOT) -> None:
        self.root = root

    def save(self, run: Run, name: str) -> Path:
        """Saves under the next free number and returns the file's path."""
        if not re.fullmatch(r"[\w.-]+", name) or name.startswith("."):
            raise UsageError(f"run name {name!r}: use letters, digits, '_', '-' and '.' only, not first '.'")
        folder = self.root / run.machine.id
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):
            taken = [int(found[1]) for p in folder.iterdir() if (found := re.match(r"(\d{4,})_", p.name))]
            path = folder / f"{max(taken, default=0) + 1:04}_{name}.json"
            write_whole(path, run.model_dump_json(indent=1).encode())
        return path


def load_run(path: Path) -> Run:
    """Reads and validates a saved run. Raises :class:`~vgharness.errors.UsageError` that says what is
    wrong with the file."""
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise UsageError(f"{path}: not a whole JSON file ({error}); was it cut off?") from error
    found = content.get("schema_version") if isinstance(content, dict) else None
    if not isinstance(found, int):
        raise UsageError(f"{path}: not a run of vgharness (it has no schema_version)")
    if found > SCHEMA_VERSION:
        raise UsageError(
            f"{path}: written by a newer vgharness (schema {found}, this one knows {SCHEMA_VERSION}); upgrade vgharness"
        )
    try:
        return Run.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UsageError(f"{path}: not a valid run: {where}: {first['msg']}") from error
