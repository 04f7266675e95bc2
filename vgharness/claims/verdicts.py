"""Verdicts: judges each claim by what a run measured.

A reading is **reproduced** where its 95 % interval over the seeds lies inside the accepted interval; **not
reproduced** where it lies outside, or where a seed's value is NaN or infinite; **inconclusive** where it straddles an
end or has fewer than 3 seeds; **not run** where the run lacks what it needs; **error** where computing it raised an
exception. Of a claim's readings the worst counts, in the order error, not reproduced, not run, inconclusive: a claim
is reproduced only where all of it was measured and holds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from vgharness.claims.evidence import Evidence, Measurement, NotRunError
from vgharness.claims.measures import MEASURES
from vgharness.claims.spec import Accept, Claim, ReadingSpec
from vgharness.formatting import count, in_one_line, listing, percent
from vgharness.records import Architecture, Outcome, Reading, Run, SeedValue, Verdict, nan_if_none
from vgharness.statistics import MOST_SEEDS, Scale, Summary, seeds_to_decide, summarise

FEWEST_SEEDS = 3
_WORST_FIRST: tuple[Outcome, ...] = ("error", "not reproduced", "not run", "inconclusive", "reproduced")
# Of alternatives the best counts; an error comes before what is merely open, for it must not go unseen.
_BEST_FIRST: tuple[Outcome, ...] = ("reproduced", "error", "inconclusive", "not run", "not reproduced")


def judge(claims: Iterable[Claim], run: Run) -> tuple[Verdict, ...]:
    """Judges each claim for each architecture of the run, or for its own; returns the verdicts in the claims' order."""
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
    try:
        if claim.about_cifar10 and not run.data.is_cifar10:
            raise NotRunError("needs all of CIFAR-10")
        return decide(spec, MEASURES[spec.measure].read(Evidence(claim, spec, architecture, run)))
    except NotRunError as missing:
        return _reading(spec, _Decision("not run", str(missing)))
    except Exception as error:  # one claim's broken computation must not take the other verdicts with it
        return _reading(spec, _Decision("error", in_one_line(error)))


# --- from values per seed to an outcome ---------------------------------------------------------


class _Decision(NamedTuple):
    """What follows from the values of a reading.

    outcome: what the measurement says of it.
    reason: why, where the interval's position alone does not say it.
    seeds_needed: how many seeds would decide, where too few of them are why it is inconclusive.
    """

    outcome: Outcome
    reason: str = ""
    seeds_needed: int | None = None


def decide(spec: ReadingSpec, measured: Measurement) -> Reading:
    """Decides what a measurement says of one reading of a claim."""
    found = _summary(measured, MEASURES[spec.measure].scale)
    decision = _by_position(spec.accept, measured.values, found)
    if measured.error is not None and found.low is not None and decision.outcome in ("reproduced", "not reproduced"):
        decision = _despite_error(spec.accept, found, measured.error, decision)
    if decision == _Decision("inconclusive"):
        decision = _with_seeds_needed(spec.accept, len(measured.values), found)
    return _reading(spec, decision, measured, found)


def _reading(
    spec: ReadingSpec, decision: _Decision, measured: Measurement | None = None, found: Summary | None = None
) -> Reading:
    return Reading(
        label=spec.label,
        measure=spec.measure,
        expected=str(spec.accept),
        unit=spec.unit,
        outcome=decision.outcome,
        reason=decision.reason,
        values=tuple(measured.values) if measured else (),
        value=found.value if found and math.isfinite(found.value) else None,
        low=found.low if found else None,
        high=found.high if found else None,
        method=found.method if found else None,
        numerical_error=measured.error if measured else None,
        seeds_needed=decision.seeds_needed,
    )


def _summary(measured: Measurement, scale: Scale) -> Summary:
    if measured.summary:
        return measured.summary
    values = [nan_if_none(seed.value) for seed in measured.values]
    # Zero, which gradients that underflow leave, has no logarithm; without an interval it could not be judged.
    return summarise(values, scale if all(value > 0 for value in values) else "linear")


def _with_seeds_needed(accept: Accept, seeds: int, found: Summary) -> _Decision:
    """Says how many seeds would decide a reading that is inconclusive for want of them."""
    fewest: int | None = FEWEST_SEEDS
    if found.low is not None:
        fewest = seeds_to_decide(found, seeds, accept.margin(found.value, found.scale))
    if seeds < FEWEST_SEEDS:
        reason = f"{count(seeds, 'seed')}; a verdict needs {FEWEST_SEEDS}"
    else:
        reason = "the interval reaches over the end of what is accepted"
    if fewest is None:
        reason += f"; not even {MOST_SEEDS} seeds would decide"
    elif fewest > FEWEST_SEEDS:
        reason += f"; about {fewest} seeds would decide"
    return _Decision("inconclusive", reason, fewest)


def _by_position(accept: Accept, values: Sequence[SeedValue], found: Summary) -> _Decision:
    """Decides by where the interval lies; without a reason where it lies across an end, or where seeds are too few."""
    exact = found.method == "exact"
    if not exact and len(values) < FEWEST_SEEDS:
        return _Decision("inconclusive")
    if unknown := [v.seed for v in values if v.value is None and v.at_least]:
        return _Decision("inconclusive", f"no network got there with seed {listing(unknown)}: train longer")
    if bad := [v.seed for v in values if v.value is None]:
        return _Decision("not reproduced", f"not a finite number with seed {listing(bad)}")
    if found.low is None or found.high is None or not (math.isfinite(found.low) and math.isfinite(found.high)):
        return _Decision("not reproduced", "no finite interval")
    open_ended = any(v.at_least for v in values)
    if accept.contains(found.low) and accept.contains(found.high) and not (open_ended and math.isfinite(accept.high)):
        return _Decision("reproduced")
    if open_ended:
        return _Decision("inconclusive", "with some seeds only a lower bound is known: train longer")
    if exact or accept.excludes(found.low, found.high):
        return _Decision("not reproduced")
    return _Decision("inconclusive")


def _despite_error(accept: Accept, found: Summary, error: float, decision: _Decision) -> _Decision:
    """Keeps the decision if it holds wherever in the numerical error the interval may really lie."""
    assert found.low is not None
    assert found.high is not None
    low, high = found.low * (1 - error), found.high * (1 + error)
    inside = accept.contains(low) and accept.contains(high)
    holds = inside if decision.outcome == "reproduced" else accept.excludes(low, high)
    if holds:
        return decision
    return _Decision(
        "inconclusive", f"the numerical error at this precision, {percent(error)}, is larger than the margin"
    )
