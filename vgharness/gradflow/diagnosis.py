"""Names the illness of a network's gradients from its gradient flows, one per seed.

Judged is one forward and backward pass at initialisation, as ``GradientProbe(model, saturation=True)`` records it.

=============  ========================================================================================
``nonfinite``  NaN or infinity; starts at the layer nearest the output that has it
``missing``    a layer asks for a gradient, and neither its output nor its weight gets one
``dead``       exactly zero at the last layer, or from a layer down to the input; or 99 % of a layer's units
               saturated (dead, of a ReLU) on every sample
``exploding``  ‖∂L/∂h‖₂ is over 3000 times the last layer's, at a layer and at every one below
``vanishing``  ‖∂L/∂h‖₂ is under 1/300 of the last layer's, at a layer and at every one below
=============  ========================================================================================

The last two are judged over the whole path, never step by step. Rows are in the order of the calls, which is the path
only where nothing branches; a branch's own gradient may be small or large with no harm: a U-Net's bottom, what gates
channels, convolutions before a BatchNorm of small variance, branches that start closed (LoRA, LayerScale, zero γ). So
while one layer below is well, the path is not cut. The price: of two towers the one called last may be cut unnoticed.
The calls of a recurrent layer are a path too.

‖∂L/∂h‖₂ over the whole batch is what theory speaks of, and neither width nor the inputs' scale changes it, as they do
weight gradients. An illness counts where more than half of the seeds have it, and the layer named is the median one
of theirs. Frozen layers pass signals on, but an illness that touches only them is none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from itertools import accumulate, takewhile
from typing import Final, Literal, NamedTuple, get_args

from vgharness.records import GradientFlow, LayerGradient, Record
from vgharness.records.session import LayerKey, key_of

Illness = Literal["nonfinite", "missing", "dead", "exploding", "vanishing"]
ILLNESSES: Final[tuple[Illness, ...]] = get_args(Illness)  # the most serious first

# An optimizer whose step suits the last layer moves one with 1/300 of its signal in 300 steps as far as that in one.
# About half-way, on a log scale, between two 4-layer CNNs at default initialisation: ReLU's, which trains (14- to
# 26-fold from its logits to its first layer, by batch size), and sigmoid's, which does not for an epoch (1700- to
# 3700-fold).
VANISHED: Final = 1 / 300
# Wider, as growth harms less: mobilenet_v2, which trains well, grows it 120-fold down to its first layer. Plain
# BatchNorm with ReLU does 1.21-fold per layer, whatever the weights: 3000-fold in 42, and so it cannot be trained at
# large depth (Yang et al. 2019).
EXPLODED: Final = 3_000.0
SATURATED: Final = 0.99  # not 1: a few units at the border do not bring a layer of a hundred to life
# From so many calls on a layer is taken for recurrent, its calls for a path; fewer are towers (siamese, triplet).
RECURRENT: Final = 4

_ADVICE: Final[dict[Illness, str]] = {
    "nonfinite": "Look for a root, a norm, a logarithm or a division at zero just after this layer, also behind "
    "torch.where, which hides it from the output only: make its argument safe before, or add an epsilon inside. "
    "In float16 compute it in float32; torch.autograd.set_detect_anomaly(True) names the operation.",
    "missing": "Look for detach, no_grad, .data or .item between this layer and the loss, or a module that forward "
    "never calls. Set requires_grad to False, or remove the layer, where that is meant.",
    "dead": "Look for units that never switch on (lower the learning rate or the bias, scale the inputs, use LeakyReLU "
    "or GELU), a weight, scale or loss of exactly zero above it (a head that starts at zero opens after the first "
    "step: nothing to do), or float16 that underflows (scale the loss, or use bfloat16).",
    "exploding": "Use an initialisation that keeps the scale (He for ReLU, Glorot for tanh, orthogonal for recurrent "
    "weights), residual connections where BatchNorm is stacked deep, LayerNorm in recurrent cells, and clip the "
    "gradient's norm.",
    "vanishing": "Use He or Glorot initialisation, normalisation or residual connections, ReLU or GELU in place of "
    "sigmoid and tanh; through time an LSTM or a GRU with its forget gate open (bias 1 or more). Where one step loses "
    "nearly all, look for a closed gate or a tiny factor there.",
}


class Finding(Record):
    """One illness: ``layer`` is where it starts, coming from the output."""

    illness: Illness
    layer: str
    evidence: str
    advice: str


class Diagnosis(Record):
    """What ails a network, the most serious first."""

    findings: tuple[Finding, ...] = ()

    @property
    def healthy(self) -> bool:
        return not self.findings


class _Symptom(NamedTuple):
    """One illness of one seed's flow; ``row`` is the place in the flow of the layer where it starts."""

    row: int
    layer: str
    evidence: str


class _Signal(NamedTuple):
    row: int
    layer: LayerGradient
    size: float

    @property
    def label(self) -> str:
        return str(key_of(self.layer))


def diagnose(flows: Sequence[GradientFlow]) -> Diagnosis:
    """What more than half of the flows, one per seed, agree on.

    Raises ``ValueError`` without flows.
    """
    if not flows:
        raise ValueError("a diagnosis needs a gradient flow, better one for each of several seeds")
    # A layer of two or three units may be dead by chance, each seed another: the same one has to be.
    closed = Counter(key for flow in flows for key in _shut(flow))
    shut = {key for key, seeds in closed.items() if 2 * seeds > len(flows)}
    seen = [_symptoms(flow, shut & _shut(flow)) for flow in flows]
    findings = []
    for illness in ILLNESSES:
        symptoms = sorted(symptoms[illness] for symptoms in seen if illness in symptoms)
        if 2 * len(symptoms) > len(flows):
            typical = symptoms[len(symptoms) // 2]
            seeds = f" ({len(symptoms)} of {len(flows)} seeds)" if len(flows) > 1 else ""
            _, layer, evidence = typical
            advice = _ADVICE[illness]
            findings.append(Finding(illness=illness, layer=layer, evidence=evidence + seeds, advice=advice))
    return Diagnosis(findings=tuple(findings))


def summary(diagnosis: Diagnosis) -> str:
    """One line: ``healthy``, or each illness and where it starts, the most serious first."""
    return "; ".join(_in_words(finding) for finding in diagnosis.findings) or "healthy"


def _in_words(finding: Finding) -> str:
    match finding.illness:
        case "missing":
            return f"no gradient for {finding.layer}"
        case "dead":
            return f"dead at {finding.layer}"
        case illness:
            return f"{illness} from {finding.layer} down"


def _symptoms(flow: GradientFlow, shut: Collection[LayerKey]) -> dict[Illness, _Symptom]:
    # Of several backward passes through a call the last, which is the loss's own.
    rows = list({(layer.name, layer.call): layer for layer in flow.layers}.values())
    signals = [_Signal(i, x, x.signal_l2) for i, x in enumerate(rows) if x.signal_l2 is not None]
    vanishing = _nearest_output(_vanishing(path) for path in _paths(signals))
    silent = _silent(rows, signals)
    if silent and vanishing and silent.row < vanishing.row:
        silent = None  # what has vanished underflows to zero in the end
    dead = _nearest_output([silent, _saturated(rows, shut)])
    if dead and vanishing and dead.row >= vanishing.row:
        vanishing = None  # what is below dead units is small
    found: dict[Illness, _Symptom | None] = {
        "nonfinite": _nonfinite(rows),
        "missing": _missing(rows, flow.missed),
        "dead": dead,
        "exploding": _nearest_output(_exploding(path) for path in _paths(signals)),
        "vanishing": vanishing,
    }
    return {illness: symptom for illness, symptom in found.items() if symptom}


def _paths(signals: Sequence[_Signal]) -> list[list[_Signal]]:
    """All rows, and the calls of each layer that is called at every step of a sequence: an embedding that was called
    before them hears of the last step directly, and hides what the steps lose on the whole path."""
    calls: dict[str, list[_Signal]] = {}
    for signal in signals:
        calls.setdefault(signal.layer.name, []).append(signal)
    return [list(signals), *(path for path in calls.values() if len(path) >= RECURRENT)]


def _nearest_output(symptoms: Iterable[_Symptom | None]) -> _Symptom | None:
    return max((symptom for symptom in symptoms if symptom), default=None)


def _trained(path: Sequence[_Signal]) -> bool:
    return any(signal.layer.state != "frozen" for signal in path)


def _and_others(names: Sequence[str]) -> str:
    kept = ", ".join(dict.fromkeys(names[:3]))
    return kept if len(names) <= 3 else f"{kept} and {len(names) - 3} more"


# --- one illness each ----------------------------------------------------------------------------------


def _nonfinite(rows: Sequence[LayerGradient]) -> _Symptom | None:
    ill = [i for i, layer in enumerate(rows) if layer.state == "nonfinite"]
    if not ill:  # at frozen layers at most
        return None
    calls = Counter(layer.name for layer in rows)
    # A weight's gradient sums over the calls, so it says nothing of which call it was.
    sure = [i for i, x in enumerate(rows) if "signal_l2" in x.nonfinite or (i in ill and calls[x.name] == 1)]
    start = (sure or ill)[-1]
    label = str(key_of(rows[start]))
    above = [layer for layer in rows[start + 1 :] if layer.signal_l2 is not None]
    if rows[start].signal_l2 is not None:
        text = f"the weight's gradient is NaN or infinite at {label} while ∂L/∂h is finite: its input is too large"
    elif above:
        text = f"NaN or infinity at {label}, while {key_of(above[0])} above it is finite"
    else:
        text = f"NaN or infinity already at {label}, the last layer: the loss, or the output, is itself not finite"
    return _Symptom(start, label, text)


def _missing(rows: Sequence[LayerGradient], missed: Sequence[str]) -> _Symptom | None:
    def measured(layer: LayerGradient) -> bool:
        return any(getattr(layer, x) is not None or x in layer.nonfinite for x in ("signal_l2", "weight_l2"))

    places = [
        i
        for i, layer in enumerate(rows)
        if layer.state != "frozen" and (layer.state == "unused" or layer.name in missed) and not measured(layer)
    ]
    if not places:
        return None
    labels = [str(key_of(rows[i])) for i in reversed(places)]
    return _Symptom(places[-1], labels[0], f"no gradient came to {_and_others(labels)}")


def _shut(flow: GradientFlow) -> set[LayerKey]:
    """Layers of which no unit, or hardly one, passes anything on."""
    return {key_of(x) for x in flow.layers if x.state != "frozen" and (x.saturated or 0) >= SATURATED}


def _saturated(rows: Sequence[LayerGradient], shut: Collection[LayerKey]) -> _Symptom | None:
    for i, layer in reversed(list(enumerate(rows))):
        if layer.saturated is not None and key_of(layer) in shut:
            label = str(key_of(layer))
            return _Symptom(i, label, f"{layer.saturated:.1%} of the units of {label} are saturated (dead, of a ReLU)")
    return None


def _silent(rows: Sequence[LayerGradient], signals: Sequence[_Signal]) -> _Symptom | None:
    """Exactly zero at the last layer already, or from a layer down to the input."""
    zeros = list(takewhile(lambda signal: not signal.size, signals))
    last = signals[-1] if signals else None
    if last and _trained(signals) and (len(zeros) == len(signals) or last.layer.state == "zero"):
        return _Symptom(last.row, last.label, f"the gradient is exactly zero already at {last.label}, the last layer")
    # One layer just above frozen ones that get no signal is an adapter's (LoRA's A), which opens after the first step.
    adapter = len(zeros) == 1 and zeros[0].row and all(layer.state == "frozen" for layer in rows[: zeros[0].row])
    if adapter or not _trained(zeros):
        return None
    start, alive = zeros[-1], signals[len(zeros)]
    text = f"the gradient is exactly zero from {start.label} down, while ‖∂L/∂h‖₂ is {alive.size:.2g} at {alive.label}"
    return _Symptom(start.row, start.label, text)


def _exploding(path: Sequence[_Signal]) -> _Symptom | None:
    smallest = accumulate((signal.size for signal in path), min)
    return _crossing(path, [size > EXPLODED * path[-1].size > 0 for size in smallest])


def _vanishing(path: Sequence[_Signal]) -> _Symptom | None:
    greatest = list(accumulate((signal.size for signal in path), max))
    beyond = [size < VANISHED * path[-1].size for size in greatest]
    # Zero from the first layer beyond the line on has not vanished on the way, but is cut there.
    return _crossing(path, beyond) if any(size for size, ill in zip(greatest, beyond, strict=True) if ill) else None


def _crossing(path: Sequence[_Signal], beyond: Sequence[bool]) -> _Symptom | None:
    """Where, coming from the output, the signal first is beyond the line together with all that lies below."""
    start = max((i for i, crossed in enumerate(beyond) if crossed), default=-1)
    below = path[: start + 1]
    if not _trained(below):
        return None
    first, crossing, last = path[0], path[start], path[-1]
    text = f"‖∂L/∂h‖₂ is {last.size:.2g} at {last.label}, {crossing.size:.2g} at {crossing.label}"
    further = f", {first.size:.2g} at {first.label}" if start else ""
    return _Symptom(crossing.row, crossing.label, text + further)
