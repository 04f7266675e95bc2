"""The whole path of the error signal: where it begins and ends, and what is lost from one end to the other."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from kinds_case import Calls
from torch import nn
from torch.nn import functional

from vgharness.gradflow.measurement import measure
from vgharness.gradflow.path import SignalPath, totals_toward_input
from vgharness.gradflow.sample import FlowSample
from vgharness.models import MLP
from vgharness.probe.probe import GradientProbe
from vgharness.records import GradientFlow, LayerGradient, LayerKey, Sample

pytestmark = pytest.mark.fast

X, Y = torch.randn(16, 4, generator=torch.Generator().manual_seed(0)), torch.zeros(16).long()


def linear(outputs: int = 4) -> nn.Module:
    return nn.Linear(4, outputs)


def frozen() -> nn.Module:
    return linear().requires_grad_(False)


NETWORKS: dict[str, tuple[Callable[[], nn.Module], dict[str, str]]] = {
    "chain": (lambda: MLP([4, 8, 8, 2], "tanh"), {"fc1": "fc3"}),
    "residual": (
        lambda: Calls(lambda m, x: m.c((h := m.a(x)) + m.b(h)), a=linear(), b=linear(), c=linear(2)),
        {"a": "c"},
    ),
    "two inputs": (lambda: Calls(lambda m, x: m.c(m.a(x) + m.b(x)), a=linear(), b=linear(), c=linear(2)),
                   {"a": "c", "b": "c"}),
    "two heads": (lambda: Calls(lambda m, x: m.b(h := m.a(x)) + 1e-3 * m.c(h), a=linear(), b=linear(2), c=linear(2)),
                  {"a": "b"}),
    "frozen below": (lambda: Calls(lambda m, x: m.c(m.b(m.a(x))), a=frozen(), b=linear(), c=linear(2)), {"b": "c"}),
    "frozen between": (lambda: Calls(lambda m, x: m.c(m.b(m.a(x))), a=linear(), b=frozen(), c=linear(2)), {"a": "c"}),
    "one layer": (lambda: linear(2), {}),
}  # fmt: skip


@pytest.mark.parametrize("name", NETWORKS)
def test_the_ends_of_the_path(name: str) -> None:
    factory, expected = NETWORKS[name]
    torch.manual_seed(0)
    model = factory()
    with GradientProbe(model) as probe:
        probe.backward(functional.cross_entropy(model(X), Y))
        path = SignalPath.of(probe.flow())
    assert {path.signals[i].label: path.signals[j].label for i, j in path.whole()} == expected


def test_a_total_is_the_first_signal_over_the_last_of_each_seed() -> None:
    sample = measure(lambda: MLP([4, 8, 8, 2], "tanh"), (X, Y), functional.cross_entropy, seeds=3).record
    first, last = sample.values("signal_l2")[LayerKey("fc1")], sample.values("signal_l2")[LayerKey("fc3")]
    expected = pytest.approx([a / b for a, b in zip(first, last, strict=True)])
    assert totals_toward_input(sample) == {LayerKey("fc1"): expected}
    weights = sample.values("weight_l2")
    expected = pytest.approx([a / b for a, b in zip(weights[LayerKey("fc1")], weights[LayerKey("fc3")], strict=True)])
    assert totals_toward_input(sample, "weight_l2") == {LayerKey("fc1"): expected}


def test_each_way_has_a_total() -> None:
    factory, _ = NETWORKS["two inputs"]
    sample = measure(factory, (X, Y), functional.cross_entropy, seeds=1)
    assert totals_toward_input(sample.record).keys() == {LayerKey("a"), LayerKey("b")}
    least = min(totals_toward_input(sample.record).values())[0]
    assert "over the whole path is" in fails(sample, min_total=1.01 * least)
    sample.assert_factors(min_total=0.99 * least)


def test_a_frozen_layer_is_no_end_of_the_path_though_a_signal_comes_to_it() -> None:
    chain = made(a=1.0, b=2.0, c=4.0).record
    first = chain.flows[0].layers[0].model_copy(update={"state": "frozen"})
    flow = chain.flows[0].model_copy(update={"layers": (first, *chain.flows[0].layers[1:])})
    assert totals_toward_input(chain.model_copy(update={"flows": (flow,)})) == {LayerKey("b"): (0.5,)}


def made(*others: dict[str, float], **signals: Any) -> FlowSample:
    """A chain for each seed, of the first one ``signals``."""
    flows = [
        GradientFlow(layers=tuple(LayerGradient(name=k, state="ok", signal_l2=v, weight_l2=1.0) for k, v in x.items()))
        for x in (signals, *others)
    ]
    return FlowSample(Sample(test="t", seeds=tuple(range(len(flows))), flows=tuple(flows)))


def fails(sample: FlowSample, **limits: float) -> str:
    with pytest.raises(AssertionError) as caught:
        sample.assert_factors(**limits)  # type: ignore[arg-type]
    return str(caught.value).splitlines()[0]


def test_limits_of_the_whole_path() -> None:
    sample = made(a=1.0, b=10.0, c=100.0)
    sample.assert_factors(min_factor=0.1, max_factor=0.1, min_total=0.01, max_total=0.01)
    what = "t: the factor toward the input of signal_l2 over the whole path is 0.0100 at a, expected at"
    assert fails(sample, min_total=0.02) == f"{what} least 0.02"
    assert fails(sample, max_total=0.009) == f"{what} most 0.009"
    assert "is 0 at a" in fails(made(a=0.0, b=1.0), min_total=1e-300)
    assert "is 0 at a" in fails(made({"a": 0.0, "b": 1.0}, {"a": 1.0, "b": 1.0}, a=1.0, b=1.0), min_total=1e-300)
    assert "is NaN at a" in fails(made(a=0.0, b=0.0), min_total=0.0)
    made(a=1.0).assert_factors(min_total=2)


def test_a_step_down_and_one_up_are_none_over_the_whole_path() -> None:
    sample = made(a=1.0, b=0.01, c=1.0)
    sample.assert_factors(min_total=0.9, max_total=1.1)
    assert "at b, expected at least 0.1" in fails(sample, min_factor=0.1, min_total=0.9)


def test_limits_are_held_whatever_the_diagnosis_says_and_a_problem_can_be_expected() -> None:
    sample = made(a=1e-12, b=1.0)
    sample.assert_factors(max_factor=1)
    sample.assert_problem("vanishing")
    with pytest.raises(AssertionError, match="vanishing from a"):
        sample.assert_flows(max_factor=1)
    with pytest.raises(AssertionError, match="expected dead, found vanishing from a toward the input"):
        sample.assert_problem("dead")


def test_one_seed_without_a_value_is_outside_every_limit() -> None:
    sample = measure(lambda: MLP([4, 8, 2], "tanh"), (X, Y), functional.cross_entropy, seeds=2).record
    broken = sample.flows[1].layers[0].model_copy(update={"signal_l2": None})
    flows = (sample.flows[0], sample.flows[1].model_copy(update={"layers": (broken, *sample.flows[1].layers[1:])}))
    changed = FlowSample(sample.model_copy(update={"flows": flows}))
    assert all(math.isnan(x) or x > 0 for x in totals_toward_input(changed.record)[LayerKey("fc1")])
    assert "is NaN at fc1" in fails(changed, min_total=0.0)


def test_a_saved_sample_without_links_has_a_path_too() -> None:
    assert totals_toward_input(made(a=1.0, b=2.0).record) == {LayerKey("a"): (0.5,)}
