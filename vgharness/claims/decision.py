"""From a reading's values per seed to its outcome.

A reading is **reproduced** where the 95 % interval of its mean over the seeds lies in what is accepted, **not
reproduced** where it lies outside, else **inconclusive**. A number that a document prints from one run is one draw: it
is refuted only where it could not be one further run of ours either. What the seeds cannot settle stays open: fewer
than three, networks that diverged, and seeds that fall into two groups, some at chance and some that learn.

A study that is judged more than once has intervals at more than 95 %, so that all its looks together are wrong as
seldom as one. What rests on no interval of the mean but on a printed number that is not refuted gains by a wider one:
it holds only where the number lies in the 95 % interval of one further run, as in any study.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

from vgharness.claims.accept import Accept
from vgharness.claims.measurement import Measurement
from vgharness.formatting import count, number, percent
from vgharness.records import Outcome, SeedValue, nan_if_none
from vgharness.statistics import (
    CONFIDENCE,
    MOST_SEEDS,
    Decidable,
    Scale,
    Summary,
    from_scale,
    interval,
    mean_of,
    mean_over_seeds,
    on_scale,
    prediction_interval,
    seeds_to_decide,
    spread_of,
    two_sided_p,
)

FEWEST_SEEDS: Final = 3
_LEAST_POSITIVE: Final = 1.4e-45  # of float32: a gradient that came out as exactly zero lies below it
_OUTSIDE_95: Final = "outside the 95 % of further runs, but inside what one of several looks needs to refute it"
_SETTLED: Final = ("reproduced", "not reproduced")


class Decided(NamedTuple):
    """What the values of a reading come to.

    outcome: what the measurement says of it.
    reason: why, where the interval's position alone does not say it.
    summary: the mean over the seeds and its interval; of seeds whose values have bounds, from the least that the mean
        can be to the most.
    further: the prediction interval of one further run; ``None``: there is none.
    could_be_one_run: whether what is printed lies in that; ``None``: nothing is printed, or there is no such interval.
    seeds_needed: how many seeds would decide, where more of them would.
    open_for_good: whether more seeds like these would leave it open: what keeps it open is not their scatter.
    p: the least two-sided level of error, of all looks together, at which the outcome would be the same; ``None``:
        nothing was decided.
    """

    outcome: Outcome
    reason: str
    summary: Summary
    further: tuple[float, float] | None = None
    could_be_one_run: bool | None = None
    seeds_needed: int | None = None
    open_for_good: bool = False
    p: float | None = None

    @property
    def is_settled(self) -> bool:
        """Whether the values say something definite."""
        return self.outcome in _SETTLED

    def left_open(self, reason: str) -> Decided:
        """The same values, which for that ``reason`` decide nothing, however many there are."""
        return self._replace(outcome="inconclusive", reason=reason, seeds_needed=None, open_for_good=True, p=None)


def too_few(seeds: int) -> str:
    """Why so few seeds decide nothing."""
    return f"{count(seeds, 'seed')}; a verdict needs {FEWEST_SEEDS}"


def decide(
    accept: Accept | None, measured: Measurement, *, diverged_holds: bool = False, confidence: float = CONFIDENCE
) -> Decided:
    """Decides what ``measured`` says of a reading.

    accept: what is accepted; ``None`` for the distance of a published curve, which is held against the seeds' own.
    diverged_holds: whether a network that diverged is one that the claim speaks of: it then counts as holding.
    confidence: of the intervals: over 95 % at one of several looks.
    """
    finite = [value for value in measured.values if value.value is not None]
    if measured.exact:
        return _exactly(accept, measured)
    lost = len(measured.values) - len(finite)
    if not finite:
        diverged = f"{lost} of {count(lost, 'seed')} diverged"
        if diverged_holds:
            return Decided("reproduced", f"{diverged}, which the sentence covers", Summary(math.nan), p=0.0)
        return Decided("inconclusive", diverged, Summary(math.nan), open_for_good=True)
    seeds = _Seeds(finite, measured, confidence)
    decided = _against_curve(seeds, measured.published) if accept is None else _decide(accept, seeds, measured)
    if not lost:
        return decided
    diverged = f"{lost} of {count(len(measured.values), 'seed')} diverged"
    if diverged_holds and decided.outcome == "reproduced":
        return decided._replace(reason=f"{diverged}, which the sentence covers")
    return decided.left_open(diverged)


class _Seeds:
    """Finite values per seed, between their bounds, on the scale on which they are averaged."""

    def __init__(self, values: Sequence[SeedValue], measured: Measurement, confidence: float) -> None:
        self.scale: Scale = measured.scale
        if self.scale == "log" and any(nan_if_none(each.value) < 0 for each in values):
            self.scale = "linear"  # what can be negative has no logarithm
        self.grain, self.confidence = measured.grain, confidence
        self.figures = [nan_if_none(each.value) for each in values]
        ends = [self._ends(each) for each in values]
        self.lows, self.highs = [low for low, _ in ends], [high for _, high in ends]

    def __len__(self) -> int:
        return len(self.figures)

    def _ends(self, seed: SeedValue) -> tuple[float, float]:
        value = nan_if_none(seed.value)
        if seed.bounds is not None:
            low = -math.inf if seed.bounds.low is None else on_scale(self.scale, seed.bounds.low)
            return low, math.inf if seed.bounds.high is None else on_scale(self.scale, seed.bounds.high)
        if self.scale == "log" and value == 0:
            return -math.inf, math.log(_LEAST_POSITIVE)
        return (on_scale(self.scale, value),) * 2

    @property
    def coarse(self) -> bool:
        """Whether some seed's value is known only between bounds."""
        return self.lows != self.highs

    def interval(self, further: bool = False, confidence: float | None = None) -> tuple[float, float]:
        """The interval of the mean, or of one ``further`` value, on the scale; infinite ends are open. ``confidence``:
        in place of the look's own."""
        of, at = prediction_interval if further else interval, confidence or self.confidence
        low = of(self.lows, self.grain, at)[0] if all(map(math.isfinite, self.lows)) else -math.inf
        high = of(self.highs, self.grain, at)[1] if all(map(math.isfinite, self.highs)) else math.inf
        return low, high

    def between(self) -> tuple[float, float]:
        """What lies, on the scale, between the intervals of the least and of the most that the mean can be; swapped
        where those overlap."""
        low = interval(self.lows, self.grain, self.confidence)[1] if all(map(math.isfinite, self.lows)) else -math.inf
        high = interval(self.highs, self.grain, self.confidence)[0] if all(map(math.isfinite, self.highs)) else math.inf
        return low, high

    def summary(self) -> Summary:
        """Mean and interval in the values' own unit."""
        value = float(mean_over_seeds(self.figures, self.scale))
        if len(self) < 2:
            return Summary(value, scale=self.scale)
        low, high = (from_scale(self.scale, end) for end in self.interval())
        return Summary(value, low, high, "t", self.scale)

    def further(self, confidence: float | None = None) -> tuple[float, float] | None:
        """The prediction interval in the values' own unit; ``confidence`` as for :meth:`interval`."""
        if len(self) < 2:
            return None
        low, high = self.interval(further=True, confidence=confidence)
        return from_scale(self.scale, low), from_scale(self.scale, high)

    def p_beyond(self, distance: float, ends: Sequence[float], further: bool = False) -> float:
        """The level, of all looks together, at which an interval made of ``ends`` would still be this far away, on the
        scale."""
        if not math.isfinite(distance):
            return 0.0 if distance > 0 else 1.0
        error = spread_of(ends, self.grain) * math.sqrt((1 if further else 0) + 1 / len(ends))
        if not error:
            return float(distance < 0)
        # This look has a share of the error that all of them may make: by that its p counts for more.
        return min(two_sided_p(distance / error, len(ends)) * (1 - CONFIDENCE) / (1 - self.confidence), 1.0)


def _decide(accept: Accept, seeds: _Seeds, measured: Measurement) -> Decided:
    summary, further = seeds.summary(), seeds.further()
    could = _could_be_one_run(accept, further)
    decided = Decided("inconclusive", "", summary, further, could)
    if len(seeds) < FEWEST_SEEDS:
        return decided._replace(reason=too_few(len(seeds)))
    groups, together = _groups(accept, seeds.figures, measured.plateau)
    found = seeds.interval()
    outcome, p = _position(accept, seeds, _despite_error(seeds.scale, found, measured.error), could)
    if outcome in _SETTLED and together:
        return decided._replace(outcome=outcome, reason=groups, p=p)
    if groups:
        return decided._replace(reason=groups, open_for_good=not together)
    decided = decided._replace(open_for_good=_is_open_for_good(accept, seeds, measured.error))
    if measured.error and _position(accept, seeds, found, could)[0] in _SETTLED:
        off = percent(measured.error)
        return decided._replace(reason=f"the numerical error at this precision, {off}, is larger than the margin")
    return _open(decided, accept, seeds)


def _position(
    accept: Accept, seeds: _Seeds, found: tuple[float, float], could: bool | None
) -> tuple[Outcome, float | None]:
    """The outcome by where the interval, on the scale, lies, and the level at which it would be the same."""
    if not accept.has_interval:
        if could is None:
            return "inconclusive", None
        if not could:
            return "not reproduced", _p_of_printed(accept, seeds)
        return "reproduced" if _could_be_one_run(accept, seeds.further(CONFIDENCE)) else "inconclusive", None
    ends = from_scale(seeds.scale, found[0]), from_scale(seeds.scale, found[1])
    least, most = _scaled(seeds.scale, accept)
    if accept.covers(*ends):
        inside = (least, seeds.lows, -1), (most, seeds.highs, 1)
        distances = [(side * (end - mean_of(own)), own) for end, own, side in inside if math.isfinite(end)]
        return "reproduced", max((seeds.p_beyond(distance, own) for distance, own in distances), default=0.0)
    if accept.excludes(*ends) and not could:
        distance, own = max(
            (least - mean_of(seeds.highs), seeds.highs),
            (mean_of(seeds.lows) - most, seeds.lows),
            key=lambda each: each[0],
        )
        p = seeds.p_beyond(distance, own)
        return "not reproduced", max(p, _p_of_printed(accept, seeds)) if accept.printed else p
    return "inconclusive", None


def _is_open_for_good(accept: Accept, seeds: _Seeds, error: float | None) -> bool:
    """Whether bounds or numerical error alone leave it open: an end of what is accepted lies between the least and the
    most that the mean can be, wherever in their intervals those are."""
    low, high = _despite_error(seeds.scale, seeds.between(), error)
    return low < high and _position(accept, seeds, (low, high), could=False)[0] not in _SETTLED


def _scaled(scale: Scale, accept: Accept) -> tuple[float, float]:
    """The ends of what is accepted, on the scale; what lies beyond all that it can hold is no end."""
    low, high = accept.low, accept.high
    if scale == "logit":
        low, high = low if low > 0 else -math.inf, high if high < 100 else math.inf
    return (
        on_scale(scale, low) if math.isfinite(low) else low,
        on_scale(scale, high) if math.isfinite(high) else high,
    )


def _could_be_one_run(accept: Accept, further: tuple[float, float] | None) -> bool | None:
    """Whether a printed number, or any number of a printed range, lies in the prediction interval."""
    if not accept.printed or further is None:
        return None
    return min(accept.printed) <= further[1] and max(accept.printed) >= further[0]


def _printed(accept: Accept, scale: Scale) -> tuple[float, float]:
    """The ends of what is printed, on the scale."""
    return on_scale(scale, min(accept.printed)), on_scale(scale, max(accept.printed))


def _p_of_printed(accept: Accept, seeds: _Seeds) -> float:
    least, most = _printed(accept, seeds.scale)
    over = seeds.p_beyond(least - mean_of(seeds.highs), seeds.highs, further=True)
    under = seeds.p_beyond(mean_of(seeds.lows) - most, seeds.lows, further=True)
    return min(over, under)


def _despite_error(scale: Scale, ends: tuple[float, float], error: float | None) -> tuple[float, float]:
    """The interval wherever, within the relative numerical error, it may really lie."""
    low, high = ends
    if not error:
        return ends
    if scale == "log":
        return low + math.log1p(-error) if error < 1 else -math.inf, high + math.log1p(error)
    return low - error * abs(low), high + error * abs(high)


def _groups(accept: Accept, figures: Sequence[float], plateau: float | None) -> tuple[str, bool]:
    """Says how many seeds stay at chance and how many learn, where both are there; and whether all of them are on one
    side of what is accepted: a mean over two groups is of none of them."""
    limit = math.inf if plateau is None else plateau
    at_chance, learn = [x for x in figures if x <= limit], [x for x in figures if x > limit]
    if not at_chance or not learn:
        return "", True
    means = [float(mean_over_seeds(group, "logit")) for group in (at_chance, learn)]
    text = (
        f"{len(at_chance)} of {count(len(figures), 'seed')} stay at chance ({number(means[0])} %), "
        f"{len(learn)} learn ({number(means[1])} %)"
    )
    return text, len({accept.contains(x) for x in figures}) == 1


def _open(decided: Decided, accept: Accept, seeds: _Seeds) -> Decided:
    """Says why it is open, and how many seeds would decide."""
    if not all(map(math.isfinite, (*seeds.lows, *seeds.highs))):
        return decided._replace(reason=_open_bounds(seeds))
    low, high = (from_scale(seeds.scale, end) for end in seeds.interval())
    if decided.could_be_one_run and accept.excludes(low, high):
        return decided._replace(reason="our mean is outside, but the printed number could be one run of ours")
    if not accept.has_interval:
        return decided._replace(reason=_OUTSIDE_95)
    reason = "the interval reaches over an end of what is accepted"
    if seeds.coarse:
        return decided._replace(reason=f"{reason}: an epoch is too coarse a measure to decide")
    printed = _printed(accept, seeds.scale) if accept.printed else None
    needed = seeds_to_decide(
        seeds.lows, Decidable(*_scaled(seeds.scale, accept), printed, seeds.confidence), seeds.grain
    )
    if needed is None:
        return decided._replace(reason=f"{reason}; not even {MOST_SEEDS} seeds would decide in nine of ten studies")
    return decided._replace(
        reason=f"{reason}; about {needed} seeds would decide in nine of ten studies", seeds_needed=needed
    )


def _open_bounds(seeds: _Seeds) -> str:
    if all(x == 0 for x in seeds.figures):
        return "exactly zero with every seed"
    if any(x == 0 for x in seeds.figures) and seeds.scale == "log":
        return f"exactly zero with {sum(x == 0 for x in seeds.figures)} of {count(len(seeds), 'seed')}"
    above = sum(not math.isfinite(x) for x in seeds.highs)
    below = sum(not math.isfinite(x) for x in seeds.lows)
    known = "neither bound is" if above and below else "only a lower bound is" if above else "only an upper bound is"
    return f"{known} known with {max(above, below)} of {count(len(seeds), 'seed')}: an epoch is too coarse, or too few"


def _exactly(accept: Accept | None, measured: Measurement) -> Decided:
    """A count that no seed changes: all of them must agree, and one is enough."""
    assert accept is not None
    figures = [nan_if_none(each.value) for each in measured.values]
    found = Summary(mean_of(figures), min(figures), max(figures), "exact")
    if not all(map(math.isfinite, figures)):
        return Decided("inconclusive", "it is not known with every seed", Summary(math.nan), open_for_good=True)
    holds = all(map(accept.contains, figures))
    return Decided("reproduced" if holds else "not reproduced", "", found, p=0.0)


def _against_curve(seeds: _Seeds, published: float | None) -> Decided:
    """Holds the distance of a published curve from the seeds' mean against that of each seed from the others'.

    Reproduced where it is no further than one of ours; not reproduced where it is over the upper end of what one
    further run of ours would show. The mean of all n seeds scatters less than that of n − 1 others, by far less than
    the curves themselves: the distances are compared as they are.
    """
    distance = nan_if_none(published)
    summary, further = seeds.summary(), seeds.further()
    decided = Decided("inconclusive", "", summary, further)
    if len(seeds) < FEWEST_SEEDS or further is None or not math.isfinite(distance):
        return decided._replace(reason=too_few(len(seeds)))
    greatest = max(seeds.figures)
    could = distance <= further[1]
    decided = decided._replace(could_be_one_run=could)
    own = f"our seeds' own are up to {number(greatest)} from the others' mean"
    if distance <= greatest:
        return decided._replace(outcome="reproduced", reason=own)
    if not could:
        above = on_scale(seeds.scale, distance) - mean_of(seeds.highs)
        return decided._replace(
            outcome="not reproduced", reason=own, p=seeds.p_beyond(above, seeds.highs, further=True)
        )
    return decided._replace(reason=f"{own}, and one further run could be as far as {number(further[1])}")
