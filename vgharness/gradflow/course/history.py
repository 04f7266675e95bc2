"""What a training's own past says: whether it learns, how large its gradients usually are, what is there usually.

Everything here keeps a bounded number of values, however long the training is.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from statistics import median
from typing import Final, Literal, NamedTuple

# A fall by a tenth: over the noise of a median of 20 losses (of batches of 32, four classes, at chance: about 1 %), and
# under what a network that trains reaches in its first hundred steps.
_LEARNED: Final = 0.1
# Half as much again as at the start: what no loss of a classifier at chance reaches by noise.
_WORSE: Final = 0.5

Progress = Literal["unknown", "early", "learned", "level", "worse"]


class Losses:
    """How the loss stands to what it was at the start.

    first: of how many losses the start is the median: few, for one that explodes has done so after ten. recent: of how
    many the present. needed: from how many on something is said.
    """

    def __init__(self, *, first: int, recent: int, needed: int) -> None:
        self.seen = 0
        self._needed = needed
        self._first: list[float] = []
        self._most_first = first
        self._recent: deque[float] = deque(maxlen=recent)

    def begin_anew(self) -> None:
        """What comes from now on is another loss."""
        self.seen, self._first = 0, []
        self._recent.clear()

    def add(self, loss: float | None) -> None:
        if loss is None or not math.isfinite(loss):
            return
        self.seen += 1
        if len(self._first) < self._most_first:
            self._first.append(loss)
        self._recent.append(loss)

    def falls_short(self, loss: float | None) -> bool:
        """Whether a loss is no worse than those of the start were."""
        return loss is not None and bool(self._first) and loss <= self._first[0] + _WORSE * abs(self._first[0])

    @property
    def start(self) -> float:
        return median(self._first)

    @property
    def lowest_start(self) -> float:
        """The very first, where that is lower: one step may have been enough to ruin it."""
        return min(self.start, self._first[0])

    @property
    def now(self) -> float:
        return median(self._recent)

    @property
    def progress(self) -> Progress:
        """``unknown`` without losses, ``early`` while there are too few."""
        if not self.seen:
            return "unknown"
        if self.seen < self._needed:
            return "early"
        now, lowest = self.now, self.lowest_start
        if now > lowest + _WORSE * abs(lowest):
            return "worse"
        return "learned" if now < self.start - _LEARNED * abs(self.start) else "level"


class Habit:
    """Whether something that is there usually has not come for longer than by chance.

    Of N times that it came or not, with a gaps among them, the next is a gap with probability (a + 1) / (N + 1), the
    present row counted as one gap. A row of gaps is surprising where its probability is low, it is more than twice as
    long as any before and spans ``_SPAN`` steps. So a branch that is used sometimes becomes a habit, not a problem.
    """

    def __init__(self, came: int = 0) -> None:
        self.came, self._gaps, self._longest = came, 0, 0
        self.away, self.since, self._until = 0, 0, 0

    def look(self, step: int, *, there: bool) -> None:
        if there:
            self.came += 1
            self._gaps += self.away
            self._longest = max(self._longest, self.away)
            self.away = 0
            return
        self.miss(step, step, 1)

    def miss(self, first: int, last: int, times: int) -> None:
        """It did not come ``times`` times, from one step to another."""
        if times:
            self.since = self.since if self.away else first
            self._until = last
            self.away += times

    def copied(self) -> Habit:
        other = Habit()
        other.__dict__.update(self.__dict__)
        return other

    @property
    def paused(self) -> bool:
        """Whether it has been away before."""
        return self._gaps > 0

    @property
    def span(self) -> int:
        """Steps from the first gap of the row to the last."""
        return self._until - self.since if self.away else 0

    @property
    def broken(self) -> bool:
        """Whether it came every time before, more than once, and has not come for ``_SPAN`` steps."""
        return self.came > 1 and not self._gaps and self.away > 1 and self.span >= _SPAN

    def surprises(self, *, strictly: bool = False) -> bool:
        """Whether it was there, and has not come for longer than chance has it. ``strictly``: there is no reason but
        that it does not come."""
        chance = _IN_TURNS if strictly or self._gaps else _ALWAYS_THERE
        gap = (self._gaps + 1) / (self.came + self._gaps + 1)
        return (
            self.came > 0 and self.away > max(1, 2 * self._longest) and gap**self.away < chance and self.span >= _SPAN
        )


# Of a row of gaps in what was there every time before, and in what has been away already. Of branches of which each
# use is drawn at random, one in fifty is taken for cut off at the first, and hardly one at the second.
_ALWAYS_THERE: Final = 1e-3
_IN_TURNS: Final = 1e-8
# Penalties that are added at every 16th step only (StyleGAN2) are the longest usual pause.
_SPAN: Final = 16


class Spike(NamedTuple):
    """A value far over the past. ``back``: the first step at which it was as before; ``None``: it has not come back."""

    step: int
    value: float
    usual: float
    back: int | None


class Spikes:
    """Finds values far over a run's own past: at least ``factor`` times the median of the last ``_WINDOW``, over the
    run's first values, and so far over the greatest of that window that chance takes one there once in 10,000 steps.
    It is one once the values are back; where they stay, the level has changed.

    Ten times: gradients over 7 times their root mean square are what spike-aware optimizers (SPAM) cut; a batch's
    usual scatter, of a factor of two to three, is under it. Chance: the tail of the values' logarithms is taken for an
    exponential, whose scale is the distance from the median to the 95th percentile ÷ ln 10, which is robust to a few
    spikes in the window; heavy tails, as in reinforcement learning, of long sentences or of single samples, widen it.
    One in 100 is over the greatest of 100, and one in 100 of those ln 100 scales further: two such distances. At
    least three times the greatest: a rise from step to step is no spike, as of a warm-up or of a network that leaves a
    plateau. Over the first values: a hard example among learned ones has a small gradient beside those of the start.
    """

    def __init__(self, factor: float = 10.0, history: int = 20, confirm: int = 3) -> None:
        self._factor, self._history, self._confirm = math.log(factor), history, confirm
        self._past: deque[float] = deque(maxlen=_WINDOW)
        self._first: list[float] = []
        self._pending: tuple[int, float, float] | None = None  # step, value, usual
        self._line = 0.0
        self._over: list[float] = []
        self._back: list[int] = []

    @property
    def pending(self) -> bool:
        """Whether the last values may be one."""
        return self._pending is not None

    def add(self, step: int, value: float) -> Spike | None:
        """The spike that is known by now, if it has just become known."""
        if not (0 < value < math.inf):
            return None
        size = math.log(value)
        if self._pending is None:
            self._look(step, value, size)
            return None
        if size <= self._line:
            self._back.append(step)
            self._past.append(size)
        else:
            self._over.append(size)
        if len(self._back) < self._confirm and len(self._over) < _STAYS:
            return None
        back = self._back[0] if len(self._back) >= self._confirm else None
        spike = Spike(*self._pending, back)
        if back is None:  # the level has changed
            self._past = deque(self._over, maxlen=_WINDOW)
            self._first = list(self._over)
        self._pending, self._over, self._back = None, [], []
        return spike

    def _look(self, step: int, value: float, size: float) -> None:
        past = self._past
        if len(past) >= self._history and size > max(past) + _OVER_THE_GREATEST and size > median(self._first):
            usual, greatest = median(past), max(past)
            tail = sorted(past)[int(0.95 * len(past))] - usual
            line = greatest + max(_OVER_THE_GREATEST, _TAILS * tail)
            if size > max(line, usual + self._factor):
                self._pending = step, value, math.exp(usual)
                self._line = greatest + _OVER_THE_GREATEST
                self._over = [size]
                return
        past.append(size)
        if len(self._first) < self._history:
            self._first.append(size)


_WINDOW: Final = 100
_TAILS: Final = 2.0  # ln 100 ÷ ln 10
_OVER_THE_GREATEST: Final = math.log(3)
_STAYS: Final = 10  # values over the line, and they count as the new level


class Growth:
    """Whether the gradient's norm has grown for good: from its lowest level, in medians of ``block`` steps, to now; or
    within a few steps from the greatest of the last ones."""

    def __init__(self, block: int = 10) -> None:
        self._most = block
        self.lowest = self.now = 0.0
        self.since: int | None = None  # the step from which on it is over ten times the lowest
        self._block: list[float] = []
        self._began = 0
        self._past: deque[float] = deque(maxlen=_WINDOW)
        self._run: list[float] = []  # in a row over three times the greatest
        self._run_since = 0

    def add(self, step: int, value: float) -> bool:
        """Whether ``factor`` is new."""
        if not (0 < value < math.inf):
            return False
        self._add_to_run(step, value)
        if not self._block:
            self._began = step
        self._block.append(value)
        if len(self._block) < self._most:
            return False
        self.now, self._block = median(self._block), []
        self.lowest = min(self.lowest or self.now, self.now)
        if self.now < 10 * self.lowest:
            self.since = None
        elif self.since is None:
            self.since = self._began
        return True

    @property
    def factor(self) -> float:
        return self.now / self.lowest if self.lowest else 1.0

    @property
    def burst(self) -> tuple[int, float, float] | None:
        """Two steps in a row, the second above the first, of over 1,000 times the greatest of those before: the step
        where that began, the greatest before, the norm now."""
        if len(self._run) < 2 or not 1e3 * max(self._past) < self._run[-2] < self._run[-1]:
            return None
        return self._run_since, max(self._past), self._run[-1]

    def _add_to_run(self, step: int, value: float) -> None:
        if self._past and value > 3 * max(self._past):
            self._run_since = self._run_since if self._run else step
            self._run.append(value)
            if len(self._run) < _STAYS:
                return
            self._past.extend(self._run)  # the new level
        else:
            self._past.append(value)
        self._run = []


def typical(values: Iterable[float]) -> float:
    """The median, 0 of nothing."""
    found = list(values)
    return median(found) if found else 0.0


class LossScale:
    """Whether a GradScaler's scale has collapsed: under 1, or too many steps left out in a row.

    A scale starts at 65,536 and is halved at each overflow: up to 16 steps left out at the start take it to 1, and a
    network may need that. Later one step is left out every 2,000, where the scale was doubled; ten in a row mean
    gradients a thousand times as large, or none that is finite.
    """

    def __init__(self) -> None:
        self.since = 0  # the first step left out since steps went well
        self.skipped = 0  # in a row
        self.scale: float | None = None
        self.well_since = 0
        self._taken, self._in_a_row, self._fell = 0, 0, False

    def add(self, step: int, scale: float | None, *, skipped: bool) -> None:
        self.scale = scale if scale is not None else self.scale
        if skipped:
            if not self._fell:
                self.since, self._fell = step, True
            self.skipped, self._in_a_row = self.skipped + 1, 0
            return
        self.skipped = 0
        self.well_since = self.well_since if self._in_a_row else step
        self._taken, self._in_a_row = self._taken + 1, self._in_a_row + 1
        if self._in_a_row >= _SETTLED:
            self._fell = False

    @property
    def collapsed(self) -> bool:
        under_one = self.scale is not None and self.scale < 1 and self._fell
        return under_one or self.skipped >= (_MOST_SKIPPED if self._taken >= _SETTLED else _MOST_SKIPPED_AT_FIRST)

    @property
    def well(self) -> bool:
        return self._in_a_row >= _SETTLED


_SETTLED: Final = 20  # steps taken in a row
_MOST_SKIPPED: Final = 10
_MOST_SKIPPED_AT_FIRST: Final = 25
