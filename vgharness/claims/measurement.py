"""What is measured for one reading of a claim, before anything is decided."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from vgharness.records import SeedValue
from vgharness.statistics import Scale


class NotRunError(Exception):
    """The run does not hold what a reading needs; the message says what is missing."""


class Measurement(NamedTuple):
    """What was measured for one reading.

    values: one per seed; a value of ``None`` is of a network that diverged or was not finite.
    scale: on which they are averaged and spread.
    grain: the least standard deviation of one seed's figure, on ``scale``: what the figure cannot resolve.
    exact: whether it is a count that no seed changes: all seeds must agree, and one is enough.
    error: bound of the relative error that the run's precision may have put into it; ``None``: not known.
    error_counts: whether it is a quantity that such an error bears on.
    plateau: the value up to which a network has not left chance; ``None``: there is none for this quantity.
    published: the distance of a published curve from the mean of the seeds' own, whose values are each seed's distance
        from the mean of the others; ``None``: this is no such distance.
    """

    values: Sequence[SeedValue]
    scale: Scale = "linear"
    grain: float = 0.0
    exact: bool = False
    error: float | None = None
    error_counts: bool = False
    plateau: float | None = None
    published: float | None = None
