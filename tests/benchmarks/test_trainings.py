"""That each training is what its label says, seen by a recorder of gradients that is nothing of the package."""

import math
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import pytest
import torch

from vgharness.benchmarks.trainings import HEALTHY, WRONG, Training

# By parameter: the norm of its gradient, how far the step moves it, and whether an optimizer has it.
Step = dict[str, tuple[float | None, float, bool]]


class Recorder:
    """Takes the place of a watch."""

    def __init__(self, model: Any, optimizer: Any, scaler: Any = None, start: int = 0) -> None:
        self.models = model if isinstance(model, dict) else {"": model}
        self.optimizers = optimizer if isinstance(optimizer, list) else [optimizer]
        self.scaler, self.start = scaler, start
        self.steps: list[Step] = []
        self.scales: list[float] = []
        self.before: dict[str, torch.Tensor] = {}

    def __call__(self, *arguments: Any, **options: Any) -> Self:
        self.__init__(*arguments, **options)  # type: ignore[misc]
        return self

    def __enter__(self) -> Self:
        self.handles = [
            handle
            for optimizer in self.optimizers
            for handle in (
                optimizer.register_step_pre_hook(lambda *_: self.keep()),
                optimizer.register_step_post_hook(lambda optimizer, *_: self.record(optimizer)),
            )
        ]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for handle in self.handles:
            handle.remove()

    def parameters(self) -> dict[str, torch.nn.Parameter]:
        return {
            f"{model}:{name}".removeprefix(":"): parameter
            for model, module in self.models.items()
            for name, parameter in module.named_parameters()
        }

    def keep(self) -> None:
        self.before = {name: parameter.detach().clone() for name, parameter in self.parameters().items()}

    def record(self, optimizer: Any) -> None:
        owned = {id(p) for each in self.optimizers for group in each.param_groups for p in group["params"]}
        own = {id(p) for group in optimizer.param_groups for p in group["params"]}
        step: Step = {}
        for name, p in self.parameters().items():
            if len(self.models) == 1 or id(p) in own:
                change = (p.detach() - self.before[name]).norm() / self.before[name].norm().clamp(min=1e-30)
                step[name] = (None if p.grad is None else p.grad.norm().item(), change.item(), id(p) in owned)
        self.steps.append(step)

    def step(self, loss: Any = None) -> None:
        if self.scaler is not None:
            self.scales.append(self.scaler.get_scale())


def recorded(training: Training) -> tuple[Recorder, list[float]]:
    recorder = Recorder({}, [])
    return recorder, training.run(recorder)


def total(step: Step, part: str = "") -> float:
    return math.hypot(*(grad or 0.0 for name, (grad, _, _) in step.items() if part in name))


def largest_update(step: Step, part: str = "") -> float:
    return max(update for name, (_, update, _) in step.items() if part in name)


# What is seen of each from the step on at which it goes wrong, and not before.
SEEN: dict[str, Callable[[Step], bool]] = {
    "NaN in the forward pass": lambda step: all(not math.isfinite(grad or 0) for grad, _, _ in step.values()),
    "unlucky batch": lambda step: total(step) > 1000,
    "learning rate too high": lambda step: largest_update(step) > 0.1,
    "layer the optimizer lacks": lambda step: not step["fc1.weight"][2],
    "branch detached": lambda step: step["right.0.weight"][0] is None and step["right.2.bias"][0] is None,
}


def part(name: str) -> tuple[Recorder, list[float], Training]:
    training = next(training for training in WRONG if training.name == name)
    return *recorded(training), training


@pytest.mark.fast
@pytest.mark.parametrize("name", list(SEEN))
def test_it_goes_wrong_at_its_step_and_not_before(name: str) -> None:
    recorder, _, training = part(name)
    assert training.expected is not None
    first = next(number for number, step in enumerate(recorder.steps) if SEEN[name](step))
    assert first == training.expected.first


@pytest.mark.fast
def test_nan_of_the_backward_pass_comes_while_the_loss_is_finite() -> None:
    recorder, losses, training = part("NaN in the backward pass")
    at = training.variant.at
    assert math.isfinite(losses[at])
    assert math.isnan(recorder.steps[at]["fc1.weight"][0] or 0)
    assert math.isfinite(recorder.steps[at]["fc2.weight"][0] or math.nan)
    assert math.isfinite(total(recorder.steps[at - 1]))


@pytest.mark.fast
def test_the_explosion_is_clipped_and_stays() -> None:
    recorder, losses, training = part("explosion through time")
    at = training.variant.at
    assert max(losses[at - 10 : at]) < 2 < 1000 < min(losses[at:])
    assert all(math.isclose(total(step), 1, rel_tol=1e-3) for step in recorder.steps[at:])


@pytest.mark.fast
def test_the_unlucky_batch_leaves_the_training_slow() -> None:
    recorder, losses, training = part("unlucky batch")
    at = training.variant.at
    assert largest_update(recorder.steps[-1], "fc0.weight") < 0.1 * largest_update(recorder.steps[at - 1], "fc0.weight")
    assert min(losses[at + 1 :]) > min(losses[:at]) - 0.1


@pytest.mark.fast
def test_the_loss_scale_falls_for_good() -> None:
    recorder, _, training = part("loss scale that collapses")
    at = training.variant.at
    assert recorder.scales[at - 1] == 2**16
    assert recorder.scales[at:] == [2.0 ** (15 - i) for i in range(len(recorder.scales) - at)]
    assert len(recorder.steps) == at  # none is taken any more


@pytest.mark.fast
def test_the_layer_is_dead_for_good() -> None:
    recorder, losses, training = part("layer that dies")
    at = training.variant.at
    assert losses[at - 1] < 0.8 * losses[0]
    assert all(total(step, "fc1") == 0 for step in recorder.steps[at + 1 :])
    assert total(recorder.steps[at - 1], "fc1") > 0.1
    assert total(recorder.steps[-1], "head") > 0.01


@pytest.mark.fast
def test_the_signal_before_the_saturated_layer_vanishes_in_time() -> None:
    recorder, _, training = part("sigmoid that saturates")
    assert training.expected is not None
    at, last = training.expected.first, training.expected.last
    assert total(recorder.steps[at - 1], "fc0") > total(recorder.steps[at - 1], "head") / 300
    for step in recorder.steps[last - 10 :]:
        assert total(step, "fc0") < total(step, "head") / 1e6
        assert total(step, "fc2") > total(step, "head") / 300


@pytest.mark.fast
def test_the_embedding_stops_while_its_gradient_does_not() -> None:
    recorder, _, training = part("embedding that stops")
    assert training.expected is not None
    updates = [largest_update(step, "embed") for step in recorder.steps]
    assert updates[training.expected.first - 1] > 1e-4 > updates[training.expected.first + 1]
    assert updates[training.expected.last] < 1e-9
    assert total(recorder.steps[-1], "embed") > 0.5 * total(recorder.steps[training.variant.at - 1], "embed")


@pytest.mark.fast
def test_the_generator_gets_nothing() -> None:
    recorder, distances, training = part("GAN, discriminator too good")
    assert training.expected is not None
    norms = [total(step) for step in recorder.steps if any(name.startswith("generator") for name in step)]
    at, last = training.expected.first, training.expected.last
    assert max(norms[last - 10 :]) < 0.01 * norms[at - 1]
    assert min(distances[last:]) > 10


@pytest.mark.deep
@pytest.mark.parametrize("training", HEALTHY, ids=lambda training: training.name)
def test_a_healthy_training_learns(training: Training) -> None:
    recorder, losses = recorded(training)
    assert all(map(math.isfinite, losses))
    assert sum(losses[-20:]) < 0.75 * sum(losses[:20])
    if training.name == "loss scale, first steps skipped":
        drops = [i for i, (a, b) in enumerate(zip(recorder.scales, recorder.scales[1:], strict=False)) if b < a]
        assert drops[:3] == [0, 1, 2]
        assert drops[-1] > 50  # and later again
    if training.name == "unfreezing":
        at = training.variant.at
        assert recorder.steps[at - 1]["fc0.weight"][0] is None
        assert recorder.steps[at]["fc0.weight"][0] is not None
    if training.name == "idle experts":
        idle = [not step[f"experts.{i}.0.weight"][0] for step in recorder.steps for i in range(6)]
        assert any(idle)
        assert not all(idle)
    if training.name == "branches that start closed":
        assert total(recorder.steps[0], "blocks.") == 0 < total(recorder.steps[5], "blocks.")


@pytest.mark.fast
@pytest.mark.parametrize("training", [WRONG[0], HEALTHY[4]], ids=lambda training: training.name)
def test_a_training_is_the_same_each_time(training: Training) -> None:
    torch.manual_seed(7)
    state = torch.random.get_rng_state()
    first = recorded(training)[1]
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(8)
    assert repr(recorded(training)[1]) == repr(first)  # NaN is not equal to itself


@pytest.mark.fast
def test_names_are_unique_and_there_are_twelve_of_either() -> None:
    assert len(WRONG) == len(HEALTHY) == 12
    assert len({training.name for training in (*WRONG, *HEALTHY)}) == 24
    assert all(training.expected for training in WRONG)
    assert not any(training.expected for training in HEALTHY)
