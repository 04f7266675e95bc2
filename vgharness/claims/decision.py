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
from vgharness.claims.seeds import Seeds
from vgharness.formatting import count, number, percent
from vgharness.records import Outcome, nan_if_none
from vgharness.statistics import (
    CONFIDENCE,
    MOST_SEEDS,
    Decidable,
    Scale,
    Summary,
    from_scale,
    mean_of,
    mean_over_seeds,
    on_scale,
    seeds_to_decide,
)

FEWEST_SEEDS: Final = 3
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
    seeds = Seeds(finite, measured, confidence)
    decided = _against_curve(seeds, measured.published) if accept is None else _decide(accept, seeds, measured)
    if not lost:
        return decided
    diverged = f"{lost} of {count(len(measured.values), 'seed')} diverged"
    if diverged_holds and decided.outcome == "reproduced":
        return decided._replace(reason=f"{diverged}, which the sentence covers")
    return decided.left_open(diverged)


def _decide(accept: Accept, seeds: Seeds, measured: Measurement) -> Decided:
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
    accept: Accept, seeds: Seeds, found: tuple[float, float], could: bool | None
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


def _is_open_for_good(accept: Accept, seeds: Seeds, error: float | None) -> bool:
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


def _p_of_printed(accept: Accept, seeds: Seeds) -> float:
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


def _open(decided: Decided, accept: Accept, seeds: Seeds) -> Decided:
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


def _open_bounds(seeds: Seeds) -> str:
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


def _against_curve(seeds: Seeds, published: float | None) -> Decided:
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
