"""Verdicts as the pages show them: a table of all, and each with its readings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from vgharness.claims.interim import is_awaited
from vgharness.claims.quantities import QUANTITIES
from vgharness.records import Document, Reading, Verdict
from vgharness.report.verdict_table import (
    SYMBOLS,
    beside,
    deciding,
    expected,
    interval,
    leading,
    marked,
    measured,
    remarks,
    seed_value,
    standing_line,
    tally,
)

_AWAITED: Final = "still training"


def shown_outcome(judged: Verdict | Reading) -> str:
    """Its outcome; ``still training`` where networks in training are yet to decide it."""
    return _AWAITED if is_awaited(judged) else judged.outcome


# What the templates of verdicts are written in.
FILTERS: Final = {
    "shown_outcome": shown_outcome,
    "expected": expected,
    "measured": measured,
    "interval": interval,
    "remarks": remarks,
    "seed_value": seed_value,
}
_LINKED: Final = ("http://", "https://")  # no other address is safe to follow


class VerdictRow(NamedTuple):
    """A verdict, as a page shows it.

    anchor: of its evidence on the page.
    parts: of its sentence, each with whether it is among the words that are judged.
    leading: the reading that stands for it in the table.
    deciding: its readings that decide.
    beside: those that are only shown beside them.
    tally: how many of those that decide came out how, or are awaited.
    """

    verdict: Verdict
    anchor: str
    parts: list[tuple[str, bool]]
    leading: Reading
    deciding: list[Reading]
    beside: list[Reading]
    tally: list[tuple[str, int]]


def rows_of(verdicts: Sequence[Verdict]) -> list[VerdictRow]:
    """One for each verdict."""
    return [
        VerdictRow(
            verdict=verdict,
            anchor=f"claim-{verdict.claim}" + (f"-{quote(verdict.variant, safe='')}" if verdict.variant else ""),
            parts=marked(verdict.sentence, verdict.words),
            leading=leading(verdict),
            deciding=deciding(verdict),
            beside=beside(verdict),
            tally=_counts(deciding(verdict)),
        )
        for verdict in verdicts
    ]


def verdict_values(
    document: Document | None, verdicts: Sequence[Verdict], shown_in: dict[str, str] | None = None
) -> dict[str, Any]:
    """What ``verdicts.html.j2`` needs. ``shown_in``: by quantity, the anchor on the page that shows it."""
    address = document.address if document and document.address.startswith(_LINKED) else ""
    return {
        "document": document,
        "document_link": address,
        "counts": _counts(verdicts),
        "standing": standing_line(verdicts),
        "symbols": {**SYMBOLS, _AWAITED: "…"},
        "rows": rows_of(verdicts),
        "shown_in": shown_in or {},
    }


def _counts(judged: Sequence[Verdict | Reading]) -> list[tuple[str, int]]:
    """The outcomes as they are shown, with how many there are of each."""
    settled = [each for each in judged if not is_awaited(each)]
    waiting = len(judged) - len(settled)
    return [*tally(settled), *([(_AWAITED, waiting)] if waiting else [])]


def figures_of_quantities() -> dict[str, str]:
    """By quantity, the figure of a study's page that shows it; those that none shows are left out."""
    return {name: quantity.figure for name, quantity in QUANTITIES.items() if quantity.figure}
