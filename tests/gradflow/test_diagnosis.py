"""What is said of the gradients of flows made by hand, on either side of each line."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from factories import make_flow

from vgharness.gradflow.diagnosis import PROBLEM_KINDS, diagnose, summary
from vgharness.gradflow.sample import FlowSample
from vgharness.gradflow.symptoms import EXPLODED, RECURRENT, SATURATED, VANISHED
from vgharness.records import GradientFlow, LayerGradient, Sample, Steps

pytestmark = pytest.mark.fast


def row(
    name: str, signal: float | None = 1.0, forward_pass: int = 0, backward_pass: int = 0, **changes: Any
) -> LayerGradient:
    state = "zero" if signal == 0 else "unused" if signal is None else "ok"
    fields = {"state": state, "signal_l2": signal, "weight_l2": signal, **changes}
    return LayerGradient(name=name, forward_pass=forward_pass, backward_pass=backward_pass, **fields)


def flow(*rows: LayerGradient | float | None, missed: Sequence[str] = ()) -> GradientFlow:
    """Layers ``l0``, ``l1`` …, from the input to the output; a number is the signal's size."""
    layers = [x if isinstance(x, LayerGradient) else row(f"l{i}", x) for i, x in enumerate(rows)]
    return GradientFlow(layers=tuple(layers), missed=tuple(missed))


def found(*flows: GradientFlow) -> list[tuple[str, str]]:
    return [(problem.kind, problem.layer) for problem in diagnose(flows).problems]


# --- the path ------------------------------------------------------------------------------------------


def test_losses_count_over_the_whole_path() -> None:
    """A step's factor says nothing alone: 0.3 per layer is healthy over four layers and not over six."""
    assert found(flow(*(0.3**i for i in reversed(range(5))))) == []
    assert found(flow(*(0.3**i for i in reversed(range(7))))) == [("vanishing", "l1")]  # 0.3⁵ = 1/412
    assert found(flow(*(3.0**i for i in reversed(range(10))))) == []
    assert found(flow(*(3.0**i for i in reversed(range(12))))) == [("exploding", "l1")]  # 3¹⁰ = 59 049


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_either_side_of_the_lines_whatever_the_losss_scale(scale: float) -> None:
    for factor, problem in ((VANISHED, "vanishing"), (EXPLODED, "exploding")):
        beyond, within = (0.98, 1.02) if factor < 1 else (1.02, 0.98)
        assert found(flow(scale * factor * beyond, scale)) == [(problem, "l0")]
        assert found(flow(scale * factor * within, scale)) == []
        assert found(flow(scale * factor * beyond, scale * factor * beyond, scale, scale)) == [(problem, "l1")]


def test_it_starts_right_below_an_abrupt_drop() -> None:
    assert found(flow(1e-6, 2e-6, 1e-6, 1, 1, 1)) == [("vanishing", "l2")]
    assert found(flow(1e5, 2e5, 1e5, 1, 1, 1)) == [("exploding", "l2")]


def test_the_path_is_not_cut_while_a_layer_below_is_well() -> None:
    assert found(flow(0.5, 1e-7, 1e-7, 1)) == []  # LayerScale, a U-Net's bottom
    assert found(flow(1, 1e5, 1e5, 1)) == []  # before a BatchNorm of small variance
    assert found(flow(0.5, 0, 0, 0, 1)) == []  # a branch that starts at zero


def test_one_flow_a_list_and_a_sample_with_its_steps_are_taken() -> None:
    closed, open_ = flow(0.0, 0.0, 1.0), flow(0.5, 0.7, 1.0)
    later = tuple(Steps(optimizer=name, seed=42, flows=(closed, open_)) for name in ("SGD", "Adam"))
    sample = Sample(test="t", seeds=(42,), flows=(closed,), later=later)
    assert diagnose(closed) == diagnose([closed])
    assert not diagnose(closed).healthy
    assert diagnose(sample) == diagnose(FlowSample(sample)) == FlowSample(sample).diagnosis == diagnose([closed], later)
    assert diagnose(sample).healthy


def test_one_layer_two_layers_and_none() -> None:
    assert found(flow(1e-9)) == []
    assert found(flow(1, 1)) == []
    assert found(flow(0, 1)) == [("dead", "l0")]
    assert found(GradientFlow(layers=())) == []
    assert found(make_flow(0.8), make_flow(0.8)) == []
    assert found(make_flow(0.05)) == [("vanishing", "conv2")]  # 0.05² = 1/400


def test_of_several_backward_passes_the_last_counts() -> None:
    penalty = [row("l0", 1e-9), row("l0", 1.0, backward_pass=1), row("l1", 1.0)]
    assert found(flow(*penalty)) == []
    assert found(flow(row("l0", 1.0), row("l0", 1e-9, backward_pass=1), row("l1", 1.0))) == [("vanishing", "l0 pass 1")]


# --- calls ---------------------------------------------------------------------------------------------


def test_a_recurrent_layers_calls_are_a_path_that_an_embedding_does_not_hide() -> None:
    cell = [row("cell", 0.1 ** (5 - i), forward_pass=i) for i in range(6)]
    assert found(flow(row("embed"), *cell, row("head"))) == [("vanishing", "cell[2]")]
    # Against its own last call it crosses the line at cell[2], against the last layer a call before: that one counts.
    assert found(flow(*cell, row("head", 10.0))) == [("vanishing", "cell[3]")]
    grown = [row("cell", 10.0 ** (6 - i), forward_pass=i) for i in range(7)]
    assert found(flow(row("embed"), *grown, row("head"))) == [("exploding", "cell[1]")]


def test_calls_are_a_path_from_four_on() -> None:
    assert RECURRENT == 4
    for calls in (3, 4):
        towers = [row("tower", 1e-6 if i == 0 else 1.0, forward_pass=i) for i in range(calls)]
        assert bool(found(flow(row("stem"), *towers, row("head")))) == (calls == 4)


def test_calls_that_underflow_have_vanished() -> None:
    cell = [row("cell", 0.1 ** (8 - i) if i > 2 else 0.0, forward_pass=i, state="ok") for i in range(9)]
    assert found(flow(*cell)) == [("vanishing", "cell[5]")]


# --- zero ----------------------------------------------------------------------------------------------


def test_zero_at_once_is_dead_and_zero_after_vanishing_is_vanishing() -> None:
    assert found(flow(0, 0, 1, 1)) == [("dead", "l1")]
    assert found(flow(0, 0, 1e-30, 1e-5, 1)) == [("vanishing", "l3")]
    assert found(flow(0, 0, 0)) == [("dead", "l2")]
    assert found(flow(1, 1, 0)) == [("dead", "l2")]  # a second head whose loss weighs nothing
    assert found(flow(1, 1, row("l2", 0.0, state="ok", weight_l2=1.0))) == []  # its weight is used elsewhere too


def test_saturated_units_are_dead_also_where_signals_pass_beside_them() -> None:
    assert SATURATED == 0.99
    for share, sick in ((0.99, True), (0.98, False)):
        branch = row("l1", 0.1, saturated=share)
        assert found(flow(1.0, branch, 1.0)) == ([("dead", "l1")] if sick else [])
    # What lies below is small because of it, and no problem of its own.
    assert found(flow(1e-6, row("l1", 1e-6, saturated=1.0), 1.0)) == [("dead", "l1")]
    # Dead units below a vanished path are a problem of their own.
    assert found(flow(1e-6, row("l1", 1e-6, saturated=1.0), 1e-6, 1.0)) == [("dead", "l1"), ("vanishing", "l2")]


def test_the_same_layer_must_be_dead_in_most_seeds() -> None:
    """One of a few units is dead by chance, each seed another's."""
    by_chance = [flow(*(row(f"l{i}", 1.0, saturated=float(i == dead)) for i in range(5))) for dead in (1, 2, 3)]
    assert found(*by_chance) == []
    assert found(*by_chance, by_chance[0], by_chance[0]) == [("dead", "l1")]


def test_an_adapter_above_frozen_layers_starts_closed() -> None:
    frozen = row("l0", None, state="frozen")
    assert found(flow(frozen, 0, 1)) == []
    assert found(flow(frozen, 0, 0, 1)) == [("dead", "l2")]
    assert found(flow(row("l0", None), 0, 1)) == [("missing", "l0"), ("dead", "l1")]


# --- missing and not finite ----------------------------------------------------------------------------


def test_missing_starts_nearest_the_output() -> None:
    assert found(flow(None, None, 1, 1)) == [("missing", "l1")]
    text = diagnose([flow(None, None, None, None, None, 1)]).problems[0].evidence
    assert "l4, l3, l2 and 2 more" in text
    assert found(flow(row("l0", None, state="ok"), 1, missed=["l0"])) == [("missing", "l0")]


def test_a_weight_that_is_used_without_its_module_is_not_missing() -> None:
    """``F.linear(x, layer.weight)``: no signal is seen, but the weight's gradient came."""
    assert found(flow(row("l0", None, state="ok", weight_l2=1.0), 1, missed=["l0"])) == []
    assert found(flow(row("l0", 1.0, state="unused", weight_l2=None), 1)) == []  # `autograd.grad` fills no weight's


NAN = float("nan")


def test_not_finite_starts_nearest_the_output() -> None:
    bad = {"state": "nonfinite", "weight_l2": NAN}
    assert found(flow(row("l0", NAN, **bad), row("l1", NAN, **bad), 1)) == [("nonfinite", "l1")]
    assert found(flow(row("l0", 1.0, **bad), 1)) == [("nonfinite", "l0")]
    assert "weight's" in diagnose([flow(1, row("l1", 1.0, **bad))]).problems[0].evidence  # that alone, of the last
    assert found(flow(row("l0", NAN, **bad), row("l1", 1.0, **bad), 1)) == [("nonfinite", "l1")]
    everywhere = diagnose([flow(row("l0", NAN, **bad), row("l1", NAN, **bad))]).problems[0]
    assert everywhere.layer == "l1"
    assert "loss" in everywhere.evidence


def test_a_weights_gradient_does_not_say_which_call_was_not_finite() -> None:
    sizes = [NAN, NAN, 1.0, 1.0]
    cell = [row("cell", size, forward_pass=i, state="nonfinite", weight_l2=NAN) for i, size in enumerate(sizes)]
    assert found(flow(*cell, row("head"))) == [("nonfinite", "cell[1]")]
    cell = [row("cell", 1.0, forward_pass=i, state="nonfinite", weight_l2=NAN) for i in range(4)]
    assert found(flow(*cell, row("head"))) == [("nonfinite", "cell[3]")]


def test_frozen_layers_raise_no_alarm() -> None:
    frozen = {"state": "frozen", "weight_l2": None}
    for size in (None, 0.0, 1e-9, 1e9, NAN):
        sick = [row("l0", size, saturated=1.0, **frozen), row("l1", size, **frozen)]
        assert found(flow(*sick)) == []
        assert found(flow(*sick, 1.0)) == []
    # But through them it reaches those that are trained.
    assert found(flow(1e-9, row("l1", 1e-9, **frozen), 1.0)) == [("vanishing", "l1")]


# --- seeds ---------------------------------------------------------------------------------------------


def test_more_than_half_of_the_seeds_must_agree() -> None:
    well, sick, other = flow(1, 1), flow(1e-9, 1), flow(1e9, 1)
    assert found(sick) == [("vanishing", "l0")]
    assert found(sick, well) == []
    assert found(sick, sick, well) == [("vanishing", "l0")]
    assert found(sick, sick, well, well, well) == []
    assert found(sick, sick, other, other, well) == []
    assert "(means over 2 of 3 seeds)" in diagnose([sick, well, sick]).problems[0].evidence
    assert "seeds" not in diagnose([sick]).problems[0].evidence


def test_the_layer_is_the_median_of_the_seeds() -> None:
    flows = [flow(*([1e-9] * n + [1.0] * (6 - n))) for n in (1, 3, 5, 4, 3)]
    assert found(*flows) == [("vanishing", "l2")]


def test_the_most_serious_comes_first() -> None:
    bad = row("l4", 1e-9, state="nonfinite", weight_l2=NAN)
    many = diagnose([flow(1e-9, None, row("l2", 1e-9, saturated=1.0), 1e-9, bad, 1)])
    problems = [problem.kind for problem in many.problems]
    assert problems == ["nonfinite", "missing", "dead", "vanishing"]
    assert all(PROBLEM_KINDS.index(a) < PROBLEM_KINDS.index(b) for a, b in pairwise(problems))
    assert all(problem.advice for problem in many.problems)


def test_no_flows_are_no_diagnosis() -> None:
    with pytest.raises(ValueError, match="needs a gradient flow"):
        diagnose([])


# --- in words ------------------------------------------------------------------------------------------


def test_one_line_says_what_and_where() -> None:
    assert summary(diagnose([flow(1, 1)])) == "healthy"
    assert summary(diagnose([make_flow(0.05)])) == "warning: vanishing from conv2 toward the input"
    assert summary(diagnose([flow(None, 0, 0, 1)])) == "no gradient for l0; dead at l2"
    assert summary(diagnose([flow(1e-4, row("", 1.0))])) == "warning: vanishing from l0 toward the input"


def test_what_was_not_judged_through_time_is_never_called_healthy() -> None:
    unseen = GradientFlow(layers=flow(1, 1).layers, not_judged_through_time=("lstm",))
    assert summary(diagnose([unseen])) == "no problem found; not judged through time: lstm"
    sick = GradientFlow(layers=flow(None, 1).layers, not_judged_through_time=("lstm",))
    assert summary(diagnose([sick])) == "no gradient for l0; not judged through time: lstm"


def test_the_evidence_gives_the_values() -> None:
    text = diagnose([flow(2e-8, 1e-4, 0.5, 1)]).problems[0].evidence
    assert text == "‖∂L/∂h‖₂ is 1 at l3, 0.000100 at l1, 2.00e-08 at l0"
    assert "100 %" in diagnose([flow(1.0, row("l1", 0.1, saturated=1.0), 1.0)]).problems[0].evidence


def test_the_evidence_of_several_seeds_gives_their_means_and_not_one_seeds_values() -> None:
    flows = [flow(1e-8, 1), flow(1e-6, 1), flow(1e-4, 100), flow(1, 1)]
    (problem,) = diagnose(flows).problems
    assert problem.evidence == "‖∂L/∂h‖₂ is 4.64 at l1, 1.00e-06 at l0 (means over 3 of 4 seeds)"
    assert problem.seeds == 3
    shares = [flow(1.0, row("l1", 1.0, saturated=share), 1.0) for share in (0.99, 1.0)]
    assert diagnose(shares).problems[0].evidence.startswith("99.5 % of the units of l1")
