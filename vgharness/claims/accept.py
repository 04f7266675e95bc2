"""What is accepted of one reading: an interval for the mean over the seeds, and a number that the document prints."""

from __future__ import annotations

import math

from pydantic import ConfigDict, Field, model_validator

from vgharness.records import Record


class Accept(Record):
    """An accepted interval, by one bound on either side at the most; or a printed number with what counts as equal.

    at_least: its lower end, itself accepted.
    above: its lower end, itself not accepted.
    at_most: its upper end, itself accepted.
    below: its upper end, itself not accepted.
    printed: a number that the document prints from one run, or the two ends of a range. The accepted interval is then
        that, widened by ``within`` or ``within_factor``; with neither, only whether it could be one run is asked.
    within: how far from ``printed`` the mean may be on either side.
    within_factor: by what factor it may differ from ``printed``, over 1.
    """

    model_config = ConfigDict(strict=True)  # a wrong type is an error, not converted

    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None
    printed: tuple[float, ...] = Field(default=(), max_length=2)
    within: float | None = Field(default=None, ge=0)
    within_factor: float | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _one_way(self) -> Accept:
        bounds = [x for x in (self.at_least, self.above, self.at_most, self.below) if x is not None]
        if bounds and self.printed:
            raise ValueError("give printed, or bounds such as at_least and below, not both")
        if not self.printed and (self.within is not None or self.within_factor is not None):
            raise ValueError("within and within_factor need printed")
        if self.within is not None and self.within_factor is not None:
            raise ValueError("give within or within_factor, not both")
        if self.at_least is not None and self.above is not None:
            raise ValueError("give at_least or above, not both")
        if self.at_most is not None and self.below is not None:
            raise ValueError("give at_most or below, not both")
        if not bounds and not self.printed:
            raise ValueError("it needs a bound (at_least, above, at_most, below) or a printed number")
        if self.within_factor is not None and min(self.printed) <= 0:
            raise ValueError("within_factor needs printed numbers above 0")
        if len(self.printed) == 2 and self.printed[0] > self.printed[1]:
            raise ValueError(f"its ends are swapped: printed {self.printed[0]:g} to {self.printed[1]:g}")
        if self.low > self.high:
            raise ValueError(f"its ends are swapped: {self.low:g} to {self.high:g}")
        if self.low == self.high and not self.contains(self.low):
            raise ValueError(f"nothing lies in it: {self.low:g} to {self.high:g}")
        return self

    @property
    def has_interval(self) -> bool:
        """Whether anything is accepted of the mean; otherwise only ``printed`` is asked about."""
        return not self.printed or self.within is not None or self.within_factor is not None

    @property
    def low(self) -> float:
        """The lower end; minus infinity where there is none."""
        if self.printed:
            return self._widened(min(self.printed), -1)
        return next((x for x in (self.at_least, self.above) if x is not None), -math.inf)

    @property
    def high(self) -> float:
        """The upper end; infinity where there is none."""
        if self.printed:
            return self._widened(max(self.printed), 1)
        return next((x for x in (self.at_most, self.below) if x is not None), math.inf)

    def contains(self, value: float) -> bool:
        """Says whether a finite value is inside; an infinite one never is, unless that side has no end."""
        if math.isnan(value):
            return False
        above = value > self.low if self.above is not None else value >= self.low
        return above and (value < self.high if self.below is not None else value <= self.high)

    def covers(self, low: float, high: float) -> bool:
        """Says whether all of [low, high] is inside."""
        return self.contains(low) and self.contains(high)

    def excludes(self, low: float, high: float) -> bool:
        """Says whether all of [low, high] is outside."""
        under = high <= self.low if self.above is not None else high < self.low
        return under or (low >= self.high if self.below is not None else low > self.high)

    def __str__(self) -> str:
        if self.printed:
            printed = " to ".join(f"{x:,.6g}" for x in self.printed)
            if self.within == 0:
                return f"exactly {printed}"
            if self.within is not None:
                return f"{printed} ± {self.within:,.6g}"
            return f"{printed} within ×{self.within_factor:g}" if self.within_factor else f"{printed} as one run"
        if self.low == self.high:
            return f"exactly {self.low:,.6g}"
        ends = []
        if self.low > -math.inf:
            ends.append(f"{'>' if self.above is not None else '≥'} {self.low:,.6g}")
        if self.high < math.inf:
            ends.append(f"{'<' if self.below is not None else '≤'} {self.high:,.6g}")
        closed = self.at_least is not None and self.at_most is not None
        return f"{self.low:,.6g} to {self.high:,.6g}" if closed else " and ".join(ends)

    def _widened(self, end: float, side: int) -> float:
        if self.within is not None:
            return end + side * self.within
        if self.within_factor is not None:
            return float(end * self.within_factor**side)
        return side * math.inf
