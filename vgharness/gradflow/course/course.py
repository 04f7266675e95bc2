"""Names which problems begin and end over a training, from snapshots of some steps and the norm of every step.

A problem is told once when it begins and once when it ends. What is measured once in ``every`` steps is judged by
snapshots (so many of the last ones), what is known of each step by steps, and nothing by time.

====================  ==================================================================================
``nonfinite``         NaN or infinity; while it lasts, no other kind is looked at
``missing``           a parameter asks for a gradient and gets none: from the start, or where it usually did
``not optimized``     it gets one, and no optimizer has it
``dead``              a gradient that stays exactly zero, or units that no sample switches on
``exploding``         as a diagnosis says of a snapshot; or the norm has grown 1,000-fold and the loss has risen
``vanishing``         as a diagnosis says of a snapshot, while it keeps the network from learning; or the norm has
                      fallen to a hundredth, and the loss has not
``spike``             the norm of a step, or of a layer, far over the run's own past
``stopped``           a layer that moved does not, though a gradient comes and the learning rate is not 0
``update too large``  steps of over 3e-2 of the weights while the loss rises (this is what a learning rate that is too
                      high is called), or of over 1e-1 while it is level
``update too small``  steps of under 1e-4 while the loss is level, and no warm-up, schedule or other problem explains it
``loss scale``        a GradScaler's scale is under 1, or it leaves out step after step
====================  ==================================================================================

``problem`` is what makes the training go wrong as it is, ``warning`` what may be meant.
"""

from __future__ import annotations

import math
from collections.abc import Collection

from vgharness.formatting import count, number
from vgharness.gradflow.course.advice import advice_on
from vgharness.gradflow.course.flow import Look, looks_at_flow
from vgharness.gradflow.course.history import Growth, Spike, Spikes
from vgharness.gradflow.course.ledger import Change, Ledger, Sighting
from vgharness.gradflow.course.state import ModelState, Seen
from vgharness.gradflow.course.updates import FAR_TOO_LARGE, far_too_large, gone_wrong, looks_at_updates
from vgharness.records import Birth, LogRow, Snapshot, TrainingProblem

__all__ = ["Change", "Course"]

# Of the norm, for good. A network that leaves a plateau grows its gradients as much, and its loss falls meanwhile.
_GROWN = 1e3
_GROWN_WITHOUT_A_LOSS = 1e6
_CLIPPED = 0.99  # a norm under so much of what it was
_WHOLE = "the whole"  # model; is no name of a layer
_FINITE_STEPS = 10  # so many finite ones are a good look
# A layer's own norm, of which a run has thousands: rarer than the whole norm's.
_LAYER_SPIKE, _LAYER_HISTORY = 30.0, 10


class Course:
    """Takes in what is measured of a training, and says which problems have begun and ended.

    every: how many steps lie between two snapshots.
    """

    def __init__(self, *, every: int) -> None:
        self._every = max(1, every)
        self._models: dict[str, ModelState] = {}
        self._ledger = Ledger()

    @property
    def problems(self) -> tuple[TrainingProblem, ...]:
        """All so far, in the order in which they began to be known; at most 200, however long the training is."""
        return tuple(self._ledger.problems)

    def add(self, snapshot: Snapshot, rows: tuple[LogRow, ...]) -> list[Change]:
        """Judges one snapshot; a model's come in the order of its steps."""
        state = self._state(snapshot.model, snapshot.step)
        now = Seen(snapshot, rows)
        if snapshot.learning_rates and not snapshot.skipped:
            state.rates.append(max(snapshot.learning_rates))
        state.losses_of_snapshots.add(snapshot.loss)
        looks = [*looks_at_flow(state, now), *self._layer_spikes(state, now), *looks_at_updates(state, now)]
        looks += self._grown_before_clipping(state, snapshot)
        if not snapshot.skipped:
            state.remember(now)
        state.snapshots += 1
        return [change for look in looks for change in self._look(state.name, snapshot.step, look)]

    def stepped(
        self,
        model: str,
        step: int,
        total_norm: float,
        *,
        loss_scale: float | None = None,
        skipped: bool = False,
        loss: float | None = None,
        without: Collection[str] | None = None,
    ) -> list[Change]:
        """Judges what is known of one step: call it for every step of a model, in their order, at some delay.

        total_norm: ‖∂L/∂θ‖₂ as the optimizer got it, clipped where it is; NaN or infinity where it is not finite. What
            it was before clipping is in snapshots.
        loss_scale, skipped: a GradScaler's, and whether it left the step out.
        loss: of the step.
        without: names of the parameters that ask for a gradient and got none; ``None``: the same as at the last step.
        """
        state = self._state(model, step)
        state.presence.add(step, without)
        changes: list[Change] = []
        if loss_scale is not None or skipped:
            state.scale.add(step, loss_scale, skipped=skipped)
            changes += self._loss_scale(state, step)
        if skipped:
            return changes
        finite = math.isfinite(total_norm) and (loss is None or math.isfinite(loss))
        if not finite:
            what = "the gradient's norm" if not math.isfinite(total_norm) else "the loss"
            sighting = Sighting("", f"{what} is not finite at step {step:,}{_growth_before(state)}", at_once=True)
            state.finite = 0
            return [*changes, *self._ledger.look(model, step, "nonfinite", {"": sighting})]
        state.finite += 1
        state.norms.append(total_norm)
        if state.finite % _FINITE_STEPS == 0:
            changes += self._ledger.look(model, step, "nonfinite", {}, ("",))
        state.add_loss(step, loss)
        changes += self._growth(state, step, total_norm, loss)
        changes += self._fading(state, step, total_norm, loss)
        return [*changes, *self._spike(state, step, state.spikes.add(step, total_norm))]

    def born(self, birth: Birth) -> list[Change]:
        """Takes in where the first value that is not finite came from. Call it before :meth:`stepped` for that step,
        so that the first report has the layer; later is allowed."""
        state = self._state(birth.model, birth.step)
        layer, evidence = _of_birth(birth)
        growth = _growth_before(state)
        evidence, advice = evidence + growth, advice_on(birth, grown=bool(growth))
        state.finite = 0
        if self._ledger.goes_on(birth.model, "nonfinite"):
            if birth.origin is None and not birth.loss and not birth.parameter:
                return []  # no more is known than was
            return self._ledger.rewrite(birth.model, "nonfinite", layer, evidence, advice)
        sighting = Sighting(layer, evidence, at_once=True, since=birth.step, advice=advice)
        return self._ledger.look(birth.model, max(birth.noticed, birth.step), "nonfinite", {"": sighting})

    def _state(self, model: str, step: int) -> ModelState:
        if model not in self._models:
            self._models[model] = ModelState(model, step)
        return self._models[model]

    def _look(self, model: str, step: int, look: Look) -> list[Change]:
        return self._ledger.look(model, step if look.step is None else look.step, look.kind, look.seen, look.good)

    # --- every step --------------------------------------------------------------------------------------

    def _loss_scale(self, state: ModelState, step: int) -> list[Change]:
        scale = state.scale
        if scale.well:
            return self._ledger.look(state.name, scale.well_since, "loss scale", {}, ("",))
        if not scale.collapsed:
            return []
        at = "" if scale.scale is None else f"; the loss scale has fallen to {number(scale.scale)}"
        left_out = f"{count(scale.skipped, 'step')} in a row" if scale.skipped > 1 else "a step"
        text = f"gradients overflow: {left_out} left out by step {step:,}{at}"
        sighting = Sighting("", text, at_once=True, since=scale.since)
        return self._ledger.look(state.name, step, "loss scale", {"": sighting})

    def _fading(self, state: ModelState, step: int, total_norm: float, loss: float | None) -> list[Change]:
        if not state.fading.add(step, total_norm, loss):
            return []
        faded = state.fading.faded()
        if faded is not None:
            sighting = Sighting("", faded.evidence, faded.severe, at_once=True, since=faded.since)
            return self._ledger.look(state.name, step, "vanishing", {_WHOLE: sighting})
        return self._ledger.look(state.name, step, "vanishing", {}, (_WHOLE,)) if state.fading.back else []

    def _spike(self, state: ModelState, step: int, spike: Spike | None) -> list[Change]:
        if spike is None:
            return []
        name, back = state.name, spike.back
        state.spiked.append(spike.step)
        if back is None and state.progress != "worse":
            return []  # another level of the norm, as after unfreezing
        text = (
            f"‖∂L/∂θ‖₂ was {number(spike.value)} at step {spike.step:,}, {number(spike.value / spike.usual)} times the "
            f"median of the steps before ({number(spike.usual)})"
        )
        jump = state.jump_of_the_loss(spike.step) if back is None else None
        if jump is not None:
            before, now = jump
            text += (
                f"; the loss went from {number(before)} to {number(now)} at that step: another loss or task, if meant"
            )
            state.begin_anew(spike.step)
            back = step  # what is usual from now on
        elif back is None:
            text += f"; it has not come back, and {state.told_losses()}"
        sighting = Sighting("", text, severe=back is None, at_once=True, since=spike.step)
        changes = self._ledger.look(name, spike.step, "spike", {"": sighting})
        return [*changes, *(self._ledger.look(name, back, "spike", {}, ("",)) if back is not None else [])]

    def _growth(self, state: ModelState, step: int, total_norm: float, loss: float | None) -> list[Change]:
        growth = state.growth
        new = growth.add(step, total_norm)
        if growth.burst is not None and not state.losses.falls_short(loss) and state.rises_from(growth.burst[0], loss):
            since, before, now = growth.burst
            text = f"‖∂L/∂θ‖₂ has grown from {number(before)} to {number(now)} in {step - since + 1} steps"
            if state.updates and state.updates[-1][1] > FAR_TOO_LARGE:
                return self._too_large(state, step, far_too_large(state, text))
            burst = Sighting(state.fastest_growing(), text, at_once=True, since=since)
            return self._ledger.look(state.name, step, "exploding", {"": burst})
        if (wrong := gone_wrong(state)) is not None:
            return self._too_large(state, step, wrong)
        if not new or state.spikes.pending:  # whether that is another level will be known soon
            return []
        sighting = self._grown(state, growth)
        return [] if sighting is None else self._ledger.look(state.name, step, "exploding", {"": sighting})

    def _grown(self, state: ModelState, growth: Growth) -> Sighting | None:
        """A norm that has grown for good, while the loss has risen."""
        progress, told = state.progress, state.told_losses()
        if growth.factor < (_GROWN_WITHOUT_A_LOSS if progress == "unknown" else _GROWN):
            return None
        if progress not in ("worse", "unknown"):
            return None
        text = f"‖∂L/∂θ‖₂ has grown {number(growth.factor)}-fold, from {number(growth.lowest)} to {number(growth.now)}"
        text += f"{', and ' if told else ''}{told}"
        return Sighting(state.fastest_growing(), text, at_once=True, since=growth.since)

    def _grown_before_clipping(self, state: ModelState, snapshot: Snapshot) -> list[Look]:
        """Where gradients are clipped, no step but a snapshot's has the norm that they came with."""
        total, clipped = snapshot.total_norm, snapshot.clipped_norm
        if not total or snapshot.skipped:
            return []
        state.clips = state.clips or (clipped is not None and clipped < _CLIPPED * total)
        state.growth_of_snapshots.add(snapshot.step, total)
        sighting = self._grown(state, state.growth_of_snapshots) if state.clips else None
        return [] if sighting is None else [Look("exploding", {"": sighting}, ())]

    def _too_large(self, state: ModelState, step: int, sighting: Sighting) -> list[Change]:
        return self._ledger.look(state.name, step, "update too large", {"": sighting})

    # --- layers ------------------------------------------------------------------------------------------

    def _layer_spikes(self, state: ModelState, now: Seen) -> list[Look]:
        """One layer's norm beside its own past, where the whole norm shows nothing."""
        found: dict[str, Spike] = {}
        if now.snapshot.skipped:
            return []
        for name, layer in now.layers.items():
            if (spikes := state.layer_spikes.get(name)) is None:
                spikes = state.layer_spikes[name] = Spikes(_LAYER_SPIKE, _LAYER_HISTORY, confirm=2)
            spike = spikes.add(now.step, layer.weight or 0.0)
            if spike is None or spike.back is None:
                continue
            if all(abs(spike.step - step) > self._every for step in state.spiked):
                found[now.layers[name].label] = spike
        if not found:
            return []
        label, spike = max(found.items(), key=lambda each: each[1].value / each[1].usual)
        text = (
            f"‖∂L/∂W‖₂ of {label} was {number(spike.value)} at step {spike.step:,}, "
            f"{number(spike.value / spike.usual)} times the median of the snapshots before ({number(spike.usual)})"
        )
        seen = {label: Sighting(label, text, severe=False, at_once=True, since=spike.step)}
        return [Look("spike", seen, ()), Look("spike", {}, (label,), spike.back)]


def _growth_before(state: ModelState) -> str:
    """What the norm did just before: where it had grown, that is why."""
    norms = [norm for norm in state.norms if norm > 0]
    if len(norms) <= 3 or norms[-1] < _GROWN * min(norms) or min(norms[-3:]) < 10 * max(norms[:-3][:3]):
        return ""
    return f"; ‖∂L/∂θ‖₂ had grown from {number(min(norms))} to {number(norms[-1])} in the steps before"


def _of_birth(birth: Birth) -> tuple[str, str]:
    """The layer and the evidence."""
    inside = birth.module is not None and (birth.origin is None or birth.origin.stage != "inputs")
    remark = f"; {birth.remark}" if birth.remark else ""
    evidence = f"{birth.cause}, at step {birth.step:,}, batch {birth.batch:,}{remark}"
    return (birth.module or "model") if inside else "", evidence
