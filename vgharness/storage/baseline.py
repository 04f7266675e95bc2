"""Writes a baseline file: the tests that were measured take the place of what it had of them, the others stay."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from vgharness.errors import UsageError
from vgharness.records import Baseline, Session, first_of
from vgharness.storage.reading import read_content
from vgharness.storage.store import baseline_of, load_session
from vgharness.system.files import shown, write_whole
from vgharness.system.locks import turn_at


class Updated(NamedTuple):
    """What became of the measurements in a baseline file, by label.

    written: those that are new in it or have changed. unchanged: those that were measured as they stood there. kept:
    those that were not measured. dropped: those that are gone.
    """

    written: tuple[str, ...]
    unchanged: tuple[str, ...]
    kept: tuple[str, ...]
    dropped: tuple[str, ...]


def load_baseline(path: Path) -> Baseline:
    """The baseline in ``path``, an empty one where there is no file; of a session's file, what can be a baseline.

    Raises :class:`~vgharness.errors.UsageError` for what is none, or of a newer version.
    """
    if not os.path.lexists(path):
        return Baseline()
    content = read_content(path)
    if content.get("kind") == "baseline":
        return baseline_of(path, content)
    return Baseline().updated(load_session(path).as_baseline(), ())


def is_baseline(path: Path) -> bool:
    """Whether the file is there and is one. Raises :class:`~vgharness.errors.UsageError` where it cannot be read."""
    return path.is_file() and read_content(path).get("kind") == "baseline"


def update_baseline(path: Path, session: Session, gone: Collection[str] = ()) -> Updated:
    """Writes what the tests of ``session`` measured that passed into ``path``, without the samples whose labels are
    ``gone``. The file is made where there is none, and left alone where nothing has changed.

    Processes that update one file take turns, so that none loses what another wrote. Raises
    :class:`~vgharness.errors.UsageError`; the file is then as it was.
    """
    try:
        with turn_at(path):
            old = load_baseline(path)
            try:
                new = old.updated(session.as_baseline(), gone)
            except ValidationError as error:
                raise UsageError(f"{shown(path)}: not written: {first_of(error)}") from error
            content = new.to_text().encode()
            if not path.is_file() or path.read_bytes() != content:
                write_whole(path, content)
    except OSError as error:
        raise UsageError(f"{shown(path)}: the baseline was not written ({error.strerror or error})") from error
    before = {sample.label: sample for sample in old.samples}
    after = {sample.label: sample for sample in new.samples}
    measured = {sample.label for sample in session.samples} & after.keys()
    return Updated(
        written=tuple(label for label in after if label in measured and after[label] != before.get(label)),
        unchanged=tuple(label for label in after if label in measured and after[label] == before.get(label)),
        kept=tuple(label for label in after if label not in measured),
        dropped=tuple(label for label in before if label not in after),
    )
