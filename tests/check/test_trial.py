"""Inputs are tried without memory; what would not fit is never run."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from factories import failure
from torch import Tensor, nn
from unseen_models import HeadFirst, Lambda

from vgharness.check import batch as batches
from vgharness.check.batch import batch_of_callable, choose_batch, infer_batch
from vgharness.check.outputs import describe_output
from vgharness.check.trial import TooLargeError, Trial, UndecidedError

pytestmark = pytest.mark.fast


def saved(model: nn.Module, inputs: Tensor) -> int:
    """Bytes that autograd really saves, counted here in another way: by where they lie."""
    own = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *model.buffers())}
    found: dict[int, int] = {}
    alive: list[Tensor] = []

    def pack(tensor: Tensor) -> Tensor:
        alive.append(tensor)
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            found[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model(inputs)
    return sum(found.values())


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(nn.Linear(16, 32), nn.Sigmoid(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 4)),
        nn.Sequential(nn.Conv1d(8, 8, 3, padding=1), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(16, 4)),
        nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0),
    ],
)
def test_what_a_pass_keeps_is_known_before_it_is_run(model: nn.Module) -> None:
    inputs = torch.randn(8, 8, 16)
    before = copy.deepcopy(model.state_dict())
    output, predicted = Trial(model).predict(lambda: torch.empty(8, 8, 16))
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(type(tensor) in (nn.Parameter, Tensor) for tensor in (*model.parameters(), *model.buffers()))
    assert predicted == pytest.approx(saved(model, inputs), rel=0.1)
    assert describe_output(output) == describe_output(model(inputs))
    assert Trial(model).run(inputs)[1] == saved(model, inputs)


def calls_of(make: Callable[[], nn.Module]) -> tuple[Callable[[], nn.Module], list[tuple[int, ...]]]:
    """A factory of the models that ``make`` makes, and the shapes on which they are really run."""
    real: list[tuple[int, ...]] = []

    def forward(self: Any, x: Tensor) -> Tensor:
        if type(x) is Tensor:
            real.append(tuple(x.shape))
        return self.inner(x)  # type: ignore[no-any-return]

    return lambda: Lambda(forward, inner=make()), real


def test_a_shape_that_fails_is_not_tried_for_real() -> None:
    factory, real = calls_of(lambda: nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(2 * 62 * 62, 3)))
    assert "[8, 3, 64, 64]" in infer_batch(factory).inputs
    assert real == [(2, 3, 64, 64)]  # a few samples show whether it takes the values
    factory, real = calls_of(lambda: nn.Linear(3, 2))
    failure(lambda: choose_batch(factory, "8,4"))
    assert real == []


def test_a_model_that_wants_the_whole_batch_is_run_with_it() -> None:
    def forward(self: Any, x: Tensor) -> Tensor:
        if len(x) != 8:
            raise ValueError("eight, please")
        return self.inner(x)  # type: ignore[no-any-return]

    batch = infer_batch(lambda: Lambda(forward, inner=nn.Linear(4, 2)))
    assert batch(42)[0].shape == (8, 4)
    assert batch.output.parts[0].shape == (8, 2)


def test_what_only_values_show_is_still_refused() -> None:
    def forward(self: Any, x: Tensor) -> Tensor:
        if type(x) is Tensor:
            raise ValueError("not these values")
        return self.inner(x)  # type: ignore[no-any-return]

    assert "not these values" in failure(lambda: infer_batch(lambda: Lambda(forward, inner=nn.Linear(4, 2))))


def wide() -> nn.Module:
    """Keeps 4 kB of activations per sample, and a little."""
    return nn.Sequential(nn.Linear(4, 1024), nn.Sigmoid(), nn.Linear(1024, 2))


@pytest.mark.parametrize(
    ("most", "size", "said"),
    [(40_000, 8, ""), (20_000, 2, " (a batch of 2, as 8 would keep "), (5_000, 1, " (a batch of 1, as ")],
)
def test_a_smaller_batch_is_taken_where_more_would_not_fit(
    monkeypatch: pytest.MonkeyPatch, most: int, size: int, said: str
) -> None:
    monkeypatch.setattr(batches, "MOST_KEPT", most)
    factory, real = calls_of(wide)
    batch = infer_batch(factory)
    assert batch(42)[0].shape == (size, 4)
    assert batch(42)[1].shape == (size,)
    assert f"rows [{size}, 4] of unit noise{said}" in batch.inputs
    assert real == [(min(size, 2), 4)]


def test_what_never_fits_is_refused_without_being_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "MOST_KEPT", 3_000)
    factory, real = calls_of(wide)
    line = failure(lambda: infer_batch(factory))
    assert "in memory for the backward pass" in line
    assert "give a smaller --input" in line
    assert real == []


@pytest.mark.parametrize("given", ["8,4", "callable"])
def test_what_was_asked_for_is_refused_where_it_takes_over_half_of_the_free_memory(
    monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    gradients = sum(p.nbytes for p in wide().parameters())
    factory, real = calls_of(wide)

    def choose() -> object:
        if given == "callable":
            return batch_of_callable(factory, lambda seed: torch.ones(8, 4), "mine:callable")
        return choose_batch(factory, given)

    monkeypatch.setattr("vgharness.check.trial.free_memory", lambda device: 2 * (gradients + 20_000))
    line = failure(choose)
    assert line.startswith(f"--input {'mine:callable' if given == 'callable' else given} would keep ")
    assert real == []
    monkeypatch.setattr("vgharness.check.trial.free_memory", lambda device: 2 * (gradients + 40_000))
    choose()


class DependsOnValues(nn.Module):
    """What fake tensors cannot run."""

    real: list[int] = []  # noqa: RUF012

    def __init__(self) -> None:
        super().__init__()
        self.inner = wide()

    def forward(self, x: Tensor) -> Tensor:
        if type(x) is Tensor:
            self.real.append(len(x))
        if x.sum() > 1e9:
            return x
        return self.inner(x)  # type: ignore[no-any-return]


@pytest.mark.parametrize(("most", "sizes"), [(40_000, [2, 8]), (20_000, [2, 2])])
def test_a_model_that_depends_on_values_is_run_with_a_small_batch_first(
    monkeypatch: pytest.MonkeyPatch, most: int, sizes: list[int]
) -> None:
    monkeypatch.setattr(batches, "MOST_KEPT", most)
    DependsOnValues.real.clear()
    with pytest.raises(UndecidedError):
        Trial(DependsOnValues()).predict(lambda: torch.empty(8, 4))
    assert infer_batch(DependsOnValues).shapes == ((sizes[-1], 4),)
    assert DependsOnValues.real == sizes


def test_a_real_pass_stops_where_it_keeps_too_much() -> None:
    done: list[int] = []

    def forward(self: Any, x: Tensor) -> Tensor:
        for i in range(100):
            x = x.sigmoid()
            done.append(i)
        return self.inner(x)  # type: ignore[no-any-return]

    with pytest.raises(TooLargeError):
        Trial(Lambda(forward, inner=nn.Linear(250, 2)), 5_500).run(torch.ones(1, 250, requires_grad=True))
    assert len(done) == 5


def test_nothing_is_logged_of_inputs_that_were_only_tried(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    infer_batch(HeadFirst)
    failure(lambda: choose_batch(lambda: nn.Linear(3, 2), "8,4"))
    assert caplog.text == ""
    assert capfd.readouterr().err == ""


def test_a_state_that_a_pass_leaves_in_the_model_is_never_a_fake_one() -> None:
    def forward(self: Any, x: Tensor) -> Tensor:
        self.last = x if getattr(self, "last", None) is None else self.last + x
        return self.inner(self.last)  # type: ignore[no-any-return]

    model = Lambda(forward, inner=nn.Linear(3, 2))
    infer_batch(lambda: model)
    assert type(model.last) is Tensor
