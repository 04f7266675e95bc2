"""What is settled of a claim while networks still train: only what nothing that is still to come can change.

A reading is judged once every planned network that it is of has all that the reading takes from it; a claim has its
verdict once no reading that is awaited can change that. Until then both are not run, and say what they wait for. One
thing is not foreseen: a network that fails later, by an exception, is lost with all that was measured of it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from vgharness.claims.combination import Combined
from vgharness.claims.evidence import Evidence, epochs_needed, lacking, subjects_of
from vgharness.claims.spec import Claim, ReadingSpec, Recipe
from vgharness.claims.subject import Subject, missing_factors
from vgharness.formatting import count
from vgharness.records import Cell, CellResult, Reading, Verdict

_STILL_TRAINING: Final = "still training: "


def awaited(spec: ReadingSpec, claim: Claim, variant: str, evidence: Evidence) -> str:
    """Says why a reading cannot be judged yet, or never will be by what is planned; empty where it can be."""
    if not evidence.training:
        return ""
    planned = replace(evidence, cells=tuple((cell, None) for cell in evidence.planned))
    if never := lacking(spec, claim, variant, planned):
        return never
    results = dict(evidence.cells)
    wanted = [cell for subject in subjects_of(spec) for cell in _cells_of(subject, spec, claim, variant, evidence)]
    training = evidence.training.intersection(wanted)
    behind = {cell for cell in training if not _has_all(spec, claim.recipe, results.get(cell))}
    if not behind:
        return ""
    seeds = {cell.seed for cell in wanted}
    ready = len(seeds - {cell.seed for cell in behind})
    return f"{_STILL_TRAINING}{ready} of {count(len(seeds), 'seed')}"


def combined_so_far(combined: Combined, readings: Iterable[Reading]) -> Combined:
    """What a claim's readings come to while some are awaited: ``combined``, which takes those for not run, where no
    outcome of theirs can change it, else not run.

    Reproduced needs no other reading, mixed stays mixed, and an error is not to go unseen.
    """
    waiting = [each for each in readings if is_awaited(each) and not each.context]
    if not waiting or combined.outcome in ("reproduced", "mixed", "error"):
        return combined
    return Combined("not run", waiting[0].reason)


def is_awaited(judged: Reading | Verdict) -> bool:
    """Whether networks that still train will decide it, or show that they cannot."""
    return judged.outcome == "not run" and judged.reason.startswith(_STILL_TRAINING)


def _cells_of(subject: Subject, spec: ReadingSpec, claim: Claim, variant: str, evidence: Evidence) -> list[Cell]:
    """Those planned that the reading is of; a test of a session and a training have none."""
    if subject.holder != "study":
        return []
    factors, epochs = evidence.wanted(subject, claim, variant), epochs_needed(spec, claim.recipe)
    return [cell for cell in evidence.planned if cell.epochs >= epochs and not missing_factors(cell, factors)]


def _has_all(spec: ReadingSpec, recipe: Recipe, result: CellResult | None) -> bool:
    """Whether there is all of a network in training that the reading takes from it."""
    if result is None:
        return False
    if spec.what.kind in ("count", "theory"):  # known before the first step
        return True
    needs = _last_epoch_of(spec, recipe, result.cell)
    return result.initial is not None and len(result.epochs) >= needs


def _last_epoch_of(spec: ReadingSpec, recipe: Recipe, cell: Cell) -> int:
    """The last epoch of the cell that the reading takes anything from; 0: it takes the gradients at initialisation."""
    if spec.passes:
        return cell.epochs  # in the one after the last it has still not passed
    to_its_end = spec.at == "last" or (spec.over is not None and spec.over.ends[1] == "last")
    return recipe.epochs or cell.epochs if to_its_end else epochs_needed(spec, recipe)
