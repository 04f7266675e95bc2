"""What a document prints, and what the studied README plotted besides, of the networks that it speaks of: for the
page's charts and the figures."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from vgharness.claims.loading import load_claims
from vgharness.claims.published import published_curves
from vgharness.records import Run
from vgharness.report.kinds import Kind, readings_of

_AUTHORS: Final = "script"  # what it says it ran: its plots are of no other network


def is_studied_readme(run: Run) -> bool:
    """Whether the run was held against the README that this project studies, whose plots are known."""
    return run.document is not None and run.document == load_claims()[0].document


def architectures(run: Run, kinds: Iterable[Kind]) -> str:
    """What the names of the studied README's networks mean."""
    known = {"script": "script: as the README’s author ran it", "readme": "readme: as the README describes it"}
    names = dict.fromkeys(kind.cell.architecture for kind in kinds)
    return f"{'; '.join(known[name] for name in names if name in known)}." if is_studied_readme(run) else ""


def published(run: Run, kind: Kind, column: str) -> list[float]:
    """A column of the published plots, epoch by epoch, where they are of this kind of network; else nothing."""
    if not speaks_of(run) or kind.settings != _AUTHORS:
        return []
    return [epoch[column] for epoch in published_curves().get(kind.activation, ())]


def printed_accuracies(run: Run, kind: Kind) -> list[tuple[int, float, float]]:
    """Epoch and both ends of each test accuracy that the run's document prints for this kind of network, as its claims
    read them."""
    return [
        (reading.epoch, min(reading.printed), max(reading.printed))
        for _, reading in readings_of(run, kind)
        if reading.printed and reading.epoch and reading.quantity == "test_accuracy"
    ]


def speaks_of(run: Run) -> bool:
    """Whether the studied README speaks of networks trained on such images."""
    return run.data.is_cifar10 and is_studied_readme(run)
