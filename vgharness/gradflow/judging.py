"""Whether values are beyond their limits, or may be so by chance.

For each limit and direction: Student's t test that the true change is not beyond the limit, of the differences seed by
seed where both sides have the same seeds, else Welch's; for a relative limit on logarithms, where every value is
positive. The change fails where that p, corrected by Holm for all decisions of the build, is 5 % or less: the near end
of its interval is then beyond the limit. So whatever number of layers, tests and limits there is, a build in which
nothing has changed is red by chance in at most one of twenty.

How many decisions the build makes is known before its first test has run, from what it is compared with: each layer of
each test, for each limit and direction. A test can therefore be judged as it ends, in a worker of pytest-xdist too. In
it the correction lessens by what that test has rejected, never by what another has, so that no order of tests matters;
whether anything at all is rejected is the same as if all were judged at once.

Student's t takes the logarithms to be about normal. Skewed, flat and heavy-tailed ones keep the 5 % too; three seeds
that all fall into one of two narrow groups, and then all into the other, deceive it, five seldom.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np

from vgharness.formatting import count, listing
from vgharness.gradflow.limits import Limit
from vgharness.gradflow.pairs import FEWEST_SEEDS, Pair
from vgharness.gradflow.quantities import is_measured, is_share
from vgharness.gradflow.summary import FACTOR
from vgharness.records import LAYER_QUANTITIES, Sample
from vgharness.statistics import MOST_SEEDS, Array, difference_of_means, greater_p, holm, scale_of, seeds_for_p

SIGNIFICANCE: Final = 0.05  # of a whole build
_LEAST_P: Final = 1e-9  # that is written as it is


class Decision(NamedTuple):
    """One limit in one direction, held against one pair.

    limit: which.
    before: what each seed's value would be if it had moved as far as the limit, in that direction, and
    after: what it is; both on the scale that they are compared on, with the sign that makes more mean farther.
    least_spread: a standard deviation that they are not taken to be under.
    same_seeds: as the pair's.
    """

    limit: Limit
    before: Array
    after: Array
    least_spread: float
    same_seeds: bool

    @property
    def is_beyond(self) -> bool:
        """Whether the mean over the seeds is."""
        return difference_of_means(self.before, self.after) > 0

    @property
    def p(self) -> float:
        """How likely it is so far beyond by chance; 1 with too few seeds to tell."""
        if min(len(self.before), len(self.after)) < FEWEST_SEEDS:
            return 1.0
        return greater_p(self.before, self.after, self.same_seeds, self.least_spread)

    def seeds_to_tell(self, p: float) -> int | None:
        """How many seeds on each side would rule out chance, for a ``p`` that is not corrected; None: too many."""
        if min(len(self.before), len(self.after)) < 2:
            return FEWEST_SEEDS
        fewest = seeds_for_p(self.before, self.after, self.same_seeds, p, self.least_spread)
        return None if fewest is None else max(fewest, FEWEST_SEEDS)


class Judged(NamedTuple):
    """What came of the decisions on one pair.

    reached: the limits that the mean over the seeds is beyond.
    p: the least of theirs, corrected; None where no limit is reached, or seeds are too few to have one.
    fails: whether chance is ruled out.
    seeds_to_tell: where it is not, how many seeds on each side would rule it out; None: too many.
    """

    reached: tuple[Limit, ...] = ()
    p: float | None = None
    fails: bool = False
    seeds_to_tell: int | None = None


def number_of_decisions(samples: Iterable[Sample], limits: Sequence[Limit]) -> int:
    """How many decisions there are in comparing with ``samples``: each layer (for the factor each sample), for each
    limit on a quantity, for each direction."""
    decisions = 0
    for sample in samples:
        layers = len(sample.keys)
        for limit in limits:
            rows = 1 if limit.quantity == FACTOR else layers if is_measured(sample, limit.quantity) else 0
            decisions += rows * len(limit.signs)
    return decisions


def judge(pairs: Sequence[Pair], decisions: int) -> list[Judged]:
    """Judges the finite ``pairs`` of one test; ``decisions``: how many the whole build makes."""
    found = [[] if pair.is_unchanged else list(decisions_on(pair)) for pair in pairs]
    ps = [[decision.p for decision in each] for each in found]
    corrected = iter(holm([p for each in ps for p in each], decisions))
    return [_judged(each, [next(corrected) for _ in each], decisions) for each in found]


def decisions_on(pair: Pair) -> Iterator[Decision]:
    """One for each limit on ``pair`` and each direction of it."""
    x, y = np.array(pair.before), np.array(pair.after)
    on_logs = scale_of(pair.quantity, pair.before, pair.after) == "log"
    discrete = _is_discrete(pair)
    for limit in pair.limits:
        logs = on_logs and limit.relative
        # Divided by the largest, so that squares are neither infinite nor zero.
        size = float(max(np.abs(x).max(), np.abs(y).max(), 0 if limit.relative else limit.reach)) or 1.0
        was, now = (np.log(x), np.log(y)) if logs else (x / size, y / size)
        spread = _grain(was, now) / 2 if discrete else 0.0
        for sign in limit.signs:
            if logs:
                moved = was + math.log1p(sign * limit.reach)
            elif limit.relative:
                moved = was * (1 + sign * limit.reach * (float(np.sign(was.mean())) or 1.0))
            else:
                moved = was + sign * limit.reach / size
            yield Decision(limit, sign * moved, sign * now, spread, pair.same_seeds)


def reason(judged: Judged, seeds: tuple[int, int], decisions: int) -> str:
    """What is to be said of a pair that is beyond a limit, in words."""
    beyond = f"beyond {listing(limit.text for limit in judged.reached)}"
    of_all = f", corrected for {count(decisions, 'decision')}" if decisions > 1 else ""
    if judged.p is None:
        known = f"{min(seeds)} and {max(seeds)} seeds" if len(set(seeds)) > 1 else count(seeds[0], "seed")
    else:
        known = f"{f'p = {judged.p:.2g}' if judged.p >= _LEAST_P else f'p < {_LEAST_P:g}'}{of_all}"
    if judged.fails:
        return f"{beyond}; {known}"
    telling = f"about {judged.seeds_to_tell}" if judged.seeds_to_tell else f"more than {MOST_SEEDS:,}"
    return f"{beyond}, but it may be chance: {known}; {telling} seeds on each side would tell"


def _judged(decisions: Sequence[Decision], corrected: Sequence[float], of_all: int) -> Judged:
    beyond = [(p, each) for p, each in zip(corrected, decisions, strict=True) if each.is_beyond]
    if not beyond:
        return Judged()
    p = min(p for p, _ in beyond)
    fails = p <= SIGNIFICANCE
    telling = () if fails else [each.seeds_to_tell(SIGNIFICANCE / max(of_all, 1)) for _, each in beyond]
    limits = dict.fromkeys(each.limit for own, each in beyond if not fails or own <= SIGNIFICANCE)
    known = len(beyond[0][1].before) >= FEWEST_SEEDS <= len(beyond[0][1].after)
    return Judged(tuple(limits), p if known else None, fails, min((seeds for seeds in telling if seeds), default=None))


def _is_discrete(pair: Pair) -> bool:
    """Whether values without a spread may be so by chance: shares of some units, a user's own counts."""
    if is_share(pair.quantity):
        return True
    own = pair.quantity not in (FACTOR, *LAYER_QUANTITIES)
    return own and all(value == int(value) for value in (*pair.before, *pair.after))


def _grain(*sides: Array) -> float:
    """The least distance between two values that differ."""
    apart = np.diff(np.unique(np.concatenate(sides)))
    return float(apart.min()) if len(apart) else 0.0
