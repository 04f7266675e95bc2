"""What is wrong with one network's gradients, from one gradient flow: where each problem starts, and its evidence.

The path of a signal is that of the flow's links (:meth:`~vgharness.records.GradientFlow.links`). A layer is judged
together with everything that feeds it: what reaches those layers beside it, through a skip for one, is not lost.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final, Literal, NamedTuple

from vgharness.formatting import listing, number
from vgharness.gradflow.path import RECURRENT, SignalPath
from vgharness.records import GradientFlow, LayerGradient, LayerKey, NonfiniteOrigin, TimePath

ProblemKind = Literal["nonfinite", "missing", "dead", "exploding", "vanishing"]

# An optimizer whose step suits the last layer moves one with 1/300 of its signal in 300 steps as far as that in one.
# About half-way, on a log scale, between two 4-layer CNNs at default initialisation: ReLU's, which trains (14- to
# 26-fold from its logits to its first layer, by batch size), and sigmoid's, which does not for an epoch (1700- to
# 3700-fold).
VANISHED: Final = 1 / 300
# Wider, as growth harms less: mobilenet_v2, which trains well, grows it 120-fold from its logits to its first layer,
# resnet152 on images of 32 × 32 17 000-fold. Of 900 random networks (`bench trainability`) none beyond it trains.
EXPLODED: Final = 3e4
SATURATED: Final = 0.99  # not 1: a few units at the border do not bring a layer of a hundred to life
# Beyond VANISHED plain SGD suffers; Adam scales each weight's step by its own gradient, and trains networks of a ratio
# of 1e-14. It does not where in addition the output is the same for every sample: of 900 random networks none trains
# with a ratio under 1e-10 and an output whose spread over the samples is under a thousandth of its size.
VANISHED_FOR_ADAM: Final = 1e-10
SAME_OUTPUT: Final = 1e-3
# In one step from layer to layer: a closed gate. Weights would have to grow by its inverse, and Adam's grow by 1 in a
# thousand steps.
CUT_OFF: Final = 1e-5
# Through time, whatever the output: what late steps tell is learned all the same, and a first step's signal falls
# below 1e-6 in networks that are used as they are (an LSTM of 30 steps at default initialisation).
VANISHED_THROUGH_TIME_FOR_ADAM: Final = 1e-8
# Of mean |∂L/∂p|: a hundredth of Adam's ε (1e-8), so that a step is a hundredth of what it is meant to be.
FAINT: Final = 1e-10


class Quote(NamedTuple):
    """A place in a symptom's evidence where a layer's value is quoted."""

    key: LayerKey
    quantity: str = "signal_l2"


class Symptom(NamedTuple):
    """One problem of one seed's flow.

    row: the place in the flow of the layer where it starts.
    layer: that layer.
    evidence: its text, in parts.
    mild: whether Adam usually copes with it.
    """

    row: int
    layer: str
    evidence: tuple[str | Quote, ...]
    mild: bool = False


def find_symptoms(flow: GradientFlow, always_closed: Collection[LayerKey]) -> dict[ProblemKind, Symptom]:
    """Finds each kind of problem at most once, where it starts nearest the output.

    ``always_closed``: the layers whose units are saturated in this seed and in most others.
    """
    rows = flow.last_passes()
    path = SignalPath.of(flow)
    same = flow.output_spread is None or flow.output_spread < SAME_OUTPUT
    paths = [path, *path.recurrent()]
    vanishing = _faint(rows) or _nearest_output(_vanishing(each, same_output=same) for each in paths)
    silent = _silent(path)
    if silent and vanishing and silent.row < vanishing.row:
        silent = None  # what has vanished underflows to zero in the end
    vanishing = vanishing or _vanishing_through_time(rows, flow.through_time)
    dead = _nearest_output([silent, _saturated(rows, always_closed)])
    if dead and vanishing and dead.row >= vanishing.row:
        vanishing = None  # what dead units let through is small
    found: dict[ProblemKind, Symptom | None] = {
        "nonfinite": _nonfinite(rows, flow.origin),
        "missing": _missing(rows, flow.missed) or _detached(rows, flow.unreached),
        "dead": dead,
        "exploding": _nearest_output(map(_exploding, paths)) or _exploding_through_time(rows, flow.through_time),
        "vanishing": vanishing,
    }
    return {kind: symptom for kind, symptom in found.items() if symptom}


def closed(flow: GradientFlow) -> set[LayerKey]:
    """Layers of which no unit, or hardly one, passes anything on."""
    return {x.key for x in flow.layers if x.state != "frozen" and (x.saturated or 0) >= SATURATED}


def _nearest_output(found: Iterable[Symptom | None]) -> Symptom | None:
    return max((symptom for symptom in found if symptom), key=lambda symptom: symptom.row, default=None)


# --- one problem each ----------------------------------------------------------------------------------


def _nonfinite(rows: Sequence[LayerGradient], origin: NonfiniteOrigin | None) -> Symptom | None:
    bad = [i for i, layer in enumerate(rows) if layer.state == "nonfinite"]
    if not bad:  # at frozen layers at most
        return None
    passes = Counter(layer.name for layer in rows)
    # A weight's gradient sums over the layer's passes, so it does not say which of them it was.
    sure = [i for i, x in enumerate(rows) if "signal_l2" in x.nonfinite or (i in bad and passes[x.name] == 1)]
    start = (sure or bad)[-1]
    if origin is not None:
        return _born(rows, start, origin)
    label = str(rows[start].key)
    above = [layer for layer in rows[start + 1 :] if layer.signal_l2 is not None]
    if rows[start].signal_l2 is not None:
        text = f"the weight's gradient is NaN or infinite at {label} while ∂L/∂h is finite: its input is too large"
    elif above:
        text = f"NaN or infinity at {label}, while {above[0].key} after it is finite"
    else:
        text = f"NaN or infinity already at {label}, the last layer: the loss, or the output, is itself not finite"
    return Symptom(start, label, (text,))


def _born(rows: Sequence[LayerGradient], start: int, origin: NonfiniteOrigin) -> Symptom:
    """``start``: of the rows that are not finite, the one nearest the output."""
    label = str(rows[start].key)
    by = f", made by {origin.operation}" if origin.operation else ""
    if origin.stage == "inputs":
        return Symptom(start, label, ("the inputs of the model already hold NaN",))
    if origin.stage == "backward":
        text = f"the forward pass is finite, the backward pass makes NaN or infinity at {label}{by}"
        return Symptom(start, label, (text,))
    if origin.module is None:
        text = f"all modules put out finite numbers, and NaN or infinity comes after {label}{by}"
        return Symptom(start, label, (text,))
    name = str(LayerKey(origin.module))
    place = max((i for i, x in enumerate(rows) if x.name == origin.module), default=start)
    return Symptom(place, name, (f"{name} is the first module to put out NaN or infinity, of finite inputs{by}",))


def _missing(rows: Sequence[LayerGradient], missed: Sequence[str]) -> Symptom | None:
    """Parameters that ask for a gradient and got none."""
    places = [
        i
        for i, layer in enumerate(rows)
        if layer.state != "frozen"
        and (layer.without_gradient or ((layer.state == "unused" or layer.name in missed) and not _measured(layer)))
    ]
    if not places:
        return None
    names = list(dict.fromkeys(name for i in reversed(places) for name in _lacking(rows[i])))
    return Symptom(places[-1], names[0], (f"no gradient came to {listing(names, most=3)}",))


def _detached(rows: Sequence[LayerGradient], unreached: Mapping[str, int]) -> Symptom | None:
    """A recurrent layer of which only the last step gets a gradient: its state is cut off at every step."""
    for i, layer in reversed(list(enumerate(rows))):
        cut = unreached.get(layer.name, 0)
        if layer.state != "frozen" and cut + 1 >= RECURRENT and sum(x.name == layer.name for x in rows) == 1:
            text = (
                f"no gradient came to {cut} of the {cut + 1} steps of {layer.name}: its state is cut off at every step"
            )
            return Symptom(i, str(layer.key), (text,))
    return None


def _lacking(layer: LayerGradient) -> Sequence[str]:
    """The parameters by name, or the layer where nothing came to any of it."""
    nothing_came = layer.name and layer.state == "unused" and not _measured(layer)
    return layer.without_gradient if layer.without_gradient and not nothing_came else [str(layer.key)]


def _measured(layer: LayerGradient) -> bool:
    return any(getattr(layer, x) is not None or x in layer.nonfinite for x in ("signal_l2", "weight_l2"))


def _saturated(rows: Sequence[LayerGradient], always_closed: Collection[LayerKey]) -> Symptom | None:
    for i, layer in reversed(list(enumerate(rows))):
        if layer.saturated is not None and layer.key in always_closed:
            share = Quote(layer.key, "saturated")
            text = f" of the units of {layer.key} are saturated (dead, of a ReLU)"
            return Symptom(i, str(layer.key), (share, text))
    return None


def _silent(path: SignalPath) -> Symptom | None:
    """Exactly zero at the last layers already, or at a layer and at everything that feeds it."""
    signals = path.signals
    trained, greatest = path.trained(), path.up_to(max)
    last = signals[-1] if signals else None
    followed = any(signal.layer.feeds is not None for signal in signals)  # a second head is then known for one
    weightless = not followed and last is not None and last.layer.state == "zero"
    if last and any(trained) and (not any(signal.size for signal in signals) or weightless):
        text = f"the gradient is exactly zero already at {last.label}, the last layer"
        return Symptom(last.row, last.label, (text,))
    zeros = [i for i in range(len(signals)) if not greatest[i] and trained[i]]
    # One layer just after frozen ones that get no signal is an adapter's (LoRA's A), which opens after the first step.
    adapter = len(zeros) == 1 and signals[zeros[0]].row
    if not zeros or (adapter and all(layer.state == "frozen" for layer in path.rows[: signals[zeros[0]].row])):
        return _unmoved(path)
    start = signals[zeros[-1]]
    alive = max((signals[j] for j in path.after[zeros[-1]]), key=lambda s: s.size, default=signals[-1])
    text = f"the gradient is exactly zero from {start.label} to the input, while ‖∂L/∂h‖₂ is "
    return Symptom(start.row, start.label, (text, Quote(alive.key), f" at {alive.label}"))


def _unmoved(path: SignalPath) -> Symptom | None:
    """Signals arrive, and no parameter's gradient is anything but zero: each is multiplied by another that is zero."""
    trained = [(i, x) for i, x in enumerate(path.rows) if x.state != "frozen" and x.greatest_mean_abs is not None]
    if not trained or any(x.greatest_mean_abs or x.nonfinite for _, x in trained):
        return None
    row, layer = trained[-1]
    return Symptom(row, str(layer.key), ("the gradient of every trained parameter is exactly zero",))


def _faint(rows: Sequence[LayerGradient]) -> Symptom | None:
    """The loss itself sends back so little that no optimizer moves anything: no trained parameter's gradient is, in
    the mean, over what Adam's ε lets through."""
    trained = [(x.greatest_mean_abs or 0.0, x) for x in rows if x.state == "ok"]
    if not trained or any(x.nonfinite for x in rows):
        return None
    greatest, layer = max(trained, key=lambda each: each[0])
    if greatest >= FAINT or greatest == 0:
        return None
    quoted = Quote(layer.key, "greatest_mean_abs")
    evidence = (quoted, f" is the greatest mean |∂L/∂p| of all parameters ({layer.key}): Adam's ε of 1e-8 hides it")
    return Symptom(len(rows) - 1, str(rows[-1].key), evidence)


def _vanishing_through_time(rows: Sequence[LayerGradient], paths: Sequence[TimePath]) -> Symptom | None:
    """Of each direction: the first step's signal against the greatest gradient that came to any step at once."""
    for path in paths:
        first = path.signals[0] if path.signals else None
        if first is not None and path.direct and len(path.signals) >= RECURRENT and first < VANISHED * path.direct:
            mild = first >= VANISHED_THROUGH_TIME_FOR_ADAM * path.direct
            return _through_time(rows, path, first, path.direct)._replace(mild=mild)
    return None


def _exploding_through_time(rows: Sequence[LayerGradient], paths: Sequence[TimePath]) -> Symptom | None:
    for path in paths:
        first = path.signals[0] if path.signals else None
        if first is not None and path.direct and len(path.signals) >= RECURRENT and first > EXPLODED * path.direct:
            return _through_time(rows, path, first, path.direct)
    return None


def _through_time(rows: Sequence[LayerGradient], path: TimePath, first: float, direct: float) -> Symptom:
    place = max((i for i, x in enumerate(rows) if x.name == path.layer), default=0)
    came = f"{number(direct)} of ‖∂L/∂h_t‖₂ came to {path.layer} ({path.part})"
    text = f"through time: {came}, and {number(first)} is left at the first of {len(path.signals)} steps"
    return Symptom(place, path.layer, (text,))


def _exploding(path: SignalPath) -> Symptom | None:
    smallest, ends = path.up_to(min), path.ends()
    last = [path.signals[end].size for end in ends]
    beyond = [size > EXPLODED * end > 0 for size, end in zip(smallest, last, strict=True)]
    return _crossing(path, beyond, beyond, mild=False)


def _vanishing(path: SignalPath, *, same_output: bool) -> Symptom | None:
    greatest, ends = path.up_to(max), path.ends()
    left = [
        size / end if end else math.inf
        for size, end in zip(greatest, (path.signals[i].size for i in ends), strict=True)
    ]
    beyond = [ratio < VANISHED for ratio in left]
    # Zero from the first layer beyond the line on has not vanished on the way, but is cut there.
    counted = [crossed and size > 0 for size, crossed in zip(greatest, beyond, strict=True)]
    limits = [
        VANISHED_THROUGH_TIME_FOR_ADAM if steps >= RECURRENT else VANISHED_FOR_ADAM if same_output else 0.0
        for steps in path.steps()
    ]
    before = [max((left[j] for j in after), default=1.0) for after in path.after]
    severe = any(
        ratio < limit or (ratio < VANISHED and ratio < CUT_OFF * above)
        for ratio, limit, above in zip(left, limits, before, strict=True)
    )
    return _crossing(path, counted, beyond, mild=not severe)


def _crossing(path: SignalPath, counted: Sequence[bool], beyond: Sequence[bool], *, mild: bool) -> Symptom | None:
    """Where, coming from the output, the signal first is beyond the line together with all that feeds the layer; if it
    is ``counted`` somewhere."""
    trained, firsts, ends = path.trained(), path.firsts(), path.ends()
    if not any(counted[i] and trained[i] for i in range(len(counted))):
        return None
    start = max(i for i, crossed in enumerate(beyond) if crossed and trained[i])
    first, crossing, last = path.signals[firsts[start]], path.signals[start], path.signals[ends[start]]
    evidence = ("‖∂L/∂h‖₂ is ", Quote(last.key), f" at {last.label}, ", Quote(crossing.key), f" at {crossing.label}")
    further = (", ", Quote(first.key), f" at {first.label}") if first is not crossing else ()
    return Symptom(crossing.row, crossing.label, (*evidence, *further), mild)
