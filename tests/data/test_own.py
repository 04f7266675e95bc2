"""Data of a user's own: what a function gives, and torchvision's image sets from files that lie there already."""

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch

from vgharness.data.images import load_images
from vgharness.data.on_device import DeviceImages
from vgharness.data.own import is_own
from vgharness.errors import UsageError

pytestmark = pytest.mark.fast

GOOD = """
import torch
def data():
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(30, 5, generator=generator)
    targets = (inputs[:, 0] > 0).long()
    return (inputs[:20], targets[:20]), (inputs[20:], targets[20:])
def floats():
    (a, b), (c, d) = data()
    return (a.double().numpy(), b.float()[:, None]), (c.double().numpy(), d.float()[:, None])
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "own.py"
    path.write_text(GOOD)
    return path


def test_a_functions_tensors_go_into_networks_as_they_are(file: Path, tmp_path: Path) -> None:
    images = load_images(f"{file}:data", cache=tmp_path)
    assert (images.provenance.kind, images.provenance.classes, images.train_images.shape) == (
        "own",
        ("0", "1"),
        (20, 5),
    )
    on_device = DeviceImages(images, torch.device("cpu"))
    inputs, targets = on_device.training_batch(torch.tensor([3, 1]), torch.zeros(2, 2), torch.ones(2))
    assert torch.equal(inputs, images.train_images[[3, 1]])
    assert torch.equal(targets, images.train_labels[[3, 1]])
    assert [len(x) for x, _ in on_device.test_batches(10, 4)] == [4, 4, 2]
    assert load_images(f"{file}:data", cache=tmp_path, train_images=7).train_images.shape == (7, 5)


def test_numpy_and_targets_that_are_no_classes_are_taken(file: Path, tmp_path: Path) -> None:
    images = load_images(f"{file}:floats", cache=tmp_path)
    assert (images.train_images.dtype, images.train_labels.shape, images.provenance.classes) == (
        torch.float32,
        (20, 1),
        (),
    )


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("return 3", "gives int, not two pairs"),
        ("return (1, 2), (3, 4)", "train inputs are int, not a tensor"),
        ("return (t.zeros(2, 1), t.zeros(3)), (t.zeros(2, 1), t.zeros(2))", "inputs and targets are 2 and 3"),
        ("return (t.zeros(2, 1) / 0, t.zeros(2)), (t.zeros(2, 1), t.zeros(2))", "NaN or infinity"),
        ("return (t.zeros(2, 1), t.zeros(2)), (t.zeros(2, 4), t.zeros(2))", "make them alike"),
        ("return (t.zeros(2, 1), -t.ones(2).long()), (t.zeros(2, 1), t.ones(2).long())", "number the classes from 0"),
        ("raise ValueError('no file')", "raised ValueError: no file"),
    ],
)
def test_what_is_of_another_form_is_one_line(tmp_path: Path, body: str, says: str) -> None:
    path = tmp_path / "bad.py"
    path.write_text(f"import torch as t\ndef data():\n    {body}\n")
    with pytest.raises(UsageError, match=says) as raised:
        load_images(f"{path}:data", cache=tmp_path)
    assert "\n" not in str(raised.value)


def test_an_image_set_of_torchvision_is_read_from_its_own_files(tmp_path: Path) -> None:
    folder = tmp_path / "FashionMNIST" / "raw"
    folder.mkdir(parents=True)
    pixels = np.arange(6 * 28 * 28, dtype=np.uint8).reshape(6, 28, 28)
    for name in ("train", "t10k"):
        for kind, head, body in (
            ("images-idx3", b"\0\0\x08\x03\0\0\0\x06\0\0\0\x1c\0\0\0\x1c", pixels.tobytes()),
            ("labels-idx1", b"\0\0\x08\x01\0\0\0\x06", bytes([0, 1, 2, 0, 1, 2])),
        ):
            path = folder / f"{name}-{kind}-ubyte"
            path.write_bytes(head + body)
            with gzip.open(f"{path}.gz", "wb") as zipped:
                zipped.write(head + body)
    images = load_images("torchvision:FashionMNIST", cache=tmp_path)
    assert (images.provenance.kind, images.train_images.shape) == ("torchvision", (6, 1, 28, 28))
    assert images.train_images.mean().abs() < 1e-4
    assert images.train_labels.tolist() == [0, 1, 2, 0, 1, 2]
    with pytest.raises(UsageError, match="did you mean FashionMNIST"):
        load_images("torchvision:FashionMnist2", cache=tmp_path)


def test_only_a_place_with_a_name_is_data_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run:one").mkdir()
    assert list(map(is_own, ["own.py:data", "torchvision:SVHN", "run:one", "C:images", "cifar10", "./a"])) == [
        True, True, False, False, False, False
    ]  # fmt: skip
