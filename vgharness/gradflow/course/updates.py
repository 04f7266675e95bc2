"""What the steps of a training do to the weights: layers that stop moving, steps that are too large or too small.

‖ΔW‖₂ ÷ ‖W‖₂ of a step is about 1e-3 in a training that goes well (a rule of thumb: Karpathy's, CS231n), from 1e-4 to
1e-2. Trainings that go well leave that band all the time, so that it alone says nothing: Adam with a step of 1e-3
starts a network of 500 units wide at 4e-2 (each weight moves by the step, and is 0.026), finetuning ends at 1e-6, and
what starts at or near zero moves by more than its own size. So steps are called too large only where the network does
not learn with them, and too small only where it does not learn, no warm-up, schedule or vanished gradient explains it
and they have been so for long.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import takewhile
from typing import Final

from vgharness.formatting import number
from vgharness.gradflow.course.flow import LONG, Look
from vgharness.gradflow.course.history import typical
from vgharness.gradflow.course.ledger import Sighting
from vgharness.gradflow.course.state import Layer, ModelState, Seen

# Where the loss has risen: three times the band's end, for the loss of one of two networks that play against each other
# rises in a training that goes well, and Adam's steps are at that end there.
TOO_LARGE: Final = 3e-2
# Where it is level: ten times as much; Adam's usual first steps are below.
FAR_TOO_LARGE: Final = 1e-1
TOO_SMALL: Final = 1e-4  # where the loss is level
# Whatever the loss: float32 holds seven digits, so that most weights do not change at all.
FAR_TOO_SMALL: Final = 1e-7
_STILL: Final = 1e-8  # under what rounding leaves of a step in float32
# A layer whose weights are under this share of the median layer's started at or near zero, or is a bias or a small
# scale (LayerScale); its update is relative to next to nothing.
_SMALL_WEIGHTS: Final = 0.05
_NOTHING_LEFT: Final = 1e-3  # of a layer's first gradient
# A layer whose steps had become no more than this before they were none has come to rest: what is left of them is under
# the last digit of its weights. That may be what was wanted, which a step that is missing from one on is not.
_ROUNDED_AWAY: Final = 1e-5
_ON_THE_RATE: Final = (
    "Look at the optimizer's learning rate, and at the schedule that sets it, as one that is never stepped."
)
_EVERYTHING: Final = "every layer"  # is no name of a layer
_STEPS_OF_NOTHING: Final = 10
# A layer that moved in so many snapshots, in each of them, and whose update is exactly 0 in the last two, over so many
# steps: what its optimizer changes is below the weights' last digit, or it has the layer no more.
_MOVED, _STEPS_OF_NO_MOVE = 3, 8
_SLOWED: Final = 0.5  # a rate under so much of the greatest one has been taken down by a schedule


def looks_at_updates(state: ModelState, now: Seen) -> list[Look]:
    """Judges the updates of one snapshot; its learning rates are in the state already."""
    moved = {name: layer for name, layer in now.layers.items() if layer.update is not None and not layer.frozen}
    if now.snapshot.skipped or not moved:
        return []
    still = _nothing_moves(state, now, moved)
    if still is not None:
        return [still]
    return [Look("stopped", {}, (_EVERYTHING,)), _stopped(state, now, moved), *_sizes(state, now, moved)]


def _nothing_moves(state: ModelState, now: Seen, moved: dict[str, Layer]) -> Look | None:
    """No layer moves, for every learning rate is 0, or has moved since the start, whatever the learning rate is.

    A warm-up begins at a rate of 0, for a step or an epoch: at first that is a warning. A schedule may end there: of
    what has moved it is one after many steps.
    """
    rates = now.snapshot.learning_rates
    at_zero = bool(rates) and not any(rate > 0 for rate in rates)
    still = all((layer.update or 0.0) <= _STILL for layer in moved.values())
    never = not any(habit.came for habit in state.moves.values()) and any(layer.weight for layer in moved.values())
    if not at_zero and not (still and never and not state.resumed and not _explained(state, now)):
        state.unmoved_since = None
        return None
    state.unmoved_since = since = now.step if state.unmoved_since is None else state.unmoved_since
    if not still or now.step - since < (_STEPS_OF_NOTHING if since == state.start else LONG):
        return Look("stopped", {}, ())
    why = (
        f"every learning rate is 0 since step {since:,}"
        if at_zero
        else f"{_told(rates)}, and each weight is rounded to what it was"
    )
    text = f"no step changes any layer: {why}"
    severe = since == state.start and now.step - since >= LONG
    sighting = Sighting("", text, severe, at_once=True, since=since, advice=_ON_THE_RATE if at_zero else "")
    return Look("stopped", {_EVERYTHING: sighting}, ())


def _stopped(state: ModelState, now: Seen, moved: dict[str, Layer]) -> Look:
    seen: dict[str, Sighting] = {}
    good = [name for name, layer in now.layers.items() if layer.frozen]
    still = {name for name, layer in moved.items() if (layer.update or 0.0) <= _STILL}
    rates = now.snapshot.learning_rates
    scheduled = any(rate == 0 for rate in rates) or _slowed(state, now, 1e-3)
    others_turn = any(state.moves[name].away for name in moved.keys() - still if name in state.moves)
    for name, layer in reversed(moved.items()):
        habit = state.moves[name]
        if name not in still:
            habit.look(now.step, there=True)
            state.last_moves[name] = layer.update or 0.0
            good.append(name)
            continue
        if scheduled or (layer.weight or 0.0) <= _NOTHING_LEFT * state.first_weights.get(name, 0.0):
            continue  # nothing comes that could move it: all is learned, or it is said elsewhere
        habit.look(now.step, there=False)
        if habit.away == 1:  # where others begin to move that did not, it is their turn
            state.unmoved[name] = -math.inf if others_turn else 0
        exact = layer.update == 0 and not _slowed(state, now, _SLOWED)
        state.unmoved[name] = state.unmoved[name] + 1 if exact else min(state.unmoved[name], 0)
        surely = state.unmoved[name] >= 2 and habit.came >= _MOVED and not habit.paused
        if habit.surprises() or (surely and habit.span >= _STEPS_OF_NO_MOVE):
            text = (
                f"steps do not change {layer.label} any more (‖ΔW‖₂ ÷ ‖W‖₂ is {number(layer.update)} in "
                f"{habit.away} snapshots), though a gradient comes (‖∂L/∂W‖₂ {number(layer.weight)}) and {_told(rates)}"
            )
            severe = state.last_moves.get(name, math.inf) > _ROUNDED_AWAY
            seen[name] = Sighting(layer.label, text, severe, at_once=True, since=habit.since)
    return Look("stopped", seen, good)


def _sizes(state: ModelState, now: Seen, moved: dict[str, Layer]) -> list[Look]:
    judged = _judged(moved)
    if not judged:
        return []
    middle = typical(layer.update or 0.0 for layer in judged)
    state.updates.append((now.step, middle))
    progress = state.progress
    large = Look("update too large", {}, ("",) if progress != "worse" else ())
    limit = TOO_LARGE if progress == "worse" else FAR_TOO_LARGE
    if middle > limit and state.snapshots > 0 and progress not in ("learned", "early"):
        severe = progress == "worse" or (progress == "level" and now.step - state.start >= LONG)
        text = _text(middle, state, judged)
        large = Look("update too large", {"": Sighting("", text, severe)}, ())
    small = Look("update too small", {}, ("",))
    if 0 < middle < TOO_SMALL and not state.resumed and not _explained(state, now):
        stuck = progress == "level" and now.step - state.start >= 2 * LONG
        if stuck or (middle < FAR_TOO_SMALL and progress != "learned"):
            text = _text(middle, state, judged)
            small = Look("update too small", {"": Sighting("", text, severe=False)}, ())
    return [large, small]


def gone_wrong(state: ModelState) -> Sighting | None:
    """Steps that were too large, told by the loss between two snapshots: it has risen for good, and the last step that
    was measured was far too large."""
    if not state.updates or state.updates[-1][1] <= FAR_TOO_LARGE or state.progress != "worse":
        return None
    return far_too_large(state, state.told_losses())


def far_too_large(state: ModelState, so: str) -> Sighting:
    """The last updates that were measured, all far too large, and what came of them."""
    in_a_row = [*takewhile(lambda each: each[1] > FAR_TOO_LARGE, reversed(state.updates))]
    began, middle = in_a_row[-1]
    text = f"‖ΔW‖₂ ÷ ‖W‖₂ was {number(middle)} at step {began:,} in the median layer, and {so}"
    return Sighting("", text, at_once=True, since=began)


def _told(rates: Sequence[float]) -> str:
    lowest, highest = min(rates, default=None), max(rates, default=None)
    if lowest != highest:
        return f"the learning rates of the optimizer's groups are {number(lowest)} to {number(highest)}"
    return f"the learning rate is {number(highest)}"


def _judged(moved: dict[str, Layer]) -> list[Layer]:
    """Those whose weights are not small beside the others'."""
    middle = typical(layer.size for layer in moved.values() if layer.size)
    return [x for x in moved.values() if x.size is None or x.size > _SMALL_WEIGHTS * middle]


def _explained(state: ModelState, now: Seen) -> bool:
    """Whether a warm-up or a schedule makes steps small: the rate still rises, or has come down."""
    rising = len(state.rates) >= 2 and state.rates[-1] > state.rates[-2]
    return rising or _slowed(state, now, _SLOWED)


def _slowed(state: ModelState, now: Seen, share: float) -> bool:
    """Whether the learning rate is under a share of the greatest one so far."""
    rates = now.snapshot.learning_rates
    return bool(rates) and max(rates) < share * max(state.rates, default=0.0)


def _text(middle: float, state: ModelState, judged: list[Layer]) -> str:
    most = max(judged, key=lambda layer: layer.update or 0.0)
    losses = state.told_losses()
    return (
        f"‖ΔW‖₂ ÷ ‖W‖₂ of a step is {number(middle)} in the median layer, at most {number(most.update)} ({most.label})"
        f"{', and ' if losses else ''}{losses}; 1e-4 to 1e-2 is usual"
    )
