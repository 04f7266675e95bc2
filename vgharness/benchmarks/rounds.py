"""How often verdicts are wrong where a study goes on in rounds of seeds until it is decided, beside one of a fixed
number of seeds: simulated studies whose truth is known, judged by the real functions.

The laws, and what counts as false, are those of :mod:`~vgharness.benchmarks.verdicts`. Of each study all schemes see
the same seeds, as far as they go.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np

from vgharness.benchmarks.verdicts import AWAY, LAWS, Law
from vgharness.claims.accept import Accept
from vgharness.claims.combination import awaits_seeds
from vgharness.claims.decision import decide
from vgharness.claims.measurement import Measurement
from vgharness.records import Look, Machine, Outcome, Reading, Record, SeedValue
from vgharness.statistics import CONFIDENCE, from_scale, on_scale
from vgharness.study.looks import MOST_BY_DEFAULT, planned_looks

ERROR: Final = 1 - CONFIDENCE
AUTO, NAIVE = "auto", "auto, uncorrected"
SCHEMES: Final[Mapping[str, tuple[Look, ...]]] = {
    **{f"{seeds} seeds": (Look(seeds=seeds, error=ERROR),) for seeds in (5, 10, MOST_BY_DEFAULT)},
    NAIVE: tuple(Look(seeds=look.seeds, error=ERROR) for look in planned_looks(MOST_BY_DEFAULT)),
    AUTO: planned_looks(MOST_BY_DEFAULT),
}
EFFECTS: Final = (1.0, 3.0)  # how far inside the truth lies, in standard deviations, where a claim is to be reproduced
OFF: Final = 4.0  # how far a printed number lies from the mean that is none of our runs, in standard deviations
_LARGE: Final = 20_000


class Ended(NamedTuple):
    """What a study came to, and at how many seeds it ended."""

    outcome: Outcome
    seeds: int


class SchemeRates(Record):
    """How the studies of one law come out under one scheme, as shares of the simulated studies.

    law: its name.
    scheme: how many seeds there are: one of ``SCHEMES``.
    false_reproduced: how often "reproduced" where that is wrong: what is accepted begins at the truth, or ``AWAY``
        standard deviations above it; the worse of the two.
    false_not_reproduced: the same of "not reproduced", where it begins as far below.
    seeds_at_end: on the average, where it begins at the truth.
    reproduced: how often "reproduced" where that is right, for each of ``EFFECTS``.
    seeds: on the average, for each of those.
    mixed: whether seeds are of two kinds, of which a few may all be of one.
    """

    law: str
    scheme: str
    false_reproduced: float
    false_not_reproduced: float
    seeds_at_end: float
    reproduced: tuple[float, ...]
    seeds: tuple[float, ...]
    mixed: bool


class PrintedRates(Record):
    """How a printed number comes out of which only is asked whether it could be one run, as shares of the studies.

    scheme: one of ``SCHEMES``.
    false_not_reproduced: how often "not reproduced", where it is a run like ours.
    false_reproduced: how often "reproduced", where it lies ``OFF`` standard deviations away.
    seeds: on the average, over both.
    """

    scheme: str
    false_not_reproduced: float
    false_reproduced: float
    seeds: float


class RoundsRates(Record):
    """What ``bench verdicts --rounds`` found.

    machine: where.
    seed: of the simulation.
    studies: simulated for each row.
    laws: the rates of each law, under each scheme.
    printed: those of printed numbers.
    """

    machine: Machine
    seed: int
    studies: int
    laws: tuple[SchemeRates, ...]
    printed: tuple[PrintedRates, ...]


def ended(looks: Sequence[Look], values: Sequence[SeedValue], accept: Accept, law: Law) -> Ended:
    """Judges the first of ``values`` at each of ``looks`` until they decide, as a study in rounds does."""
    outcome: Outcome = "inconclusive"
    for look in looks:
        measured = Measurement(values[: look.seeds], law.scale, law.grain, plateau=law.plateau)
        found = decide(accept, measured, confidence=1 - look.error)
        outcome = found.outcome
        reading = Reading(
            label="", quantity="", expected="", outcome=outcome, p=found.p, open_for_good=found.open_for_good
        )
        if not awaits_seeds([reading]):
            return Ended(outcome, look.seeds)
    return Ended(outcome, looks[-1].seeds)


def scheme_rates(
    law: Law, studies: int, rng: np.random.Generator, schemes: Mapping[str, tuple[Look, ...]]
) -> Iterator[SchemeRates]:
    """Simulates ``studies`` and yields how each of ``schemes`` judges them."""
    large = np.array([on_scale(law.scale, x) for x in law.draw(rng, _LARGE)])
    truth, spread = float(large.mean()), float(large.std())
    # By how far below the truth what is accepted begins.
    ends = {away: from_scale(law.scale, truth - away * spread) for away in (0.0, -AWAY, AWAY, *EFFECTS)}
    found: dict[tuple[str, float], list[Ended]] = {(scheme, away): [] for scheme in schemes for away in ends}
    for _ in range(studies):
        values = law.read(law.draw(rng, MOST_BY_DEFAULT))
        for (scheme, away), studied in found.items():
            studied.append(ended(schemes[scheme], values, Accept(at_least=ends[away]), law))
    for scheme in schemes:
        yield SchemeRates(
            law=law.name,
            scheme=scheme,
            false_reproduced=max(_share(found[scheme, away], "reproduced") for away in (0.0, -AWAY)),
            false_not_reproduced=max(_share(found[scheme, away], "not reproduced") for away in (0.0, AWAY)),
            seeds_at_end=_seeds(found[scheme, 0.0]),
            reproduced=tuple(_share(found[scheme, away], "reproduced") for away in EFFECTS),
            seeds=tuple(_seeds(found[scheme, away]) for away in EFFECTS),
            mixed=law.mixed,
        )


def printed_rates(
    studies: int, rng: np.random.Generator, schemes: Mapping[str, tuple[Look, ...]]
) -> Iterator[PrintedRates]:
    """Simulates documents that print a run like ours, and others whose number is none of ours."""
    law = LAWS[0]
    honest: dict[str, list[Ended]] = {scheme: [] for scheme in schemes}
    off: dict[str, list[Ended]] = {scheme: [] for scheme in schemes}
    for _ in range(studies):
        printed, *own = law.draw(rng, MOST_BY_DEFAULT + 1)
        values = law.read(np.array(own))
        for scheme, looks in schemes.items():
            honest[scheme].append(ended(looks, values, Accept(printed=(float(printed),)), law))
            off[scheme].append(ended(looks, values, Accept(printed=(OFF,)), law))
    for scheme in schemes:
        yield PrintedRates(
            scheme=scheme,
            false_not_reproduced=_share(honest[scheme], "not reproduced"),
            false_reproduced=_share(off[scheme], "reproduced"),
            seeds=_seeds([*honest[scheme], *off[scheme]]),
        )


def simulate_rounds(studies: int, seed: int) -> Iterator[SchemeRates | PrintedRates]:
    """Yields every row, one after another, ``ROWS`` of them; equal seeds give equal rows."""
    rng = np.random.default_rng(seed)
    for law in LAWS:
        yield from scheme_rates(law, studies, rng, SCHEMES)
    yield from printed_rates(studies, rng, SCHEMES)


def as_rounds_rates(
    rows: Sequence[SchemeRates | PrintedRates], studies: int, seed: int, machine: Machine
) -> RoundsRates:
    """Sorts the rows of :func:`simulate_rounds` by what they are of."""
    return RoundsRates(
        machine=machine,
        seed=seed,
        studies=studies,
        laws=tuple(row for row in rows if isinstance(row, SchemeRates)),
        printed=tuple(row for row in rows if isinstance(row, PrintedRates)),
    )


def _share(studied: Sequence[Ended], outcome: Outcome) -> float:
    return sum(each.outcome == outcome for each in studied) / len(studied)


def _seeds(studied: Sequence[Ended]) -> float:
    return sum(each.seeds for each in studied) / len(studied)


ROWS: Final = len(SCHEMES) * (len(LAWS) + 1)
