"""What a pulse sees at every step, what it lets be, and when a gradient that is not finite is no birth."""

import itertools
import math
import random
import threading
from typing import Any

import numpy as np
import pytest
import torch
from pulsed_trainings import WIDTH, Does, around, batches, length, logarithm, same, squares, train, zero_row
from torch import Tensor, nn

from vgharness.records import NonfiniteOrigin
from vgharness.watching.first_nan.pulse import Pulse

pytestmark = pytest.mark.fast

BAD = 3


def pulse_of(model: nn.Module, **more: Any) -> Pulse:
    pulse = Pulse(model, "", folder=lambda: None, note=print, **more)
    pulse.open()
    return pulse


@pytest.mark.parametrize("delay", [0, 2])
def test_every_step_is_seen_once_in_order_at_a_bounded_delay(delay: int) -> None:
    model = nn.Sequential(nn.Linear(WIDTH, 300), nn.ReLU(), nn.Linear(300, 300), nn.Linear(300, 1))
    pulse = pulse_of(model, delay=delay)
    expected, seen = [], []
    for step, x in enumerate(batches(None, same)):
        model.zero_grad()
        squares(model(x)).backward()
        pulse.before_step(step + 10)
        expected.append(math.sqrt(sum(float(p.grad.double().square().sum()) for p in model.parameters())))
        now = pulse.seen()
        assert [beat.step - 10 for beat in now] == ([step - delay] if step >= delay else [])
        seen += now
    seen += pulse.seen(wait=True)
    assert pulse.seen(wait=True) == []
    assert [(beat.step, beat.batch, beat.finite) for beat in seen] == [(n + 10, n, True) for n in range(8)]
    assert [beat.total_norm for beat in seen] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("delay", [0, 2])
def test_gradients_whose_squares_overflow_are_finite(delay: int) -> None:
    given = batches(0, lambda x: 1e25 * x, steps=1)
    pulse = train(nn.Linear(WIDTH, 2), given, torch.sum, delay=delay, close=False)
    (beat,) = pulse.seen(wait=True)
    assert beat.finite
    assert beat.total_norm == pytest.approx(math.sqrt(2) * float(given[0].double().sum(0).norm()), rel=1e-6)
    assert pulse.birth is None


class Restless(nn.Module):
    """Draws from every generator, keeps what it made, and has running statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.norm, self.drop = nn.Linear(WIDTH, WIDTH, bias=False), nn.BatchNorm1d(WIDTH), nn.Dropout(0.4)
        self.size = Does(length)
        self.last: Tensor | None = None
        self.count = 0

    def forward(self, x: Tensor) -> Tensor:
        self.count += 1
        self.last = self.size(self.fc(x)) * random.random() * np.random.rand()
        return self.drop(self.norm(self.last))


class NotCopied(Restless):
    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()


def state_of(model: Restless) -> list[Any]:
    values = [*model.parameters(), *model.buffers(), *(p.grad for p in model.parameters())]
    generators = [torch.get_rng_state(), torch.tensor(np.random.get_state()[1].astype(int))]
    return [[x.detach().clone() for x in (*values, *generators)], random.getstate(), model.count, model.training]


@pytest.mark.parametrize("kind", [Restless, NotCopied])
@pytest.mark.parametrize("delay", [0, 3])
def test_nothing_of_the_training_changes(kind: type[Restless], delay: int, tmp_path) -> None:
    states = []
    for looked_at in (False, True):
        torch.manual_seed(0), random.seed(0), np.random.seed(0)
        model = kind()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        pulse = Pulse(model, "", folder=lambda: tmp_path / "born", delay=delay, note=print)
        if looked_at:
            pulse.open()
        states.append([])
        for step, x in enumerate(batches(BAD, zero_row)):
            optimizer.zero_grad()
            squares(model(x)).backward()
            if looked_at:
                pulse.before_step(step)
            states[-1].append(state_of(model))
            optimizer.step()
        if looked_at:
            pulse.close()
            assert pulse.birth is not None
            assert pulse.birth.origin == NonfiniteOrigin(stage="backward", module="size", operation="sqrt")
            assert pulse.batch == 7
            assert (tmp_path / "born" / "reproduce.json").exists()
        assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    for without, with_ in zip(*states, strict=True):
        assert all(torch.equal(a.nan_to_num(7), b.nan_to_num(7)) for a, b in zip(without[0], with_[0], strict=True))
        assert without[1:] == with_[1:]


@pytest.mark.parametrize("delay", [0, 3])
def test_which_batch_of_those_whose_gradients_are_added_up(delay: int) -> None:
    model = around(log=Does(logarithm))
    pulse = pulse_of(model, delay=delay)
    given = batches(7, zero_row, steps=12)
    for step in range(4):
        model.zero_grad()
        for x in given[3 * step : 3 * step + 3]:
            squares(model(x)).backward()
            assert len(pulse._recorder.passes) <= 1  # memory does not grow with the number of batches
        pulse.before_step(step)
    pulse.close()
    assert (pulse.birth.step, pulse.birth.batch) == (2, 7)


def scaled(make_loss: Any, scale: float, model: nn.Module, given: list[Tensor], delay: int = 0) -> Pulse:
    """Trains with a loss scale."""
    scaler = torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=1000)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    pulse = pulse_of(model, scaler=scaler, delay=delay)
    for step, x in enumerate(given):
        optimizer.zero_grad()
        scaler.scale(make_loss(model(x))).backward()
        pulse.before_step(step)
        scaler.step(optimizer)
        scaler.update()
    pulse.close()
    return pulse


def scaled_by_hooks(model: nn.Module, given: list[Tensor], scale: float) -> Pulse:
    """The same where only a step that is taken is seen."""
    scaler = torch.amp.GradScaler("cpu", init_scale=scale, growth_interval=1000)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    pulse, step = pulse_of(model, scaler=scaler), itertools.count()
    optimizer.register_step_pre_hook(lambda *_: pulse.before_step(next(step)))
    for x in given:
        optimizer.zero_grad()
        scaler.scale(squares(model(x))).backward()
        scaler.step(optimizer)
        scaler.update()
    pulse.close()
    return pulse


def test_steps_that_a_scaler_leaves_out_are_looked_at_before_the_next_pass() -> None:
    assert scaled_by_hooks(steep(), batches(None, same, 12), 2.0**120).birth is None
    born = scaled_by_hooks(around(size=Does(length)), batches(BAD, zero_row), 2.0**10).birth
    assert (born.step, born.batch, born.noticed, born.origin.module) == (BAD, BAD, BAD, "size")


def test_batches_that_a_training_throws_away_are_none_and_hold_no_memory() -> None:
    model = around(log=Does(logarithm))
    pulse = pulse_of(model)
    for number, x in enumerate(batches(None, same, 40)):
        model.zero_grad()
        value = squares(model(zero_row(x) if 5 <= number < 30 else x))
        value.backward()
        if value.isfinite():
            pulse.before_step(number)
        assert len(pulse._pending) <= 8
    pulse.close()
    assert pulse.birth is None


def steep() -> nn.Module:
    """Whose gradients are larger inside than at its end."""
    model = around(steep=nn.Linear(WIDTH, WIDTH, bias=False))
    nn.init.constant_(model.steep.weight, 1e6)
    return model


@pytest.mark.parametrize("delay", [0, 3])
def test_an_overflow_that_the_scaler_passes_over_is_no_birth(delay: int) -> None:
    pulse = scaled(torch.sum, 2.0**120, steep(), batches(None, same, 12), delay)
    assert pulse.birth is None


@pytest.mark.parametrize("delay", [0, 3])
def test_nan_that_no_scale_helps_is_a_birth(delay: int) -> None:
    pulse = scaled(squares, 2.0**10, around(size=Does(length)), batches(BAD, zero_row), delay)
    assert (pulse.birth.step, pulse.birth.origin.module) == (BAD, "size")


def test_infinity_at_a_scale_that_has_collapsed_is_a_birth() -> None:
    model = nn.Sequential(nn.Linear(WIDTH, 1, bias=False), Does(lambda x: 1e25 * (1e25 * x)))
    pulse = scaled(torch.sum, 4.0, model, [1e-30 * x.abs() for x in batches(None, same)])
    assert (pulse.birth.step, pulse.birth.batch) == (3, 3)


# --- what is kept by reference, and changed --------------------------------------------------------------------


def test_a_model_that_works_on_its_input_in_place_is_repeated_from_a_copy() -> None:
    pulse = train(nn.Sequential(Does(lambda x: x.abs_().log_()), nn.Linear(WIDTH, 2)), batches(BAD, zero_row))
    assert pulse.birth.origin == NonfiniteOrigin(stage="forward", module="0", operation="log")


def test_a_batch_whose_memory_is_used_again_is_repeated_from_a_copy() -> None:
    memory = torch.empty(5, WIDTH)
    pulse = train(around(log=Does(logarithm)), (memory.copy_(x) for x in batches(5, zero_row)), delay=2)
    assert (pulse.birth.step, pulse.birth.origin.module) == (5, "log")


def test_a_batch_that_was_changed_before_that_was_known_is_said() -> None:
    memory = torch.empty(5, WIDTH)
    pulse = train(around(log=Does(logarithm)), (memory.copy_(x) for x in batches(1, zero_row)), delay=2)
    assert (pulse.birth.step, pulse.birth.origin) == (1, None)
    assert "changed in place" in pulse.birth.remark


def test_gradients_that_come_from_outside_the_model_are_said() -> None:
    model = nn.Linear(WIDTH, 2)
    pulse = train(model, batches(None, same), lambda y: squares(y) + (0 * model.bias).square().sum().sqrt())
    assert pulse.birth.origin is None
    assert "bias" in pulse.birth.remark
    assert "outside" in pulse.birth.remark


def test_a_training_that_stops_at_nan_itself() -> None:
    pulse = train(around(log=Does(logarithm)), batches(None, same), close=False)
    model = pulse._model
    assert math.isnan(squares(model(zero_row(batches(None, same)[0]))).item())  # and no step comes after it
    pulse.close()
    assert (pulse.birth.step, pulse.birth.batch, pulse.birth.origin.module) == (8, 8, "log")


def test_weights_that_the_last_step_spoiled() -> None:
    pulse = train(around(), batches(None, same), rate=lambda step: math.inf if step == 7 else 0.01)
    assert (pulse.birth.step, pulse.birth.parameter) == (7, "fc1.weight")


def test_weights_that_were_not_finite_from_the_start() -> None:
    model = around()
    nn.init.constant_(model.fc2.bias, math.nan)
    pulse = train(model, batches(None, same))
    assert (pulse.birth.step, pulse.birth.origin.module, pulse.birth.parameter) == (0, "fc2", "")
    assert "fc2.bias" in pulse.birth.remark


@pytest.mark.parametrize("delay", [0, 3])
def test_nan_that_the_loss_uses_is_a_birth_though_gradients_are_finite(delay: int) -> None:
    """The logarithm of a negative number is NaN, and its derivative a number."""
    given = batches(BAD, lambda x: -x.abs())
    pulse = train(nn.Sequential(nn.Linear(WIDTH, WIDTH), Does(torch.log)), given, torch.sum, delay=delay)
    assert pulse.birth.origin == NonfiniteOrigin(stage="forward", module="1", operation="log")


@pytest.mark.parametrize("delay", [0, 3])
def test_nan_that_the_loss_leaves_out_is_none(delay: int) -> None:
    model = nn.Sequential(nn.Linear(WIDTH, WIDTH), Does(lambda x: torch.stack([x, x.detach().log()])))
    assert train(model, batches(None, same), torch.nansum, delay=delay).birth is None


@pytest.mark.parametrize("delay", [0, 2])
def test_a_model_of_which_only_parts_are_called(delay: int) -> None:
    """As of a framework's module whose training step is a method of its own."""
    model = nn.ModuleDict({"encoder": around(log=Does(logarithm)), "heads": nn.ModuleList([nn.Linear(2, 2)])})
    pulse = train(model, batches(BAD, zero_row), delay=delay, call=lambda x: model["heads"][0](model["encoder"](x)))
    assert (pulse.birth.step, pulse.birth.batch, pulse.batch) == (BAD, BAD, 7)
    assert pulse.birth.origin == NonfiniteOrigin(stage="forward", module="encoder.log", operation="log")


@pytest.mark.parametrize("delay", [0, 2])
def test_a_model_that_is_moved_and_one_that_gets_other_parts_are_seen_on(delay: int) -> None:
    model = around(log=Does(logarithm))
    pulse = pulse_of(model, delay=delay)
    for step, x in enumerate(batches(6, zero_row)):
        if step == 2:
            model.double()
        if step == 4:
            model.add_module("fc3", nn.Linear(2, 3, dtype=torch.float64))
            pulse.model_changed()
        model.zero_grad()
        squares(model(x if step < 2 else x.double())).backward()
        pulse.before_step(step)
        expected = math.sqrt(sum(float(p.grad.double().square().sum()) for p in model.parameters()))
        if step == 5:
            assert pulse.seen(wait=True)[-1].total_norm == pytest.approx(expected, rel=1e-6)
    pulse.close()
    assert (pulse.birth.step, pulse.birth.origin.module) == (6, "log")


def test_evaluation_in_between_is_no_batch_and_no_birth() -> None:
    model = around(log=Does(logarithm))
    pulse = pulse_of(model)
    for step, x in enumerate(batches(None, same)):
        model.zero_grad()
        squares(model(x)).backward()
        pulse.before_step(step)
        model.eval()
        model(zero_row(x))
        with torch.no_grad():
            model(zero_row(x))
        model.train()
    pulse.close()
    assert (pulse.batch, pulse.birth) == (7, None)
