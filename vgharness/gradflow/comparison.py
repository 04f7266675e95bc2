"""Two sessions → what changed, and which changes are regressions.

Per sample, layer and quantity the means over the seeds are compared. Gradients span decades, so the mean is geometric
and the change a ratio with an interval taken on the logarithms, wherever every value on both sides is positive; where
one is zero or negative, and for ``saturated``, which is a share, it is the arithmetic mean. ``factor`` is the flow's
geometric mean factor per layer, one figure per sample.

A change beyond a limit is a regression if chance is ruled out as well: a two-sided permutation test at 5 %, where both
sides have five seeds or more. With fewer, no such test can come out below 5 %, and the size alone decides. Where both
sides have the same six seeds or more they are compared seed by seed, which takes the spread between seeds out of it.
Five pairs would not do: signs of five differences give no p below 2/32.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Sequence
from itertools import chain
from typing import Any, Final, Literal, TypeVar, get_args

import numpy as np
from pydantic import Field

from vgharness.errors import UsageError
from vgharness.records import Record
from vgharness.records.session import FIGURES, LayerKey, Sample, Session, key_of
from vgharness.statistics import Array, difference_interval, permutation_p

FACTOR: Final = "factor"
SEEDS_FOR_CHANCE: Final = 5
SEEDS_FOR_PAIRS: Final = 6
SIGNIFICANCE: Final = 0.05
LARGEST_LOG: Final = 700.0  # its exponential is finite

Direction = Literal["either", "down", "up"]
Presence = Literal["new", "vanished", "renamed"]
Outcome = Literal["within", "inconclusive", "not finite", "regression"]
PRESENCES: tuple[Presence, ...] = get_args(Presence)

_LIMIT = re.compile(
    r"(?P<quantity>.*\S)\s*:\s*(?P<sign>[+-]?)(?P<size>[0-9]{1,9}(\.[0-9]{0,9})?|\.[0-9]{1,9})\s*(?P<percent>%?)"
)
_SIGNS: Final[dict[str, Direction]] = {"": "either", "-": "down", "+": "up"}

Fails = Collection[Presence]
Name = TypeVar("Name", str, LayerKey)


class Limit(Record):
    """How far a quantity's mean may move; ``relative``: as a share of what it was."""

    text: str
    quantity: str
    size: float = Field(ge=0)
    relative: bool
    direction: Direction

    def exceeded(self, before: float, after: float) -> bool:
        """A relative change of what was zero is beyond every limit."""
        change = after - before
        if self.direction != "either" and (change < 0) != (self.direction == "down"):
            return False
        return abs(change) > self.size * (abs(before) if self.relative else 1)


class Change(Record):
    """One quantity of one layer on both sides; ``layer`` is ``None`` for the flow's factor.

    ``change`` is after ÷ before − 1 with its 95 % interval ``low`` to ``high``, ``None`` where it has none (not finite;
    from zero; one seed). ``seeds`` says how many each side has, ``p`` is the permutation test's, taken where a limit
    was exceeded.
    """

    sample: str
    layer: LayerKey | None
    quantity: str
    outcome: Outcome
    reason: str = ""
    before: float | None
    after: float | None
    mean: Literal["geometric", "arithmetic"] | None = None
    change: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    seeds: tuple[int, int]
    limited: bool

    def __str__(self) -> str:
        figures = [f"{x:.3g}" if x is not None else "no figure" for x in (self.before, self.after)]
        change = f" ({self.change:+.1%})" if self.change is not None else ""
        said = self.reason or self.outcome
        return f"{self.layer or 'all layers'}: {self.quantity} {' → '.join(figures)}{change}, {said}"


class Appearance(Record):
    """A test (``layer`` is ``None``) or a layer of one that is not on both sides under one name."""

    sample: str
    layer: LayerKey | None
    presence: Presence
    now: str = ""
    fails: bool

    def __str__(self) -> str:
        what = f"test {self.sample}" if self.layer is None else f"layer {self.layer} of {self.sample}"
        return f"{self.presence}: {what}{f', now {self.now}' if self.now else ''}"


class Comparison(Record):
    """What two sessions differ in. ``notes`` say what else differs, such as the machine."""

    notes: tuple[str, ...]
    changes: tuple[Change, ...]
    appearances: tuple[Appearance, ...]

    @property
    def regressions(self) -> tuple[Change | Appearance, ...]:
        return (
            *(change for change in self.changes if change.outcome == "regression"),
            *(appearance for appearance in self.appearances if appearance.fails),
        )


def parse_limit(text: str) -> Limit:
    """``signal_l2:20%`` either way, ``signal_l2:-20%`` only a decrease, ``signal_l2:+20%`` only an increase;
    ``factor:0.1`` without ``%`` as a difference. Raises :class:`~vgharness.errors.UsageError`."""
    match = _LIMIT.fullmatch(text.strip())
    if match is None:
        raise UsageError(f"limit {text!r}: give QUANTITY:SIZE such as signal_l2:20%, signal_l2:-20% or factor:0.1")
    direction, relative = _SIGNS[match["sign"]], bool(match["percent"])
    size = float(match["size"]) / (100 if relative else 1)
    if relative and size >= 1 and direction != "up":
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
    known = dict.fromkeys(chain((FACTOR,), *(_measured(sample) for session in sessions for sample in session.samples)))
    for limit in limits:
        if limit.quantity not in known and len(known) > 1:
            raise UsageError(f"limit {limit.text!r}: no test has measured that; there are {', '.join(known)}")


def compare(before: Session, after: Session, limits: Sequence[Limit] = (), fail_on: Fails = ()) -> Comparison:
    """Samples are matched by label and layers by name, call and backward pass.

    A test is renamed where a new one has the same layers, seeds and figures as a vanished one. Layers are renamed where
    between the same neighbours as many are new as have vanished; those are compared in their order. A figure that is
    not finite, or not measured, for more of the seeds than before is a regression, whatever the limits.
    """
    tests = _matched_samples(before, after)
    appearances = list(_appearances("", list(tests), [s.label for s in after.samples], tests, fail_on))
    changes: list[Change] = []
    for old in before.samples:
        label = tests[old.label]
        if label is not None and (now := after.sample(label)) is not None:
            layers = _matched_layers(old.keys, now.keys)
            appearances += _appearances(now.label, old.keys, now.keys, layers, fail_on)
            changes += _changes(old, now, layers, limits)
    return Comparison(notes=tuple(_notes(before, after)), changes=tuple(changes), appearances=tuple(appearances))


def _appearances(
    sample: str, before: Sequence[Name], after: Sequence[Name], matched: dict[Name, Name | None], fail_on: Fails
) -> Iterator[Appearance]:
    """Of the tests (``sample`` is empty) or of the layers of one."""
    found: list[tuple[Name, Presence, str]] = [
        (name, "vanished", "") if matched[name] is None else (name, "renamed", str(matched[name]))
        for name in before
        if matched[name] != name
    ]
    found += [(name, "new", "") for name in after if name not in matched.values()]
    for name, presence, now in found:
        test, layer = (sample, name) if isinstance(name, LayerKey) else (str(name), None)
        yield Appearance(sample=test, layer=layer, presence=presence, now=now, fails=presence in fail_on)


def _matched_samples(before: Session, after: Session) -> dict[str, str | None]:
    fresh = [sample for sample in after.samples if before.sample(sample.label) is None]
    matched: dict[str, str | None] = {}
    for old in before.samples:
        twins = (s.label for s in fresh if (s.seeds, s.flows, s.custom) == (old.seeds, old.flows, old.custom))
        matched[old.label] = old.label if after.sample(old.label) else next(twins, None)
        fresh = [sample for sample in fresh if sample.label != matched[old.label]]
    return matched


def _matched_layers(before: Sequence[LayerKey], after: Sequence[LayerKey]) -> dict[LayerKey, LayerKey | None]:
    common = set(before) & set(after)
    matched: dict[LayerKey, LayerKey | None] = {key: key if key in common else None for key in before}
    gaps = _gaps(after, common)
    for neighbours, vanished in _gaps(before, common).items():
        fresh = gaps.get(neighbours, [])
        if len(fresh) == len(vanished):
            matched.update(zip(vanished, fresh, strict=True))
    return matched


def _gaps(
    keys: Sequence[LayerKey], common: Collection[LayerKey]
) -> dict[tuple[LayerKey | None, LayerKey | None], list[LayerKey]]:
    """The runs of keys that are not common, by the common ones before and after."""
    gaps = {}
    previous: LayerKey | None = None
    between: list[LayerKey] = []
    for key in (*keys, None):
        if key is not None and key not in common:
            between.append(key)
            continue
        gaps[previous, key] = between
        previous, between = key, []
    return gaps


def _notes(before: Session, after: Session) -> Iterator[str]:
    sides = [(x.machine.id, x.machine.versions.get("torch"), x.extra.get("precision")) for x in (before, after)]
    for what, was, now in zip(("machine", "torch", "precision"), *sides, strict=True):
        if was != now:
            yield f"another {what}: {was or 'unknown'} before, {now or 'unknown'} after"


def _changes(
    old: Sample, now: Sample, layers: dict[LayerKey, LayerKey | None], limits: Sequence[Limit]
) -> Iterator[Change]:
    paired = sorted(old.seeds) == sorted(now.seeds) and len(set(old.seeds)) == len(old.seeds) >= SEEDS_FOR_PAIRS
    for quantity in dict.fromkeys((FACTOR, *_measured(old), *_measured(now))):
        judging = [limit for limit in limits if limit.quantity == quantity]
        was, is_now = _values(old, quantity), _values(now, quantity)
        for key, before in was.items():
            key_now = layers[key] if key else None
            if key and not key_now:
                continue  # vanished
            after = is_now[key_now]
            if all(map(math.isfinite, (*before, *after))):
                if paired:
                    by_seed = dict(zip(now.seeds, after, strict=True))
                    after = tuple(by_seed[seed] for seed in old.seeds)
                judged = _judged(before, after, paired, quantity, judging)
            elif _was_measured(old, key, quantity) or _was_measured(now, key_now, quantity):
                judged = _not_finite(before, after, quantity)
            else:
                continue  # measured on neither side
            judged |= {"seeds": (len(before), len(after)), "limited": bool(judging)}
            yield Change(sample=now.label, layer=key_now, quantity=quantity, **judged)


def _measured(sample: Sample) -> tuple[str, ...]:
    """The sample's quantities, and those that are finite for no seed."""
    flagged = {name for flow in sample.flows for layer in flow.layers for name in layer.nonfinite}
    return tuple(dict.fromkeys((*sample.quantities, *sorted(flagged & set(FIGURES)))))


def _values(sample: Sample, quantity: str) -> dict[LayerKey | None, tuple[float, ...]]:
    if quantity == FACTOR:
        return {None: tuple(flow.factor() if flow.factors() else math.nan for flow in sample.flows)}
    if quantity in sample.custom or quantity in FIGURES:
        return dict(sample.values(quantity).items())
    return dict.fromkeys(sample.keys, (math.nan,) * len(sample.seeds))  # a user's own, which this side lacks


def _was_measured(sample: Sample, key: LayerKey | None, quantity: str) -> bool:
    """Whether there is a figure for some seed, finite or not; a factor is where a flow has two layers."""
    if key is None:
        return any(flow.factors() for flow in sample.flows)
    rows = [x for flow in sample.flows for x in flow.layers if key_of(x) == key]
    return quantity in sample.custom or any(
        quantity in x.nonfinite or getattr(x, quantity, None) is not None for x in rows
    )


def _judged(
    before: Sequence[float], after: Sequence[float], paired: bool, quantity: str, limits: Sequence[Limit]
) -> dict[str, Any]:
    """What follows from one figure's values, on each side one for each seed: fields of a :class:`Change`."""
    x, y = np.array(before), np.array(after)
    geometric = is_geometric(quantity, (*before, *after))
    if geometric:
        x, y = np.log(x), np.log(y)
    shift = (float(y.mean() - x.mean()), *difference_interval(x, y, paired))
    means = mean_of(before, geometric), mean_of(after, geometric)
    if geometric:
        ends = [math.expm1(min(end, LARGEST_LOG)) for end in shift]
    else:
        ends = [end / abs(means[0]) for end in shift if means[0]]
    exceeded = [limit for limit in limits if limit.exceeded(*means)]
    return {
        "before": means[0],
        "after": means[1],
        "mean": "geometric" if geometric else "arithmetic",
        **{name: end for name, end in zip(("change", "low", "high"), ends, strict=False) if math.isfinite(end)},
        **_verdict(x, y, paired, exceeded),
    }


def is_geometric(quantity: str, values: Sequence[float]) -> bool:
    """Whether the mean of these values is taken on their logarithms."""
    return quantity != "saturated" and min(values) > 0


def mean_of(values: Sequence[float], geometric: bool) -> float:
    return math.exp(np.mean(np.log(values))) if geometric else float(np.mean(values))


def _verdict(x: Array, y: Array, paired: bool, exceeded: Sequence[Limit]) -> dict[str, Any]:
    if not exceeded:
        return {"outcome": "within"}
    beyond = f"beyond {', '.join(limit.text for limit in exceeded)}"
    if min(len(x), len(y)) < SEEDS_FOR_CHANCE:
        few = f"size alone decides: {len(x)} and {len(y)} seeds, {SEEDS_FOR_CHANCE} on both sides rule out chance"
        return {"outcome": "regression", "reason": f"{beyond}; {few}"}
    p = permutation_p(x, y, paired)
    if p < SIGNIFICANCE:
        return {"outcome": "regression", "reason": f"{beyond}; p = {p:.2g}", "p": p}
    return {"outcome": "inconclusive", "reason": f"{beyond}, but it may be chance: p = {p:.2g}", "p": p}


def _not_finite(before: Sequence[float], after: Sequence[float], quantity: str) -> dict[str, Any]:
    """Of a figure that is missing for some seed on some side: worse where it is for more of them than before."""
    sides = (before, after)
    bad = [sum(not math.isfinite(value) for value in side) for side in sides]
    shares = [count / len(side) for count, side in zip(bad, sides, strict=True)]
    means = [
        None if count else mean_of(side, is_geometric(quantity, side)) for count, side in zip(bad, sides, strict=True)
    ]
    reason = f"no finite figure for {bad[1]} of {len(after)} seeds, before for {bad[0]} of {len(before)}"
    outcome: Outcome = "regression" if shares[1] > shares[0] else "not finite" if shares[1] else "within"
    return {"outcome": outcome, "reason": reason, "before": means[0], "after": means[1]}
