"""What counts as a regression: limits on how far a quantity may move, and whether tests and layers may come and go."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from itertools import chain
from typing import Final, Literal, get_args

from pydantic import Field

from vgharness.errors import UsageError
from vgharness.formatting import listing, number
from vgharness.gradflow.quantities import is_share, measured_quantities, values_of
from vgharness.gradflow.summary import FACTOR
from vgharness.records import LAYER_QUANTITIES, Record, Session

Direction = Literal["either", "decrease", "increase"]
Presence = Literal["new", "vanished", "renamed"]
PRESENCES: tuple[Presence, ...] = get_args(Presence)

_LIMIT = re.compile(
    r"(?P<quantity>.*\S)\s*:\s*(?P<sign>[+-]?)(?P<size>[0-9]{1,9}(\.[0-9]{0,9})?|\.[0-9]{1,9})\s*(?P<percent>%?)"
)
_PRINTED_SHARE: Final = 1e-3  # to which a relative change is printed
_PRINTED_DIGITS: Final = 1e-3  # to which share of itself a number is
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

    @property
    def signs(self) -> tuple[int, ...]:
        """-1 where it limits decreases, 1 where it limits increases."""
        return {"either": (-1, 1), "decrease": (-1,), "increase": (1,)}[self.direction]

    @property
    def reach(self) -> float:
        """From which change on the limit is reached: what is printed as it counts as it, so that rounding lets no exact
        halving pass at -50%."""
        if self.relative:
            return self.size - _PRINTED_SHARE / 2 if self.size >= _PRINTED_SHARE else self.size
        return self.size * (1 - _PRINTED_DIGITS / 2)


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


def check_limits(limits: Sequence[Limit], before: Session, after: Session | None = None) -> None:
    """Raises :class:`~vgharness.errors.UsageError` for a limit on what no test of them has measured, and for a
    difference that no value of ``before`` can move by."""
    samples = [*before.samples, *(after.samples if after else ())]
    known = dict.fromkeys(chain((FACTOR,), *map(measured_quantities, samples)))
    for limit in limits:
        if limit.quantity not in known and len(known) > 1:
            raise UsageError(f"limit {limit.text!r}: no test has measured that; there are {listing(known)}")
        if not limit.relative:
            _check_difference(limit, before)


def _check_difference(limit: Limit, before: Session) -> None:
    """Nothing that is never negative falls by more than what it was; of a user's own quantity nobody knows."""
    if limit.quantity not in (FACTOR, *LAYER_QUANTITIES) or limit.direction == "increase":
        return
    values = [value for sample in before.samples for value in chain(*values_of(sample, limit.quantity).values())]
    greatest = max(filter(math.isfinite, values), default=math.inf)
    # A share of 0 that may move either way is limited for its increase.
    if limit.size > greatest and (limit.direction == "decrease" or not is_share(limit.quantity)):
        fix = f"{limit.text.strip()}%" if limit.size < 100 else f"{limit.quantity}:-20%"
        raise UsageError(
            f"limit {limit.text!r}: a difference, and {limit.quantity} is {number(greatest)} at most, so it can never "
            f"fall so far; give a share with a percent sign, such as {fix}"
        )
