"""Names what is wrong with a network's gradients, from its gradient flows, one per seed.

Judged is one forward and backward pass at initialisation, as ``GradientProbe(model, saturation=True)`` records it.

=============  ========================================================================================
``nonfinite``  NaN or infinity; starts at the layer nearest the output that has it
``missing``    a parameter asks for a gradient, and gets none
``dead``       exactly zero at the last layers, or at a layer and all that feed it; or 99 % of a layer's units
               saturated (dead, of a ReLU) on every sample
``exploding``  ‖∂L/∂h‖₂ is over 30,000 times the last layer's, at a layer and at all that feed it
``vanishing``  ‖∂L/∂h‖₂ is under 1/300 of the last layer's, at a layer and at all that feed it
=============  ========================================================================================

The last two are judged over the whole path, never step by step, along the links that were read off the autograd graph
(without them, in the order of the forward passes). A branch's own gradient may be small or large with no harm: a
U-Net's bottom, what gates channels, convolutions before a BatchNorm of small variance, branches that start closed
(LoRA, LayerScale, zero γ). So while one layer that feeds it is well, the path is not cut. The passes of a recurrent
layer are a path of their own too.

‖∂L/∂h‖₂ over the whole batch is what theory speaks of, and neither width nor the inputs' scale changes it, as they do
weight gradients. A problem counts where more than half of the seeds have it, ``nonfinite`` and ``missing`` where one
has; the layer named is the median one of theirs, and the numbers quoted are means over them. Frozen layers pass signals
on, but a problem of theirs alone counts for nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final, Literal, Protocol, get_args

from vgharness.display.html import Column, HtmlTable
from vgharness.display.shown import Shown
from vgharness.formatting import count, escaped, listing, number, percent
from vgharness.gradflow.symptoms import ProblemKind, Quote, Symptom, closed, find_symptoms
from vgharness.records import GradientFlow, LayerKey, Name, Record, Sample, Steps
from vgharness.statistics import scale_of, summarise

PROBLEM_KINDS: Final[tuple[ProblemKind, ...]] = get_args(ProblemKind)  # the most serious first
Severity = Literal["problem", "warning"]
_AT_ONCE: Final = frozenset({"nonfinite", "missing"})  # in one seed is too many
_OPENING: Final[tuple[ProblemKind, ...]] = ("dead", "vanishing")  # what a step may end

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
    severity: ``problem``: does not train as it is; ``warning``: plain SGD will suffer, Adam usually copes.
    """

    kind: ProblemKind
    layer: Name
    evidence: Name
    advice: str
    seeds: int
    severity: Severity = "problem"


class Diagnosis(Shown[Problem], Record):  # type: ignore[misc]  # problems, not pydantic's fields
    """What is wrong with a network's gradients.

    Its rows are its problems: ``for problem in diagnosis``. It is true even where there are none: ask ``healthy``.

    problems: the most serious kind first, warnings last.
    notes: what is no problem and is to be known, such as what is closed at the start and opens after a step.
    unjudged: recurrent layers of which the signal through time could not be had.
    """

    problems: tuple[Problem, ...] = ()
    notes: tuple[Name, ...] = ()
    unjudged: tuple[Name, ...] = ()

    @property
    def healthy(self) -> bool:
        """Whether there is nothing but warnings and notes."""
        return not any(problem.severity == "problem" for problem in self.problems)

    _noun = "problem"

    def _items(self) -> tuple[Problem, ...]:
        return self.problems

    def _called(self, row: Problem) -> str:
        return row.kind

    def _line(self) -> str:
        return summary(self)

    def _records(self) -> list[dict[str, Any]]:
        return [problem.model_dump(mode="json") for problem in self.problems]

    def _html(self) -> HtmlTable:
        rows = self.problems
        columns = [
            Column("problem", [f"{'warning: ' * (x.severity == 'warning')}{x.kind}" for x in rows], "text"),
            Column("from layer", [x.layer for x in rows], "text"),
            Column("seeds", [x.seeds for x in rows]),
            Column("evidence", [x.evidence for x in rows], "text"),
            Column("what usually helps", [x.advice for x in rows], "text"),
        ]
        return HtmlTable(f"diagnosis: {summary(self)}", columns, self.notes)

    def __str__(self) -> str:
        lines = [summary(self)]
        for problem in self.problems:
            lines += [f"  {problem.kind} from {problem.layer}: {problem.evidence}", f"    {problem.advice}"]
        return "\n".join(escaped(line) for line in (*lines, *(f"  note: {note}" for note in self.notes)))


class _Measured(Protocol):
    """What ``measure`` gives."""

    @property
    def record(self) -> Sample: ...


def diagnose(
    flows: GradientFlow | Sequence[GradientFlow] | Sample | _Measured, later: Sequence[Steps] = ()
) -> Diagnosis:
    """What more than half of the flows, one per seed, agree on; of a single flow, what is wrong with it; of
    a sample, as :attr:`~vgharness.FlowSample.diagnosis`.

    ``later``: what a few training steps made of one of them. What is dead or vanished at initialisation and no more
    after the steps of every optimizer is a note, not a problem; what only some optimizer opens is a warning, and so is
    a part of the network that stays at zero beside others that learn. Raises ``ValueError`` without flows.
    """
    flows, later = _flows_and_steps(flows, later)
    if not flows:
        raise ValueError("a diagnosis needs a gradient flow, better one for each of several seeds")
    found = _problems(flows)
    after = [_problems([steps.flows[-1]]) for steps in later]
    problems, notes = {}, []
    for kind, problem in found.items():
        opening = [steps for steps, left in zip(later, after, strict=True) if kind in _OPENING and kind not in left]
        opened = f"opens after {count(_steps_until(opening, kind), 'step')}" if opening else ""
        if opening and len(opening) == len(later):
            notes.append(f"{kind} from {problem.layer} at the start, {opened}")
        elif opening:
            evidence = f"{problem.evidence}; {opened} of {listing(steps.optimizer for steps in opening)}"
            problems[kind] = problem.model_copy(update={"severity": "warning", "evidence": evidence})
        elif kind in _OPENING and any(left[kind].severity == "warning" for left in after):
            problems[kind] = problem.model_copy(update={"severity": "warning"})  # a step has opened it that far
        else:
            problems[kind] = problem
    for kind in _OPENING:  # what was closed may have hidden it
        if kind not in found and after and all(kind in left and left[kind].severity == "problem" for left in after):
            evidence = f"after {_most_steps(later)}: {after[0][kind].evidence}"
            problems[kind] = after[0][kind].model_copy(update={"evidence": evidence})
    if (idle := _idle(flows, later)) and "dead" not in problems:
        problems["dead"] = idle
    return Diagnosis(
        problems=tuple(sorted(problems.values(), key=lambda x: (x.severity != "problem", PROBLEM_KINDS.index(x.kind)))),
        notes=(*notes, *_notes(flows, later)),
        unjudged=tuple(dict.fromkeys(name for flow in flows for name in flow.not_judged_through_time)),
    )


def _flows_and_steps(given: Any, later: Sequence[Steps]) -> tuple[Sequence[GradientFlow], Sequence[Steps]]:
    """The flows of what :func:`diagnose` takes, and the steps that are known of them."""
    sample = getattr(given, "record", given)
    if isinstance(sample, Sample):
        return sample.flows, later or sample.later
    return [given] if isinstance(given, GradientFlow) else given, later


def _problems(flows: Sequence[GradientFlow]) -> dict[ProblemKind, Problem]:
    """By kind, the most serious first."""
    # A layer of two or three units may be dead by chance, each seed another: the same one has to be.
    shut = Counter(key for flow in flows for key in closed(flow))
    always = {key for key, seeds in shut.items() if 2 * seeds > len(flows)}
    seen = [find_symptoms(flow, always & closed(flow)) for flow in flows]
    problems = {}
    for kind in PROBLEM_KINDS:
        having = [flow for flow, found in zip(flows, seen, strict=True) if kind in found]
        if having and (kind in _AT_ONCE or 2 * len(having) > len(flows)):
            starts = sorted((found[kind] for found in seen if kind in found), key=lambda symptom: symptom[:2])
            typical = starts[len(starts) // 2]
            problems[kind] = Problem(
                kind=kind,
                layer=typical.layer,
                evidence=_evidence(typical, having, len(flows)),
                advice=_ADVICE[kind],
                seeds=len(having),
                severity="warning" if 2 * sum(start.mild for start in starts) > len(starts) else "problem",
            )
    return problems


def _idle(flows: Sequence[GradientFlow], later: Sequence[Steps]) -> Problem | None:
    """Layers that got exactly nothing in more than half of the seeds, nor after the steps of any optimizer."""
    seeds = Counter(key for flow in flows for key in _zero(flow))
    still = set.intersection(*(set(_zero(flow)) for steps in later for flow in steps.flows)) if later else set()
    idle = [key for key in seeds if key in still and 2 * seeds[key] > len(flows)]
    if not idle:
        return None
    names = listing(map(str, idle), most=3)
    return Problem(
        kind="dead",
        layer=str(idle[-1]),
        evidence=f"the gradient is exactly zero at the start and after {_most_steps(later)}: {names}",
        advice=_ADVICE["dead"],
        seeds=seeds[idle[-1]],
        severity="warning",
    )


def _zero(flow: GradientFlow) -> dict[LayerKey, None]:
    """The rows whose gradients are exactly zero, in forward order."""
    return {row.key: None for row in flow.layers if row.state == "zero"}


def _steps_until(opening: Sequence[Steps], kind: ProblemKind) -> int:
    """After how many steps, of the slowest optimizer, nothing of ``kind`` was left."""
    return max(next(i for i, flow in enumerate(x.flows) if i and kind not in _problems([flow])) for x in opening)


def _most_steps(later: Sequence[Steps]) -> str:
    return count(max(len(x.flows) - 1 for x in later), "step")


def _notes(flows: Sequence[GradientFlow], later: Sequence[Steps]) -> Iterator[str]:
    """What is no problem and is to be known: what is closed at the start only, and what is used unseen."""
    at_start = (
        [key for row in later[0].flows[0].layers if (key := row.key) in _zero(later[0].flows[0])] if later else []
    )
    opening: dict[int, list[str]] = {}  # by the number of steps
    for key in at_start:
        zero = [[key in _zero(flow) for flow in steps.flows] for steps in later]
        if not any(each[-1] for each in zero):
            opening.setdefault(max(each.index(False) for each in zero), []).append(str(key))
    for number_of_steps, opened in sorted(opening.items()):
        yield f"closed at the start, opens after {count(number_of_steps, 'step')}: {listing(opened, most=3)}"
    unseen = dict.fromkeys(
        row.name for flow in flows for row in flow.layers if row.name in flow.missed and row.weight_l2 is not None
    )
    if unseen:
        names = listing(unseen, most=3)
        yield f"no error signal was seen at {names}, whose weights are used without a call of the module"


def _evidence(symptom: Symptom, having: Sequence[GradientFlow], seeds: int) -> str:
    """The symptom in words; its numbers are means over the flows ``having`` it."""
    text = "".join(part if isinstance(part, str) else _mean(part, having) for part in symptom.evidence)
    if seeds == 1:
        return text
    means = "means over " if any(isinstance(part, Quote) for part in symptom.evidence) else ""
    return f"{text} ({means}{len(having)} of {seeds} seeds)"


def _mean(quote: Quote, flows: Sequence[GradientFlow]) -> str:
    rows = [layer for flow in flows for layer in flow.last_passes() if layer.key == quote.key]
    found = [value for row in rows if (value := getattr(row, quote.quantity)) is not None]
    mean = summarise(found, scale_of(quote.quantity)).value
    return percent(mean) if quote.quantity == "saturated" else number(mean)


def summary(diagnosis: Diagnosis) -> str:
    """One line: ``healthy``, or each problem and where it starts, the most serious first; warnings are called so. What
    was not judged is never called healthy."""
    found = [*map(_in_words, diagnosis.problems)]
    if diagnosis.unjudged:
        found = [*(found or ["no problem found"]), f"not judged through time: {listing(diagnosis.unjudged, most=3)}"]
    return "; ".join(found) or "healthy"


def _in_words(problem: Problem) -> str:
    warning = "warning: " if problem.severity == "warning" else ""
    match problem.kind:
        case "missing":
            return f"{warning}no gradient for {problem.layer}"
        case "dead":
            return f"{warning}dead at {problem.layer}"
        case kind:
            return f"{warning}{kind} from {problem.layer} toward the input"
