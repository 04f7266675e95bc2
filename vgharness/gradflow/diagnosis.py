"""Names what is wrong with a network's gradients, from its gradient flows, one per seed.

Judged is one forward and backward pass at initialisation, as ``GradientProbe(model, saturation=True)`` records it.

=============  ========================================================================================
``nonfinite``  NaN or infinity; starts at the layer nearest the output that has it
``missing``    a layer asks for a gradient, and neither its output nor its weight gets one
``dead``       exactly zero at the last layer, or from a layer to the input; or 99 % of a layer's units
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
weight gradients. A problem counts where more than half of the seeds have it; the layer named is the median one of
theirs, and the numbers quoted are means over them. Frozen layers pass signals on, but a problem of theirs alone counts
for nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from itertools import accumulate, takewhile
from typing import Final, Literal, NamedTuple, get_args

from vgharness.formatting import listing, number, percent
from vgharness.records import GradientFlow, LayerGradient, LayerKey, Name, Record
from vgharness.statistics import scale_of, summarise

ProblemKind = Literal["nonfinite", "missing", "dead", "exploding", "vanishing"]
PROBLEM_KINDS: Final[tuple[ProblemKind, ...]] = get_args(ProblemKind)  # the most serious first

# An optimizer whose step suits the last layer moves one with 1/300 of its signal in 300 steps as far as that in one.
# About half-way, on a log scale, between two 4-layer CNNs at default initialisation: ReLU's, which trains (14- to
# 26-fold from its logits to its first layer, by batch size), and sigmoid's, which does not for an epoch (1700- to
# 3700-fold).
VANISHED: Final = 1 / 300
# Wider, as growth harms less: mobilenet_v2, which trains well, grows it 120-fold from its logits to its first layer.
# Plain BatchNorm with ReLU does 1.21-fold per layer, whatever the weights: 3000-fold in 42, and so it cannot be trained
# at large depth (Yang et al. 2019).
EXPLODED: Final = 3_000.0
SATURATED: Final = 0.99  # not 1: a few units at the border do not bring a layer of a hundred to life
# From so many forward passes on a layer is taken for recurrent, its passes for a path; fewer are towers (siamese,
# triplet).
RECURRENT: Final = 4

_ADVICE: Final[dict[ProblemKind, str]] = {
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


class Problem(Record):
    """One problem of a network's gradients.

    kind: which.
    layer: where it starts, coming from the output.
    evidence: what was measured there, as means over the seeds that have the problem.
    advice: what usually helps.
    seeds: how many of the seeds have it.
    """

    kind: ProblemKind
    layer: Name
    evidence: Name
    advice: str
    seeds: int


class Diagnosis(Record):
    """What is wrong with a network's gradients.

    problems: the most serious first.
    """

    problems: tuple[Problem, ...] = ()

    @property
    def healthy(self) -> bool:
        return not self.problems


class _Quote(NamedTuple):
    """A place in a symptom's evidence where a layer's value is quoted."""

    key: LayerKey
    quantity: str = "signal_l2"


class _Symptom(NamedTuple):
    """One problem of one seed's flow.

    row: the place in the flow of the layer where it starts.
    layer: that layer.
    evidence: its text, in parts.
    """

    row: int
    layer: str
    evidence: tuple[str | _Quote, ...]


class _Signal(NamedTuple):
    row: int
    layer: LayerGradient
    size: float

    @property
    def key(self) -> LayerKey:
        return self.layer.key

    @property
    def label(self) -> str:
        return str(self.key)


def diagnose(flows: Sequence[GradientFlow]) -> Diagnosis:
    """What more than half of the flows, one per seed, agree on.

    Raises ``ValueError`` without flows.
    """
    if not flows:
        raise ValueError("a diagnosis needs a gradient flow, better one for each of several seeds")
    # A layer of two or three units may be dead by chance, each seed another: the same one has to be.
    closed = Counter(key for flow in flows for key in _closed(flow))
    always = {key for key, seeds in closed.items() if 2 * seeds > len(flows)}
    seen = [_symptoms(flow, always & _closed(flow)) for flow in flows]
    problems = []
    for kind in PROBLEM_KINDS:
        having = [flow for flow, symptoms in zip(flows, seen, strict=True) if kind in symptoms]
        if 2 * len(having) > len(flows):
            starts = sorted((symptoms[kind] for symptoms in seen if kind in symptoms), key=lambda symptom: symptom[:2])
            typical = starts[len(starts) // 2]
            problems.append(
                Problem(
                    kind=kind,
                    layer=typical.layer,
                    evidence=_evidence(typical, having, len(flows)),
                    advice=_ADVICE[kind],
                    seeds=len(having),
                )
            )
    return Diagnosis(problems=tuple(problems))


def _evidence(symptom: _Symptom, having: Sequence[GradientFlow], seeds: int) -> str:
    """The symptom in words; its numbers are means over the flows ``having`` it."""
    text = "".join(part if isinstance(part, str) else _mean(part, having) for part in symptom.evidence)
    if seeds == 1:
        return text
    means = "means over " if any(isinstance(part, _Quote) for part in symptom.evidence) else ""
    return f"{text} ({means}{len(having)} of {seeds} seeds)"


def _mean(quote: _Quote, flows: Sequence[GradientFlow]) -> str:
    rows = [layer for flow in flows for layer in flow.last_passes() if layer.key == quote.key]
    found = [value for row in rows if (value := getattr(row, quote.quantity)) is not None]
    mean = summarise(found, scale_of(quote.quantity)).value
    return percent(mean) if quote.quantity == "saturated" else number(mean)


def summary(diagnosis: Diagnosis) -> str:
    """One line: ``healthy``, or each problem and where it starts, the most serious first."""
    return "; ".join(map(_in_words, diagnosis.problems)) or "healthy"


def _in_words(problem: Problem) -> str:
    match problem.kind:
        case "missing":
            return f"no gradient for {problem.layer}"
        case "dead":
            return f"dead at {problem.layer}"
        case kind:
            return f"{kind} from {problem.layer} toward the input"


def _symptoms(flow: GradientFlow, always_closed: Collection[LayerKey]) -> dict[ProblemKind, _Symptom]:
    rows = flow.last_passes()
    signals = [_Signal(i, x, x.signal_l2) for i, x in enumerate(rows) if x.signal_l2 is not None]
    vanishing = _nearest_output(_vanishing(path) for path in _paths(signals))
    silent = _silent(rows, signals)
    if silent and vanishing and silent.row < vanishing.row:
        silent = None  # what has vanished underflows to zero in the end
    dead = _nearest_output([silent, _saturated(rows, always_closed)])
    if dead and vanishing and dead.row >= vanishing.row:
        vanishing = None  # what dead units let through is small
    found: dict[ProblemKind, _Symptom | None] = {
        "nonfinite": _nonfinite(rows),
        "missing": _missing(rows, flow.missed),
        "dead": dead,
        "exploding": _nearest_output(_exploding(path) for path in _paths(signals)),
        "vanishing": vanishing,
    }
    return {kind: symptom for kind, symptom in found.items() if symptom}


def _paths(signals: Sequence[_Signal]) -> list[list[_Signal]]:
    """All rows, and the passes of each layer that runs at every step of a sequence: an embedding that ran before them
    gets the last step's signal directly, and hides what the steps lose on the whole path."""
    passes: dict[str, list[_Signal]] = {}
    for signal in signals:
        passes.setdefault(signal.layer.name, []).append(signal)
    return [list(signals), *(path for path in passes.values() if len(path) >= RECURRENT)]


def _nearest_output(symptoms: Iterable[_Symptom | None]) -> _Symptom | None:
    return max((symptom for symptom in symptoms if symptom), key=lambda symptom: symptom.row, default=None)


def _trained(path: Sequence[_Signal]) -> bool:
    return any(signal.layer.state != "frozen" for signal in path)


# --- one problem each ----------------------------------------------------------------------------------


def _nonfinite(rows: Sequence[LayerGradient]) -> _Symptom | None:
    bad = [i for i, layer in enumerate(rows) if layer.state == "nonfinite"]
    if not bad:  # at frozen layers at most
        return None
    passes = Counter(layer.name for layer in rows)
    # A weight's gradient sums over the layer's passes, so it does not say which of them it was.
    sure = [i for i, x in enumerate(rows) if "signal_l2" in x.nonfinite or (i in bad and passes[x.name] == 1)]
    start = (sure or bad)[-1]
    label = str(rows[start].key)
    above = [layer for layer in rows[start + 1 :] if layer.signal_l2 is not None]
    if rows[start].signal_l2 is not None:
        text = f"the weight's gradient is NaN or infinite at {label} while ∂L/∂h is finite: its input is too large"
    elif above:
        text = f"NaN or infinity at {label}, while {above[0].key} after it is finite"
    else:
        text = f"NaN or infinity already at {label}, the last layer: the loss, or the output, is itself not finite"
    return _Symptom(start, label, (text,))


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
    labels = list(dict.fromkeys(str(rows[i].key) for i in reversed(places)))
    return _Symptom(places[-1], labels[0], (f"no gradient came to {listing(labels, most=3)}",))


def _closed(flow: GradientFlow) -> set[LayerKey]:
    """Layers of which no unit, or hardly one, passes anything on."""
    return {x.key for x in flow.layers if x.state != "frozen" and (x.saturated or 0) >= SATURATED}


def _saturated(rows: Sequence[LayerGradient], always_closed: Collection[LayerKey]) -> _Symptom | None:
    for i, layer in reversed(list(enumerate(rows))):
        if layer.saturated is not None and layer.key in always_closed:
            share = _Quote(layer.key, "saturated")
            text = f" of the units of {layer.key} are saturated (dead, of a ReLU)"
            return _Symptom(i, str(layer.key), (share, text))
    return None


def _silent(rows: Sequence[LayerGradient], signals: Sequence[_Signal]) -> _Symptom | None:
    """Exactly zero at the last layer already, or from a layer to the input."""
    zeros = list(takewhile(lambda signal: not signal.size, signals))
    last = signals[-1] if signals else None
    if last and _trained(signals) and (len(zeros) == len(signals) or last.layer.state == "zero"):
        text = f"the gradient is exactly zero already at {last.label}, the last layer"
        return _Symptom(last.row, last.label, (text,))
    # One layer just after frozen ones that get no signal is an adapter's (LoRA's A), which opens after the first step.
    adapter = len(zeros) == 1 and zeros[0].row and all(layer.state == "frozen" for layer in rows[: zeros[0].row])
    if adapter or not _trained(zeros):
        return None
    start, alive = zeros[-1], signals[len(zeros)]
    text = f"the gradient is exactly zero from {start.label} to the input, while ‖∂L/∂h‖₂ is "
    return _Symptom(start.row, start.label, (text, _Quote(alive.key), f" at {alive.label}"))


def _exploding(path: Sequence[_Signal]) -> _Symptom | None:
    smallest = accumulate((signal.size for signal in path), min)
    return _crossing(path, [size > EXPLODED * path[-1].size > 0 for size in smallest])


def _vanishing(path: Sequence[_Signal]) -> _Symptom | None:
    greatest = list(accumulate((signal.size for signal in path), max))
    beyond = [size < VANISHED * path[-1].size for size in greatest]
    # Zero from the first layer beyond the line on has not vanished on the way, but is cut there.
    gradual = any(size for size, crossed in zip(greatest, beyond, strict=True) if crossed)
    return _crossing(path, beyond) if gradual else None


def _crossing(path: Sequence[_Signal], beyond: Sequence[bool]) -> _Symptom | None:
    """Where, coming from the output, the signal first is beyond the line together with all that is nearer the input."""
    start = max((i for i, crossed in enumerate(beyond) if crossed), default=-1)
    if not _trained(path[: start + 1]):
        return None
    first, crossing, last = path[0], path[start], path[-1]
    evidence = ("‖∂L/∂h‖₂ is ", _Quote(last.key), f" at {last.label}, ", _Quote(crossing.key), f" at {crossing.label}")
    further = (", ", _Quote(first.key), f" at {first.label}") if start else ()
    return _Symptom(crossing.row, crossing.label, (*evidence, *further))
