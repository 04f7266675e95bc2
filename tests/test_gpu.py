"""What only a GPU can show: a captured step is an eager one, and a GPU's numbers are a CPU's. Skipped without one."""

from typing import Any

import pytest
import torch
from torch import Tensor

from vgharness.data import synthetic
from vgharness.executors import Execution
from vgharness.packs import Pack, Resident
from vgharness.records import Cell
from vgharness.train import float32_precision

pytestmark = [
    pytest.mark.fast,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="PyTorch sees no CUDA GPU here"),
]


def cells(**changes: Any) -> list[Cell]:
    shape = {"architecture": "script", "epochs": 2} | changes
    return [Cell(activation=a, seed=s, **shape) for s in (42, 43) for a in ("sigmoid", "relu")]


def epochs(device: str, count: int = 2, **changes: Any) -> tuple[list[Tensor], Tensor]:
    """What each epoch of a batch of 128 and a tail of 80 measured, and what the networks are worth then."""
    with float32_precision("fp32"):
        images = Resident(synthetic(208, 100), torch.device(device))
        pack = Pack(cells(**changes), images, "fp32")
        return [pack.epoch(lambda step: None).cpu().clone() for _ in range(count)], pack.evaluate(100).cpu()


@pytest.mark.parametrize("norm", [None, "batch"])
def test_a_captured_step_is_an_eager_one(monkeypatch: pytest.MonkeyPatch, norm: Any) -> None:
    captured, tested = epochs("cuda", norm=norm)
    monkeypatch.setattr(Pack, "_prepare", lambda self: None)
    eager, tested_eager = epochs("cuda", norm=norm)
    for a, b in zip(captured, eager, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-2, atol=1e-6, equal_nan=True)
    torch.testing.assert_close(tested, tested_eager, rtol=1e-2, atol=1e-6)


def test_a_gpus_first_steps_are_a_cpus() -> None:
    (on_gpu,), _ = epochs("cuda", count=1)
    (on_cpu,), _ = epochs("cpu", count=1)
    # Sigmoid's first layer is the one whose gradient float32 hardly carries.
    torch.testing.assert_close(on_gpu, on_cpu, rtol=1e-2, atol=1e-6, equal_nan=True)


def test_a_study_trains_as_packs() -> None:
    images = Resident(synthetic(208, 100), torch.device("cuda"))
    execution = Execution([*cells(), *cells(epochs=0)[:1]])
    execution.run(images, "fp32")
    assert [result.status for result in execution.results] == ["finished"] * 5
