"""What can be decided, before anything is trained: which claims the planned cells can decide, and which not and why."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from vgharness.claims.decision import FEWEST_SEEDS, too_few
from vgharness.claims.evidence import Evidence, lacking, seeds_of
from vgharness.claims.spec import Claim, ReadingSpec, moment_words
from vgharness.formatting import count
from vgharness.records import Provenance, Study


class Outlook(NamedTuple):
    """What a planned study can say of one claim.

    claim: its id.
    variant: of the networks that it would be judged for.
    deciding: how many of its readings decide.
    possible: how many of those the study can decide.
    reason: why it cannot decide the others; empty where it can decide all.
    moments: of those that it can decide, where the others are of other moments: ``at initialisation``; empty: they are
        not told apart by that.
    """

    claim: str
    variant: str
    deciding: int
    possible: int
    reason: str
    moments: tuple[str, ...] = ()


def outlooks(claims: Iterable[Claim], study: Study, data: Provenance) -> tuple[Outlook, ...]:
    """Says of each claim, for each variant, what ``study`` can decide once it is trained on ``data``.

    Whether the seeds that are planned will be enough to decide is only known once they are trained.
    """
    evidence = Evidence.of_plan(study, data)
    return tuple(_of_claim(claim, variant, evidence) for claim in claims for variant in evidence.variants(claim))


def _of_claim(claim: Claim, variant: str, evidence: Evidence) -> Outlook:
    deciding = [spec for spec in claim.readings if not spec.context]
    reasons = [_reason(spec, claim, variant, evidence) for spec in deciding]
    missing = list(dict.fromkeys(reason for reason in reasons if reason))
    more = f" (and {count(len(missing) - 1, 'other reason')})" if len(missing) > 1 else ""
    return Outlook(
        claim=claim.id,
        variant=variant,
        deciding=len(reasons),
        possible=sum(not reason for reason in reasons),
        reason=missing[0] + more if missing else "",
        moments=_moments(deciding, reasons),
    )


def _moments(deciding: list[ReadingSpec], reasons: list[str]) -> tuple[str, ...]:
    """``reasons``: of each reading, why it cannot be decided; empty where it can."""
    can: dict[str, None] = {}
    cannot: dict[str, None] = {}
    for spec, reason in zip(deciding, reasons, strict=True):
        if spec.at is None:
            return ()
        (cannot if reason else can)[moment_words(spec.at)] = None
    return tuple(can) if cannot and not can.keys() & cannot.keys() else ()


def _reason(spec: ReadingSpec, claim: Claim, variant: str, evidence: Evidence) -> str:
    if reason := lacking(spec, claim, variant, evidence):
        return reason
    seeds = seeds_of(spec, claim, variant, evidence)
    exact = spec.what.kind == "count"
    return "" if exact or seeds >= FEWEST_SEEDS else too_few(seeds)
