"""What is remembered of one watched model between its snapshots."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Collection, Sequence
from functools import cached_property
from statistics import median
from typing import Final, NamedTuple

from vgharness.formatting import number
from vgharness.gradflow.course.fading import Fading
from vgharness.gradflow.course.history import Growth, Habit, Losses, LossScale, Progress, Spikes
from vgharness.gradflow.course.presence import Presence
from vgharness.gradflow.symptoms import FAINT, VANISHED
from vgharness.records import GradientFlow, LogRow, Snapshot, SnapshotQuantity, flow_of

_HELD_RATES: Final = 200  # learning rates of the last snapshots
_HELD_WEIGHTS: Final = 10
_HELD_SPIKES: Final = 20
_HELD_NORMS: Final = 20
_HELD_LOSSES: Final = 30
_REGIME: Final = 10  # losses before a jump that it is over


class Layer(NamedTuple):
    """All rows of one layer in a snapshot as one. ``None``: in none of them."""

    name: str
    frozen: bool
    zero: bool
    lacking: bool  # asks for a gradient and got none
    ran: bool | None  # whether a forward pass put something out; None: that was not measured
    weight: float | None  # ‖∂L/∂W‖₂
    size: float | None  # ‖W‖₂
    update: float | None
    dead: float | None  # share of units
    last: bool  # goes straight to the loss

    @property
    def label(self) -> str:
        return self.name or "model"


class Seen:
    """One snapshot with what is worked out of it."""

    def __init__(self, snapshot: Snapshot, rows: tuple[LogRow, ...]) -> None:
        self.snapshot, self.rows, self.step = snapshot, rows, snapshot.step
        places: dict[str, list[int]] = {}
        for at, row in enumerate(rows):
            places.setdefault(row.name, []).append(at)
        last = {i for i, row in enumerate(rows) if not row.feeds and (row.feeds is not None or i == len(rows) - 1)}
        self.layers = {name: _layer(name, snapshot, at, last) for name, at in places.items()}

    @cached_property
    def flow(self) -> GradientFlow:
        return flow_of(self.snapshot, self.rows)

    @property
    def quiet(self) -> bool:
        """Whether a look at the values is enough to say that the flow has no symptoms: gradients come everywhere, and
        no two signals are further apart than the nearer line is."""
        values = self.snapshot.values
        signals = [size for size in values.get("signal_l2", ()) if size is not None]
        weights = [size for size in values.get("weight_mean_abs", ()) if size is not None]
        return (
            all(state in ("ok", "frozen") for state in self.snapshot.states)
            and bool(signals and weights)
            and min(signals) >= VANISHED * max(signals) > 0
            and max(weights) >= FAINT
        )


class ModelState:
    """The past of one model, bounded."""

    def __init__(self, name: str, start: int) -> None:
        self.name, self.start = name, start
        self.snapshots = 0
        self.losses = Losses(first=3, recent=10, needed=10)  # of every step
        self.losses_of_snapshots = Losses(first=2, recent=3, needed=5)  # where none come with the steps
        self.last_losses: deque[tuple[int, float]] = deque(maxlen=_HELD_LOSSES)  # by step
        self.spikes, self.growth, self.scale = Spikes(), Growth(), LossScale()
        self.fading = Fading()
        self.growth_of_snapshots = Growth(block=3)  # of norms before clipping, which only snapshots have
        self.clips = False
        self.norms: deque[float] = deque(maxlen=_HELD_NORMS)  # of the last steps whose gradients were finite
        self.finite = 0  # steps in a row whose gradients were
        self.presence = Presence()  # of gradients, at every step
        self.gradients: defaultdict[str, Habit] = defaultdict(Habit)  # by layer: whether a gradient comes
        self.parameters: dict[str, Habit] = {}  # the same of parameters, of those that have gone without one
        self.nonzero: defaultdict[str, Habit] = defaultdict(Habit)  # by layer: whether it is anything but zero
        self.moves: defaultdict[str, Habit] = defaultdict(Habit)  # by layer: whether steps move it
        self.last_moves: dict[str, float] = {}  # by layer: the last update of more than rounding
        self.unmoved: dict[str, float] = {}  # by layer: snapshots in a row with an update of exactly 0
        self.unmoved_since: int | None = None  # the step since which no layer moves
        self.layer_spikes: dict[str, Spikes] = {}
        self.first_weights: dict[str, float] = {}  # by layer: the first ‖∂L/∂W‖₂ over zero
        self.weights: dict[str, deque[float]] = {}  # by layer: ‖∂L/∂W‖₂ of the last snapshots
        self.rates: deque[float] = deque(maxlen=_HELD_RATES)  # the greatest learning rate of each
        self.updates: deque[tuple[int, float]] = deque(maxlen=8)  # median relative update by step
        self.vanished: int | None = None  # the step since which the signal is too small
        self.unoptimized: dict[str, bool] = {}  # by layer: whether it is a problem, as was said when it was first seen
        self.spiked: deque[int] = deque(maxlen=_HELD_SPIKES)  # steps at which the total norm had one

    @property
    def resumed(self) -> bool:
        return self.start > 0

    @property
    def progress(self) -> Progress:
        return (self.losses if self.losses.seen else self.losses_of_snapshots).progress

    def told_losses(self) -> str:
        """``the loss went from 2.3 to 0.4`` in numbers; empty without losses."""
        losses = self.losses if self.losses.seen else self.losses_of_snapshots
        return f"the loss was {number(losses.lowest_start)} at first and is {number(losses.now)}" if losses.seen else ""

    def add_loss(self, step: int, loss: float | None) -> None:
        self.losses.add(loss)
        if loss is not None:
            self.last_losses.append((step, loss))

    def jump_of_the_loss(self, step: int) -> tuple[float, float] | None:
        """From what to what the loss jumped at ``step`` itself, to stay about there: it is another loss or task, while
        weights that a step has ruined show at the next one. ``None``: it did not, or is not known."""
        before = [loss for at, loss in self.last_losses if at < step][-_REGIME:]
        after = [loss for at, loss in self.last_losses if at > step]
        first = next((loss for at, loss in self.last_losses if at == step), None)
        if first is None or not before or not after or first <= max(before) + 0.5 * abs(max(before)):
            return None
        usual, now = median(before), median(after)
        jump = first - usual
        return (usual, now) if first - jump * 2 / 3 <= now <= first + jump / 2 else None

    def rises_from(self, step: int, loss: float | None) -> bool:
        """Whether ``loss`` is above that of ``step``, as of an explosion, or neither is known; another loss or task has
        its own level at once."""
        first = next((given for at, given in self.last_losses if at == step), None)
        return first is None or loss is None or loss > first + 0.5 * abs(first)

    def begin_anew(self, step: int) -> None:
        """From ``step`` on it is another loss, and what was before says nothing of it."""
        self.losses.begin_anew()
        self.losses_of_snapshots.begin_anew()
        self.growth, self.growth_of_snapshots, self.fading = Growth(), Growth(block=3), Fading()
        for at, loss in self.last_losses:
            if at >= step:
                self.losses.add(loss)

    def remember(self, now: Seen) -> None:
        """Keeps the layers' weight gradients of a snapshot."""
        for name, layer in now.layers.items():
            if layer.weight:
                self.first_weights.setdefault(name, layer.weight)
                self.weights.setdefault(name, deque(maxlen=_HELD_WEIGHTS)).append(layer.weight)

    def fastest_growing(self) -> str:
        """The layer whose weight gradient has grown most, where that is more than three times as much as any other's;
        empty otherwise."""
        grown = {name: held[-1] / min(held) for name, held in self.weights.items() if len(held) >= 2}
        first, *others = sorted(grown, key=lambda name: grown[name], reverse=True) or [""]
        if not others or grown[first] < 3 * grown[others[0]]:
            return ""
        return first


def _layer(name: str, snapshot: Snapshot, places: Sequence[int], last: Collection[int]) -> Layer:
    states = [snapshot.states[i] for i in places]

    def values(quantity: SnapshotQuantity) -> list[float]:
        of_rows = snapshot.values.get(quantity, ())
        return [x for i in places if of_rows and (x := of_rows[i]) is not None]

    def greatest(quantity: SnapshotQuantity) -> float | None:
        if len(places) == 1 and quantity in snapshot.values:  # as nearly always
            return snapshot.values[quantity][places[0]]
        return max(values(quantity), default=None)

    weight, unreached = greatest("weight_l2"), name in snapshot.missed
    frozen = all(state == "frozen" for state in states)
    nonfinite = "nonfinite" in states
    # Gradients that are cleared to zero, not to None, are there without having come.
    lacking = not frozen and not nonfinite and (all(x == "unused" for x in states) or (unreached and not weight))
    return Layer(
        name=name,
        frozen=frozen,
        zero=all(state == "zero" for state in states) and not lacking,
        lacking=lacking,
        ran=greatest("output_rms") is not None if "output_rms" in snapshot.values else None,
        weight=weight,
        size=greatest("weight_norm"),
        update=greatest("relative_update"),
        dead=min(values("dead_units"), default=None),  # of a layer that runs twice, dead in both
        last=all(i in last for i in places),
    )
