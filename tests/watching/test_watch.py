"""A training with a watch around it: which steps are noticed and measured, and that nothing changes in it."""

import copy
import io
import threading
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from trainings import Training

import vgharness
from vgharness.records import Snapshot

pytestmark = pytest.mark.fast

Watching = Callable[..., vgharness.Watch]


def steps_of(watching: vgharness.Watch, name: str = "") -> list[int]:
    return [snapshot.step for snapshot in watching.log.of_model(name)]


def last(watching: vgharness.Watch, name: str = "") -> Snapshot:
    return watching.log.of_model(name)[-1]


def test_a_training_is_the_same_bit_for_bit(watch: Watching) -> None:
    """Dropout draws random numbers, BatchNorm keeps what it has seen."""

    def train(every: int | None) -> tuple[dict[str, Tensor], Tensor]:
        torch.manual_seed(3)
        layers = [nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(inplace=True), nn.Dropout(0.5), nn.Linear(8, 3)]
        training = Training(nn.Sequential(*layers))
        if every is None:
            training.run(12)
        else:
            with watch(training.model, training.optimizer, every=every, parameters=True) as watching:
                training.run(12)
            assert watching.log.snapshots
        return training.model.state_dict(), torch.get_rng_state()

    expected, generator = train(None)
    for every in (1, 5):
        weights, left = train(every)
        assert all(torch.equal(weights[name], expected[name]) for name in expected)
        assert torch.equal(left, generator)


def test_steps_are_noticed_by_themselves(training: Training, watch: Watching) -> None:
    with watch(training.model, training.optimizer, every=4) as watching:
        training.run(10)
    assert steps_of(watching) == [0, 4, 8]
    assert watching.log.models[0].steps == 10
    assert watching.log.status == "finished"
    assert [snapshot.batch for snapshot in watching.log.snapshots] == [0, 4, 8]


def test_step_gives_the_loss_and_counts_no_step_twice(training: Training, watch: Watching) -> None:
    watching = watch(training.model, every=2)
    losses = []
    for _ in range(5):
        training.optimizer.zero_grad()
        losses.append(training.backward().item())
        training.optimizer.step()
        watching.step(loss=losses[-1])
    watching.close()
    assert watching.log.models[0].steps == 5
    assert [snapshot.loss for snapshot in watching.log.snapshots] == pytest.approx(losses[::2], rel=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_long_gradients_and_weights_are_measured_as_short_ones_are(watch: Watching, dtype: torch.dtype) -> None:
    model = nn.Sequential(nn.Linear(6, 600), nn.Linear(600, 600), nn.Linear(600, 3)).to(dtype)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with watch(model, optimizer, parameters=True) as watching:
        model(torch.randn(16, 6, generator=torch.Generator().manual_seed(0)).to(dtype)).square().sum().backward()
        grads = {name: parameter.grad.double() for name, parameter in model.named_parameters()}
        norms = {name: parameter.detach().double().norm().item() for name, parameter in model.named_parameters()}
        optimizer.step()
    snapshot = last(watching)
    assert snapshot.total_norm == pytest.approx(torch.cat([x.flatten() for x in grads.values()]).norm().item(), 1e-5)
    for at, name in enumerate(("0", "1", "2")):
        grad = grads[f"{name}.weight"]
        assert snapshot.values["weight_l2"][at] == pytest.approx(grad.norm().item(), 1e-5)
        assert snapshot.values["weight_mean_abs"][at] == pytest.approx(grad.abs().mean().item(), 1e-5)
        assert snapshot.values["weight_norm"][at] == pytest.approx(norms[f"{name}.weight"], 1e-5)
    for name, norm in norms.items():
        assert snapshot.parameters[name].grad_l2 == pytest.approx(grads[name].norm().item(), 1e-5)
        assert snapshot.parameters[name].norm == pytest.approx(norm, 1e-5)


def test_a_snapshot_holds_what_a_probe_measures(watch: Watching) -> None:
    def step(training: Training) -> None:
        training.backward()
        training.optimizer.step()

    probed = Training()
    with vgharness.GradientProbe(probed.model, saturation=True, outputs=True, updates=True) as probe:
        step(probed)
        flow = probe.flow()
    training = Training()
    with watch(training.model, training.optimizer) as watching:
        step(training)
    log = watching.log
    found = log.flow(log.snapshots[0])
    assert [row.name for row in found.layers] == ["0", "2", "4"]
    assert [row.feeds for row in found.layers] == [(("2", 0, 0),), (("4", 0, 0),), ()]
    for row, expected in zip(found.layers, flow.layers, strict=True):
        for name in ("signal_l2", "signal_rms", "weight_l2", "weight_mean_abs", "relative_update", "output_rms"):
            assert getattr(row, name) == pytest.approx(getattr(expected, name), rel=1e-4), name
        assert (row.saturated, row.output_zeros) == (expected.saturated, expected.output_zeros)
    total = torch.cat([p.grad.reshape(-1) for p in training.model.parameters()]).norm()
    assert log.snapshots[0].total_norm == pytest.approx(total.item(), rel=1e-4)
    assert log.snapshots[0].output_spread == pytest.approx(flow.output_spread, rel=1e-4)
    before = Training().model[0].weight
    assert log.snapshots[0].values["weight_norm"][0] == pytest.approx(before.norm().item(), rel=1e-4)


def test_micro_batches_add_up(training: Training, watch: Watching) -> None:
    losses = []
    with watch(training.model, training.optimizer, every=1) as watching:
        for _ in range(2):
            training.optimizer.zero_grad()
            for number in range(3):
                loss = training.backward(scale=1 / 3)
                losses.append(loss.item())
                if number == 2:
                    training.optimizer.step()
                watching.step(loss=loss)
    assert steps_of(watching) == [0, 1]
    total = torch.cat([p.grad.reshape(-1) for p in training.model.parameters()]).norm()
    assert last(watching).total_norm == pytest.approx(total.item(), rel=1e-4)
    assert last(watching).batch == 5
    assert [x.loss for x in watching.log.snapshots] == pytest.approx(
        [sum(losses[:3]) / 3, sum(losses[3:]) / 3], rel=1e-5
    )


@pytest.mark.parametrize("clip", [nn.utils.clip_grad_norm_, nn.utils.clip_grad_value_])
def test_gradients_are_those_before_clipping(training: Training, watch: Watching, clip: Callable[..., Any]) -> None:
    unclipped = Training()
    unclipped.backward()
    expected = unclipped.model[0].weight.grad.norm().item()
    with watch(training.model, training.optimizer) as watching:
        training.run(1, before_step=lambda: clip(training.model.parameters(), 1e-3))
    norms = [p.grad.norm() for p in training.model.parameters()]
    assert last(watching).values["weight_l2"][0] == pytest.approx(expected, rel=1e-4)
    assert last(watching).total_norm > 0.1
    assert last(watching).clipped_norm == pytest.approx(torch.stack(norms).norm().item(), rel=1e-4)


@pytest.mark.parametrize("given", [True, False])
def test_the_loss_scale_is_divided_out(watch: Watching, given: bool) -> None:
    """Of a scaler that is not given too: it is seen at its step."""

    def gradient(scaled: bool) -> tuple[Snapshot, float]:
        training = Training()
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, enabled=scaled)
        with watch(training.model, training.optimizer, scaler=scaler if given else None) as watching:
            scaler.scale(training.loss()).backward()
            scaler.unscale_(training.optimizer)
            nn.utils.clip_grad_norm_(training.model.parameters(), 0.01)
            scaler.step(training.optimizer)
            scaler.update()
        return last(watching), 0.01

    (plain, _), (scaled, norm) = gradient(scaled=False), gradient(scaled=True)
    assert (plain.loss_scale, scaled.loss_scale) == (None, 1024.0)
    for name in ("signal_l2", "weight_l2", "weight_mean_abs"):
        assert scaled.values[name] == pytest.approx(plain.values[name], rel=1e-4)
    assert scaled.total_norm == pytest.approx(plain.total_norm, rel=1e-4)
    assert scaled.clipped_norm == pytest.approx(norm, rel=1e-3)


def test_steps_that_a_scaler_leaves_out_are_counted(training: Training, watch: Watching) -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**8)
    with watch(training.model, training.optimizer, every=1, scaler=scaler) as watching:
        for number in range(6):
            training.optimizer.zero_grad()
            (scaler.scale(training.loss()) * (1e38 if number in (0, 3) else 1.0)).backward()
            scaler.step(training.optimizer)
            scaler.update()
    assert watching.log.models[0].steps == 6
    assert steps_of(watching) == [2, 5]  # what is heard at 1 and 4 is also of the step before, which was left out
    assert last(watching).loss_scale == 2.0**6


def test_a_fused_optimizer_leaves_steps_out_by_itself(training: Training, watch: Watching) -> None:
    """A scaler calls it even where gradients have overflowed, as transformers' Trainer does by default."""
    training.optimizer = torch.optim.AdamW(training.model.parameters(), fused=True)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**8)
    with watch(training.model, training.optimizer, every=1, scaler=scaler) as watching:
        for number in range(4):
            training.optimizer.zero_grad()
            (scaler.scale(training.loss()) * (1e38 if number == 2 else 1.0)).backward()
            scaler.step(training.optimizer)
            scaler.update()
    assert [snapshot.skipped for snapshot in watching.log.snapshots] == [False, False, True, False]
    assert watching.log.models[0].steps == 4
    assert not watching.problems


def test_step_sees_the_gradients_of_a_step_that_was_left_out(training: Training, watch: Watching) -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**8)
    with watch(training.model, training.optimizer, scaler=scaler) as watching:
        (scaler.scale(training.loss()) * 1e38).backward()
        scaler.step(training.optimizer)
        scaler.update()
        watching.step()
        training.run(1)
    assert [snapshot.skipped for snapshot in watching.log.snapshots] == [True]
    assert watching.log.models[0].steps == 2


def test_the_first_of_several_optimizers_is_the_step(training: Training, watch: Watching) -> None:
    first = torch.optim.SGD(training.model[:2].parameters(), lr=0.1)
    second = torch.optim.SGD(training.model[2:].parameters(), lr=0.2)
    with watch(training.model, [first, second], every=2) as watching:
        for _ in range(4):
            training.model.zero_grad()
            training.backward()
            first.step()
            second.step()
    assert steps_of(watching) == [0, 2]
    assert last(watching).learning_rates == (0.1, 0.2)
    assert last(watching).not_optimized == ()
    assert all(update > 1e-4 for update in last(watching).values["relative_update"])


def test_an_optimizer_that_has_not_stepped_yet_is_found(training: Training, watch: Watching) -> None:
    first = torch.optim.SGD(training.model[:2].parameters(), lr=0.1)
    second = torch.optim.SGD(training.model[2:4].parameters(), lr=0.1)
    with watch(training.model) as watching:
        training.backward()
        first.step()
        second.step()
    del second
    # The fixture's own optimizer has all of them.
    assert last(watching).not_optimized == ()


def test_parameters_that_no_optimizer_has_are_named(training: Training, watch: Watching) -> None:
    optimizer = torch.optim.SGD(training.model[:4].parameters(), lr=0.1)
    with watch(training.model, optimizer, on_problem=None) as watching:
        training.backward()
        optimizer.step()
    assert last(watching).not_optimized == ("4.weight", "4.bias")
    assert last(watching).values["relative_update"][2] is None


def test_several_models_have_steps_of_their_own(watch: Watching) -> None:
    torch.manual_seed(0)
    generator, judge = nn.Linear(2, 4), nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
    of_generator, of_judge = (torch.optim.Adam(model.parameters()) for model in (generator, judge))
    with watch({"G": generator, "D": judge}, [of_generator, of_judge], every=2) as watching:
        for _ in range(3):
            for _ in range(2):
                of_judge.zero_grad()
                judge(torch.cat([torch.randn(8, 4), generator(torch.randn(8, 2)).detach()])).mean().backward()
                of_judge.step()
            of_generator.zero_grad()
            (-judge(generator(torch.randn(8, 2)))).mean().backward()
            of_generator.step()
    assert {model.name: model.steps for model in watching.log.models} == {"G": 3, "D": 6}
    assert (steps_of(watching, "G"), steps_of(watching, "D")) == ([0, 2], [0, 2, 4])
    expected = torch.cat([p.grad.reshape(-1) for p in generator.parameters()]).norm().item()
    assert last(watching, "G").total_norm == pytest.approx(expected, rel=1e-4)
    assert not watching.log.of_model("D")[-1].missed


@pytest.mark.parametrize("make", [torch.optim.LBFGS, torch.optim.Adam])
def test_passes_inside_a_step_are_read_after_it(
    training: Training, watch: Watching, make: Callable[..., torch.optim.Optimizer]
) -> None:
    optimizer = make(training.model.parameters())

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = training.loss()
        loss.backward()
        return loss

    with watch(training.model, optimizer, every=1) as watching:
        for _ in range(2):
            optimizer.step(closure)
    assert steps_of(watching) == [0, 1]
    assert all(snapshot.values["signal_l2"][0] for snapshot in watching.log.snapshots)
    assert all(snapshot.values["relative_update"][0] for snapshot in watching.log.snapshots)
    expected = training.model[0].weight.grad.norm().item()
    assert last(watching).values["weight_l2"][0] == pytest.approx(expected, rel=1e-4)


def test_a_framework_says_when_gradients_are_complete(training: Training, watch: Watching) -> None:
    """As Lightning does: inside the step's closure, where the gradients are then changed."""
    optimizer = training.optimizer

    def closure() -> None:
        optimizer.zero_grad()
        training.backward()
        watching.before_step(optimizer)
        for parameter in training.model.parameters():
            parameter.grad = torch.zeros_like(parameter)

    with watch(training.model, optimizer, every=1) as watching:
        for _ in range(3):
            optimizer.step(closure)
            watching.after_step(optimizer)
    assert steps_of(watching) == [0, 1, 2]
    assert all(snapshot.clipped_norm for snapshot in watching.log.snapshots)


@pytest.mark.parametrize("says_the_end", [True, False])
def test_a_framework_says_that_a_step_was_left_out(training: Training, watch: Watching, says_the_end: bool) -> None:
    with watch(training.model, training.optimizer, every=1) as watching:
        for number in range(3):
            training.optimizer.zero_grad()
            training.backward()
            watching.before_step(training.optimizer)
            if number != 1:
                training.optimizer.step()
            if says_the_end:
                watching.after_step(training.optimizer)
    assert [snapshot.skipped for snapshot in watching.log.snapshots] == [False, True, False]
    assert all(snapshot.values["signal_l2"][0] for snapshot in watching.log.snapshots)


def test_layers_may_be_frozen_and_unfrozen(training: Training, watch: Watching) -> None:
    training.model[0].requires_grad_(False)
    with watch(training.model, training.optimizer, every=1) as watching:
        training.run(2)
        training.model[0].requires_grad_(True)
        training.run(2)
    assert [snapshot.states[0] for snapshot in watching.log.snapshots] == ["frozen", "frozen", "ok", "ok"]
    assert [bool(snapshot.values["relative_update"][0]) for snapshot in watching.log.snapshots] == [0, 0, 1, 1]
    assert not watching.problems


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointed_layers_are_measured(watch: Watching, reentrant: bool) -> None:
    class Checkpointed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last = nn.Linear(6, 8), nn.Linear(8, 3)
            self.inner = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8))

        def forward(self, x: Tensor) -> Tensor:
            inner = (
                checkpoint(self.inner, self.first(x), use_reentrant=reentrant) if again else self.inner(self.first(x))
            )
            return self.last(inner)

    found = []
    for again in (False, True):  # noqa: B007
        training = Training(Checkpointed())
        with watch(training.model, training.optimizer, every=1) as watching:
            training.run(2)
        found.append([{**dict(x.values), "total": x.total_norm} for x in watching.log.snapshots])
        assert not last(watching).missed
    for plain, again in zip(*found, strict=True):
        for name in ("signal_l2", "weight_l2", "relative_update", "total"):
            assert again[name] == pytest.approx(plain[name], rel=1e-4), name


def test_evaluation_in_between_is_not_counted(training: Training, watch: Watching) -> None:
    with watch(training.model, training.optimizer, every=1) as watching:
        for _ in range(3):
            training.run(1)
            training.model.eval()
            with torch.no_grad():
                training.model(torch.full((4, 6), 1e6))
            training.model.train()
    assert [snapshot.batch for snapshot in watching.log.snapshots] == [0, 1, 2]
    assert all(
        snapshot.values["output_rms"][0] < 100 for snapshot in watching.log.snapshots if "output_rms" in snapshot.values
    )


def test_a_model_may_run_several_times_in_a_step(training: Training, watch: Watching) -> None:
    with watch(training.model, training.optimizer) as watching:
        (training.loss() + training.loss()).backward()
        training.optimizer.step()
    rows = watching.log.rows[0]
    assert [(row.name, row.forward_pass) for row in rows] == [(x, n) for n in (0, 1) for x in ("0", "2", "4")]


def test_a_resumed_training_goes_on_counting(training: Training, watch: Watching) -> None:
    with watch(training.model, training.optimizer, every=10, start=25) as watching:
        training.run(10)
    assert (watching.log.first_step, steps_of(watching)) == (25, [25, 30])
    assert watching.log.models[0].steps == 10


def test_an_optimizer_of_ones_own_is_counted_by_step(training: Training, watch: Watching) -> None:
    watching = watch(training.model, every=2)
    for _ in range(5):
        training.model.zero_grad()
        training.backward()
        watching.step()  # before the step: counts nothing
        with torch.no_grad():
            for parameter in training.model.parameters():
                parameter.data -= 0.1 * parameter.grad
        watching.step(loss=1.0)
    watching.close()
    assert watching.log.models[0].steps == 5
    assert steps_of(watching) == [0, 2, 4]


def test_units_that_stay_dead_are_told_from_those_of_one_batch(training: Training, watch: Watching) -> None:
    with torch.no_grad():
        training.model[0].bias[:2] = -100.0
    with watch(training.model, training.optimizer, every=10, on_problem=None) as watching:
        training.run(41)
    dead = [snapshot.values["dead_units"][0] for snapshot in watching.log.snapshots]
    assert dead[:3] == [None, None, None]
    assert dead[3:] == [0.25, 0.25]


def test_each_parameter_is_measured_on_request(training: Training, watch: Watching) -> None:
    with watch(training.model, training.optimizer, parameters=True) as watching:
        training.run(1)
    found = last(watching).parameters
    assert list(found) == [name for name, _ in training.model.named_parameters()]
    weight = training.model[2].weight
    assert found["2.weight"].grad_l2 == pytest.approx(weight.grad.norm().item(), rel=1e-4)
    assert found["2.weight"].idle_rows == (weight.grad == 0).all(1).float().mean()
    update = (0.1 * weight.grad).norm() / (weight + 0.1 * weight.grad).norm()
    assert found["2.weight"].relative_update == pytest.approx(update.item(), rel=1e-3)


def test_where_each_step_is_measured_most_are_brief(training: Training, watch: Watching) -> None:
    with watch(training.model, training.optimizer, every=1) as watching:
        training.run(12)
    full = [snapshot.step for snapshot in watching.log.snapshots if "saturated" in snapshot.values]
    assert full == [0, 10]
    assert len(watching.log.rows) == 1
    assert all({"signal_l2", "weight_l2", "relative_update"} <= set(x.values) for x in watching.log.snapshots)


def test_hooks_are_there_for_measured_steps_only(training: Training, watch: Watching) -> None:
    from vgharness.probe import hooks

    with watch(training.model, training.optimizer, every=10):
        assert hooks._observers
        training.run(1)
        assert not hooks._observers
        assert hooks._step_observers
        assert not training.model[0].weight._post_accumulate_grad_hooks
    assert not hooks._step_observers


def test_a_model_that_is_moved_is_said_once_and_watched_on(training: Training, watch: Watching) -> None:
    with watch(training.model, training.optimizer, every=10, on_problem=None) as watching:
        training.run(1)
        training.model.double()
        training.loss = lambda: training.model(torch.ones(4, 6, dtype=torch.float64)).square().mean()  # type: ignore[method-assign]
        with pytest.warns(vgharness.WatchWarning, match="moved from float32 to float64") as said:
            training.run(30)
    assert len(said) == 1
    assert steps_of(watching) == [0, 10, 20, 30]


def test_parameters_that_are_added_are_said_once_and_watched_on(training: Training, watch: Watching) -> None:
    with watch(training.model, training.optimizer, every=10) as watching:
        training.run(1)
        training.model.append(nn.Linear(3, 3))
        training.optimizer.add_param_group({"params": training.model[5].parameters()})
        with pytest.warns(vgharness.WatchWarning, match=r"added: 5\.weight, 5\.bias") as said:
            training.run(25)
    assert len(said) == 1
    assert [len(snapshot.states) for snapshot in watching.log.snapshots] == [3, 4, 4]


def test_a_copy_that_is_trained_instead_is_said(training: Training, watch: Watching) -> None:
    with watch(training.model, training.optimizer) as watching:
        training.run(1)
        other = Training(copy.deepcopy(training.model))
        with pytest.warns(vgharness.WatchWarning, match="same shape that is not watched"):
            other.run(11)
    assert watching.log.models[0].steps == 1


def test_an_ensemble_is_no_copy_that_is_trained_instead(training: Training, watch: Watching) -> None:
    members = [training, *(Training() for _ in range(11))]
    aside = Training()
    thread = threading.Thread(target=aside.run, args=(30,))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with watch(training.model, training.optimizer), watch(members[1].model, members[1].optimizer):
            for _ in range(12):
                for member in members:
                    member.run(1)
            members[1].run(30)  # which is watched too
            thread.start()
            thread.join()


def test_copies_and_saved_models_carry_no_hooks(training: Training, watch: Watching) -> None:
    with watch(training.model, training.optimizer, every=1) as watching:
        training.run(2)
        copied = copy.deepcopy(training.model)
        file = io.BytesIO()
        torch.save(training.model, file)
        file.seek(0)
        for other in (copied, torch.load(file, weights_only=False)):
            other(torch.ones(4, 6)).sum().backward()
        training.run(1)
    assert [snapshot.batch for snapshot in watching.log.snapshots] == [0, 1, 2]


def test_a_weight_average_changes_nothing(training: Training, watch: Watching) -> None:
    average = torch.optim.swa_utils.AveragedModel(training.model)
    with watch(training.model, training.optimizer, every=1) as watching, warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            training.run(1)
            average.update_parameters(training.model)
            with torch.no_grad():
                average(torch.ones(4, 6))
    assert [snapshot.batch for snapshot in watching.log.snapshots] == [0, 1, 2]


def test_which_parameters_got_a_gradient_is_told_of_every_step(training: Training, watch: Watching) -> None:
    """A layer that is cut off between two snapshots is known by the step."""
    first: nn.Module = training.model[0]
    with watch(training.model, training.optimizer, every=40, on_problem=None) as watching:
        training.run(50)
        first.register_forward_hook(lambda module, inputs, output: output.detach())
        training.run(31)
    (problem,) = watching.problems
    assert (problem.kind, problem.layer, problem.began) == ("missing", "0", 50)
    assert "in 50 steps before" in problem.evidence
