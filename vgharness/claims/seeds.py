"""The values of a reading, seed by seed, on the scale on which they are averaged, and the intervals that they give."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from vgharness.claims.measurement import Measurement
from vgharness.records import SeedValue, nan_if_none
from vgharness.statistics import (
    CONFIDENCE,
    Scale,
    Summary,
    from_scale,
    interval,
    mean_over_seeds,
    on_scale,
    prediction_interval,
    spread_of,
    two_sided_p,
)

_LEAST_POSITIVE: Final = 1.4e-45  # of float32: a gradient that came out as exactly zero lies below it


class Seeds:
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
