"""What a user does with a model while it is watched, that has nothing to do with watching."""

import copy
import io
import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

import vgharness

pytestmark = pytest.mark.fast


def make() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))


def batch(step: int) -> tuple[Tensor, Tensor]:
    inputs = torch.randn(16, 8, generator=torch.Generator().manual_seed(step))
    return inputs, inputs[:, :3].argmax(1)


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> None:
    for step in steps:
        inputs, targets = batch(step)
        optimizer.zero_grad()
        functional.cross_entropy(model(inputs), targets).backward()
        optimizer.step()


def test_a_watched_model_is_pickled_and_copied_without_what_watches_it() -> None:
    model = make()
    optimizer = torch.optim.Adam(model.parameters())
    with vgharness.watch(model, optimizer, every=2, log=False) as watch:
        train(model, optimizer, range(4))
        file = io.BytesIO()
        torch.save(model, file)
        assert b"vgharness" not in file.getvalue()  # it is loaded where this package is not
        copied = copy.deepcopy(model)
        file.seek(0)
        loaded = torch.load(file, weights_only=False)
        for other in (copied, loaded):
            train(other, torch.optim.SGD(other.parameters(), 0.1), range(3))
        train(model, optimizer, range(4, 8))
    assert watch.log.models[0].steps == 8
    assert [snapshot.batch for snapshot in watch.log.snapshots] == [0, 2, 4, 6]
    assert not watch.log.notes


@pytest.mark.parametrize("calls_step", [False, True])
def test_a_snapshot_that_is_due_after_steps_that_a_scaler_left_out(calls_step: bool) -> None:
    model = make()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**26, growth_interval=7)
    with vgharness.watch(model, optimizer, scaler=scaler, every=5, log=False) as watch:
        for step in range(40):
            inputs, targets = batch(step)
            with torch.autocast("cpu", torch.float16):
                loss = functional.cross_entropy(model(inputs), targets)
            optimizer.zero_grad()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            if calls_step:
                watch.step(loss)
    assert (watch.log.notes, watch.problems, watch.log.models[0].steps) == ((), (), 40)
    assert len(watch.log.snapshots) >= 6
    assert all(snapshot.total_norm for snapshot in watch.log.snapshots if not snapshot.skipped)


def test_the_log_stays_where_it_was_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("one", "other"):
        (tmp_path / folder).mkdir()
    monkeypatch.chdir(tmp_path / "one")
    model = make()
    optimizer = torch.optim.Adam(model.parameters())
    with vgharness.watch(model, optimizer, every=1) as watch:
        train(model, optimizer, range(3))
        monkeypatch.chdir(tmp_path / "other")
        train(model, optimizer, range(3, 6))
    assert not watch.log.notes
    assert not list((tmp_path / "other").iterdir())
    (file,) = (tmp_path / "one").rglob("*.jsonl")
    assert len(vgharness.load_training_log(file).snapshots) == 6


def test_steps_inside_the_backward_pass_are_not_watched_and_no_gradient_is_missed() -> None:
    model = make()
    optimizers = {parameter: torch.optim.SGD([parameter], 0.1) for parameter in model.parameters()}

    def step_at_once(parameter: nn.Parameter) -> None:
        optimizers[parameter].step()
        optimizers[parameter].zero_grad()

    for parameter in optimizers:
        parameter.register_post_accumulate_grad_hook(step_at_once)
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        with vgharness.watch(model, list(optimizers.values()), every=1, log=False) as watch:
            for step in range(4):
                inputs, targets = batch(step)
                functional.cross_entropy(model(inputs), targets).backward()
    inside, unseen = watch.log.notes
    assert "inside the backward pass" in inside
    assert "no step of the model was seen" in unseen
    assert (watch.problems, watch.log.snapshots) == ((), ())


def test_a_warning_points_to_the_users_own_line() -> None:
    model = make()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    with vgharness.watch(model, optimizer, every=1, log=False), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        train(model, optimizer, range(2))
        model.get_submodule("0").weight.data.fill_(torch.nan)
        train(model, optimizer, range(2, 4))
    assert {warning.category for warning in caught} == {vgharness.TrainingProblemWarning}
    assert {Path(warning.filename) for warning in caught} == {Path(__file__)}
