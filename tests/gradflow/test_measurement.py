"""Measuring anybody's model over seeds, and the assertions on what was measured."""

import copy
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from vgharness.errors import UsageError
from vgharness.gradflow.comparison import compare
from vgharness.gradflow.measurement import measure
from vgharness.gradflow.sample import FlowSample
from vgharness.models import MLP, DeepCNN
from vgharness.probe.probe import GradientProbe
from vgharness.records import GradientFlow, LayerGradient, LayerKey, Sample

pytestmark = pytest.mark.fast


def small() -> nn.Module:
    return MLP([4, 8, 2], "tanh")


def batch(seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(16, 4, generator=generator), torch.randint(2, (16,), generator=generator)


def sample_of(*flows: GradientFlow) -> FlowSample:
    return FlowSample(Sample(test="t", seeds=tuple(range(len(flows))), flows=flows))


def flow(**signals: float) -> GradientFlow:
    layers = [LayerGradient(name=name, state="ok", signal_l2=x, weight_l2=1.0) for name, x in signals.items()]
    return GradientFlow(layers=tuple(layers))


# --- measuring -----------------------------------------------------------------------------------------


def test_each_seed_makes_a_model_and_a_batch_of_its_own() -> None:
    sample = measure(small, batch, functional.cross_entropy, seeds=[3, 1]).record
    assert sample.seeds == (3, 1)
    for seed, found in zip((3, 1), sample.flows, strict=True):
        torch.manual_seed(seed)
        model = small()
        inputs, targets = batch(seed)
        with GradientProbe(model, through_time=True, parameters=True, outputs=True) as probe:
            probe.backward(functional.cross_entropy(model(inputs), targets))
        assert found == probe.flow()


def test_seeds_are_counted_from_42_and_torchs_random_state_is_put_back() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    assert measure(small, batch, functional.cross_entropy, seeds=3).seeds == (42, 43, 44)
    assert torch.equal(torch.rand(3), expected)


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(4, 2), nn.Linear(4, 2)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        return self.a(first) * self.b(second)  # type: ignore[no-any-return]


@pytest.mark.parametrize("named", [True, False])
def test_a_tuple_or_a_dict_of_inputs_are_arguments(named: bool) -> None:
    x, y = batch(0)
    inputs = {"second": x, "first": x} if named else (x, x)
    sample = measure(TwoInputs, (inputs, y), functional.cross_entropy, seeds=1).record
    assert [layer.state for layer in sample.flows[0].layers] == ["ok", "ok"]


def test_a_users_quantities_are_of_each_layers_weight_gradient() -> None:
    sample = measure(
        WithUnused,
        batch,
        functional.cross_entropy,
        seeds=2,
        quantities={"largest": lambda gradient: gradient.abs().max()},
    ).record
    values = sample.values("largest")
    assert sample.quantities[-1] == "largest"
    assert all(math.isnan(x) for x in values[LayerKey("unused")])
    for seed, value in zip(sample.seeds, values[LayerKey("used")], strict=True):
        torch.manual_seed(seed)
        model = WithUnused()
        inputs, targets = batch(seed)
        functional.cross_entropy(model(inputs), targets).backward()
        assert model.used.weight.grad is not None
        assert value == pytest.approx(model.used.weight.grad.abs().max().item())


class WithUnused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.used, self.unused = nn.Linear(4, 2), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.used(x)  # type: ignore[no-any-return]


SHARED = nn.Linear(4, 2)


@pytest.mark.parametrize(
    ("factory", "data", "loss", "seeds", "words"),
    [
        (lambda: SHARED, batch, functional.cross_entropy, 2, "the same model each time: let it make a new one"),
        (lambda: functional.relu, batch, functional.cross_entropy, 1, "the model factory gave a function: give"),
        (lambda: nn.Linear(4, 2), batch, lambda o, t: o.detach().sum(), 1, "does not depend on the model's weights"),
        (lambda: nn.Linear(4, 2), batch, lambda o, t: o, 1, "the loss is not one number"),
        (lambda: nn.Linear(4, 2), batch, lambda o, t: 0.5, 1, "the loss is not one number"),
        (lambda: nn.Linear(4, 2), batch, functional.cross_entropy, 0, "seeds: give one or more"),
        (
            lambda: nn.Linear(4, 2),
            (torch.zeros(3, 4, device="meta"), torch.zeros(3)),
            lambda o, t: o.sum(),
            1,
            "the batch is on meta and the model on cpu: move one of them with",
        ),
    ],
)
def test_bad_input_is_one_line(factory: Any, data: Any, loss: Any, seeds: int, words: str) -> None:
    SHARED.zero_grad()
    with pytest.raises(UsageError, match=words) as caught:
        measure(factory, data, loss, seeds=seeds)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"layers": "head*"}, "layers: no layer named 'head*': the model has fc1, act1, fc2"),
        ({"quantities": [max]}, "quantities is a list of 1: give callables of a weight's gradient, by name"),
        ({"quantities": {"own": 1}}, "quantities is a dict of 1: give callables"),
        ({"quantities": {"own": lambda gradient: gradient}}, "quantity 'own' is a Tensor [8, 4]: give a callable from"),
        ({"quantities": {"own": lambda gradient: "x"}}, "quantity 'own' is a str: give a callable from"),
    ],
)
def test_other_bad_input_is_one_line(given: Any, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        measure(small, batch, functional.cross_entropy, seeds=1, **given)
    assert words in str(caught.value)


@pytest.mark.parametrize("name", ["signal_l2", "factor"])
def test_a_quantity_of_ones_own_cannot_take_a_known_name(name: str) -> None:
    with pytest.raises(UsageError, match=f"quantity '{name}' is measured already"):
        measure(small, batch, functional.cross_entropy, quantities={name: lambda gradient: 0.0})


# --- values over seeds --------------------------------------------------------------------------------


def test_intervals_are_over_seeds() -> None:
    sample = sample_of(flow(a=1.0, b=4.0), flow(a=4.0, b=4.0))
    found = sample.intervals()[LayerKey("a")]
    # On logarithms: the geometric mean, and Student's t of two values a factor of four apart.
    assert found.low is not None
    assert found.high is not None
    assert found.value == pytest.approx(2.0)
    assert math.log(found.high / 2) == pytest.approx(12.706 * math.log(4) / 2, rel=1e-3)
    assert found.low == pytest.approx(4 / found.high)
    alone = sample_of(flow(a=1.0, b=4.0)).intervals()[LayerKey("a")]
    assert (alone.value, alone.low, alone.high) == (1.0, None, None)


def test_factors_are_per_step_and_seed() -> None:
    sample = sample_of(flow(a=1.0, b=4.0), flow(a=3.0, b=4.0))
    assert sample.factors() == {(LayerKey("a"), LayerKey("b")): (0.25, 0.75)}


# --- assertions ----------------------------------------------------------------------------------------


def fails(assertion: Callable[[], None]) -> str:
    with pytest.raises(AssertionError) as caught:
        assertion()
    return str(caught.value)


def test_factors_inside_the_limits_pass() -> None:
    sample_of(flow(a=1.0, b=2.0, c=1.0)).assert_flows(min_factor=0.5, max_factor=2.0)
    sample_of(flow(a=1.0)).assert_flows(min_factor=0.5)


def test_a_factor_outside_shows_layer_value_limit_seeds_and_bars() -> None:
    sample = sample_of(flow(a=0.1, b=1.0, c=1.0), flow(a=0.4, b=1.0, c=1.0))
    message = fails(lambda: sample.assert_flows(min_factor=0.5))
    assert "the factor toward the input of signal_l2 is 0.200 at a, expected at least 0.5" in message
    assert "per seed 0: 0.100, 1: 0.400" in message
    assert [line[:3] for line in message.splitlines()[3:]] == ["> a", "  b", "  c"]
    assert message.splitlines()[3].count("█") < message.splitlines()[4].count("█")
    message = fails(lambda: sample_of(flow(a=3.0, b=1.0)).assert_flows(max_factor=2.0))
    assert "the factor toward the input of signal_l2 is 3 at a, expected at most 2" in message


@pytest.mark.parametrize("seed", [0, 1])
def test_a_value_that_is_missing_is_outside_any_limit(seed: int) -> None:
    flows = [flow(a=1.0, b=1.0), flow(a=1.0, b=1.0)]
    layers = (flows[seed].layers[0].model_copy(update={"signal_l2": None}), flows[seed].layers[1])
    flows[seed] = flows[seed].model_copy(update={"layers": layers})
    assert "signal_l2 is NaN at a" in fails(lambda: sample_of(*flows).assert_flows(min_factor=0.0))


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (
            {"state": "unused", "signal_l2": None, "weight_l2": None},
            "missing from a: no gradient came to a (1 of 2 seeds)",
        ),
        ({"state": "ok", "without_gradient": ("a.bias",)}, "missing from a.bias: no gradient came to a.bias"),
        (
            {"state": "nonfinite", "signal_l2": None, "nonfinite": ("signal_l2",)},
            "nonfinite from a: NaN or infinity at a",
        ),
    ],
    ids=["unused", "bias", "nonfinite"],
)
def test_what_is_missing_or_not_finite_in_any_seed_fails_by_default(state: Any, words: str) -> None:
    good, bad = flow(a=1.0, b=1.0), flow(a=1.0, b=1.0)
    bad = bad.model_copy(update={"layers": (bad.layers[0].model_copy(update=state), bad.layers[1])})
    assert words in fails(sample_of(good, bad).assert_flows)
    sample_of(good).assert_flows()


def test_what_is_dead_in_most_seeds_fails_by_default() -> None:
    good, dead = flow(a=1.0, b=1.0), flow(a=0.0, b=1.0)
    assert "dead from a: the gradient is exactly zero from a" in fails(sample_of(good, dead, dead).assert_flows)
    sample_of(good, good, dead).assert_flows()


def test_a_frozen_layer_is_held_against_nobody() -> None:
    def factory() -> nn.Module:
        model = MLP([4, 8, 8, 2], "tanh")
        model.get_submodule("fc1").requires_grad_(False)
        return model

    sample = measure(factory, batch, functional.cross_entropy, seeds=2)
    sample.assert_flows(min_factor=1e-3, max_factor=1e3)


def test_a_layer_called_past_the_hooks_is_noted_and_not_missing() -> None:
    class Bypassing(WithUnused):
        def forward(self, x: Tensor) -> Tensor:
            return self.used.forward(x) + self.unused(x)  # type: ignore[no-any-return]

    sample = measure(Bypassing, batch, functional.cross_entropy, seeds=1)
    sample.assert_flows()
    (note,) = sample.diagnosis.notes
    assert note.startswith("no error signal was seen at used, whose weights are used without a call of the module")


def test_a_wide_network_matches_theory_and_another_does_not() -> None:
    def data(seed: int) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(64, 20, generator=generator), torch.randint(10, (64,), generator=generator)

    sample = measure(lambda: MLP([20, 200, 200, 200, 10], "sigmoid"), data, functional.cross_entropy, seeds=3)
    sample.assert_matches_theory(tolerance=0.1)
    message = fails(lambda: sample.assert_matches_theory(tolerance=1e-4))
    assert "theory says" in message

    doubled = FlowSample(
        sample.record.model_copy(update={"flows": tuple(double_first(f) for f in sample.record.flows)}),
        sample._remake,
    )
    assert "at fc1, theory says" in fails(doubled.assert_matches_theory)


def double_first(found: GradientFlow) -> GradientFlow:
    first, *rest = found.layers
    assert first.signal_l2 is not None
    return found.model_copy(update={"layers": (first.model_copy(update={"signal_l2": 2 * first.signal_l2}), *rest)})


def test_theory_says_where_it_says_nothing() -> None:
    images = (torch.randn(2, 3, 32, 32), torch.tensor([0, 1]))
    pooled = measure(lambda: DeepCNN("relu"), images, functional.cross_entropy, seeds=1)
    with pytest.raises(ValueError, match=r"mean field says nothing of 'pool2' \(MaxPool2d\)"):
        pooled.assert_matches_theory()
    mixed = measure(
        lambda: nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)),
        batch,
        functional.cross_entropy,
        seeds=1,
    )
    with pytest.raises(ValueError, match="one kind of activation, this model has 2"):
        mixed.assert_matches_theory()
    with pytest.raises(ValueError, match="measure anew"):
        sample_of(flow(a=1.0, b=1.0)).assert_within_bound()


def test_no_honest_measurement_is_beyond_the_bound_and_a_false_one_is() -> None:
    images = (torch.randn(4, 3, 32, 32), torch.tensor([0, 1, 2, 3]))
    sample = measure(lambda: DeepCNN("sigmoid", pools="script"), images, functional.cross_entropy, seeds=2)
    sample.assert_within_bound()
    inflated = copy.copy(sample)
    flows = [
        f.model_copy(update={"layers": (f.layers[0].model_copy(update={"signal_l2": 1e3}), *f.layers[1:])})
        for f in sample.record.flows
    ]
    inflated.record = sample.record.model_copy(update={"flows": tuple(flows)})
    assert "its weights allow at most" in fails(inflated.assert_within_bound)


# --- how many seeds -----------------------------------------------------------------------------------


def test_more_seeds_follow_until_they_are_enough() -> None:
    asked: list[tuple[int, int]] = []

    def more(sample: Sample, looks: int) -> list[int]:
        asked.append((len(sample.seeds), looks))
        return [[42, 43], [5], []][looks]

    sample = measure(small, batch, functional.cross_entropy, seeds=[3, 7], more=more).record
    assert asked == [(2, 0), (4, 1), (5, 2)]
    assert sample.seeds == (3, 7, 42, 43, 5)
    assert measure(small, batch, functional.cross_entropy, seeds=sample.seeds).record.flows == sample.flows


@pytest.mark.parametrize("seeds", [True, [1, 1], [1.5], "5", [-1], [2**32], None, 2.0])
def test_what_is_no_number_of_seeds_and_no_list_of_them(seeds: Any) -> None:
    with pytest.raises(UsageError, match="give how many, such as 5, or a list of different numbers from 0 on"):
        measure(small, batch, functional.cross_entropy, seeds=seeds)


def test_names_in_an_assertion_are_shown_as_they_are() -> None:
    odd = flow(**{"a\n> b": 0.1, "c\x1b[31m": 1.0})
    lines = fails(lambda: sample_of(odd).assert_flows(min_factor=0.5)).splitlines()
    assert len(lines) == 5
    assert r"a\n> b" in lines[3]
    assert r"c\x1b[31m" in lines[4]


def test_two_measurements_are_compared_as_sessions_are() -> None:
    def measured(activation: Any) -> FlowSample:
        def batch(seed: int) -> tuple[Tensor, Tensor]:
            return torch.randn(16, 8), torch.randint(4, (16,))

        return measure(lambda: MLP([8, 8, 4], activation), batch, functional.cross_entropy, seeds=3)

    sigmoid, relu = measured("sigmoid"), measured("relu")
    found = compare(sigmoid, relu)
    assert found.changes
    assert found == compare(sigmoid.record, relu.record)
    assert "\nfc1: " in str(found)
    with pytest.raises(UsageError, match="two sessions, or two of what measure gives, not int"):
        compare(sigmoid, 3)  # type: ignore[arg-type]
