"""How often verdicts are right where the truth is known: simulated studies, judged by the real functions.

Seeds are drawn from laws such as a study's values have. For each the truth is the law's mean on the scale on which it
is judged, and what is accepted ends at the truth, or half a standard deviation to either side of it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from typing import Final, NamedTuple

import numpy as np

from vgharness.claims.accept import Accept
from vgharness.claims.combination import combine
from vgharness.claims.decision import Decided, decide
from vgharness.claims.measurement import Measurement
from vgharness.records import Bounds, Machine, Outcome, Reading, Record, SeedValue
from vgharness.statistics import Array, Scale, from_scale, on_scale

SEEDS: Final = (3, 5, 10, 20)
AWAY: Final = 0.5  # how far the end of what is accepted lies from the truth, in standard deviations
HONEST_SPREADS: Final = (0.5, 1.5, 3.0, 5.0)
HONEST_WITHIN: Final = (3.0, 1.0)
MANY_READINGS: Final = 12
_ACCURACY: Final = 70.0
_LARGE: Final = 20_000
_CENSORED_AFTER: Final = 20
_TEST_IMAGES: Final = 10_000
_MOST_WORTH_TRYING: Final = 200


class Law(NamedTuple):
    """A law of what seeds show.

    name: in words.
    scale: on which it is judged.
    draw: ``draw(rng, many)`` gives the true values of so many seeds, in their own unit.
    read: what a study reads of true values: each seed's value with its bounds.
    grain: of a seed's figure, on the scale.
    plateau: up to which a network has not left chance.
    mixed: whether seeds are of two kinds, of which a few may all be of one.
    """

    name: str
    scale: Scale
    draw: Callable[[np.random.Generator, int], Array]
    read: Callable[[Array], list[SeedValue]]
    grain: float = 0.0
    plateau: float | None = None
    mixed: bool = False


class LawRates(Record):
    """How verdicts on the seeds of one law come out, as shares of the simulated studies.

    law: its name.
    seeds: per study.
    coverage: how often the interval holds the truth.
    at_end: how often each outcome comes where what is accepted begins at the truth.
    false_reproduced: how often "reproduced", where it begins ``AWAY`` standard deviations above the truth.
    false_not_reproduced: how often "not reproduced", where it begins as far below.
    mixed: whether seeds are of two kinds, of which a few may all be of one.
    """

    law: str
    seeds: int
    coverage: float
    at_end: dict[Outcome, float]
    false_reproduced: float
    false_not_reproduced: float
    mixed: bool

    @property
    def worst_reproduced(self) -> float:
        """The share of "reproduced" where that is wrong, at the end itself or beyond it."""
        return max(self.false_reproduced, self.at_end.get("reproduced", 0.0))

    @property
    def worst_not_reproduced(self) -> float:
        """The share of "not reproduced" where that is wrong, at the end itself or inside."""
        return max(self.false_not_reproduced, self.at_end.get("not reproduced", 0.0))


class HonestRates(Record):
    """How a number that was printed from one honest run comes out, as shares of the simulated studies.

    spread: standard deviation of a seed, in points of accuracy.
    within: how far from the printed number the mean may be.
    seeds: per study.
    reproduced, not_reproduced: how often it is called so.
    could_be_one_run: how often it is said that it could be one run of ours.
    """

    spread: float
    within: float
    seeds: int
    reproduced: float
    not_reproduced: float
    could_be_one_run: float


class ManyRates(Record):
    """How a claim of many readings comes out where each reading's truth is the very end of what is accepted.

    readings: how many decide.
    seeds: per study.
    outcomes: the share of each verdict.
    """

    readings: int
    seeds: int
    outcomes: dict[Outcome, float]


class SeedsNeeded(Record):
    """Whether as many seeds as an undecided reading asks for do decide.

    seeds: of the first study.
    asked: studies that were undecided and asked for a number of seeds that was tried.
    decided: the share of those that the seeds they asked for decided.
    """

    seeds: int
    asked: int
    decided: float


class Verdicts(Record):
    """What ``bench verdicts`` found.

    machine: where.
    seed: of the simulation.
    studies: simulated for each row.
    laws, honest, many, needed: the rates.
    """

    machine: Machine
    seed: int
    studies: int
    laws: tuple[LawRates, ...]
    honest: tuple[HonestRates, ...]
    many: tuple[ManyRates, ...]
    needed: tuple[SeedsNeeded, ...]


def law_rates(law: Law, seeds: int, studies: int, rng: np.random.Generator) -> LawRates:
    """Simulates ``studies`` of ``seeds`` each and judges them."""
    large = np.array([on_scale(law.scale, x) for x in law.draw(rng, _LARGE)])
    truth, spread = float(large.mean()), float(large.std())
    ends = [from_scale(law.scale, truth + side * AWAY * spread) for side in (0, 1, -1)]
    covered, wrong = 0, [0, 0]
    at_end: dict[Outcome, int] = {}
    for _ in range(studies):
        measured = Measurement(law.read(law.draw(rng, seeds)), law.scale, law.grain, plateau=law.plateau)
        first, over, under = (decide(Accept(at_least=end), measured) for end in ends)
        covered += _covers(first, from_scale(law.scale, truth))
        at_end[first.outcome] = at_end.get(first.outcome, 0) + 1
        wrong[0] += over.outcome == "reproduced"
        wrong[1] += under.outcome == "not reproduced"
    return LawRates(
        law=law.name,
        seeds=seeds,
        coverage=covered / studies,
        at_end={outcome: many / studies for outcome, many in at_end.items()},
        false_reproduced=wrong[0] / studies,
        false_not_reproduced=wrong[1] / studies,
        mixed=law.mixed,
    )


def honest_rates(spread: float, within: float, seeds: int, studies: int, rng: np.random.Generator) -> HonestRates:
    """Simulates documents that print one run's accuracy, a run like any of ours."""
    counts = {"reproduced": 0, "not reproduced": 0, "inconclusive": 0}
    could = 0
    grain = 1 / math.sqrt(_TEST_IMAGES * _ACCURACY / 100 * (1 - _ACCURACY / 100))
    for _ in range(studies):
        printed, *own = rng.normal(_ACCURACY, spread, seeds + 1)
        decided = decide(
            Accept(printed=(float(printed),), within=within), Measurement(_points(np.array(own)), "logit", grain)
        )
        counts[decided.outcome] += 1
        could += bool(decided.could_be_one_run)
    return HonestRates(
        spread=spread,
        within=within,
        seeds=seeds,
        reproduced=counts["reproduced"] / studies,
        not_reproduced=counts["not reproduced"] / studies,
        could_be_one_run=could / studies,
    )


def many_rates(readings: int, seeds: int, studies: int, rng: np.random.Generator) -> ManyRates:
    """Simulates a claim of independent readings, each of whose truths is the end of what is accepted."""
    counts: dict[Outcome, int] = {}
    for _ in range(studies):
        judged = []
        for values in rng.normal(0, 1, (readings, seeds)):
            decided = decide(Accept(at_least=0.0), Measurement(_points(values)))
            judged.append(
                Reading(label="", quantity="", expected="", outcome=decided.outcome, reason=decided.reason, p=decided.p)
            )
        outcome = combine(judged).outcome
        counts[outcome] = counts.get(outcome, 0) + 1
    return ManyRates(readings=readings, seeds=seeds, outcomes={key: many / studies for key, many in counts.items()})


def seeds_needed(seeds: int, studies: int, rng: np.random.Generator) -> SeedsNeeded:
    """Asks undecided studies, the truth anywhere within three standard deviations of the end, how many seeds would
    decide, adds as many and judges again."""
    asked = decided = 0
    while asked < studies:
        truth = rng.uniform(-3, 3)
        values = rng.normal(truth, 1, seeds)
        needed = decide(Accept(at_least=0.0), Measurement(_points(values))).seeds_needed
        if needed is None or needed > _MOST_WORTH_TRYING:
            continue
        asked += 1
        more = np.concatenate([values, rng.normal(truth, 1, needed - seeds)])
        decided += decide(Accept(at_least=0.0), Measurement(_points(more))).outcome != "inconclusive"
    return SeedsNeeded(seeds=seeds, asked=asked, decided=decided / asked)


Row = LawRates | HonestRates | ManyRates | SeedsNeeded


def simulate(studies: int, seed: int) -> Iterator[Row]:
    """Yields every row, one after another, ``ROWS`` of them; equal seeds give equal rows. ``studies``: simulated for
    each, a quarter of them for those that cost more."""
    rng = np.random.default_rng(seed)
    for law in LAWS:
        for seeds in SEEDS:
            yield law_rates(law, seeds, studies, rng)
    for within, spread in product(HONEST_WITHIN, HONEST_SPREADS):
        for seeds in SEEDS:
            yield honest_rates(spread, within, seeds, studies, rng)
    for seeds in SEEDS:
        yield many_rates(MANY_READINGS, seeds, studies // 4, rng)
    for seeds in SEEDS:
        yield seeds_needed(seeds, studies // 4, rng)


def as_verdicts(rows: Sequence[Row], studies: int, seed: int, machine: Machine) -> Verdicts:
    """Sorts the rows of :func:`simulate` by what they are of."""
    return Verdicts(
        machine=machine,
        seed=seed,
        studies=studies,
        laws=tuple(row for row in rows if isinstance(row, LawRates)),
        honest=tuple(row for row in rows if isinstance(row, HonestRates)),
        many=tuple(row for row in rows if isinstance(row, ManyRates)),
        needed=tuple(row for row in rows if isinstance(row, SeedsNeeded)),
    )


def _covers(decided: Decided, truth: float) -> bool:
    low, high = decided.summary.low, decided.summary.high
    return low is not None and high is not None and low <= truth <= high


def _points(values: Array) -> list[SeedValue]:
    return [SeedValue(seed=seed, value=float(value)) for seed, value in enumerate(values)]


def _rounded(values: Array) -> list[SeedValue]:
    return _points(np.round(values))


def _epochs(values: Array, after: int | None = None) -> list[SeedValue]:
    """Times of an event, as the epochs in which it comes; later than ``after``, it does not come."""
    found = []
    for seed, time in enumerate(values):
        epoch = math.ceil(time)
        if after is not None and epoch > after:
            found.append(SeedValue(seed=seed, value=after, bounds=Bounds(low=after)))
        else:
            low = float(epoch - 1) or None
            found.append(SeedValue(seed=seed, value=float(epoch), bounds=Bounds(low=low, high=epoch)))
    return found


def _plateau(share: float) -> Law:
    def draw(rng: np.random.Generator, many: int) -> Array:
        return np.where(rng.random(many) < share, 10.0, rng.normal(35, 3, many))

    name = f"{share:.0%} at chance"
    grain = 1 / math.sqrt(_TEST_IMAGES * 0.1 * 0.9)
    return Law(name, "logit", draw, _points, grain, plateau=15.0, mixed=True)


def _bounded(rng: np.random.Generator, many: int) -> Array:
    return 100 * rng.beta(20, 1, many)


def _lognormal(center: float, spread: float) -> Callable[[np.random.Generator, int], Array]:
    return lambda rng, many: center * np.exp(rng.normal(0, spread, many))


def _censored(values: Sequence[float] | Array) -> list[SeedValue]:
    return _epochs(np.asarray(values), _CENSORED_AFTER)


LAWS: Final = (
    Law("normal", "linear", lambda rng, many: rng.normal(0, 1, many), _points),
    Law("lognormal, sd 0.25", "log", _lognormal(0.3, 0.25), _points),
    Law("lognormal, sd 1", "log", _lognormal(0.3, 1.0), _points),
    Law("bounded, beta(20, 1)", "logit", _bounded, _points),
    Law("heavy tails, t(2)", "linear", lambda rng, many: rng.standard_t(2, many), _points),
    Law("tied, whole points", "linear", lambda rng, many: rng.normal(50.3, 0.5, many), _rounded, 1 / 12**0.5),
    Law("epoch of an event", "log", _lognormal(5.3, 0.25), _epochs),
    Law("epoch, some censored", "log", _lognormal(16.0, 0.25), _censored),
    *(_plateau(share) for share in (0.3, 0.55, 0.7, 0.9)),
)

ROWS: Final = len(SEEDS) * (len(LAWS) + len(HONEST_WITHIN) * len(HONEST_SPREADS) + 2)
