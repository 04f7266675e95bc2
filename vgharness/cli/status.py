"""``vgharness status``: the studies that are not finished, and how far they are. Imports no torch."""

from __future__ import annotations

from vgharness.cli.errors import usage_errors
from vgharness.cli.runs import Storage
from vgharness.formatting import count, escaped
from vgharness.storage.checkpoints import MOST_ATTEMPTS, Seen
from vgharness.storage.store import DEFAULT_ROOT, RunStore
from vgharness.storage.work import StudySeen
from vgharness.system.files import shown
from vgharness.system.terminal import say


def status(storage: Storage = DEFAULT_ROOT) -> None:
    """List the studies in work: what is done, what trains and how far it is, what failed.

    A study that was ended goes on where it was by the same command.
    """
    with usage_errors("vgharness status"):
        studies = RunStore(storage).studies()
    for study in studies:
        _say_study(study)
    if not studies:
        say(f"{shown(storage)}: no study is in work here")


def _say_study(study: StudySeen) -> None:
    note, cells = study.note, study.cells
    done = sum(cell.done for cell in cells)
    failed = [cell for cell in cells if _has_failed(cell)]
    begun = [cell for cell in cells if not cell.done and not _has_failed(cell)]
    say(
        escaped(
            f"{note.preset}: {done} of {count(len(note.cells), 'network')} done, {len(failed)} failed, "
            f"{len(begun)} begun; {f'trained by {note.holder}' if study.trains else 'ended'}"
        )
    )
    for cell in [*begun, *failed]:
        say(escaped(f"  {_line(cell)}"))
    if not study.trains:
        say(escaped(f"  to go on: {note.command}"))


def _has_failed(cell: Seen) -> bool:
    return not cell.done and len(cell.failures) >= MOST_ATTEMPTS


def _line(seen: Seen) -> str:
    if seen.cell is None:
        return "a network whose cell.json cannot be read"
    times = len(seen.failures)
    failed = f"failed {count(times, 'time')}: {seen.failures[-1]}" if times else ""
    if _has_failed(seen):
        return f"{seen.cell.name}: {failed}"
    return f"{seen.cell.name}: epoch {seen.epoch} of {seen.cell.epochs} kept{f'; {failed}' if failed else ''}"
