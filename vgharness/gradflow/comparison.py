"""Two sessions → what changed, and which changes are regressions.

Per sample, layer and quantity the means over the seeds are compared. Gradients span decades, so the mean is geometric
and the change a ratio with an interval taken on the logarithms, wherever every value on both sides is positive; where
one is zero or negative, and for ``saturated``, which is a share, it is the arithmetic mean. ``factor`` is the
geometric mean of a flow's factors toward the input, one value per sample.

A change beyond a limit is a regression if chance is ruled out as well: a two-sided permutation test at 5 %, where both
sides have five seeds or more. With fewer, no such test can come out below 5 %, and the size alone decides. Where both
sides have the same six seeds or more they are compared seed by seed, which takes the spread between seeds out of it.
Five pairs would not do: signs of five differences give no p below 2/32.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from typing import Final, Literal, NamedTuple, TypeVar

import numpy as np

from vgharness.formatting import count, listing, number, relative_change
from vgharness.gradflow.limits import Limit, Presence, measured_quantities
from vgharness.gradflow.matching import matched_layers, matched_samples
from vgharness.gradflow.summary import FACTOR
from vgharness.records import LAYER_QUANTITIES, LayerKey, Name, Record, Sample, Session
from vgharness.statistics import LARGEST_LOG, Array, difference_interval, permutation_p, scale_of, summarise

SEEDS_FOR_CHANCE: Final = 5
SEEDS_FOR_PAIRS: Final = 6
SIGNIFICANCE: Final = 0.05

ChangeOutcome = Literal["within", "inconclusive", "not finite", "regression"]

Fails = Collection[Presence]
NameOrKey = TypeVar("NameOrKey", str, LayerKey)


class Change(Record):
    """One quantity of one layer on both sides.

    sample: the label of the sample, as it is called now.
    layer: which layer and pass; ``None``: the quantity is of the whole flow (its factor).
    quantity: which.
    outcome: ``regression``: beyond a limit, and not by chance; ``inconclusive``: beyond one, but maybe by chance;
        ``not finite``: some seed has no finite value, as before; ``within``: none of these.
    reason: why, in words.
    before: the mean over the seeds then; ``None``: some seed had no finite value.
    after: the mean now.
    mean: of which kind both means are.
    change: after ÷ before - 1; ``None``: not finite, or from zero.
    low: lower end of the 95 % interval of ``change``; ``None``: a side has one seed.
    high: upper end.
    p: of the permutation test, taken where a limit was exceeded.
    seeds: how many there were, and how many there are.
    limited: whether some limit is on this quantity.
    """

    sample: Name
    layer: LayerKey | None
    quantity: Name
    outcome: ChangeOutcome
    reason: Name = ""
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
        means = " → ".join(number(x, missing="no value") for x in (self.before, self.after))
        moved = f" ({relative_change(self.change)})" if self.change is not None else ""
        return f"{self.layer or 'all layers'}: {self.quantity} {means}{moved}, {self.reason or self.outcome}"


class Appearance(Record):
    """A test, or a layer of one, that is not on both sides under one name.

    sample: the label of the test's sample.
    layer: the layer; ``None``: it is the test.
    presence: ``new``, ``vanished`` or ``renamed``.
    now: what a renamed one is called now.
    fails: whether such a one was asked to count as a regression.
    """

    sample: Name
    layer: LayerKey | None
    presence: Presence
    now: Name = ""
    fails: bool

    def __str__(self) -> str:
        what = f"test {self.sample}" if self.layer is None else f"layer {self.layer} of {self.sample}"
        return f"{self.presence}: {what}{f', now {self.now}' if self.now else ''}"


class Comparison(Record):
    """What two sessions differ in.

    notes: what else is not the same, such as the machine.
    changes: one per sample, layer and quantity that both have.
    appearances: what only one of them has, or has under another name.
    """

    notes: tuple[Name, ...]
    changes: tuple[Change, ...]
    appearances: tuple[Appearance, ...]

    @property
    def regressions(self) -> tuple[Change | Appearance, ...]:
        return (
            *(change for change in self.changes if change.outcome == "regression"),
            *(appearance for appearance in self.appearances if appearance.fails),
        )


def compare(before: Session, after: Session, limits: Sequence[Limit] = (), fail_on: Fails = ()) -> Comparison:
    """Compares two sessions: as :func:`compare_samples`, with notes on what else differs between them."""
    found = compare_samples(before.samples, after.samples, limits, fail_on)
    return Comparison(notes=tuple(_notes(before, after)), changes=found.changes, appearances=found.appearances)


def compare_samples(
    before: Sequence[Sample], after: Sequence[Sample], limits: Sequence[Limit] = (), fail_on: Fails = ()
) -> Comparison:
    """Compares samples, matched by label, and their layers, matched by name and pass.

    ``limits`` and ``fail_on`` say what is a regression. A test is renamed where a new one has the same layers, seeds
    and values as a vanished one. Layers are renamed where between the same neighbours as many are new as have vanished;
    those are compared in their order. A value that is not finite, or not measured, for more of the seeds than before is
    a regression, whatever the limits.
    """
    now_by_label = {sample.label: sample for sample in after}
    tests = matched_samples(before, now_by_label)
    appearances = list(_appearances("", list(tests), list(now_by_label), tests, fail_on))
    changes: list[Change] = []
    for old in before:
        label = tests[old.label]
        if label is not None and (now := now_by_label.get(label)) is not None:
            layers = matched_layers(old.keys, now.keys)
            appearances += _appearances(now.label, old.keys, now.keys, layers, fail_on)
            changes += _changes(old, now, layers, limits)
    return Comparison(notes=(), changes=tuple(changes), appearances=tuple(appearances))


def _notes(before: Session, after: Session) -> Iterator[str]:
    sides = [(x.machine.id, x.machine.versions.get("torch"), x.extra.get("precision")) for x in (before, after)]
    for what, was, now in zip(("machine", "torch", "precision"), *sides, strict=True):
        if was != now:
            yield f"another {what}: {was or 'unknown'} before, {now or 'unknown'} after"


def _appearances(
    sample: str,
    before: Sequence[NameOrKey],
    after: Sequence[NameOrKey],
    matched: dict[NameOrKey, NameOrKey | None],
    fail_on: Fails,
) -> Iterator[Appearance]:
    """Of the tests (``sample`` is empty) or of the layers of one."""
    found: list[tuple[NameOrKey, Presence, str]] = [
        (name, "vanished", "") if matched[name] is None else (name, "renamed", str(matched[name]))
        for name in before
        if matched[name] != name
    ]
    found += [(name, "new", "") for name in after if name not in matched.values()]
    for name, presence, now in found:
        test, layer = (sample, name) if isinstance(name, LayerKey) else (str(name), None)
        yield Appearance(sample=test, layer=layer, presence=presence, now=now, fails=presence in fail_on)


class _Pair(NamedTuple):
    """One quantity of one layer on both sides, one value per seed; NaN where there is none.

    matched: whether both sides have the same seeds, in the same order, and enough of them to compare pairs.
    """

    sample: str
    layer: LayerKey | None
    quantity: str
    before: tuple[float, ...]
    after: tuple[float, ...]
    matched: bool
    limits: Sequence[Limit]

    @property
    def is_finite(self) -> bool:
        return all(map(math.isfinite, (*self.before, *self.after)))

    @property
    def seeds(self) -> tuple[int, int]:
        return len(self.before), len(self.after)


def _changes(
    old: Sample, now: Sample, layers: dict[LayerKey, LayerKey | None], limits: Sequence[Limit]
) -> Iterator[Change]:
    matched = sorted(old.seeds) == sorted(now.seeds) and len(set(old.seeds)) == len(old.seeds) >= SEEDS_FOR_PAIRS
    for quantity in dict.fromkeys((FACTOR, *measured_quantities(old), *measured_quantities(now))):
        judging = [limit for limit in limits if limit.quantity == quantity]
        was, is_now = _values(old, quantity), _values(now, quantity)
        for key, before in was.items():
            key_now = layers[key] if key else None
            if key and not key_now:
                continue  # vanished
            after = is_now[key_now]
            if matched:
                by_seed = dict(zip(now.seeds, after, strict=True))
                after = tuple(by_seed[seed] for seed in old.seeds)
            pair = _Pair(now.label, key_now, quantity, before, after, matched, judging)
            if pair.is_finite:
                yield _change(pair)
            elif _was_measured(old, key, quantity) or _was_measured(now, key_now, quantity):
                yield _change_of_missing(pair)


def _values(sample: Sample, quantity: str) -> dict[LayerKey | None, tuple[float, ...]]:
    if quantity == FACTOR:
        return {None: tuple(flow.factor() if flow.factors() else math.nan for flow in sample.flows)}
    if quantity in sample.custom or quantity in LAYER_QUANTITIES:
        return dict(sample.values(quantity).items())
    return dict.fromkeys(sample.keys, (math.nan,) * len(sample.seeds))  # a user's own, which this side lacks


def _was_measured(sample: Sample, key: LayerKey | None, quantity: str) -> bool:
    """Whether there is a value for some seed, finite or not; a factor is where a flow has two layers."""
    if key is None:
        return any(flow.factors() for flow in sample.flows)
    rows = [x for flow in sample.flows for x in flow.layers if x.key == key]
    return quantity in sample.custom or any(
        quantity in x.nonfinite or getattr(x, quantity, None) is not None for x in rows
    )


def _change(pair: _Pair) -> Change:
    """Of values that are finite for every seed on both sides."""
    scale = scale_of(pair.quantity, pair.before, pair.after)
    x, y = np.array(pair.before), np.array(pair.after)
    if scale == "log":
        x, y = np.log(x), np.log(y)
    before, after = summarise(pair.before, scale).value, summarise(pair.after, scale).value
    shift = (float(y.mean() - x.mean()), *difference_interval(x, y, pair.matched))
    if scale == "log":
        ends = [math.expm1(min(end, LARGEST_LOG)) for end in shift]
    else:
        ends = [end / abs(before) for end in shift if before]
    relative = [end if math.isfinite(end) else None for end in ends]
    judged = _judge(x, y, pair.matched, [limit for limit in pair.limits if limit.exceeded(before, after)])
    return Change(
        sample=pair.sample,
        layer=pair.layer,
        quantity=pair.quantity,
        outcome=judged.outcome,
        reason=judged.reason,
        before=before,
        after=after,
        mean="geometric" if scale == "log" else "arithmetic",
        **dict(zip(("change", "low", "high"), relative, strict=False)),
        p=judged.p,
        seeds=pair.seeds,
        limited=bool(pair.limits),
    )


class _Judged(NamedTuple):
    outcome: ChangeOutcome
    reason: str = ""
    p: float | None = None


def _judge(x: Array, y: Array, matched: bool, exceeded: Sequence[Limit]) -> _Judged:
    """Whether values beyond the limits ``exceeded`` are so by chance; ``x`` and ``y`` on the scale of their mean."""
    if not exceeded:
        return _Judged("within")
    beyond = f"beyond {listing(limit.text for limit in exceeded)}"
    if min(len(x), len(y)) < SEEDS_FOR_CHANCE:
        few = f"size alone decides: {len(x)} and {len(y)} seeds, {SEEDS_FOR_CHANCE} on both sides rule out chance"
        return _Judged("regression", f"{beyond}; {few}")
    p = permutation_p(x, y, matched)
    if p < SIGNIFICANCE:
        return _Judged("regression", f"{beyond}; p = {p:.2g}", p)
    return _Judged("inconclusive", f"{beyond}, but it may be chance: p = {p:.2g}", p)


def _change_of_missing(pair: _Pair) -> Change:
    """Of a value that is missing for some seed on some side: worse where it is for more of them than before."""
    missing = [sum(not math.isfinite(value) for value in side) for side in (pair.before, pair.after)]
    was, now = (lost / seeds for lost, seeds in zip(missing, pair.seeds, strict=True))
    before, after = (
        None if lost else summarise(side, scale_of(pair.quantity, side)).value
        for lost, side in zip(missing, (pair.before, pair.after), strict=True)
    )
    return Change(
        sample=pair.sample,
        layer=pair.layer,
        quantity=pair.quantity,
        outcome="regression" if now > was else "not finite" if now else "within",
        reason=f"no finite value for {missing[1]} of {count(pair.seeds[1], 'seed')}, "
        f"before for {missing[0]} of {pair.seeds[0]}",
        before=before,
        after=after,
        seeds=pair.seeds,
        limited=bool(pair.limits),
    )
