"""Verdicts: what a run says of each claim.

A reading is **reproduced** where its 95 % interval over the seeds lies inside the accepted interval;
**not reproduced** where it lies outside, or where a seed's value is NaN or infinite; **inconclusive**
where it straddles an end or has fewer than 3 seeds; **not run** where the run lacks what it needs;
**error** where computing it raised. Of a claim's readings the worst counts, in the order error, not
reproduced, not run, inconclusive: a claim is reproduced only where all of it was measured and holds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from vgharness.claims.measures import MEASURES, Evidence, Measurement, NotRunError
from vgharness.claims.spec import Accept, Claim, ReadingSpec
from vgharness.records import Architecture, Outcome, Reading, Run, SeedValue, Verdict, nan_if_none
from vgharness.statistics import MOST_SEEDS, Interval, interval, seeds_to_decide

FEWEST_SEEDS = 3
_WORST_FIRST: tuple[Outcome, ...] = ("error", "not reproduced", "not run", "inconclusive", "reproduced")
_BEST_FIRST: tuple[Outcome, ...] = ("reproduced", "error", "inconclusive", "not run", "not reproduced")


def judge(claims: Iterable[Claim], run: Run) -> tuple[Verdict, ...]:
    """One verdict per claim and architecture of the run, in the claims' order."""
    planned = dict.fromkeys(cell.architecture for cell in run.study.cells)
    return tuple(
        _judge_claim(claim, architecture, run)
        for claim in claims
        for architecture in ([claim.architecture] if claim.architecture else planned)
    )


def _judge_claim(claim: Claim, architecture: Architecture, run: Run) -> Verdict:
    readings = tuple(_judge_reading(claim, spec, architecture, run) for spec in claim.readings)
    alternatives: dict[str, list[Outcome]] = {}
    for index, (spec, reading) in enumerate(zip(claim.readings, readings, strict=True)):
        alternatives.setdefault(spec.either or f"reading {index}", []).append(reading.outcome)
    outcome = min((min(group, key=_BEST_FIRST.index) for group in alternatives.values()), key=_WORST_FIRST.index)
    reasons = (r.reason for r in readings if r.outcome == outcome and r.reason)
    return Verdict(
        claim=claim.id,
        architecture=architecture,
        sentence=claim.sentence,
        outcome=outcome,
        reason=next(reasons, ""),
        readings=readings,
    )


def _judge_reading(claim: Claim, spec: ReadingSpec, architecture: Architecture, run: Run) -> Reading:
    asked = {"label": spec.label, "measure": spec.measure, "expected": str(spec.accept), "unit": spec.unit}
    try:
        if claim.about_cifar10 and not run.data.is_cifar10:
            raise NotRunError("needs all of CIFAR-10")
        measured = MEASURES[spec.measure](Evidence(claim, spec, architecture, run))
        return Reading.model_validate(asked | decide(spec.accept, measured))
    except NotRunError as missing:
        return Reading.model_validate(asked | {"outcome": "not run", "reason": str(missing)})
    except Exception as error:  # one claim's broken computation must not take the other verdicts with it
        return Reading.model_validate(asked | {"outcome": "error", "reason": f"{type(error).__name__}: {error}"})


# --- from values per seed to an outcome ---------------------------------------------------------


def decide(accept: Accept, measured: Measurement) -> dict[str, Any]:
    """The fields of a :class:`~vgharness.records.Reading` that follow from what was measured."""
    values, found = tuple(measured.values), measured.interval
    numbers = [nan_if_none(v.value) for v in values]
    if found is None and len(values) > 1 and all(map(math.isfinite, numbers)):
        found = interval(numbers)
    outcome, reason = _outcome(accept, values, found)
    if found is not None and measured.error is not None and outcome in ("reproduced", "not reproduced"):
        outcome, reason = _despite_error(accept, found, measured.error, outcome, reason)
    fields: dict[str, Any] = {"values": values, "outcome": outcome, "reason": reason}
    fields["numerical_error"] = measured.error
    if found is not None:
        fields |= {"mean": found.mean, "low": found.low, "high": found.high, "method": found.method}
    elif len(values) == 1:
        fields |= {"mean": values[0].value}
    if outcome == "inconclusive" and not reason:
        fewest: int | None = FEWEST_SEEDS
        if found is not None:
            fewest = seeds_to_decide(found, len(values), accept.margin(found.mean))
        if len(values) < FEWEST_SEEDS:
            reason = f"{_count(len(values), 'seed')}; a verdict needs {FEWEST_SEEDS}"
        else:
            reason = "the interval reaches over the end of what is accepted"
        if fewest is None:
            reason += f"; not even {MOST_SEEDS} seeds would decide"
        elif fewest > FEWEST_SEEDS:
            reason += f"; about {fewest} seeds would decide"
        fields |= {"reason": reason, "seeds_needed": fewest}
    return fields


def _outcome(accept: Accept, values: Sequence[SeedValue], found: Interval | None) -> tuple[Outcome, str]:
    """The outcome, with its reason where that is not the interval's position."""
    exact = found is not None and found.method == "exact"
    if not exact and len(values) < FEWEST_SEEDS:
        return "inconclusive", ""
    if unknown := [v.seed for v in values if v.value is None and v.at_least]:
        return "inconclusive", f"no network got there with seed {_list(unknown)}: train longer"
    if bad := [v.seed for v in values if v.value is None]:
        return "not reproduced", f"not a finite number with seed {_list(bad)}"
    if found is None or not (math.isfinite(found.low) and math.isfinite(found.high)):
        return "not reproduced", "no finite interval"
    open_ended = any(v.at_least for v in values)
    if accept.contains(found.low) and accept.contains(found.high) and not (open_ended and math.isfinite(accept.high)):
        return "reproduced", ""
    if open_ended:
        return "inconclusive", "with some seeds only a lower bound is known: train longer"
    if exact or accept.excludes(found.low, found.high):
        return "not reproduced", ""
    return "inconclusive", ""


def _despite_error(accept: Accept, found: Interval, error: float, outcome: Outcome, reason: str) -> tuple[Outcome, str]:
    """The outcome, if it stands wherever in the numerical error the interval may really lie."""
    low, high = found.low * (1 - error), found.high * (1 + error)
    inside = accept.contains(low) and accept.contains(high)
    if (outcome == "reproduced" and inside) or (outcome == "not reproduced" and accept.excludes(low, high)):
        return outcome, reason
    return "inconclusive", f"the numerical error at this precision, {error:.0%}, is larger than the margin"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _list(seeds: Iterable[int]) -> str:
    return ", ".join(map(str, seeds))
