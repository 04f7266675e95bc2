"""That each training is what its label says, seen by a recorder of gradients that is nothing of the package."""

import math
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self

import pytest
import torch

from vgharness.benchmarks.trainings import HEALTHY, WRONG, Training
from vgharness.benchmarks.trainings.variants import draw_trainings

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


# Whether it has gone wrong at a step, of those where that can be said of a single one.
SEEN: dict[str, Callable[[Step, Training], bool]] = {
    "NaN in the forward pass": lambda step, _: all(not math.isfinite(grad or 0) for grad, _, _ in step.values()),
    "unlucky batch": lambda step, _: total(step) > 1000,
    "learning rate too high": lambda step, _: largest_update(step) > 0.1,
    "layer the optimizer lacks": lambda step, training: not step[f"fc{training.variant.place}.weight"][2],
    "branch detached": lambda step, training: (
        step[f"{'right' if training.variant.place else 'left'}.2.bias"][0] is None
    ),
}


def check_nan_backward(recorder: Recorder, losses: list[float], training: Training) -> None:
    at, place = training.variant.at, training.variant.place
    assert math.isfinite(losses[at])
    assert math.isnan(recorder.steps[at][f"fc{place}.weight"][0] or 0)
    assert math.isfinite(recorder.steps[at]["head.weight"][0] or math.nan)
    assert math.isfinite(total(recorder.steps[at - 1]))


def check_explosion(recorder: Recorder, losses: list[float], training: Training) -> None:
    at = training.variant.at
    assert max(losses[at - 10 : at]) < 2.5 < 100 < min(losses[at:])
    assert all(math.isclose(total(step), 1, rel_tol=1e-3) for step in recorder.steps[at:])  # clipped


def check_unlucky_batch(recorder: Recorder, losses: list[float], training: Training) -> None:
    at = training.variant.at
    assert largest_update(recorder.steps[-1], "fc0.weight") < 0.2 * largest_update(recorder.steps[at - 1], "fc0.weight")
    assert sum(losses[-20:]) > sum(losses[at - 20 : at]) - 20 * 0.1


def check_loss_scale(recorder: Recorder, losses: list[float], training: Training) -> None:
    at = training.variant.at
    assert recorder.scales[at - 1] == 2**16
    assert recorder.scales[at:] == [2.0 ** (15 - i) for i in range(len(recorder.scales) - at)]
    assert len(recorder.steps) == at  # none is taken any more


def check_dead(recorder: Recorder, losses: list[float], training: Training) -> None:
    at, layer = training.variant.at, f"fc{training.variant.place}"
    assert losses[at - 1] < 0.9 * losses[0]
    assert all(total(step, layer) == 0 for step in recorder.steps[at + 2 :])
    assert total(recorder.steps[at - 1], layer) > 0.05
    assert total(recorder.steps[-1], "head") > 0.01


def check_saturated(recorder: Recorder, losses: list[float], training: Training) -> None:
    assert training.expected is not None
    at, last, place = training.expected.first, training.expected.last, training.variant.place
    assert total(recorder.steps[at - 1], "fc0") > total(recorder.steps[at - 1], "head") / 300
    for step in recorder.steps[last - 5 :]:
        assert total(step, "fc0") < total(step, "head") / 1e4
        if place == 1:
            assert total(step, "fc2") > total(step, "head") / 300


def check_stopped(recorder: Recorder, losses: list[float], training: Training) -> None:
    assert training.expected is not None
    updates = [largest_update(step, "embed") for step in recorder.steps]
    assert updates[training.expected.first - 2] > 1e-4 > updates[training.expected.first + 2]
    assert updates[training.expected.last] < 1e-9
    assert total(recorder.steps[-1], "embed") > 0.3 * total(recorder.steps[training.variant.at - 1], "embed")


def check_starved(recorder: Recorder, losses: list[float], training: Training) -> None:
    """``losses`` are the generator's distances from the real points."""
    assert training.expected is not None
    norms = [total(step) for step in recorder.steps if any(name.startswith("generator") for name in step)]
    at, last = training.expected.first, training.expected.last
    assert max(norms[last - 10 :]) < 0.05 * norms[at - 1]
    assert min(losses[last:]) > 10


CHECKS: dict[str, Callable[[Recorder, list[float], Training], None]] = {
    "NaN in the backward pass": check_nan_backward,
    "explosion through time": check_explosion,
    "unlucky batch": check_unlucky_batch,
    "loss scale that collapses": check_loss_scale,
    "layer that dies": check_dead,
    "sigmoid that saturates": check_saturated,
    "embedding that stops": check_stopped,
    "GAN, discriminator too good": check_starved,
}


def check(training: Training) -> None:
    """Holds a training against its label; a healthy one is to learn."""
    recorder, losses = recorded(training)
    if training.expected is None:
        assert all(map(math.isfinite, losses))
        assert sum(losses[-20:]) < 0.85 * sum(losses[:20])
        return
    if training.name in SEEN:
        seen = [SEEN[training.name](step, training) for step in recorder.steps]
        assert seen.index(True) == training.expected.first
    if training.name in CHECKS:
        CHECKS[training.name](recorder, losses, training)


@pytest.mark.fast
@pytest.mark.parametrize("training", WRONG, ids=lambda training: training.name)
def test_it_goes_wrong_at_its_step_and_not_before(training: Training) -> None:
    assert training.name in {*SEEN, *CHECKS}
    check(training)


@pytest.mark.deep
@pytest.mark.parametrize("training", HEALTHY, ids=lambda training: training.name)
def test_a_healthy_training_learns(training: Training) -> None:
    check(training)


@pytest.mark.deep
@pytest.mark.parametrize("training", draw_trainings(96, seed=5), ids=lambda x: f"{x.name}-{x.variant.seed}")
def test_variants_are_what_their_labels_say(training: Training) -> None:
    check(training)


def healthy(name: str) -> tuple[Recorder, Training]:
    training = next(training for training in HEALTHY if training.name == name)
    return recorded(training)[0], training


@pytest.mark.deep
def test_the_unusual_happens_in_healthy_trainings() -> None:
    recorder, _ = healthy("loss scale, first steps skipped")
    drops = [i for i, (a, b) in enumerate(zip(recorder.scales, recorder.scales[1:], strict=False)) if b < a]
    assert drops[:3] == [0, 1, 2]
    assert drops[-1] > 50  # and later again
    recorder, training = healthy("unfreezing")
    assert recorder.steps[training.variant.at - 1]["fc0.weight"][0] is None
    assert recorder.steps[training.variant.at]["fc0.weight"][0] is not None
    recorder, _ = healthy("idle experts")
    idle = [not step[f"experts.{i}.0.weight"][0] for step in recorder.steps for i in range(6)]
    assert any(idle)
    assert not all(idle)
    recorder, _ = healthy("branches that start closed")
    assert total(recorder.steps[0], "blocks.") == 0 < total(recorder.steps[5], "blocks.")


@pytest.mark.fast
def test_a_training_is_the_same_each_time() -> None:
    torch.manual_seed(7)
    state = torch.random.get_rng_state()
    first = recorded(WRONG[0])[1]
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(8)
    assert repr(recorded(WRONG[0])[1]) == repr(first)  # NaN is not equal to itself


@pytest.mark.fast
def test_names_are_unique_and_there_are_twelve_of_either() -> None:
    assert len(WRONG) == len(HEALTHY) == 12
    assert len({training.name for training in (*WRONG, *HEALTHY)}) == 24
    assert all(training.expected for training in WRONG)
    assert not any(training.expected for training in HEALTHY)
