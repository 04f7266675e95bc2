"""What is concluded: values per seed, readings of a claim, verdicts."""

from __future__ import annotations

from typing import Literal

from vgharness.records.base import Architecture, FiniteRecord, Name, Outcome, Record


class SeedValue(FiniteRecord):
    """One seed's value of a reading.

    seed: which.
    value: what was measured; ``None``: not finite, or never reached.
    at_least: whether it is a lower bound: the event did not come within the epochs that were trained.
    """

    seed: int
    value: float | None
    at_least: bool = False


class Reading(FiniteRecord):
    """One value of a claim against its accepted interval, over the seeds.

    label: what is read, in words.
    measure: the name of the measure, as the claim's file has it.
    expected: the accepted interval, in words.
    unit: of the values and of the interval.
    outcome: what the measurement says of this reading.
    reason: why, where the interval's position alone does not say it.
    values: one per seed.
    value: over the seeds: their mean on the measure's scale, or what the measure itself makes of all seeds.
    low: lower end of the 95 % interval of ``value``.
    high: upper end.
    method: how the interval was taken; ``exact``: a count that no seed changes.
    numerical_error: bound of the relative error that the run's precision may have put into ``value``.
    seeds_needed: how many seeds would decide an inconclusive reading, as the spread is now.
    """

    label: str
    measure: str
    expected: str
    unit: str = ""
    outcome: Outcome
    reason: Name = ""
    values: tuple[SeedValue, ...] = ()
    value: float | None = None
    low: float | None = None
    high: float | None = None
    method: Literal["t", "bootstrap", "exact"] | None = None
    numerical_error: float | None = None
    seeds_needed: int | None = None


class Verdict(Record):
    """What the measurement says of one claim, for one architecture.

    claim: its id.
    architecture: of the networks it was held against.
    sentence: the claim's, as the document has it.
    outcome: the worst of its readings'.
    reason: that reading's.
    readings: all of them, in the claim's order.
    """

    claim: str
    architecture: Architecture
    sentence: str
    outcome: Outcome
    reason: Name = ""
    readings: tuple[Reading, ...] = ()
