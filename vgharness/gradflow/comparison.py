"""Two sessions → what changed, and which changes are regressions.

Per sample, layer and quantity the means over the seeds are compared. Gradients span decades, so the mean is geometric
and the change a ratio with an interval taken on the logarithms, wherever every value on both sides is positive; where
one is zero or negative, and for ``saturated``, which is a share, it is the arithmetic mean. ``factor`` is the
geometric mean of a flow's factors toward the input, one value per sample.

Where both sides have the same seeds they are compared seed by seed, which takes the spread between seeds out of it; if
each has the same value as before, nothing has changed. What counts as a regression:
:mod:`vgharness.gradflow.judging`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np

from vgharness.display.html import HtmlTable
from vgharness.display.shown import Shown
from vgharness.errors import UsageError
from vgharness.formatting import count, number, relative_change
from vgharness.gradflow.comparison_tables import comparison_html, comparison_line, comparison_text
from vgharness.gradflow.judging import Judged, judge, number_of_decisions, reason
from vgharness.gradflow.limits import Limit, Presence
from vgharness.gradflow.matching import matched_layers, matched_samples
from vgharness.gradflow.pairs import Pair, pairs_of
from vgharness.gradflow.quantities import measured_quantities
from vgharness.gradflow.summary import FACTOR, SIGNAL
from vgharness.records import LayerKey, Name, Record, Sample, Session
from vgharness.statistics import mean_over_seeds, scale_of, share_changed

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from vgharness.gradflow.sample import FlowSample  # imports torch

ChangeOutcome = Literal["unchanged", "within", "changed", "inconclusive", "not finite", "regression"]

Fails = Collection[Presence]
NameOrKey = TypeVar("NameOrKey", str, LayerKey)


class Change(Record):
    """One quantity of one layer on both sides.

    sample: the label of the sample, as it is called now.
    layer: which layer and pass; ``None``: the quantity is of the whole flow (its factor).
    quantity: which.
    outcome: ``regression``: beyond a limit, and not by chance; ``inconclusive``: beyond one, but maybe by chance;
        ``not finite``: some seed has no finite value, as before; ``unchanged``: each seed has the value that it had;
        ``changed``: where there are no limits at all, by more than chance; ``within``: none of these.
    reason: why, in words.
    before: the mean over the seeds then; ``None``: some seed had no finite value.
    after: the mean now.
    mean: of which kind both means are.
    change: after ÷ before - 1; ``None``: not finite, or from zero.
    low: lower end of the 95 % interval of ``change``, of this one value; ``None``: unchanged, or a side has one seed.
    high: upper end.
    p: where it is beyond a limit (without limits: where it has changed), how likely it is so by chance, corrected for
        all decisions of the build; ``None``: it is not, or there are too few seeds to say.
    seeds_to_tell: where that may be, how many seeds on each side would tell, if all stays as it is; ``None``: too many.
    seeds: how many of each side are compared.
    same_seeds: whether they are the same ones, compared one by one.
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
    seeds_to_tell: int | None = None
    seeds: tuple[int, int]
    same_seeds: bool = False
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


class Comparison(Shown[Change], Record):  # type: ignore[misc]  # changes, not pydantic's fields
    """What two sessions differ in.

    Its rows are its changes: ``for change in comparison``.

    limits: on values, as they were typed.
    fail_on: which comings and goings of tests and layers were to fail.
    notes: what else is not the same, such as the machine.
    changes: one per sample, layer and quantity that both have.
    appearances: what only one of them has, or has under another name.
    """

    limits: tuple[Name, ...] = ()
    fail_on: tuple[Presence, ...] = ()
    notes: tuple[Name, ...]
    changes: tuple[Change, ...]
    appearances: tuple[Appearance, ...]

    @property
    def regressions(self) -> tuple[Change | Appearance, ...]:
        return (
            *(change for change in self.changes if change.outcome == "regression"),
            *(appearance for appearance in self.appearances if appearance.fails),
        )

    def plot(self, ax: Axes | None = None, *, quantity: str = SIGNAL, sample: str = "") -> Figure:
        """Draws by what ``quantity`` of each layer is multiplied from before to after, with its 95 % interval; gives
        matplotlib's figure.

        ax: to draw on; by default new ones. sample: which, by its label; by default the first that has changes.
        """
        from vgharness.gradflow.comparison_plot import plot_comparison  # matplotlib is slow to import

        return plot_comparison(self, ax, quantity, sample)

    _noun = "change"

    def _items(self) -> tuple[Change, ...]:
        return self.changes

    def _called(self, row: Change) -> str:
        return f"{row.sample} {row.layer or 'all layers'} {row.quantity}".strip()

    def _line(self) -> str:
        return comparison_line(self)

    def _records(self) -> list[dict[str, Any]]:
        return [{**x.model_dump(mode="json"), "layer": str(x.layer) if x.layer else None} for x in self.changes]

    def _html(self) -> HtmlTable:
        return comparison_html(self)

    def __str__(self) -> str:
        return comparison_text(self)


def compare(
    before: Session | Sample | FlowSample,
    after: Session | Sample | FlowSample,
    limits: Sequence[Limit] = (),
    fail_on: Fails = (),
    decisions: int | None = None,
) -> Comparison:
    """Compares two sessions, or two measurements: as :func:`compare_samples`, of sessions with notes on what else
    differs between them. Raises :class:`~vgharness.errors.UsageError` for anything else."""
    found = compare_samples(_samples(before), _samples(after), limits, fail_on, decisions)
    if isinstance(before, Session) and isinstance(after, Session):
        return found.changed(notes=tuple(_notes(before, after)))
    return found


def _samples(given: Session | Sample | FlowSample) -> tuple[Sample, ...]:
    if isinstance(given, Session):
        return given.samples
    own = given if isinstance(given, Sample) else getattr(given, "record", None)
    if not isinstance(own, Sample):
        raise UsageError(f"compare: give two sessions, or two of what measure gives, not {type(given).__name__}")
    return (own,)


def compare_samples(
    before: Sequence[Sample],
    after: Sequence[Sample],
    limits: Sequence[Limit] = (),
    fail_on: Fails = (),
    decisions: int | None = None,
) -> Comparison:
    """Compares samples, matched by label, and their layers, matched by name and pass.

    limits, fail_on: what is a regression; without any limit it is found what has changed at all, and nothing fails.
    decisions: how many the whole build makes, where these samples are a part of it (``number_of_decisions`` of all that
        it is compared with); by default those of ``before``.

    A test is renamed where a new one has the same layers, seeds and values as a vanished one. Layers are renamed where
    between the same neighbours as many are new as have vanished; those are compared in their order. A value that is not
    finite, or not measured, for more of the seeds than before is a regression, whatever the limits.
    """
    if not limits:
        limits, decisions = _any_change(before), None
    decisions = number_of_decisions(before, limits) if decisions is None else decisions
    now_by_label = {sample.label: sample for sample in after}
    tests = matched_samples(before, now_by_label)
    appearances = list(_appearances("", list(tests), list(now_by_label), tests, fail_on))
    changes: list[Change] = []
    for old in before:
        label = tests[old.label]
        if label is not None and (now := now_by_label.get(label)) is not None:
            layers = matched_layers(old.keys, now.keys)
            appearances += _appearances(now.label, old.keys, now.keys, layers, fail_on)
            pairs = list(pairs_of(old, now, layers, limits))
            changes += _changes(now.label, pairs, decisions)
    return Comparison(
        limits=tuple(limit.text for limit in limits if limit.text),
        fail_on=tuple(fail_on),
        notes=(),
        changes=tuple(changes),
        appearances=tuple(appearances),
    )


def _any_change(samples: Sequence[Sample]) -> tuple[Limit, ...]:
    """Limits that nobody has typed: any change of any quantity reaches them."""
    quantities = dict.fromkeys((FACTOR, *(name for sample in samples for name in measured_quantities(sample))))
    return tuple(Limit(text="", quantity=x, size=0, relative=True, direction="either") for x in quantities)


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


def _changes(sample: str, pairs: Sequence[Pair], decisions: int) -> Iterator[Change]:
    judged = iter(judge([pair for pair in pairs if pair.is_finite], decisions))
    for pair in pairs:
        if pair.is_finite:
            yield _change(sample, pair, next(judged), decisions)
        else:
            yield _change_of_missing(sample, pair)


def _change(sample: str, pair: Pair, judged: Judged, decisions: int) -> Change:
    """Of values that are finite for every seed on both sides."""
    scale = scale_of(pair.quantity, pair.before, pair.after)
    x, y = np.array(pair.before), np.array(pair.after)
    before, after = (float(mean_over_seeds(side, scale)) for side in (x, y))
    shares = share_changed(x, y, pair.same_seeds, scale)
    if pair.is_unchanged:
        shares = tuple(0.0 for _ in shares[:1])
    relative = [share if math.isfinite(share) else None for share in shares]
    limited = any(limit.text for limit in pair.limits)
    return Change(
        sample=sample,
        layer=pair.layer,
        quantity=pair.quantity,
        outcome=_outcome(pair, judged, limited),
        reason=reason(judged, pair.seeds, decisions) if limited and judged.reached else "",
        before=before,
        after=after,
        mean="geometric" if scale == "log" else "arithmetic",
        **dict(zip(("change", "low", "high"), relative, strict=False)),
        p=judged.p,
        seeds_to_tell=judged.seeds_to_tell,
        seeds=pair.seeds,
        same_seeds=pair.same_seeds,
        limited=limited,
    )


def _outcome(pair: Pair, judged: Judged, limited: bool) -> ChangeOutcome:
    if pair.is_unchanged:
        return "unchanged"
    if judged.fails:
        return "regression" if limited else "changed"
    return "inconclusive" if limited and judged.reached else "within"


def _change_of_missing(sample: str, pair: Pair) -> Change:
    """Of a value that is missing for some seed on some side: worse where it is for more of them than before."""
    missing = [sum(not math.isfinite(value) for value in side) for side in (pair.before, pair.after)]
    was, now = (lost / seeds for lost, seeds in zip(missing, pair.seeds, strict=True))
    before, after = (
        None if lost else float(mean_over_seeds(side, scale_of(pair.quantity, side)))
        for lost, side in zip(missing, (pair.before, pair.after), strict=True)
    )
    return Change(
        sample=sample,
        layer=pair.layer,
        quantity=pair.quantity,
        outcome="regression" if now > was else "not finite" if now else "within",
        reason=f"no finite value for {missing[1]} of {count(pair.seeds[1], 'seed')}, "
        f"before for {missing[0]} of {pair.seeds[0]}",
        before=before,
        after=after,
        seeds=pair.seeds,
        limited=any(limit.text for limit in pair.limits),
    )
