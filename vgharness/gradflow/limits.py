"""What counts as a regression: limits on how far a quantity may move, and whether tests and layers may come and go."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain
from typing import Final, Literal, get_args

from pydantic import Field

from vgharness.errors import UsageError
from vgharness.formatting import listing
from vgharness.gradflow.summary import FACTOR
from vgharness.records import LAYER_QUANTITIES, Record, Sample, Session

Direction = Literal["either", "decrease", "increase"]
Presence = Literal["new", "vanished", "renamed"]
PRESENCES: tuple[Presence, ...] = get_args(Presence)

_LIMIT = re.compile(
    r"(?P<quantity>.*\S)\s*:\s*(?P<sign>[+-]?)(?P<size>[0-9]{1,9}(\.[0-9]{0,9})?|\.[0-9]{1,9})\s*(?P<percent>%?)"
)
_SIGNS: Final[dict[str, Direction]] = {"": "either", "-": "decrease", "+": "increase"}


class Limit(Record):
    """How far a quantity's mean may move.

    text: the limit as it was typed.
    quantity: of which quantity.
    size: how far.
    relative: whether ``size`` is a share of what the mean was, or a difference.
    direction: which way it may not move.
    """

    text: str
    quantity: str
    size: float = Field(ge=0)
    relative: bool
    direction: Direction

    def exceeded(self, before: float, after: float) -> bool:
        """A relative change of what was zero is beyond every limit."""
        change = after - before
        if self.direction != "either" and (change < 0) != (self.direction == "decrease"):
            return False
        return abs(change) > self.size * (abs(before) if self.relative else 1)


def parse_limit(text: str) -> Limit:
    """``signal_l2:20%`` either way, ``signal_l2:-20%`` only a decrease, ``signal_l2:+20%`` only an increase;
    ``factor:0.1`` without ``%`` as a difference. Raises :class:`~vgharness.errors.UsageError`."""
    match = _LIMIT.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"limit {text!r}: give QUANTITY:SIZE such as signal_l2:20%, signal_l2:-20% or factor:0.1")
    direction, relative = _SIGNS[match["sign"]], bool(match["percent"])
    size = float(match["size"]) / (100 if relative else 1)
    if relative and size >= 1 and direction != "increase":
        raise UsageError(
            f"limit {text!r}: nothing falls by more than 100 %; give less, or {match['quantity']}:+{match['size']}% "
            "for increases only"
        )
    return Limit(text=text, quantity=match["quantity"], size=size, relative=relative, direction=direction)


def parse_failures(texts: Sequence[str]) -> tuple[tuple[Limit, ...], tuple[Presence, ...]]:
    """What is to fail: limits, and the words ``vanished``, ``new`` and ``renamed`` for tests and layers."""
    presences = tuple(presence for presence in PRESENCES if presence in texts)
    return tuple(parse_limit(text) for text in texts if text not in PRESENCES), presences


def check_limits(limits: Sequence[Limit], *sessions: Session) -> None:
    """Raises :class:`~vgharness.errors.UsageError` for a limit on what no test of them has measured."""
    samples = (sample for session in sessions for sample in session.samples)
    known = dict.fromkeys(chain((FACTOR,), *map(measured_quantities, samples)))
    for limit in limits:
        if limit.quantity not in known and len(known) > 1:
            raise UsageError(f"limit {limit.text!r}: no test has measured that; there are {listing(known)}")


def measured_quantities(sample: Sample) -> tuple[str, ...]:
    """The sample's quantities, and those that are finite for no seed."""
    flagged = {name for flow in sample.flows for layer in flow.layers for name in layer.nonfinite}
    return tuple(dict.fromkeys((*sample.quantities, *sorted(flagged & set(LAYER_QUANTITIES)))))
