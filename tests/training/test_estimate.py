"""How long a study will take."""

import pytest
import torch
from small_cells import small_cell, train

import vgharness.training.estimate
from vgharness.data.on_device import DeviceImages
from vgharness.records import Cell, Study
from vgharness.training.estimate import SecondsPerImage, expected_seconds, seconds_per_image

pytestmark = [pytest.mark.fast, pytest.mark.usefixtures("without_first_batch")]


def test_what_is_timed_leaves_the_global_state_alone(few_images: DeviceImages) -> None:
    def state() -> tuple[object, ...]:
        precisions = (torch.backends.cudnn.conv, torch.backends.cuda.matmul)
        settings = tuple(precision.fp32_precision for precision in precisions)
        return *settings, torch.is_grad_enabled(), torch.get_default_dtype(), torch.get_num_threads()

    torch.manual_seed(0)  # else this could be the very state in which an earlier training left it
    before, generator = state(), torch.get_rng_state()
    expected_seconds(Study(preset="made up", cells=(small_cell(),), precision="tf32"), few_images)
    train(small_cell(), few_images, "fp32")
    assert state() == before
    assert torch.equal(torch.get_rng_state(), generator)


def test_cells_of_one_shape_are_timed_once(few_images: DeviceImages, monkeypatch: pytest.MonkeyPatch) -> None:
    timed = []

    def seconds(cell: Cell, *_: object) -> SecondsPerImage:
        timed.append(cell)
        return SecondsPerImage(1.0, 0.5)

    monkeypatch.setattr(vgharness.training.estimate, "seconds_per_image", seconds)
    cells = (small_cell(), small_cell("sigmoid", seed=43, epochs=3), small_cell("tanh", epochs=0), small_cell(depth=3))
    study = Study(preset="made up", cells=cells)
    # In batches of 10, 8 at the start of each cell, 4 after its first and 4 after its last epoch.
    first_batches = 10 * (4 * 8 + (1 + 2 + 0 + 1) * 4)
    assert expected_seconds(study, few_images, jobs=1) == (1 + 3 + 1) * (24 + 10 * 0.5) + first_batches
    assert timed == [cells[0], cells[3]]


def test_seconds_per_image_are_measured(few_images: DeviceImages) -> None:
    training, testing = seconds_per_image(small_cell(), few_images, "fp32")
    assert 0 < testing < 1
    assert 0 < training < 1
