"""The test images: counted and weighed as one by one."""

from typing import Any

import pytest
import torch
from plain_loop import standardise
from small_cells import TEST, make_cell
from torch.nn import functional

import vgharness.training.evaluation
from vgharness.data.on_device import DeviceImages
from vgharness.data.synthetic import synthetic_images
from vgharness.training.pack import Pack

pytestmark = pytest.mark.fast


@pytest.mark.parametrize("norm", [None, "batch"])
def test_evaluation_equals_a_plain_one_over_several_chunks(
    images: DeviceImages, monkeypatch: pytest.MonkeyPatch, norm: Any
) -> None:
    monkeypatch.setattr(vgharness.training.evaluation, "TEST_BATCH", 30)
    pack = Pack((make_cell(norm=norm),), images, "fp32")
    (model,) = pack.models
    model(torch.randn(8, 3, 32, 32))  # moves BatchNorm's running statistics
    ((loss, correct),) = pack.evaluate(TEST).flat.tolist()
    assert model.training

    model, data = model.eval(), synthetic_images(1, TEST)
    with torch.no_grad():
        outputs = torch.cat([model(standardise(image[None])) for image in data.test_images])
    assert correct == sum(outputs.argmax(1).eq(data.test_labels).tolist())
    assert loss == pytest.approx(TEST * functional.cross_entropy(outputs, data.test_labels).item(), rel=1e-5)
