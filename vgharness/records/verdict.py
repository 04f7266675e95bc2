"""What is concluded: values per seed, readings of a claim, verdicts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, Final, Literal, Protocol

from pydantic import Field

from vgharness.display.html import HtmlTable
from vgharness.display.shown import Shown
from vgharness.formatting import listing
from vgharness.records.base import ONE_LOOK_CONFIDENCE, OUTCOMES, Activation, Count, FiniteRecord, Name, Outcome, Record

SYMBOLS: Final[dict[Outcome, str]] = {
    "reproduced": "✓",
    "mixed": "◐",
    "not reproduced": "✗",
    "inconclusive": "?",
    "not run": "–",
    "error": "!",
}


class Bounds(Record):
    """Between what a value lies.

    low: its least; ``None``: there is none, or it is not known.
    high: its most; ``None``: the same.
    """

    low: float | None = None
    high: float | None = None


class SeedValue(FiniteRecord):
    """One seed's value of a reading.

    seed: which.
    value: what was measured; ``None``: the network diverged, or it is not finite.
    bounds: of the true value, where the figure is coarser than its scatter: an event "in epoch 7" lies between 6 and 7,
        one that did not come within 20 epochs after them; ``None``: the figure itself.
    """

    seed: int
    value: float | None
    bounds: Bounds | None = None


class Reading(FiniteRecord):
    """One value of a claim against what is accepted of it, over the seeds.

    label: what is read, in words.
    quantity: the name of what is measured, as the claim's file has it.
    words: of the claim's sentence, those that this reading judges; empty: all that the claim marks.
    expected: what is accepted, in words.
    accepted: the same as an interval; ``None``: it is none, or the run was judged before it was kept.
    networks: all that sets those apart that it is of, but activation and seed, as :attr:`Cell.settings` has it; empty:
        none were measured, or they are no study's.
    activation: theirs; ``None``: it compares two activations.
    layers: what is made of the layers, such as ``factor``; empty: it is not of several layers, or is a comparison.
    epoch: that it is of; 0: at initialisation; ``None``: of no single one.
    printed: the number that the document prints, or both ends of the range; empty: none.
    unit: of the values, of the interval and of what is printed.
    context: whether it is only shown beside those that decide.
    either: of a claim's readings with the same word here one is enough.
    outcome: what the measurement says of this reading.
    reason: why, where the interval's position alone does not say it.
    values: one per seed.
    value: over the seeds: their mean on ``scale``.
    low: lower end of the interval of ``value`` at ``confidence``; ``None``: open, or there is none.
    high: upper end.
    further_low: lower end of the prediction interval of one further run, at ``confidence``.
    further_high: upper end.
    confidence: of the two intervals: 95 %; of a study in rounds of seeds that of the round that it ended at.
    could_be_one_run: whether what is printed lies in that; ``None``: nothing is printed, or there is no such interval.
    mean_is_printed: whether ``value`` is what is printed, as far as the claim asks: ``yes``: its interval lies in what
        is accepted; ``no``: outside; ``None``: nothing is printed, or this is not asked.
    scale: on which mean and intervals were taken; ``logit``: of a percentage.
    method: how the interval was taken; ``exact``: a count that no seed changes.
    numerical_error: bound of the relative error that the run's precision may have put into ``value``.
    seeds_needed: how many seeds would decide an inconclusive reading in nine of ten studies.
    open_for_good: whether an inconclusive reading would stay so with any number of seeds like these: a network
        diverged, or only other images or another precision could decide.
    p: the least level of error at which the outcome would still be what it is, that of all rounds of seeds together;
        ``None``: nothing was decided.
    """

    label: str
    quantity: str
    words: str = ""
    expected: str
    accepted: Bounds | None = None
    networks: str = ""
    activation: Activation | None = None
    layers: str = ""
    epoch: Count | None = None
    printed: tuple[float, ...] = Field(default=(), max_length=2)
    unit: str = ""
    context: bool = False
    either: str | None = None
    outcome: Outcome
    reason: Name = ""
    values: tuple[SeedValue, ...] = ()
    value: float | None = None
    low: float | None = None
    high: float | None = None
    further_low: float | None = None
    further_high: float | None = None
    confidence: float = Field(default=ONE_LOOK_CONFIDENCE, gt=0, lt=1)
    could_be_one_run: bool | None = None
    mean_is_printed: Literal["yes", "no", "open"] | None = None
    scale: Literal["linear", "log", "logit"] = "linear"
    method: Literal["t", "exact"] | None = None
    numerical_error: float | None = None
    seeds_needed: int | None = None
    open_for_good: bool = False
    p: float | None = Field(default=None, ge=0, le=1)


class Verdict(Shown[Reading], Record):  # type: ignore[misc]  # readings, not pydantic's fields
    """What the measurement says of one claim, for one kind of network where it is judged for each of several.

    Its rows are its readings: ``for reading in verdict``.

    claim: its id.
    variant: what sets these networks apart, such as the architecture's name; empty: nothing does.
    sentence: the claim's, as the document has it.
    words: those of the sentence that are judged; empty: all.
    outcome: what its deciding readings come to; ``claims.verdicts`` has the rule.
    reason: in one line, where the outcome alone does not say it.
    readings: all of them, in the claim's order.
    p: the least level of error at which the outcome would still be what it is; ``None``: nothing was decided.
    command: of a claim that did not run, what would run it; empty: it ran, or no study of ours has what it needs.
    """

    claim: str
    variant: Name = ""
    sentence: str
    words: tuple[str, ...] = ()
    outcome: Outcome
    reason: Name = ""
    readings: tuple[Reading, ...] = Field(min_length=1)
    p: float | None = Field(default=None, ge=0, le=1)
    command: str = ""

    _noun = "reading"

    def _items(self) -> tuple[Reading, ...]:
        return self.readings

    def _called(self, row: Reading) -> str:
        return row.label

    def _line(self) -> str:
        from vgharness.records.run_tables import verdict_line

        return verdict_line(self)

    def _records(self) -> list[dict[str, Any]]:
        return [{"claim": self.claim, "variant": self.variant, **row.model_dump(mode="json")} for row in self.readings]

    def _html(self) -> HtmlTable:
        from vgharness.records.run_tables import readings_html

        return readings_html(self)


class HasOutcome(Protocol):
    """A verdict, a reading, or what is kept of one."""

    @property
    def outcome(self) -> Outcome:
        """What it came to."""


def tally(judged: Iterable[HasOutcome]) -> list[tuple[Outcome, int]]:
    """Counts the outcomes, in the order of ``OUTCOMES``, leaving out those that there are none of."""
    counts = Counter(each.outcome for each in judged)
    return [(outcome, counts[outcome]) for outcome in OUTCOMES if counts[outcome]]


def tally_line(judged: Iterable[HasOutcome]) -> str:
    """``3 reproduced, 1 not run``."""
    return listing(f"{many} {outcome}" for outcome, many in tally(judged))
