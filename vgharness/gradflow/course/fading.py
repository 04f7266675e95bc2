"""Whether a model's whole gradient has faded away though its loss has not fallen.

What a network has learned sends back little: its gradient falls to a thousandth, and its loss falls with it, or fell
before. A generator whose discriminator has become certain gets as little, and its loss rises. So the loss decides, and
where none is known, only a break is told, as a warning: a level that was held for long, and left in no more steps than
that for a hundredth of it. What converges falls by the same factor over and over and shows no break.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from statistics import median
from typing import Final, NamedTuple

from vgharness.formatting import number

_STEPS: Final = 10  # in a block
_LEVEL: Final = 5  # blocks, whose median is a level
_PAST: Final = 40  # blocks that are remembered: a level that is longer ago is none of now
_FADED: Final = 100.0
_BACK: Final = 10.0
_HELD: Final = 3.0  # times as much or as little as a level is still at it
_STAYS: Final = 2  # blocks
_LONGEST_BREAK: Final = 10  # blocks
_RISEN: Final = 0.1  # of the loss


class _Block(NamedTuple):
    since: int
    norm: float
    loss: float | None  # the last that was known before, where none came in it


class Faded(NamedTuple):
    """A gradient that has faded away. ``severe``: the loss is known not to have fallen, and it was a break."""

    since: int
    evidence: str
    severe: bool


class Fading:
    """Takes in the norm of every step, and its loss where it is known."""

    def __init__(self) -> None:
        self._blocks: deque[_Block] = deque(maxlen=_PAST)
        self._norms: list[float] = []
        self._losses: list[float] = []
        self._loss: float | None = None
        self._began = 0
        self._told: float | None = None  # the level that it has faded from

    def add(self, step: int, norm: float, loss: float | None) -> bool:
        """Whether there is anything new: a block is full."""
        if not self._norms:
            self._began = step
        self._norms.append(norm)
        if loss is not None:
            self._losses.append(loss)
        if len(self._norms) < _STEPS:
            return False
        self._loss = median(self._losses) if self._losses else self._loss
        self._blocks.append(_Block(self._began, median(self._norms), self._loss))
        self._norms, self._losses = [], []
        return True

    @property
    def back(self) -> bool:
        """Whether the gradient is large enough again."""
        return self._told is not None and self._blocks[-1].norm * _BACK > self._told

    def faded(self) -> Faded | None:
        """That it has, if it has."""
        blocks = list(self._blocks)
        if len(blocks) < _LEVEL + _STAYS or blocks[-1].norm * _FADED >= max(block.norm for block in blocks):
            return None
        falls = [fall for at in range(len(blocks) - _LEVEL + 1) if (fall := _fall(blocks, at)) is not None]
        if not falls:
            return None
        fall = max(falls, key=lambda each: (each.is_break, each.since))
        before, now = blocks[fall.at : fall.at + _LEVEL], blocks[-_STAYS:]
        progress, told = _progress([block.loss for block in before], [block.loss for block in now])
        if progress == "fallen" or not (fall.is_break or progress == "risen"):
            return None
        self._told = fall.level
        text = f"‖∂L/∂θ‖₂ of the whole model has fallen from {number(fall.level)} to {number(now[-1].norm)}, {told}"
        return Faded(fall.since, text, severe=fall.is_break and progress != "unknown")


class _Fall(NamedTuple):
    at: int  # block, from which on the level was held
    level: float
    since: int
    is_break: bool


def _fall(blocks: Sequence[_Block], at: int) -> _Fall | None:
    """From the level of the blocks from ``at`` on, if the last ones are so far below it."""
    level = median(block.norm for block in blocks[at : at + _LEVEL])
    if not all(block.norm * _FADED < level for block in blocks[-_STAYS:]):
        return None
    at_level = [i for i, block in enumerate(blocks) if level <= block.norm * _HELD <= _HELD**2 * level]
    fallen = next(i for i in range(at_level[-1], len(blocks)) if blocks[i].norm * _FADED < level)
    took = fallen - at_level[-1]
    is_break = len(at_level) >= _LEVEL and took <= min(len(at_level), _LONGEST_BREAK)
    return _Fall(at, level, blocks[at_level[-1] + 1].since, is_break)


def _progress(before: list[float | None], now: list[float | None]) -> tuple[str, str]:
    """``risen``, ``level``, ``fallen`` or ``unknown``, and the same in words."""
    then = [loss for loss in before if loss is not None]
    last = [loss for loss in now if loss is not None]
    if not then or not last:
        return "unknown", "and no loss was given that would tell whether all is learned (give it to .step)"
    told = f"while the loss went from {number(median(then))} to {number(last[-1])}"
    if min(last) > max(then) + _RISEN * abs(max(then)):
        return "risen", told
    return ("fallen" if last[-1] < min(then) else "level"), told
