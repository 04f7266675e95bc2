"""What the baseline script does, and what of it is timed."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from vgharness.benchmarks import baseline
from vgharness.benchmarks.baseline import BaselineScript, CarefulScript
from vgharness.data.on_device import DeviceImages
from vgharness.data.synthetic import synthetic_images
from vgharness.models import DeepCNN

pytestmark = pytest.mark.fast

CPU = torch.device("cpu")


# Where a process has threads Python 3.12 warns of what a DataLoader does on Linux: it forks.
forks = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


@forks
def test_the_baseline_script_shows_every_image_once_and_waits_for_each_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    data, shown, waits = synthetic_images(10, 1), [], []
    monkeypatch.setattr(baseline, "WARM_UP", 1)
    monkeypatch.setattr(baseline, "AHEAD", 1)
    script = BaselineScript("script", "relu", data, CPU, "fp32", 4)
    script._optimizer = torch.optim.SGD(script._model.parameters(), lr=1.0)  # Adam's own step uses `item` too
    before = [weight.detach().clone() for weight in script._model.parameters()]
    script._model.register_forward_pre_hook(lambda module, inputs: shown.append((len(inputs[0]), len(waits))))
    monkeypatch.setattr(torch.Tensor, "item", lambda self, item=torch.Tensor.item: waits.append(1) or item(self))
    assert script.seconds_per_image() > 0
    assert [size for size, _ in shown] == [4, 4, 2]
    steps = [after - before for (_, before), (_, after) in pairwise(shown)]
    assert steps == [6, 6]  # waits: a gradient for each of four convolutions, the loss and the right answers
    assert all(not torch.equal(a, b) for a, b in zip(before, script._model.parameters(), strict=True))


@forks
def test_neither_its_first_nor_its_last_batches_are_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baseline, "WARM_UP", 2)
    monkeypatch.setattr(baseline, "AHEAD", 1)
    takes, clock = [100.0, 100.0, 1.0, 1.0, 1.0, 1000.0], [0.0]
    script = BaselineScript("script", "relu", synthetic_images(22, 1), CPU, "fp32", 4)
    script._model.register_forward_hook(lambda *_: clock.append(clock[-1] + takes[len(clock) - 1]))
    monkeypatch.setattr(baseline.time, "perf_counter", lambda: clock[-1])
    assert script.seconds_per_image() == pytest.approx(3 / 12)
    assert len(clock) == 7


def test_the_baseline_script_is_the_plain_network() -> None:
    model = BaselineScript("script", "relu", synthetic_images(4, 1), CPU, "fp32", 4)._model
    assert isinstance(model, DeepCNN)
    assert [type(module) for module in model.chain()][:3] == [nn.Conv2d, nn.ReLU, nn.MaxPool2d]


def test_the_careful_script_trains_on_every_image_once_and_never_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baseline, "WARM_UP", 1)
    images, shown, waits = DeviceImages(synthetic_images(10, 1), CPU), [], []
    seen = images.training_batch

    def training_batch(index: torch.Tensor, *drawn: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        shown.extend(index.tolist())
        return seen(index, *drawn)

    monkeypatch.setattr(images, "training_batch", training_batch)
    script = CarefulScript("script", "relu", images, "fp32", 4)
    script._optimizer = torch.optim.SGD(script._model.parameters(), lr=1.0)  # Adam's own step uses `item`
    before = [weight.detach().clone() for weight in script._model.parameters()]
    monkeypatch.setattr(torch.Tensor, "item", lambda self: waits.append(1))
    assert script.seconds_per_image() > 0
    assert (sorted(shown), waits) == (list(range(10)), [])
    assert all(not torch.equal(a, b) for a, b in zip(before, script._model.parameters(), strict=True))
