"""What only a GPU can show: a captured step is an eager one, and a GPU's numbers are a CPU's. Skipped without one."""

from typing import Any

import pytest
import torch
from torch import Tensor

from vgharness.data.on_device import DeviceImages
from vgharness.data.synthetic import synthetic_images
from vgharness.precision import float32_precision
from vgharness.records import ARCHITECTURES, Architecture, Cell
from vgharness.training.cuda_graph import Recorder
from vgharness.training.executor import Execution, LocalExecutor
from vgharness.training.loop import train_pack
from vgharness.training.pack import Pack
from vgharness.training.values import StepValues

pytestmark = [
    pytest.mark.fast,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch sees no CUDA GPU here"),
]


def cells(**changes: Any) -> list[Cell]:
    shape = {"architecture": "script", "epochs": 2} | changes
    return [Cell(activation=a, seed=s, **shape) for s in (42, 43) for a in ("sigmoid", "relu")]


def epochs(
    device: str, count: int = 2, *, images: int = 208, only: slice = slice(None), **changes: Any
) -> tuple[list[StepValues], Tensor]:
    """What each epoch measured, by default with a batch of 128 and a tail of 80; and the networks' evaluation then,
    [R, 2]."""
    with float32_precision("fp32"):
        device_images = DeviceImages(synthetic_images(images, 100), torch.device(device))
        pack = Pack(cells(**changes)[only], device_images, "fp32")
        measured = [StepValues(pack.epoch(lambda step: None).flat.cpu().clone()) for _ in range(count)]
        return measured, pack.evaluate(100).flat.cpu().clone()


@pytest.mark.parametrize("norm", [None, "batch"])
def test_a_captured_step_is_an_eager_one(monkeypatch: pytest.MonkeyPatch, norm: Any) -> None:
    captured, tested = epochs("cuda", norm=norm)
    monkeypatch.setattr(Recorder, "can_record", False)
    eager, tested_eager = epochs("cuda", norm=norm)
    for a, b in zip(captured, eager, strict=True):
        torch.testing.assert_close(a.flat, b.flat, rtol=1e-2, atol=1e-6, equal_nan=True)
    torch.testing.assert_close(tested, tested_eager, rtol=1e-2, atol=1e-6)


@pytest.mark.parametrize("optimizer", [{"optimizer": "sgd", "learning_rate": 0.05}, {"optimizer": "adam"}])
def test_the_learning_rate_of_a_captured_step_follows_its_schedule(
    monkeypatch: pytest.MonkeyPatch, optimizer: dict[str, Any]
) -> None:
    def losses(schedule: str) -> list[float]:
        images = DeviceImages(synthetic_images(208, 100), torch.device("cuda"))
        with float32_precision("fp32"):
            results = train_pack(cells(epochs=4, schedule=schedule, **optimizer), images, "fp32")
        return [epoch.train_loss for result in results for epoch in result.epochs if epoch.train_loss is not None]

    captured, constant = losses("cosine"), losses("constant")
    monkeypatch.setattr(Recorder, "can_record", False)
    assert len(captured) == 16
    assert captured == pytest.approx(losses("cosine"), rel=1e-2)
    assert captured[0] == pytest.approx(constant[0], rel=1e-3)
    assert captured != pytest.approx(constant, rel=1e-3)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_twenty_steps_on_a_gpu_are_a_cpus(architecture: Architecture) -> None:
    (on_gpu,), _ = epochs("cuda", 1, images=640, batch_size=32, architecture=architecture)
    (on_cpu,), _ = epochs("cpu", 1, images=640, batch_size=32, architecture=architecture)
    assert len(on_gpu.flat) == 20
    # Sigmoid's first layer is the one whose gradient float32 hardly carries. Then rounding grows with every step: on
    # one CPU losses in float32 and float64 part by up to 3e-3 in twenty, gradients by up to 3e-2.
    assert_close(on_gpu.flat[0], on_cpu.flat[0], 1e-2)
    assert_close(on_gpu.gradients, on_cpu.gradients, 0.15)
    assert_close(on_gpu.losses, on_cpu.losses, 0.015)


def assert_close(on_gpu: Tensor, on_cpu: Tensor, rtol: float) -> None:
    torch.testing.assert_close(on_gpu, on_cpu, rtol=rtol, atol=1e-6, equal_nan=True, check_dtype=False)


def test_packed_is_alone_on_a_gpu() -> None:
    together, tested = epochs("cuda")
    for i in range(len(cells())):
        alone, tested_alone = epochs("cuda", only=slice(i, i + 1))
        for a, b in zip(together, alone, strict=True):
            torch.testing.assert_close(a.flat[:, i], b.flat[:, 0], rtol=1e-2, atol=1e-6, equal_nan=True)
        torch.testing.assert_close(tested[i], tested_alone[0], rtol=1e-2, atol=1e-6)


def test_a_study_trains_as_packs() -> None:
    images = DeviceImages(synthetic_images(208, 100), torch.device("cuda"))
    execution = Execution([*cells(), *cells(epochs=0)[:1]])
    execution.run(LocalExecutor([images], "fp32"))
    assert [result.status for result in execution.results] == ["finished"] * 5


def test_numerical_errors_are_of_each_moments_weights_between_the_replays() -> None:
    images = DeviceImages(synthetic_images(208, 100), torch.device("cuda"))
    with float32_precision("fp32"):
        results = train_pack(cells(), images, "fp32")
    for result in results:
        assert [moment.epoch for moment in result.numerics] == [0, 1, 2]
        errors = [[layer.weight_l2 for layer in moment.layers] for moment in result.numerics]
        assert not any(None in moment for moment in errors)
        assert errors[0] != errors[1] != errors[2]
