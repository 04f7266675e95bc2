"""Verdicts as JSON, for other programs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from vgharness.claims.combination import standing_after_holm
from vgharness.records import OUTCOMES, Document, Name, Outcome, Record, Verdict
from vgharness.report.verdict_table import tally

VERDICTS_VERSION: Final = 1


class Standing(Record):
    """A verdict that stands when all claims that ran are taken together.

    claim: its id.
    variant: of the networks that it was judged for; empty: of all.
    """

    claim: str
    variant: Name


class Judged(Record):
    """What ``vgharness judge --json`` prints.

    schema_version: of this format.
    document: whose claims were judged.
    runs: the files that they were judged on.
    verdicts: one for each claim and variant.
    counts: by outcome, how many verdicts there are.
    standing_after_holm: the verdicts that stand after Holm's correction over the claims that ran.
    """

    schema_version: Literal[1] = VERDICTS_VERSION
    document: Document
    runs: tuple[Name, ...]
    verdicts: tuple[Verdict, ...]
    counts: dict[Outcome, int]
    standing_after_holm: tuple[Standing, ...]


def as_json(document: Document, runs: Sequence[str], verdicts: Sequence[Verdict]) -> Judged:
    """Puts together what was judged: ``runs`` are the files, as they were named."""
    standing = standing_after_holm(verdicts)
    return Judged(
        document=document,
        runs=tuple(runs),
        verdicts=tuple(verdicts),
        counts={**dict.fromkeys(OUTCOMES, 0), **dict(tally(verdicts))},
        standing_after_holm=tuple(
            Standing(claim=each.claim, variant=each.variant)
            for each in verdicts
            if (each.claim, each.variant) in standing
        ),
    )
