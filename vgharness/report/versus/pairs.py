"""Two runs held against the same document → each claim with what it came to in both, and by how much its readings
differ.

The difference of a reading is taken seed by seed where both runs have the same networks with the same seeds, else of
the means, on the reading's own scale: of a factor it is a factor, of a percentage points, of anything else a
difference.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np

from vgharness.errors import UsageError
from vgharness.formatting import count, escaped, listing, number, span
from vgharness.records import Outcome, Reading, Run, Verdict, nan_if_none
from vgharness.report.verdict_table import deciding, several_variants, short_name
from vgharness.statistics import (
    LARGEST_LOG,
    difference_interval,
    difference_of_means,
    from_scale,
    mean_over_seeds,
    on_scale,
)

_MOST_NAMED: Final = 3


class Difference(NamedTuple):
    """By how much a reading's value is another after than before.

    value: a factor where ``is_factor``, else a difference in ``unit``.
    low, high: ends of its 95 % interval; ``None``: there is none.
    paired: whether it was taken seed by seed.
    """

    value: float
    low: float | None
    high: float | None
    paired: bool
    is_factor: bool
    unit: str

    @property
    def is_clear(self) -> bool:
        """Whether its interval leaves out no difference."""
        none = 1.0 if self.is_factor else 0.0
        return self.low is not None and self.high is not None and not self.low <= none <= self.high

    def in_words(self) -> str:
        """``×1.05 (0.98 to 1.12)``, ``+3.2 points (1.1 to 5.3)``."""
        ends = f" ({span(self.low, self.high)})" if self.low is not None else ""
        if self.is_factor:
            return f"×{number(self.value)}{ends}"
        sign = "+" if self.value > 0 else ""
        return f"{sign}{number(self.value)}{f' {self.unit}' if self.unit else ''}{ends}"


class ReadingPair(NamedTuple):
    """One reading of a claim in both runs.

    difference: ``None``: there is none, as ``why`` says.
    """

    before: Reading
    after: Reading
    difference: Difference | None
    why: str


class ClaimPair(NamedTuple):
    """One claim in both runs. ``readings``: those that decide, that both runs have."""

    name: str
    before: Verdict
    after: Verdict
    readings: tuple[ReadingPair, ...]

    @property
    def is_changed(self) -> bool:
        """Whether it came to something else."""
        return self.before.outcome != self.after.outcome

    def in_words(self) -> str:
        """``sigmoid-epoch-1: not reproduced → inconclusive``."""
        return f"{self.name}: {self.before.outcome} → {self.after.outcome}"


class Versus(NamedTuple):
    """Two runs, claim by claim.

    claims: those that both have, in the later run's order.
    only_before, only_after: names and outcomes of the others.
    """

    before: Run
    after: Run
    claims: tuple[ClaimPair, ...]
    only_before: tuple[tuple[str, Outcome], ...]
    only_after: tuple[tuple[str, Outcome], ...]

    @property
    def changed(self) -> list[ClaimPair]:
        """The claims that came to something else."""
        return [claim for claim in self.claims if claim.is_changed]

    @property
    def unchanged(self) -> list[ClaimPair]:
        """The others that both have."""
        return [claim for claim in self.claims if not claim.is_changed]


def versus(before: Run, after: Run) -> Versus:
    """Pairs what two runs found. Raises :class:`~vgharness.errors.UsageError` where they were held against different
    documents."""
    if before.document != after.document:
        titles = [run.document.title if run.document else "no document" for run in (before, after)]
        which = f"“{titles[0]}” and “{titles[1]}”" if titles[0] != titles[1] else f"“{titles[0]}” at two addresses"
        raise UsageError(
            f"the runs were held against {which}: give --claims FILE (or --claims readme), and both are held against "
            "that"
        )
    several = several_variants([*before.verdicts, *after.verdicts])
    old = {(verdict.claim, verdict.variant): verdict for verdict in before.verdicts}
    new = {(verdict.claim, verdict.variant): verdict for verdict in after.verdicts}
    return Versus(
        before=before,
        after=after,
        claims=tuple(
            _claim_pair(old[key], new[key], short_name(new[key], several=several)) for key in new if key in old
        ),
        only_before=tuple((short_name(old[key], several=several), old[key].outcome) for key in old if key not in new),
        only_after=tuple((short_name(new[key], several=several), new[key].outcome) for key in new if key not in old),
    )


def headline(found: Versus) -> str:
    """``2 of 14 verdicts changed: sigmoid-final, convergence``; ``No verdict changed, of 14 claims``."""
    if not found.claims:
        return "No claim was judged in both runs"
    changed = found.changed
    if not changed:
        return f"No verdict changed, of {count(len(found.claims), 'claim')}"
    names = listing((claim.name for claim in changed), most=_MOST_NAMED)
    return f"{len(changed)} of {count(len(found.claims), 'verdict')} changed: {names}"


def comparison_lines(found: Versus) -> Iterator[str]:
    """The same for a terminal: each verdict that changed, the claims that only one run has, and how many changed."""
    for claim in found.changed:
        yield escaped(claim.in_words())
    for when, verdicts in (("before", found.only_before), ("after", found.only_after)):
        if verdicts:
            yield escaped(f"only {when}: {listing(name for name, _ in verdicts)}")
    yield f"{len(found.changed)} of {count(len(found.claims), 'verdict')} changed"


def difference(before: Reading, after: Reading) -> tuple[Difference | None, str]:
    """The difference, or why there is none."""
    if not before.values or not after.values:
        return None, "not measured in both runs"
    scales = {before.scale, after.scale}
    if len(scales) > 1 or before.unit != after.unit:
        return None, "not read on one scale in both runs"
    x, y = _by_seed(before), _by_seed(after)
    if not all(map(math.isfinite, (*x.values(), *y.values()))):
        return None, "not finite for every seed"
    if any(_is_open(reading) for reading in (before, after)):
        return None, "a seed’s value is only known to lie beyond a bound"
    if not all(map(_is_mean_of_seeds, (before, after))):
        return None, "the value is not the mean of the seeds’"
    same_networks = (before.networks, before.activation) == (after.networks, after.activation)
    return _difference(before, x, y, paired=same_networks and x.keys() == y.keys()), ""


def _claim_pair(before: Verdict, after: Verdict, name: str) -> ClaimPair:
    old = {(reading.label, reading.quantity): reading for reading in deciding(before)}
    pairs = []
    for reading in deciding(after):
        if (reading.label, reading.quantity) in old:
            was = old[reading.label, reading.quantity]
            pairs.append(ReadingPair(was, reading, *difference(was, reading)))
    return ClaimPair(name, before, after, tuple(pairs))


def _by_seed(reading: Reading) -> dict[int, float]:
    return {each.seed: nan_if_none(each.value) for each in reading.values}


def _is_open(reading: Reading) -> bool:
    bounds = [each.bounds for each in reading.values if each.bounds is not None]
    return any(each.low is None or each.high is None for each in bounds)


def _is_mean_of_seeds(reading: Reading) -> bool:
    """Whether what is read is the mean of its values: of a published curve's distance they are our seeds' own."""
    mean = float(mean_over_seeds(list(_by_seed(reading).values()), reading.scale))
    return math.isclose(mean, nan_if_none(reading.value), rel_tol=1e-6)


def _difference(reading: Reading, x: dict[int, float], y: dict[int, float], *, paired: bool) -> Difference:
    scale = reading.scale
    if scale == "log" and min(*x.values(), *y.values()) <= 0:  # zero has no logarithm
        scale = "linear"
    before = np.array([on_scale(scale, value) for value in x.values()])
    after = np.array([on_scale(scale, y[seed]) for seed in x] if paired else [on_scale(scale, v) for v in y.values()])
    shift = difference_of_means(before, after)
    # What no seed changes has no interval.
    ends: Sequence[float] = () if reading.method == "exact" else difference_interval(before, after, paired)
    if scale == "log":
        shift, *ends = (math.exp(min(each, LARGEST_LOG)) for each in (shift, *ends))
    elif scale == "logit":  # in points, from where the first run's mean lies
        start = float(before.mean())
        shift, *ends = (from_scale(scale, start + each) - from_scale(scale, start) for each in (shift, *ends))
    low, high = ends or (None, None)
    unit = "points" if reading.unit == "%" else reading.unit
    return Difference(shift, low, high, paired, scale == "log", "" if scale == "log" else unit)
