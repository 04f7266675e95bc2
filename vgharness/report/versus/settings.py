"""In what two runs differ that could be why they found different things: command, images, machine, versions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from vgharness.formatting import listing
from vgharness.records import Run


class Setting(NamedTuple):
    """One thing that a run was made with, before and after."""

    name: str
    before: str
    after: str

    @property
    def differs(self) -> bool:
        """Whether it is another."""
        return self.before != self.after


def settings_of(before: Run, after: Run) -> tuple[Setting, ...]:
    """All of them."""
    old, new = dict(_facts(before)), dict(_facts(after))
    return tuple(Setting(name, old.get(name, "–"), new.get(name, "–")) for name in dict.fromkeys([*new, *old]))


def _facts(run: Run) -> Iterator[tuple[str, str]]:
    machine, cells = run.machine, run.study.cells
    yield "command", run.command
    yield "preset", run.study.preset
    yield "images", run.data.description
    yield "SHA-256 of pixels and labels", run.data.sha256
    yield "images to train and test on", f"{run.data.train_images:,} and {run.data.test_images:,}"
    yield "commit", run.commit or "none: not a source tree"
    yield "seeds", listing(dict.fromkeys(cell.seed for cell in cells))
    yield "epochs", listing(sorted({cell.epochs for cell in cells}))
    yield "kinds of network", listing(dict.fromkeys(f"{cell.activation} ({cell.settings})" for cell in cells))
    yield "precision", run.study.precision
    yield "status", f"{run.status}, {len(run.results)} of {len(cells)} networks"
    yield "device", machine.device
    yield "processor", f"{machine.processor}, {machine.cores} cores, {machine.threads} threads"
    yield "system", machine.system
    yield "Python", machine.python
    yield from machine.versions.items()
    yield from machine.facts.items()
