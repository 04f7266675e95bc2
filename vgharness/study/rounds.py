"""Rounds of seeds: whether a study that was judged goes on, and with which networks.

It does while more seeds could decide a claim. A claim that lacks more than seeds does not keep it going: one that needs
other images, networks or epochs, or of which a network diverged.
"""

from __future__ import annotations

from vgharness.claims.combination import awaits_seeds
from vgharness.records import Rounds, Run, Study


def next_round(run: Run) -> Study | None:
    """The study that goes on from ``run`` with the seeds of its next look, numbered on from its last; ``None``: it is
    interrupted, was to have no rounds or has had all, or nothing is left that more seeds could decide."""
    rounds = run.study.rounds
    if rounds is None or run.status != "finished" or rounds.at == len(rounds.looks):
        return None
    if not any(awaits_seeds(verdict.readings) for verdict in run.verdicts):
        return None
    following = Rounds(looks=rounds.looks, at=rounds.at + 1)
    cells = run.study.cells
    first, last = cells[0].seed, max(cell.seed for cell in cells)
    more = [
        cell.model_copy(update={"seed": last + number})
        for number in range(1, following.look.seeds - rounds.look.seeds + 1)
        for cell in cells
        if cell.seed == first
    ]
    return run.study.changed(cells=(*cells, *more), rounds=following)
