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
    try:
        if claim.about_cifar10 and not run.data.is_cifar10:
            raise NotRunError("needs all of CIFAR-10")
        return decide(spec, MEASURES[spec.measure].read(Evidence(claim, spec, architecture, run)))
    except NotRunError as missing:
        return _reading(spec, "not run", str(missing))
    except Exception as error:  # one claim's broken computation must not take the other verdicts with it
        return _reading(spec, "error", in_one_line(error))


# --- from values per seed to an outcome ---------------------------------------------------------


def decide(spec: ReadingSpec, measured: Measurement) -> Reading:
    """The reading that follows from what was measured."""
    found = _summary(measured, MEASURES[spec.measure].scale)
    outcome, reason, needed = _outcome(spec.accept, measured, found)
    return _reading(spec, outcome, reason, measured, found, needed)


def _reading(
    spec: ReadingSpec,
    outcome: Outcome,
    reason: str = "",
    measured: Measurement | None = None,
    found: Summary | None = None,
    seeds_needed: int | None = None,
) -> Reading:
    return Reading(
        label=spec.label,
        measure=spec.measure,
        expected=str(spec.accept),
        unit=spec.unit,
        outcome=outcome,
        reason=reason,
        values=tuple(measured.values) if measured else (),
        value=found.value if found and math.isfinite(found.value) else None,
        low=found.low if found else None,
        high=found.high if found else None,
        method=found.method if found else None,
        numerical_error=measured.error if measured else None,
        seeds_needed=seeds_needed,
    )


def _summary(measured: Measurement, scale: Scale) -> Summary:
    if measured.summary:
        return measured.summary
    values = [nan_if_none(seed.value) for seed in measured.values]
    # A value of exactly zero, which an underflow leaves, has no logarithm, and must be judged all the same.
    return summarise(values, scale if all(value > 0 for value in values) else "linear")


def _outcome(accept: Accept, measured: Measurement, found: Summary) -> tuple[Outcome, str, int | None]:
    """The outcome, its reason, and how many seeds would decide where it is inconclusive for want of them."""
    outcome, reason = _outcome_by_position(accept, measured.values, found)
    if measured.error is not None and found.low is not None and outcome in ("reproduced", "not reproduced"):
        outcome, reason = _despite_error(accept, found, measured.error, outcome, reason)
    if outcome == "inconclusive" and not reason:
        return (outcome, *_what_would_decide(accept, len(measured.values), found))
    return outcome, reason, None


def _what_would_decide(accept: Accept, seeds: int, found: Summary) -> tuple[str, int | None]:
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
    return reason, fewest


def _outcome_by_position(accept: Accept, values: Sequence[SeedValue], found: Summary) -> tuple[Outcome, str]:
    """The outcome, with its reason where that is not the interval's position."""
    exact = found.method == "exact"
    if not exact and len(values) < FEWEST_SEEDS:
        return "inconclusive", ""
    if unknown := [v.seed for v in values if v.value is None and v.at_least]:
        return "inconclusive", f"no network got there with seed {listing(unknown)}: train longer"
    if bad := [v.seed for v in values if v.value is None]:
        return "not reproduced", f"not a finite number with seed {listing(bad)}"
    if found.low is None or found.high is None or not (math.isfinite(found.low) and math.isfinite(found.high)):
        return "not reproduced", "no finite interval"
    open_ended = any(v.at_least for v in values)
    if accept.contains(found.low) and accept.contains(found.high) and not (open_ended and math.isfinite(accept.high)):
        return "reproduced", ""
    if open_ended:
        return "inconclusive", "with some seeds only a lower bound is known: train longer"
    if exact or accept.excludes(found.low, found.high):
        return "not reproduced", ""
    return "inconclusive", ""


def _despite_error(accept: Accept, found: Summary, error: float, outcome: Outcome, reason: str) -> tuple[Outcome, str]:
    """The outcome, if it stands wherever in the numerical error the interval may really lie."""
    assert found.low is not None
    assert found.high is not None
    low, high = found.low * (1 - error), found.high * (1 + error)
    inside = accept.contains(low) and accept.contains(high)
    if (outcome == "reproduced" and inside) or (outcome == "not reproduced" and accept.excludes(low, high)):
        return outcome, reason
    return "inconclusive", f"the numerical error at this precision, {percent(error)}, is larger than the margin"
