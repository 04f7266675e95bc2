"""Steps of which not all has arrived yet, handed on in their order."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

from vgharness.watching.first_nan.pulse import Beat


class Told(NamedTuple):
    """One step.

    total_norm: of the gradients that its optimizer got; infinity where it was left out unseen.
    skipped: whether it was left out.
    loss: where one was given.
    without: names of the parameters that ask for a gradient and got none; ``None``: the same as at the last step.
    """

    step: int
    total_norm: float
    skipped: bool
    loss: float | None
    without: tuple[str, ...] | None


class Untold:
    """Steps whose beat may come later, with what else becomes known of them meanwhile."""

    def __init__(self) -> None:
        self._awaited: set[int] = set()
        self._norms: dict[int, float] = {}
        self._skipped: set[int] = set()
        self._if_finite: set[int] = set()  # that were taken only if their gradients are finite
        self._not_finite: set[int] = set()
        self._losses: dict[int, float] = {}
        self._without: dict[int, tuple[str, ...]] = {}

    def begin(self, step: int, without: tuple[str, ...] | None) -> None:
        """A beat will come of ``step``; ``without`` as of :class:`Told`."""
        self._awaited.add(step)
        if without is not None:
            self._without[step] = without

    def beat(self, beat: Beat) -> None:
        self._norms[beat.step] = beat.total_norm
        if not beat.finite:
            self._not_finite.add(beat.step)
        self._awaited = {step for step in self._awaited if step > beat.step}  # they come in order

    def leave_out(self, step: int) -> None:
        """``step`` was left out; if it was not begun, no beat comes of it."""
        self._skipped.add(step)
        if step not in self._awaited and step not in self._norms:
            self._norms[step] = math.inf

    def leave_out_unless_finite(self, step: int) -> None:
        """``step`` was left out, if its gradients were not finite."""
        self._if_finite.add(step)

    def give_loss(self, step: int, loss: float) -> None:
        self._losses[step] = loss

    def arrived(self) -> Iterator[Told]:
        """Those that no beat is awaited before, each once."""
        before = min(self._awaited, default=math.inf)
        for step in sorted(step for step in self._norms if step < before):
            skipped = step in self._skipped or step in self._if_finite & self._not_finite
            without = self._without.pop(step, None)
            yield Told(step, self._norms.pop(step), skipped, self._losses.pop(step, None), without)
            for steps in (self._skipped, self._if_finite, self._not_finite):
                steps.discard(step)
