"""Verdicts as a page shows them: a tile each, then a row each with a strip for each reading, in groups of one axis."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from markupsafe import Markup

from vgharness.claims.interim import is_awaited
from vgharness.claims.quantities import QUANTITIES
from vgharness.formatting import level, number
from vgharness.records import SYMBOLS, Document, Reading, Verdict, tally
from vgharness.report.svg.strips import can_be_drawn, strip, strip_axes
from vgharness.report.verdict_table import (
    beside,
    deciding,
    expected,
    interval,
    leading,
    marked,
    measured,
    reading_line,
    remarks,
    seed_value,
    several_variants,
    short_name,
    standing_line,
)
from vgharness.statistics import CONFIDENCE

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
    "reading_line": reading_line,
    "seed_value": seed_value,
    "slug": lambda outcome: outcome.replace(" ", "-"),
}
_LINKED: Final = ("http://", "https://")  # no other address is safe to follow
_MOST_STRIPS: Final = 6  # of a claim; the folded table has all its readings
_MANY: Final = 40  # claims: then groups are folded, a tile is a symbol, a claim has one strip and no table
_MOST_LINKED: Final = 12  # claims beside a figure
_NOT_RUN: Final = "Not run"
_ERRORS: Final = "Errors"
_WAITING: Final = "Still training"
# By the part of a study's page that shows what a claim is about.
_HEADINGS: Final = {
    "accuracy": "Accuracy and loss",
    "gradients": "Gradients",
    "networks": "Architecture",
    "theory": "Theory",
}


class Strip(NamedTuple):
    """One reading as a small figure, with what stands above it."""

    caption: str
    drawn: Markup
    reading: Reading


class Row(NamedTuple):
    """A verdict, as a page shows it.

    anchor: of its row.
    name: short.
    parts: of its sentence, each with whether it is among the words that are judged.
    leading: the reading that stands for it.
    miss: by how much that misses what is accepted; empty: it does not.
    strips: of its deciding readings, as many as there is room for.
    deciding: its readings that decide.
    beside: those that are only shown beside them.
    tally: how many of those that decide came out how, or are awaited.
    figures: anchors of the figures that show what it rests on.
    """

    verdict: Verdict
    anchor: str
    name: str
    parts: list[tuple[str, bool]]
    leading: Reading
    miss: str
    strips: list[Strip]
    deciding: list[Reading]
    beside: list[Reading]
    tally: list[tuple[str, int]]
    figures: list[str]


class Group(NamedTuple):
    """Rows on one subject; strips of one unit share an axis."""

    heading: str
    rows: list[Row]


def claim_values(document: Document | None, verdicts: Sequence[Verdict], figures: Iterable[str] = ()) -> dict[str, Any]:
    """What ``claims.html.j2`` needs. ``figures``: anchors of those that the page has."""
    several = several_variants(verdicts)
    groups = _groups(verdicts, set(figures))
    ran = [group for group in groups if group.heading != _NOT_RUN]
    return {
        "document": document,
        "document_link": document_link(document),
        "counts": _counts(verdicts),
        "standing": standing_line(verdicts),
        "confidence": level(_confidence(verdicts)),
        "symbols": {**SYMBOLS, _AWAITED: "…"},
        "tiles": [(anchor_of(verdict), short_name(verdict, several=several), verdict) for verdict in verdicts],
        "groups": ran,
        "not_run": [row for group in groups if group.heading == _NOT_RUN for row in group.rows],
        "many_claims": len(verdicts) > _MANY,
    }


def _confidence(verdicts: Iterable[Verdict]) -> float:
    """Of the intervals that decide."""
    return max((each.confidence for verdict in verdicts for each in verdict.readings), default=CONFIDENCE)


def document_link(document: Document | None) -> str:
    """The document's address, where it is one that is safe to follow; else empty."""
    return document.address if document and document.address.startswith(_LINKED) else ""


def _counts(judged: Sequence[Verdict | Reading]) -> list[tuple[str, int]]:
    """The outcomes as they are shown, with how many there are of each."""
    settled = [each for each in judged if not is_awaited(each)]
    waiting = len(judged) - len(settled)
    return [*tally(settled), *([(_AWAITED, waiting)] if waiting else [])]


class Bearing(NamedTuple):
    """The claims that a figure bears on: anchor, name and outcome of the first ones, and how many more there are."""

    claims: list[tuple[str, str, str]]
    more: int


def claims_of_figures(verdicts: Sequence[Verdict]) -> dict[str, Bearing]:
    """By the anchor of a figure, the claims that it bears on."""
    found: dict[str, list[tuple[str, str, str]]] = {}
    several = several_variants(verdicts)
    for verdict in verdicts:
        for figure in _figures(verdict):
            shown = (anchor_of(verdict), short_name(verdict, several=several), shown_outcome(verdict))
            found.setdefault(figure, []).append(shown)
    return {
        figure: Bearing(claims[:_MOST_LINKED], max(len(claims) - _MOST_LINKED, 0)) for figure, claims in found.items()
    }


def anchor_of(verdict: Verdict) -> str:
    """Of a verdict's row."""
    parts = (verdict.claim, verdict.variant) if verdict.variant else (verdict.claim,)
    return "-".join(["claim", *(quote(part, safe="") for part in parts)])


def miss(reading: Reading) -> str:
    """By how much the value lies outside what is accepted: ``7.1 points below``, ``×1.36 above``; empty where it does
    not, or nothing was measured."""
    if reading.value is None or reading.accepted is None:
        return ""
    low, high = reading.accepted.low, reading.accepted.high
    if low is not None and reading.value < low:
        end, word = low, "below"
    elif high is not None and reading.value > high:
        end, word = high, "above"
    else:
        return ""
    if reading.scale == "log" and reading.value > 0 and end > 0:
        factor = math.exp(abs(math.log(reading.value / end)))
        return f"×{number(factor)} {word}"
    unit = "points" if reading.unit == "%" else reading.unit
    return f"{number(abs(reading.value - end))} {unit} {word}".replace("  ", " ")


def _groups(verdicts: Sequence[Verdict], figures: set[str]) -> list[Group]:
    """By their subject, in the order in which those first come; what did not run last."""
    found: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        found.setdefault(_heading(verdict), []).append(verdict)
    if _NOT_RUN in found:
        found[_NOT_RUN] = found.pop(_NOT_RUN)
    return [Group(heading, _rows(group, verdicts, figures)) for heading, group in found.items()]


def _heading(verdict: Verdict) -> str:
    if not any(reading.values for reading in verdict.readings):
        if is_awaited(verdict):
            return _WAITING
        return _NOT_RUN if verdict.outcome == "not run" else _ERRORS
    quantity = leading(verdict).quantity
    figure = QUANTITIES[quantity].figure if quantity in QUANTITIES else ""
    return _HEADINGS.get(figure, "Other values")


def _rows(group: Sequence[Verdict], verdicts: Sequence[Verdict], figures: set[str]) -> list[Row]:
    most = 1 if len(verdicts) > _MANY else _MOST_STRIPS
    shown = {id(verdict): _drawn(verdict)[:most] for verdict in group}
    axes = strip_axes(reading for readings in shown.values() for reading in readings)
    several = several_variants(verdicts)
    rows = []
    for verdict in group:
        readings = shown[id(verdict)]
        strips = [
            Strip(
                _caption(reading, readings),
                strip(reading, axes[reading.unit, reading.scale], _says(reading), ticks=5 if len(readings) == 1 else 3),
                reading,
            )
            for reading in readings
        ]
        rows.append(_row(verdict, short_name(verdict, several=several), strips, figures))
    return rows


def _row(verdict: Verdict, name: str, strips: list[Strip], figures: set[str]) -> Row:
    first = leading(verdict)
    return Row(
        verdict=verdict,
        anchor=anchor_of(verdict),
        name=name,
        parts=marked(verdict.sentence, verdict.words),
        leading=first,
        miss=miss(first) if len(deciding(verdict)) == 1 else "",
        strips=strips,
        deciding=deciding(verdict),
        beside=beside(verdict),
        tally=_counts(deciding(verdict)),
        figures=[figure for figure in _figures(verdict) if figure in figures],
    )


def _drawn(verdict: Verdict) -> list[Reading]:
    """Those of its readings that a strip can show: that ran and are no count. Of those that decide; those beside them
    are in the table below."""
    return [reading for reading in deciding(verdict) if can_be_drawn(reading)]


def _caption(reading: Reading, among: Sequence[Reading]) -> str:
    """Its label, without the parts that all those of its claim have."""
    parts = [each.label.split(", ") for each in among]
    common = set.intersection(*map(set, parts)) if len(parts) > 1 else set()
    return ", ".join(part for part in reading.label.split(", ") if part not in common) or reading.label


def _says(reading: Reading) -> str:
    return f"{measured(reading)}, expected {expected(reading)}: {reading.outcome}"


def _figures(verdict: Verdict) -> list[str]:
    found = (QUANTITIES[x.quantity].figure for x in verdict.readings if x.quantity in QUANTITIES)
    return list(dict.fromkeys(figure for figure in found if figure))
