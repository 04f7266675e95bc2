"""What only a GPU can show: a captured step is an eager one, and a GPU's numbers are a CPU's. Skipped without one."""

from typing import Any

import pytest
import torch
from torch import Tensor

from vgharness.data.on_device import DeviceImages
from vgharness.data.synthetic import synthetic_images
from vgharness.precision import float32_precision
from vgharness.records import ARCHITECTURES, PRECISIONS, Architecture, Cell, Precision
from vgharness.training.callback import Callback
from vgharness.training.cuda_graph import Recorder
from vgharness.training.executor import Execution, LocalExecutor
from vgharness.training.loop import train_pack
from vgharness.training.pack import Pack
from vgharness.training.values import EvaluationValues, StepValues

pytestmark = [
    pytest.mark.fast,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch sees no CUDA GPU here"),
]


def cells(seeds: int = 2, **changes: Any) -> list[Cell]:
    shape = {"architecture": "script", "epochs": 2} | changes
    return [Cell(activation=a, seed=42 + s, **shape) for s in range(seeds) for a in ("sigmoid", "relu")]


def epochs(
    device: str,
    count: int = 2,
    *,
    images: int = 208,
    only: slice = slice(None),
    precision: Precision = "fp32",
    **changes: Any,
) -> tuple[list[StepValues], list[EvaluationValues]]:
    """What each epoch measured, by default with a batch of 128 and a tail of 80; and the evaluation after each."""
    with float32_precision(precision):
        device_images = DeviceImages(synthetic_images(images, 100), torch.device(device))
        pack = Pack(cells(**changes)[only], device_images, precision)
        measured, tested = [], []
        for _ in range(count):
            measured.append(StepValues(pack.epoch(lambda step: None).flat.cpu().clone()))
            tested.append(EvaluationValues(pack.evaluate(100).flat.cpu().clone()))
        return measured, tested


def assert_alike(
    found: tuple[list[StepValues], list[EvaluationValues]],
    expected: tuple[list[StepValues], list[EvaluationValues]],
    rtol: float = 1e-2,
) -> None:
    """Gradients and losses within rounding; right answers as counts: of a hundred images one or two lie on the border
    between two classes."""
    for a, b in zip(found[0], expected[0], strict=True):
        torch.testing.assert_close(a.flat[..., :-1], b.flat[..., :-1], rtol=rtol, atol=1e-6, equal_nan=True)
        assert (a.correct - b.correct).abs().max() <= 2
    for c, d in zip(found[1], expected[1], strict=True):
        torch.testing.assert_close(c.losses, d.losses, rtol=rtol, atol=1e-6)
        assert (c.correct - d.correct).abs().max() <= 2


@pytest.mark.parametrize("norm", [None, "batch"])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_captured_step_is_an_eager_one(monkeypatch: pytest.MonkeyPatch, precision: Precision, norm: Any) -> None:
    """Of ten networks, as a study has them: three batches and a tail, and an evaluation between epochs."""
    study: dict[str, Any] = {"seeds": 5, "images": 3 * 128 + 80, "precision": precision, "norm": norm}
    captured = epochs("cuda", 3, **study)
    monkeypatch.setattr(Recorder, "can_record", False)
    eager = epochs("cuda", 3, **study)
    # Each rounds its own way where sums run in another order, and training carries that on.
    assert_alike(captured, eager, {"fp32": 1e-2, "tf32": 5e-2, "bf16": 0.2}[precision])


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
    assert_close(on_gpu.gradients[0], on_cpu.gradients[0], 1e-2)
    assert_close(on_gpu.losses[0], on_cpu.losses[0], 1e-2)
    assert (on_gpu.correct[0] - on_cpu.correct[0]).abs().max() <= 1
    assert_close(on_gpu.gradients, on_cpu.gradients, 0.15)
    assert_close(on_gpu.losses, on_cpu.losses, 0.015)


def assert_close(on_gpu: Tensor, on_cpu: Tensor, rtol: float) -> None:
    torch.testing.assert_close(on_gpu, on_cpu, rtol=rtol, atol=1e-6, equal_nan=True, check_dtype=False)


def test_packed_is_alone_on_a_gpu() -> None:
    measured, tested = epochs("cuda")
    for i in range(len(cells())):
        own = (
            [StepValues(values.flat[:, i : i + 1]) for values in measured],
            [EvaluationValues(values.flat[i : i + 1]) for values in tested],
        )
        assert_alike(own, epochs("cuda", only=slice(i, i + 1)))


class Warned(Callback):
    """What was said, and how often cells were split."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.splits: list[int] = []

    def warned(self, message: str) -> None:
        self.messages.append(message)

    def pack_split(self, cells: Any, reason: str) -> None:
        assert "out of memory" in reason.lower()
        self.splits.append(len(cells))


def test_a_pack_without_memory_for_its_recording_trains_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    images = DeviceImages(synthetic_images(208, 100), torch.device("cuda"))
    plain = train_on_gpu(images, Warned())
    forward, said = Pack._forward, Warned()

    def without_memory(pack: Pack, batch: Any) -> Any:
        found = forward(pack, batch)
        if torch.cuda.is_current_stream_capturing():
            torch.empty(2**50, dtype=torch.uint8, device="cuda")
        return found

    monkeypatch.setattr(Pack, "_forward", without_memory)
    found = train_on_gpu(images, said)
    assert [message.partition("(")[2][:16] for message in said.messages] == ["OutOfMemoryError"]
    monkeypatch.setattr(Pack, "_forward", forward)
    assert losses_of(found) == pytest.approx(losses_of(plain), rel=1e-2)
    assert losses_of(train_on_gpu(images, Warned())) == pytest.approx(losses_of(plain), rel=1e-2)  # it records again


def test_a_pack_without_memory_for_its_networks_is_split(monkeypatch: pytest.MonkeyPatch) -> None:
    images, said, forward = DeviceImages(synthetic_images(208, 100), torch.device("cuda")), Warned(), Pack._forward

    def without_memory(pack: Pack, batch: Any) -> Any:
        if len(pack) > 2:
            torch.empty(2**50, dtype=torch.uint8, device="cuda")
        return forward(pack, batch)

    monkeypatch.setattr(Pack, "_forward", without_memory)
    execution = Execution(cells())
    execution.run(LocalExecutor([images], "fp32"), said)
    assert said.splits == [4]
    assert [result.status for result in execution.results] == ["finished"] * 4


def train_on_gpu(images: DeviceImages, callback: Callback) -> Any:
    with float32_precision("fp32"):
        return train_pack(cells(), images, "fp32", callback)


def losses_of(results: Any) -> list[float]:
    return [epoch.train_loss for result in results for epoch in result.epochs]


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="there is one GPU here")
def test_a_second_gpu_trains_as_the_first() -> None:
    assert_alike(epochs("cuda:1"), epochs("cuda:0"))


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
