"""Rows by call and by backward pass, tied weights, updates, saturation, and what else a record says of a pass."""

import math
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.utils.checkpoint import checkpoint

from vgharness.probe.probe import GradientProbe
from vgharness.probe.saturation import _ELEMENTWISE, greatest_slope
from vgharness.records import GradientFlow

pytestmark = pytest.mark.fast


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def keys(flow: GradientFlow) -> list[tuple[str, int, int]]:
    return [(layer.name, layer.forward_pass, layer.backward_pass) for layer in flow.layers]


def signals(flow: GradientFlow) -> list[float | None]:
    return [layer.signal_l2 for layer in flow.layers]


class Recurrent(nn.Module):
    """A cell called ``steps`` times, each followed by a gate, between two layers."""

    def __init__(self, reentrant: bool | None = None) -> None:
        super().__init__()
        self.inward, self.cell, self.gate, self.outward = (nn.Linear(4, 4) for _ in range(4))
        self.reentrant = reentrant

    def step(self, x: Tensor) -> Tensor:
        return torch.tanh(self.gate(torch.tanh(self.cell(x))))

    def forward(self, x: Tensor, steps: int = 3, detach_before: int = 0) -> Tensor:
        x = self.inward(x)
        for i in range(steps):
            x = x.detach() if i == detach_before and i else x
            x = self.step(x) if self.reentrant is None else checkpoint(self.step, x, use_reentrant=self.reentrant)
        return self.outward(x)  # type: ignore[no-any-return]


def unrolled(steps: int) -> list[tuple[str, int, int]]:
    inner = [(name, i, 0) for i in range(steps) for name in ("cell", "gate")]
    return [("inward", 0, 0), *inner, ("outward", 0, 0)]


# --- calls ---------------------------------------------------------------------------------------------


def test_calls_of_a_module_stand_where_they_were_made() -> None:
    model = Recurrent()
    with GradientProbe(model) as probe:
        model(noise(5, 4)).sum().backward()
    assert keys(probe.flow()) == unrolled(3)


def test_another_number_of_steps_gives_another_number_of_rows() -> None:
    model = Recurrent()
    with GradientProbe(model) as probe:
        for steps in (2, 4, 1):
            model.zero_grad()
            model(noise(5, 4), steps).sum().backward()
            assert keys(probe.flow()) == unrolled(steps)


def test_micro_batches_add_up_call_by_call_in_the_order_of_the_longest() -> None:
    model = Recurrent()
    flows = []
    for lengths in ((2,), (4,), (2, 4)):
        model.zero_grad()
        with GradientProbe(model) as probe:
            for steps in lengths:
                model(noise(5, 4), steps).sum().backward()
        flows.append(probe.flow())
    short, long, both = (
        {key: layer.signal_l2 or 0 for key, layer in zip(keys(f), f.layers, strict=True)} for f in flows
    )
    assert list(both) == unrolled(4)
    for key, value in both.items():
        assert value == pytest.approx(math.hypot(short.get(key, 0), long[key]), rel=1e-6)


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad=True")  # in the evaluation
@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointed_calls_stand_where_they_were_made(reentrant: bool) -> None:
    """Reentrant checkpointing runs the last segment's calls first, and only then with a graph."""
    plain, checkpointed = Recurrent(), Recurrent(reentrant)
    checkpointed.load_state_dict(plain.state_dict())
    flows = []
    for model in (plain, checkpointed):
        with GradientProbe(model) as probe:
            with torch.no_grad():
                model.eval()(noise(5, 4))  # an evaluation before it, whose calls do not count
            model.train()(noise(5, 4)).sum().backward()
        flows.append(probe.flow())
    assert keys(flows[1]) == unrolled(3)
    assert signals(flows[1]) == pytest.approx(signals(flows[0]), rel=1e-6)


def test_calls_that_no_gradient_reached_do_not_count() -> None:
    model = Recurrent()
    with GradientProbe(model) as probe:
        model(noise(5, 4))  # validation that forgot no_grad
        model(noise(5, 4), 4, detach_before=2).sum().backward()
    flow = probe.flow()
    reached = [key for key in unrolled(2) if key[0] != "inward"]
    assert [key for key in keys(flow) if key[0] != "inward"] == reached
    assert flow.missed == ("inward",)


def test_two_towers_of_one_graph_are_two_calls() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2))
    with GradientProbe(model) as probe:
        (model(noise(4, 3)) - model(noise(4, 3, seed=1))).square().sum().backward()
    assert keys(probe.flow()) == [("0", 0, 0), ("1", 0, 0), ("0", 1, 0), ("1", 1, 0)]


# --- backward passes -----------------------------------------------------------------------------------


def test_a_gradient_penaltys_inner_pass_is_told_from_the_losss() -> None:
    torch.manual_seed(0)
    critic = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1))
    inputs = noise(5, 3).requires_grad_()
    h = critic[0](inputs)
    out = critic[2](torch.tanh(h))
    (slope,) = torch.autograd.grad(out.sum(), inputs, create_graph=True)
    inner = torch.autograd.grad(out.sum(), h, retain_graph=True)[0]
    outer = torch.autograd.grad((slope.norm(dim=1) - 1).square().sum(), h)[0]

    with GradientProbe(critic) as probe:
        (slope,) = torch.autograd.grad(critic(inputs).sum(), inputs, create_graph=True)
        real = critic(noise(5, 3, seed=1))  # made after a backward pass that filled no gradient: the same round
        ((slope.norm(dim=1) - 1).square().sum() - 0 * real.sum()).backward()
    flow = probe.flow().select("0")
    assert keys(flow) == [("0", 0, 0), ("0", 0, 1), ("0", 1, 0)]
    assert signals(flow) == pytest.approx([inner.norm().item(), outer.norm().item(), 0.0], rel=1e-5)


def test_the_last_pass_counts_for_the_factor() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 2))
    with GradientProbe(model) as probe:
        out = model(noise(4, 3))
        out.sum().backward(retain_graph=True)
        out.square().sum().backward()
    flow = probe.flow()
    assert keys(flow) == [("0", 0, 0), ("0", 0, 1), ("2", 0, 0), ("2", 0, 1)]
    first, last = flow.layers[1], flow.layers[3]
    assert flow.factor() == pytest.approx((first.signal_l2 or 0) / (last.signal_l2 or 1))


def test_a_pass_through_an_old_graph_is_measured_after_a_reading() -> None:
    model = nn.Sequential(nn.Linear(3, 2))
    with GradientProbe(model) as probe:
        loss = model(noise(4, 3)).sum()
        loss.backward(retain_graph=True)
        probe.read()
        (2 * loss).backward()
        flow = probe.flow()
    assert keys(flow) == [("0", 0, 1)]
    assert signals(flow) == pytest.approx([2 * math.sqrt(8)])


def test_a_frozen_models_signals_are_those_since_the_last_reading() -> None:
    model = nn.Sequential(nn.Linear(3, 2)).requires_grad_(False)
    inputs = noise(4, 3).requires_grad_()
    with GradientProbe(model) as probe:
        for scale in (1, 2):
            (scale * model(inputs)).sum().backward()
            flow = probe.flow()
            assert keys(flow) == [("0", 0, 0)]
            assert signals(flow) == pytest.approx([scale * math.sqrt(8)])


def test_one_models_pass_is_not_dropped_where_anothers_gradients_are_cleared() -> None:
    """Two networks in one model, trained by turns."""
    model = nn.ModuleDict({"a": nn.Linear(3, 2), "b": nn.Linear(3, 2)})
    with GradientProbe(model) as probe:
        model["a"](noise(4, 3)).sum().backward()
        for _ in range(2):
            model["b"].zero_grad()
            (5 * model["b"](noise(4, 3)).sum()).backward()
    assert signals(probe.flow()) == pytest.approx([math.sqrt(8), 5 * math.sqrt(8)])


# --- weights -------------------------------------------------------------------------------------------


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.body, self.head = nn.Embedding(6, 4), nn.Linear(4, 4), nn.Linear(4, 6, bias=False)
        self.head.weight = self.embed.weight
        self.again = self.body

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(self.embed(x)))  # type: ignore[no-any-return]


def test_tied_weights_name_each_other() -> None:
    model = Tied()
    with GradientProbe(model) as probe:
        model(torch.arange(6)).square().sum().backward()
    flow = probe.flow()
    assert {layer.name: layer.aliases for layer in flow.layers} == {
        "embed": ("head",),
        "body": ("again",),
        "head": ("embed",),
    }
    embed, _, head = flow.layers
    assert embed.weight_l2 == head.weight_l2  # one gradient
    assert embed.signal_l2 != head.signal_l2


def test_a_parametrized_weights_originals_are_measured() -> None:
    layer = parametrizations.weight_norm(nn.Linear(3, 2))
    with GradientProbe(nn.Sequential(layer)) as probe:
        layer(noise(4, 3)).square().sum().backward()
    (row,) = probe.flow().layers
    grads = [p.grad for p in layer.parametrizations.weight.parameters() if p.grad is not None]  # type: ignore[union-attr]
    assert len(grads) == 2
    assert row.weight_l2 == pytest.approx(math.hypot(*(g.norm().item() for g in grads)))


def test_complex_numbers_count_by_their_absolute_values() -> None:
    layer = nn.Linear(3, 2, dtype=torch.complex64)
    inputs = torch.complex(noise(4, 3), noise(4, 3, seed=1))
    out = layer(inputs)
    weight, signal = torch.autograd.grad(out.abs().square().sum(), [layer.weight, out])
    with GradientProbe(layer) as probe:
        layer(inputs).abs().square().sum().backward()
    (row,) = probe.flow().layers
    assert row.weight_mean_abs == pytest.approx(weight.abs().mean().item())
    assert row.weight_l2 == pytest.approx(weight.norm().item())
    assert row.signal_l2 == pytest.approx(signal.norm().item())


def test_a_lazy_model_is_refused_with_what_to_do() -> None:
    with pytest.raises(ValueError, match=r"0\.weight has no shape yet: call the model on a batch once"):
        GradientProbe(nn.Sequential(nn.LazyLinear(3)))


@pytest.mark.parametrize("training", [True, False])
def test_the_training_flag_is_recorded(training: bool) -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)).train(training)
    with GradientProbe(model) as probe:
        model(noise(4, 3)).square().sum().backward()
        with torch.no_grad():
            model.eval()(noise(4, 3))  # says nothing of the pass that was measured
    assert probe.flow().training is training


# --- several processes ---------------------------------------------------------------------------------


@pytest.fixture
def one_process(tmp_path: Path) -> Iterator[None]:
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/group", rank=0, world_size=1)
    yield
    torch.distributed.destroy_process_group()


@pytest.mark.usefixtures("one_process")
def test_in_distributed_data_parallel_the_mean_gradient_is_read() -> None:
    from torch.nn.parallel import DistributedDataParallel

    model, inputs = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2)), noise(4, 3)
    wrapped = DistributedDataParallel(model)
    # What the other processes would add: hooks on the outputs see this process's own signal all the same.
    wrapped.register_comm_hook(None, lambda state, bucket: tripled(bucket))
    with GradientProbe(model) as probe:
        wrapped(inputs).sum().backward()
    flow = probe.flow()
    weight, signal = torch.autograd.grad((out := model(inputs)).sum(), [model[1].weight, out])
    assert flow.missed == ()
    assert flow.layers[1].weight_l2 == pytest.approx(3 * weight.norm().item())
    assert flow.layers[1].signal_l2 == pytest.approx(signal.norm().item())


def tripled(bucket: Any) -> Any:
    future: torch.futures.Future[Tensor] = torch.futures.Future()
    future.set_result(3 * bucket.buffer())
    return future


# --- updates -------------------------------------------------------------------------------------------


def updates(flow: GradientFlow) -> list[float | None]:
    return [layer.relative_update for layer in flow.layers]


@pytest.mark.parametrize("optimizer", [torch.optim.SGD, torch.optim.Adam, torch.optim.RMSprop, torch.optim.LBFGS])
def test_a_relative_update_is_the_steps_change_over_the_weight(optimizer: type[torch.optim.Optimizer]) -> None:
    torch.manual_seed(0)
    model, inputs = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2)), noise(4, 3)
    stepper = optimizer(model.parameters(), lr=0.01)  # type: ignore[call-arg]
    before = [layer.weight.detach().clone() for layer in model]  # type: ignore[union-attr, operator]

    def closure() -> Tensor:
        model.zero_grad()
        loss: Tensor = model(inputs).square().sum()
        loss.backward()
        return loss

    with GradientProbe(model, updates=True) as probe:
        closure()
        stepper.step(closure)  # type: ignore[arg-type]
    expected = [
        ((layer.weight - old).norm() / old.norm()).item()  # type: ignore[operator, union-attr]
        for layer, old in zip(model, before, strict=True)
    ]
    assert updates(probe.flow()) == pytest.approx(expected, rel=1e-4)


def test_an_update_is_of_its_own_optimizers_weights_and_of_its_own_step() -> None:
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2))
    other = nn.Linear(3, 2)
    first, second, foreign = (torch.optim.SGD(m.parameters(), lr=0.1) for m in (model[0], model[1], other))
    with GradientProbe(model, updates=True) as probe:
        model(noise(4, 3)).sum().backward()
        foreign.step()
        assert updates(probe.flow()) == [None, None]
        second.step()
        assert [u is None for u in updates(probe.flow())] == [True, False]
        first.step()
        assert [u is None for u in updates(probe.flow())] == [False, True]
    second.step()  # unseen
    assert updates(probe.flow()) == [None, None]


@pytest.mark.parametrize("most", [1, 13, 10**6])
def test_figures_do_not_depend_on_how_many_weights_are_laid_together(
    most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vgharness.probe.passes._MOST_WEIGHTS", most)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 3), nn.Linear(3, 600), nn.Linear(600, 2))
    stepper = torch.optim.SGD(model.parameters(), lr=0.1)
    before = [layer.weight.detach().clone() for layer in model]  # type: ignore[union-attr, operator]
    with GradientProbe(model, updates=True) as probe:
        model(noise(5, 4)).square().sum().backward()
        stepper.step()
    for layer, row, old in zip(model, probe.flow().layers, before, strict=True):
        assert row.weight_l2 == pytest.approx(layer.weight.grad.norm().item(), rel=1e-6)  # type: ignore[union-attr, operator]
        assert row.weight_mean_abs == pytest.approx(layer.weight.grad.abs().mean().item(), rel=1e-6)  # type: ignore[union-attr, operator]
        change = (layer.weight - old).norm() / old.norm()  # type: ignore[operator]
        assert row.relative_update == pytest.approx(change.item(), rel=1e-5)


def test_an_update_of_a_weight_that_was_zero_is_not_finite_and_the_layer_is_ok() -> None:
    layer = nn.Linear(3, 2)
    nn.init.zeros_(layer.weight)
    stepper = torch.optim.SGD(layer.parameters(), lr=0.1)
    with GradientProbe(layer, updates=True) as probe:
        layer(noise(4, 3)).sum().backward()
        stepper.step()
    (row,) = probe.flow().layers
    assert (row.state, row.relative_update, row.nonfinite) == ("ok", None, ("relative_update",))


def test_a_step_that_the_scaler_skips_is_no_update_and_no_scale_is_divided_out_of_one() -> None:
    layer = nn.Linear(3, 2)
    stepper = torch.optim.SGD(layer.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    found = []
    with GradientProbe(layer, scaler=scaler, updates=True) as probe:
        for loss_scale in (1.0, math.inf):
            stepper.zero_grad()
            before = layer.weight.detach().clone()
            scaler.scale(loss_scale * layer(noise(4, 3)).sum()).backward()
            scaler.step(stepper)
            scaler.update()
            found += updates(probe.flow())
            if loss_scale == 1:
                assert found == pytest.approx([((layer.weight - before).norm() / before.norm()).item()], rel=1e-5)
    assert found[1] is None


def test_updates_are_measured_on_request_only_and_then_alone_hang_on_optimizers() -> None:
    from torch.optim.optimizer import _global_optimizer_post_hooks, _global_optimizer_pre_hooks

    layer = nn.Linear(3, 2)
    stepper = torch.optim.SGD(layer.parameters(), lr=0.1)
    with GradientProbe(layer) as plain:
        assert not _global_optimizer_pre_hooks
        with GradientProbe(layer, updates=True) as asked:
            layer(noise(4, 3)).sum().backward()
            stepper.step()
        assert not _global_optimizer_pre_hooks
        assert not _global_optimizer_post_hooks
        assert updates(plain.flow()) == [None]
        assert updates(asked.flow()) != [None]


# --- saturation ----------------------------------------------------------------------------------------


def saturated(model: nn.Module, *batches: Tensor) -> list[float | None]:
    with GradientProbe(model, saturation=True) as probe:
        for inputs in batches:
            model(inputs).sum().backward()
    return [layer.saturated for layer in probe.flow().layers]


def with_biases(activation: nn.Module, *biases: float) -> nn.Sequential:
    """Units whose pre-activation is the input plus each bias."""
    layer = nn.Linear(1, len(biases))
    with torch.no_grad():
        layer.weight.fill_(1)
        layer.bias.copy_(torch.tensor(biases))
    return nn.Sequential(layer, activation, nn.Linear(len(biases), 1))


@pytest.mark.parametrize("inplace", [True, False])
def test_a_relus_saturated_units_are_those_dead_for_the_whole_batch(inplace: bool) -> None:
    model = with_biases(nn.ReLU(inplace=inplace), -10, -10, 0, 10)
    assert saturated(model, torch.tensor([[-1.0], [1.0]])) == [0.5, None]
    assert saturated(model, torch.tensor([[-1.0], [-2.0]])) == [0.75, None]


def test_a_sigmoids_units_are_saturated_at_either_end() -> None:
    """|σ'| is under 1 % of its greatest from |h| = 5.98 on."""
    model = with_biases(nn.Sigmoid(), -7, 7, 0, 5)
    assert saturated(model, torch.tensor([[-0.9], [0.9]])) == [0.5, None]
    assert saturated(model, torch.tensor([[-7.0], [7.0]])) == [0.25, None]  # all but one are open on one of the two
    assert saturated(model, torch.tensor([[-99.0], [99.0]])) == [1.0, None]


def test_shares_of_micro_batches_and_of_calls_are_kept_apart_as_signals_are() -> None:
    model = with_biases(nn.ReLU(), -10, 10)
    assert saturated(model, torch.ones(2, 1), torch.full((2, 1), 20.0)) == [0.25, None]

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.relu = nn.Linear(2, 2, bias=False), nn.ReLU()
            with torch.no_grad():
                self.layer.weight.copy_(torch.tensor([[-1.0, 0.0], [0.0, 1.0]]))

        def forward(self, x: Tensor) -> Tensor:
            return self.relu(self.layer(-1 - self.relu(self.layer(x))))  # type: ignore[no-any-return]

    # First the units see -1 and 1, then, after -1 - (0, 1): 1 and -2.
    assert saturated(Twice(), torch.ones(3, 2)) == [0.5, 0.5]


def test_saturation_is_measured_on_request_only_and_where_an_activation_follows() -> None:
    model = with_biases(nn.ReLU(), 0, 1)
    with GradientProbe(model) as probe:
        model(torch.ones(2, 1)).sum().backward()
    assert [layer.saturated for layer in probe.flow().layers] == [None, None]


def test_measuring_saturation_changes_nothing_and_counts_once_under_checkpointing() -> None:
    model = with_biases(nn.ReLU(inplace=True), -10, 10)
    inputs = torch.ones(2, 1).requires_grad_()
    plain = torch.autograd.grad(model(inputs).sum(), list(model.parameters()))
    for reentrant in (True, False):
        model.zero_grad()
        with GradientProbe(model, saturation=True) as probe:
            checkpoint(model, inputs, use_reentrant=reentrant).sum().backward()
        assert [layer.saturated for layer in probe.flow().layers] == [0.5, None]
        assert all(torch.equal(p.grad, g) for p, g in zip(model.parameters(), plain, strict=True))  # type: ignore[arg-type]


@given(st.sampled_from(_ELEMENTWISE), st.integers(0, 1000))
def test_no_activations_slope_exceeds_its_greatest(kind: type[nn.Module], seed: int) -> None:
    """By differences of float64, on numbers far beyond the grid that the greatest is taken from."""
    activation = kind()
    points = (100 * noise(200, seed=seed, dtype=torch.float64)).sort().values
    slopes = [
        (b - a).abs() / (y - x) for (x, y), (a, b) in zip(pairwise(points), pairwise(activation(points)), strict=True)
    ]
    assert max(slopes) <= greatest_slope(activation) * (1 + 1e-6)


@pytest.mark.parametrize(
    ("activation", "greatest"),
    [
        (nn.Sigmoid(), 0.25),
        (nn.Tanh(), 1),
        (nn.ReLU(), 1),
        (nn.GELU(), 1.1289),
        (nn.SiLU(), 1.0998),
        (nn.LeakyReLU(), 1),
    ],
)
def test_greatest_slopes_are_the_known_ones(activation: nn.Module, greatest: float) -> None:
    assert greatest_slope(activation) == pytest.approx(greatest, abs=5e-5)


class Steep(nn.ReLU):
    """Does not print how steep it is."""

    def __init__(self, slope: float) -> None:
        super().__init__()
        self.slope = slope

    def forward(self, x: Tensor) -> Tensor:
        return self.slope * super().forward(x)


def test_the_greatest_slope_is_of_the_activations_own_settings() -> None:
    activations = nn.LeakyReLU(0.5), nn.LeakyReLU(3.0), nn.ELU(1.0), nn.ELU(4.0), Steep(5), Steep(2), nn.ReLU()
    assert [greatest_slope(x) for x in activations] == pytest.approx([1, 3, 1, 4, 5, 2, 1], rel=1e-3)
