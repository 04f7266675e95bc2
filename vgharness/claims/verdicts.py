"""Verdicts: judges each claim by what runs and sessions measured.

``decision`` has the rule from values per seed to a reading's outcome, ``combination`` that from readings to a verdict.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from typing import Any, Final, Literal

from vgharness.claims.combination import combine
from vgharness.claims.decision import Decided, decide
from vgharness.claims.evidence import CIFAR10, Evidence, epochs_needed
from vgharness.claims.interim import awaited, combined_so_far
from vgharness.claims.measurement import Measurement, NotRunError
from vgharness.claims.measures import Shifts, measure
from vgharness.claims.spec import Claim, ReadingSpec
from vgharness.formatting import in_one_line
from vgharness.records import Bounds, CellResult, Outcome, Reading, Verdict

# How far accuracies on re-encoded images may lie below those on CIFAR-10's own files, in points: two where ReLU's were
# compared, doubled.
REENCODED_POINTS: Final = 4


def judge(claims: Iterable[Claim], evidence: Evidence) -> tuple[Verdict, ...]:
    """Judges each claim for each of the variants that it speaks of; returns the verdicts in the claims' order."""
    return tuple(_judge_claim(claim, variant, evidence) for claim in claims for variant in evidence.variants(claim))


def _judge_claim(claim: Claim, variant: str, evidence: Evidence) -> Verdict:
    readings = tuple(_judge_reading(spec, claim, variant, evidence) for spec in claim.readings)
    combined = combined_so_far(combine(readings), readings)
    return Verdict(
        claim=claim.id,
        variant=variant,
        sentence=claim.sentence,
        words=claim.words,
        outcome=combined.outcome,
        reason=combined.reason,
        readings=readings,
        p=combined.p,
    )


def _judge_reading(spec: ReadingSpec, claim: Claim, variant: str, evidence: Evidence) -> Reading:
    try:
        if reason := awaited(spec, claim, variant, evidence):
            raise NotRunError(reason)
        measured = measure(spec, claim, variant, evidence)
        decided = _despite_unknown_error(_decide(spec, measured, claim, evidence), measured, evidence)
        if decided.is_settled:
            others = [
                _decide(spec, measure(spec, claim, variant, evidence, shifts), claim, evidence)
                for shifts in _shifts(spec, claim, evidence)
            ]
            decided = _on_other_files(decided, others)
        return _reading(spec, decided, measured, _networks(spec, claim, variant, evidence), evidence.confidence)
    except NotRunError as missing:
        return _undecided(spec, "not run", str(missing))
    except Exception as error:  # one claim's broken computation must not take the other verdicts with it
        return _undecided(spec, "error", in_one_line(error))


def _decide(spec: ReadingSpec, measured: Measurement, claim: Claim, evidence: Evidence) -> Decided:
    return decide(spec.accept, measured, diverged_holds=claim.diverged_holds, confidence=evidence.confidence)


def _shifts(spec: ReadingSpec, claim: Claim, evidence: Evidence) -> tuple[Shifts, ...]:
    """What accuracies may have to be raised by, on re-encoded images, to be those on CIFAR-10's own files."""
    if claim.recipe.data != CIFAR10 or spec.what.unit != "%" or evidence.data is None:
        return ()
    if evidence.data.cifar10 == "canonical":
        return ()
    # In steps of a point, for what lies below a band without and above it with all of them may be inside in between.
    steps = [float(points) for points in range(REENCODED_POINTS + 1)]
    return tuple(itertools.product(steps, steps if spec.against else [0.0]))[1:]


def _on_other_files(decided: Decided, others: list[Decided]) -> Decided:
    if any(other.outcome != decided.outcome for other in others):
        reason = (
            f"on re-encoded images accuracies may be up to {REENCODED_POINTS} points too low, "
            "and with that added the outcome is not the same: needs CIFAR-10's own files"
        )
        return decided.left_open(reason)
    levels = [each.p for each in (decided, *others) if each.p is not None]
    return decided._replace(p=max(levels, default=None))


def _despite_unknown_error(decided: Decided, measured: Measurement, evidence: Evidence) -> Decided:
    """At less than float32 an error that was not measured may be larger than any margin."""
    unknown = measured.error_counts and measured.error is None and evidence.precision != "fp32"
    if not unknown or not decided.is_settled:
        return decided
    reason = f"the numerical error at {evidence.precision} was not measured at this moment"
    return decided.left_open(reason)


def _undecided(spec: ReadingSpec, outcome: Outcome, reason: str) -> Reading:
    return Reading(
        label=spec.in_words,
        quantity=spec.quantity,
        words=spec.words,
        expected=_expected(spec),
        accepted=_accepted(spec),
        layers=spec.layers.take if spec.layers and spec.against is None else "",
        printed=spec.accept.printed if spec.accept else (),
        unit=spec.unit,
        context=spec.context,
        either=spec.either,
        outcome=outcome,
        reason=reason,
        scale=spec.scale,
    )


def _reading(
    spec: ReadingSpec, decided: Decided, measured: Measurement, networks: dict[str, Any], confidence: float
) -> Reading:
    found, further = decided.summary, decided.further
    shown = measured.published if measured.published is not None else found.value
    return Reading(
        **{
            **dict(_undecided(spec, decided.outcome, decided.reason)),
            **networks,
            "values": tuple(measured.values),
            "value": shown,
            "low": _end(found.low),
            "high": _end(found.high),
            "further_low": _end(further[0]) if further else None,
            "further_high": _end(further[1]) if further else None,
            "confidence": confidence,
            "could_be_one_run": decided.could_be_one_run,
            "mean_is_printed": _mean_is_printed(spec, decided),
            "scale": found.scale,
            "method": found.method,
            "numerical_error": measured.error,
            "seeds_needed": decided.seeds_needed,
            "open_for_good": decided.open_for_good,
            "p": decided.p,
        }
    )


def _accepted(spec: ReadingSpec) -> Bounds | None:
    if spec.accept is None or not spec.accept.has_interval:
        return None
    return Bounds(low=_end(spec.accept.low), high=_end(spec.accept.high))


def _networks(spec: ReadingSpec, claim: Claim, variant: str, evidence: Evidence) -> dict[str, Any]:
    """Which networks a reading is of, and of which epoch: fields of the record."""
    epoch = epochs_needed(spec, claim.recipe) if spec.at is not None else None
    held = next(iter(evidence.held(spec.of, claim, variant, epoch or 0).values()))
    if not isinstance(held, CellResult):
        return {}
    against = spec.against.factors.get("activation") if spec.against else None
    # Beside a control without an activation it is the other's.
    own = against in (None, held.cell.activation, "identity")
    return {"networks": held.cell.settings, "activation": held.cell.activation if own else None, "epoch": epoch}


def _mean_is_printed(spec: ReadingSpec, decided: Decided) -> Literal["yes", "no", "open"] | None:
    accept, low, high = spec.accept, decided.summary.low, decided.summary.high
    if accept is None or not accept.printed or not accept.has_interval or low is None or high is None:
        return None
    if accept.covers(low, high):
        return "yes"
    return "no" if accept.excludes(low, high) else "open"


def _end(end: float | None) -> float | None:
    return end if end is not None and math.isfinite(end) else None


def _expected(spec: ReadingSpec) -> str:
    if spec.accept is None:
        return "no further from our seeds' mean than one of them is"
    return str(spec.accept)
