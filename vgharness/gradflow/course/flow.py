"""What one snapshot of a training, beside those before it, says of the gradients' way: by kind, where it is seen.

One snapshot's flow is judged as :func:`~vgharness.gradflow.symptoms.find_symptoms` does. What a training adds:

``missing``    At once in the first snapshot, but for one of several numbered modules of which others are used, and that
               did not run (an expert without a token). Later where a gradient came usually (:class:`Habit`; of what
               runs all the same, every step counts: :class:`Presence`), or where none comes to any layer any more
               (``backward`` is not called).
``dead``       Units that were saturated on every sample of several snapshots; a gradient of exactly zero that stays so
               (what starts at zero opens within three steps, as in a diagnosis), or is so for longer than usual. With
               both it is at once. Not where the loss itself is zero: then all is learned.
``vanishing``  Beyond the milder line only while the network does not learn; beyond the other one, it is a problem while
               it does not learn and a warning while the layers cut off move too little.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Final, NamedTuple

from vgharness.formatting import listing, number, percent
from vgharness.gradflow.course.advice import ON_WHAT_IS_GIVEN
from vgharness.gradflow.course.history import Habit, typical
from vgharness.gradflow.course.ledger import Sighting
from vgharness.gradflow.course.presence import Absence
from vgharness.gradflow.course.state import Layer, ModelState, Seen
from vgharness.gradflow.symptoms import EXPLODED, FAINT, SATURATED, ProblemKind, Quote, Symptom, find_symptoms
from vgharness.records import TrainingProblemKind

# Nine units in ten. A wide ReLU layer of a network that trains well has up to a half that are dead for good; single
# samples leave nine in ten off, many of them together do not.
MOSTLY_DEAD: Final = 0.9
_STEPS_TO_OPEN: Final = 3  # what starts at zero; as many steps as a diagnosis takes
_IDLE_STEPS: Final = 20  # a branch that has been at zero from the start on for so many steps
_TURNS: Final = 20  # snapshots in which others had a turn, and it never had
# Times EXPLODED: one first snapshot is one batch of one seed, which may lie on either side of the line itself.
_FAR_OVER: Final = 30.0
# Steps without learning. A ReLU MLP of 12 layers at default initialisation leaves its plateau after 54 with Adam at
# 1e-3.
LONG: Final = 100
_MOVES: Final = 0.1  # of the median update: a layer that moves so much is not held back by a small gradient
_NUMBERED: Final = re.compile(r"(?<![^.])\d+(?![^.])")


class Look(NamedTuple):
    """Where one kind is seen in a snapshot, and where all is good; by name, the most telling first. ``step``: of which
    step, where that is not the snapshot's."""

    kind: TrainingProblemKind
    seen: dict[str, Sighting]
    good: Collection[str]
    step: int | None = None


def looks_at_flow(state: ModelState, now: Seen) -> list[Look]:
    """Judges the gradients of one snapshot; the state's habits already hold those before it, and get this one."""
    symptoms = {} if now.quiet else find_symptoms(now.flow, ())
    if "nonfinite" in symptoms and not now.snapshot.skipped:
        symptom = symptoms["nonfinite"]
        return [Look("nonfinite", {"": Sighting(symptom.layer, _words(symptom, now), at_once=True)}, ())]
    missing, unoptimized = _missing(state, now), _not_optimized(state, now)
    if now.snapshot.skipped or any(x == "nonfinite" for x in now.snapshot.states):
        return [missing, unoptimized]
    looks = [Look("nonfinite", {}, ("",)), missing, unoptimized]
    if now.snapshot.loss == 0:
        return looks
    return [*looks, _dead(state, now, symptoms), *_sizes(state, now, symptoms)]


# --- no gradient -----------------------------------------------------------------------------------------


def _missing(state: ModelState, now: Seen) -> Look:
    seen: dict[str, Sighting] = {}
    good: list[str] = []
    lacking = [name for name, layer in now.layers.items() if layer.lacking]
    nothing = all(layer.lacking or layer.frozen for layer in now.layers.values())
    used = {x for name, layer in now.layers.items() if lacking and not layer.lacking for x in _without_a_number(name)}
    for name, layer in now.layers.items():
        if layer.frozen:
            good.append(name)
            continue
        habit = state.gradients[name]
        habit.look(now.step, there=not layer.lacking)
        if not layer.lacking:
            good.append(name)
            continue
        # One of several numbered modules need not run where others do.
        by_turns = not layer.ran and not used.isdisjoint(_without_a_number(name))
        own = [x for x in now.snapshot.without_gradient if layer.ran and _owner(x, now.layers) == name]
        absence = state.presence.surprising(own)
        none_at_all = nothing and habit.broken
        if absence is not None:
            seen[name] = Sighting(layer.label, _not_came(lacking, absence), at_once=True, since=absence.since)
        elif none_at_all or _is_missing(state, habit, ran=layer.ran, by_turns=by_turns):
            severe = none_at_all or bool(layer.ran) or not (habit.came or by_turns)
            seen[name] = Sighting(layer.label, _not_came(lacking, habit), severe, at_once=True, since=habit.since)
    for name in now.snapshot.without_gradient:
        owner = _owner(name, now.layers)
        if owner is not None and (now.layers[owner].lacking or now.layers[owner].frozen):
            continue  # said of the layer
        came = state.snapshots if owner is None else max(0, state.gradients[owner].came - 1)
        habit = state.parameters.setdefault(name, Habit(came))
        habit.look(now.step, there=False)
        absence = state.presence.surprising([name])
        if absence is not None or _is_missing(state, habit, ran=True, by_turns=False):
            row = absence or habit
            seen[name] = Sighting(name, _not_came([name], row), at_once=True, since=row.since)
    for name in state.parameters.keys() - {*now.snapshot.without_gradient}:
        if (owner := _owner(name, now.layers)) is None or not now.layers[owner].lacking:
            state.parameters[name].look(now.step, there=True)
            good.append(name)
    return Look("missing", dict(reversed(seen.items())), good)


def _is_missing(state: ModelState, habit: Habit, *, ran: bool | None, by_turns: bool) -> bool:
    if habit.came:
        return habit.surprises(strictly=not ran)
    if by_turns:
        return habit.away >= _TURNS and habit.span >= _IDLE_STEPS
    return state.snapshots == 0 or habit.away >= 2


def _without_a_number(name: str) -> set[str]:
    """A name with one of the numbers in it left out, each in turn: what numbered modules beside each other share."""
    return {f"{name[: match.start()]}#{name[match.end() :]}" for match in _NUMBERED.finditer(name)}


def _owner(parameter: str, layers: Mapping[str, Layer]) -> str | None:
    """The layer that a parameter is of, by its name."""
    name = parameter.rpartition(".")[0]
    while name not in layers and name:
        name = name.rpartition(".")[0]
    return name if name in layers else None


def _not_came(names: Collection[str], row: Habit | Absence) -> str:
    of = "steps" if isinstance(row, Absence) else "snapshots"
    before = f", which came in {row.came:,} {of} before" if row.came else ""
    return f"no gradient came to {listing([name or 'model' for name in reversed(list(names))], most=3)}{before}"


def _not_optimized(state: ModelState, now: Seen) -> Look:
    without = {*now.snapshot.without_gradient, *(name for name, x in now.layers.items() if x.lacking)}
    names = [
        name for name in now.snapshot.not_optimized if name not in without and _owner(name, now.layers) not in without
    ]
    owners = {_owner(name, now.layers) or name: None for name in names}
    layers = list(owners)
    # Most of a network left out from the start is how a head alone is trained without freezing what it stands on.
    severe = state.snapshots > 0 or 2 * len(layers) < len([x for x in now.layers.values() if not x.frozen])
    text = f"in no optimizer, though a gradient comes: {listing(names, most=3)}"
    seen = {}
    for owner in reversed(layers):
        severe = state.unoptimized.setdefault(owner, severe)
        seen[owner] = Sighting(owner or "model", text, severe, at_once=True)
    return Look("not optimized", seen, [name for name in (*now.layers, *state.unoptimized) if name not in owners])


# --- dead ------------------------------------------------------------------------------------------------


def _dead(state: ModelState, now: Seen, symptoms: Mapping[ProblemKind, Symptom]) -> Look:
    symptom, faded = symptoms.get("dead"), "vanishing" in symptoms  # what has vanished underflows to zero in the end
    seen: dict[str, Sighting] = {}
    zero: dict[str, Sighting] = {}
    good = []
    silent = symptom is not None
    open_loss = _may_be_learned(state, now)
    for name, layer in reversed(now.layers.items()):
        habit = state.nonzero[name]
        if layer.frozen:
            good.append(name)
            continue
        if layer.lacking:
            continue
        unfed = layer.weight == 0 and not layer.zero
        habit.look(now.step, there=not (layer.zero or unfed))
        # What is put out last may be sure of everything, or black at the same places in every image.
        dead = layer.dead or 0.0 if layer.zero or not layer.last else 0.0
        if dead >= MOSTLY_DEAD:
            gone = layer.zero and dead >= SATURATED
            text = f"{percent(dead)} of the units of {layer.label} are saturated (dead, of a ReLU) on every sample"
            text += ", and the gradient of its weights is exactly zero" if gone else ""
            since = habit.since if gone else None
            seen[name] = Sighting(layer.label, text, severe=gone, at_once=gone, since=since)
        elif layer.zero and not faded and _stays_zero(state, habit, silent=silent):
            text = _words(symptom, now) if symptom is not None else f"the gradient at {layer.label} is exactly zero"
            text += f", since step {habit.since:,}, in {habit.away} snapshots"
            label = symptom.layer if symptom is not None else layer.label
            text += "; a loss that has become zero does that too: give watch the loss" if open_loss else ""
            zero[name] = Sighting(label, text, severe=silent and not open_loss, at_once=True, since=habit.since)
        elif unfed and _stays_zero(state, habit, silent=False):
            text = (
                f"the gradient of {layer.label}'s weights is exactly zero since step {habit.since:,}, in {habit.away} "
            )
            text += "snapshots, though an error signal reaches it: all that it is given is zero"
            zero[name] = Sighting(
                layer.label, text, severe=False, at_once=True, since=habit.since, advice=ON_WHAT_IS_GIVEN
            )
        elif not (layer.zero or unfed):
            good.append(name)
    return Look("dead", {**seen, **zero}, good)


def _may_be_learned(state: ModelState, now: Seen) -> bool:
    """Whether nothing comes to any layer, something did before, and no loss is given that would say why: one with a
    margin (a hinge) is exactly zero once all is learned."""
    if state.losses.seen or state.losses_of_snapshots.seen:
        return False
    trained = {name: layer for name, layer in now.layers.items() if not layer.frozen and not layer.lacking}
    return all(layer.zero for layer in trained.values()) and any(state.nonzero[name].came for name in trained)


def _stays_zero(state: ModelState, habit: Habit, *, silent: bool) -> bool:
    if silent and habit.away >= 2 and habit.span >= _STEPS_TO_OPEN:
        return True
    if habit.came:
        return habit.surprises()
    return habit.away >= 3 and habit.span >= _IDLE_STEPS


# --- too small, too large --------------------------------------------------------------------------------


def _sizes(state: ModelState, now: Seen, symptoms: Mapping[ProblemKind, Symptom]) -> list[Look]:
    looks = []
    exploding = symptoms.get("exploding")
    if exploding is not None:
        far = state.snapshots == 0 and _ratio(exploding, now) > _FAR_OVER * EXPLODED
        looks.append(Look("exploding", {"": Sighting(exploding.layer, _words(exploding, now), at_once=far)}, ()))
    else:
        looks.append(Look("exploding", {}, ("",)))
    vanishing = symptoms.get("vanishing")
    if vanishing is None:
        state.vanished = None
        return [*looks, Look("vanishing", {}, ("",))]
    state.vanished = since = now.step if state.vanished is None else state.vanished
    severe = _harm(state, now, vanishing)
    if severe is None:
        return [*looks, Look("vanishing", {}, ("",))]
    if now.step - since < _STEPS_TO_OPEN:
        return looks
    sighting = Sighting(vanishing.layer, _words(vanishing, now), severe, at_once=True, since=since)
    return [*looks, Look("vanishing", {"": sighting}, ())]


def _harm(state: ModelState, now: Seen, symptom: Symptom) -> bool | None:
    """Whether what has vanished keeps the network from learning: ``True``, a problem; ``False``, a warning; ``None``,
    none, or not yet."""
    progress = state.progress
    if _is_faint(now):  # what little is left to learn sends little back
        return None if progress == "learned" or state.resumed or state.snapshots > 2 else True
    moves = _moves(symptom, now)
    if progress == "learned":
        return None if symptom.mild or moves is True else False
    if symptom.mild:  # a plateau at the start is short in networks that train well
        waits = now.step - state.start < LONG or (progress == "unknown" and moves is True)
        return None if waits or state.resumed else False
    return not state.resumed


def _moves(symptom: Symptom, now: Seen) -> bool | None:
    """Whether the layers from the symptom's toward the input move about as much as the others; ``None``: not known."""
    names = list(dict.fromkeys(row.name for row in now.flow.last_passes()[: symptom.row + 1]))
    own = [u for name in names if (u := now.layers[name].update) is not None and not now.layers[name].frozen]
    every = [layer.update for layer in now.layers.values() if layer.update is not None and not layer.frozen]
    if not own:
        return None
    return typical(own) > _MOVES * typical(every) > 0


def _is_faint(now: Seen) -> bool:
    sizes = [x for x in now.snapshot.values.get("weight_mean_abs", ()) if x is not None]
    return bool(sizes) and max(sizes) < FAINT


def _ratio(symptom: Symptom, now: Seen) -> float:
    """The symptom's signal against the last layer's."""
    quoted = [part.key for part in symptom.evidence if isinstance(part, Quote)]
    sizes = [row.signal_l2 for key in quoted for row in now.flow.last_passes() if row.key == key]
    last, *others = [size or 0.0 for size in sizes] or [0.0]
    return max(others, default=0.0) / last if last else 0.0


def _words(symptom: Symptom, now: Seen) -> str:
    return "".join(part if isinstance(part, str) else _quoted(part, now) for part in symptom.evidence)


def _quoted(quote: Quote, now: Seen) -> str:
    values = [getattr(row, quote.quantity) for row in now.flow.last_passes() if row.key == quote.key]
    return number(values[0] if values else None)
