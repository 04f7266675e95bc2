"""Batches of the user's own: callables, loaders, data sets, and how a pair is read."""

import types
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from factories import failure
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset
from unseen_models import Lambda, backward

from vgharness.check.batch import batch_of_callable, choose_batch

pytestmark = pytest.mark.fast

ROWS = TensorDataset(torch.arange(400.0).reshape(100, 4), torch.arange(100) % 3)

IDS = torch.ones(5).long()


class Rows(Dataset[Any]):
    def __init__(self, named: bool = False) -> None:
        self.named = named

    def __len__(self) -> int:
        return 100

    def __getitem__(self, i: int) -> Any:
        row, label = ROWS[i]
        return {"image": row, "label": label} if self.named else (row, label)


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        while True:
            yield torch.randn(4), torch.randint(3, ())


class Two(nn.Module):
    """Takes a row and an id."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.e = nn.Linear(4, 3), nn.Embedding(10, 3)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return self.a(x) + self.e(t)  # type: ignore[no-any-return]


def linear() -> nn.Module:
    return nn.Linear(4, 3)


@pytest.mark.parametrize(
    ("source", "rows"),
    [
        (DataLoader(ROWS, 5), 5),
        (DataLoader(ROWS, 5, shuffle=True), 5),
        (lambda: DataLoader(ROWS, 5), 5),
        (lambda batch_size=6: DataLoader(ROWS, batch_size), 6),
        (lambda seed: DataLoader(ROWS, 5), 5),
        (ROWS, 8),
        (Rows(), 8),
        (Rows, 8),
        (Stream(), 8),
        (lambda: Stream(), 8),
        ((torch.ones(5, 4), torch.ones(5).long()), 5),
        (lambda seed: [torch.ones(5, 4), torch.ones(5).long()], 5),
    ],
)
def test_loaders_and_data_sets_with_targets(source: Any, rows: int) -> None:
    batch = batch_of_callable(linear, source, "mine")
    inputs, targets = batch(42)
    assert (inputs.shape, targets.shape) == ((rows, 4), (rows,))
    assert torch.equal(batch(42)[0], inputs)
    assert batch.text == (
        "inputs of mine (a pair, taken for input and target); cross-entropy of output against the given targets"
    )
    backward(linear, batch)


def test_what_is_shuffled_depends_on_the_seed_and_stays_together() -> None:
    for source in (DataLoader(ROWS, 50, shuffle=True), ROWS):
        batch = batch_of_callable(linear, source, "mine")
        torch.manual_seed(0)
        before = torch.get_rng_state()
        (inputs, targets), (others, _) = batch(42), batch(43)
        assert torch.equal(torch.get_rng_state(), before)
        assert not torch.equal(inputs, others)
        assert torch.equal(inputs[:, 0] // 4 % 3, targets.float())


def test_without_targets() -> None:
    batch = batch_of_callable(linear, DataLoader(TensorDataset(torch.ones(9, 4)), 5), "mine")
    assert batch(42)[0].shape == (5, 4)
    assert "random targets of 3 classes" in batch.text


@pytest.mark.parametrize(
    ("factory", "given", "said"),
    [
        (Two, (torch.ones(5, 4), IDS), "(a pair, taken for two inputs, as the first alone does not do)"),
        (Two, (torch.ones(5, 4), IDS, IDS), "(3 of them, the last taken for the target)"),
        (Two, ((torch.ones(5, 4), torch.ones(5).long()), torch.ones(5).long()), "inputs of mine; "),
        (linear, (torch.ones(5, 4), torch.ones(5, 3)), "(a pair, taken for input and target)"),
        (linear, (torch.ones(5, 4), None), "inputs of mine; "),
        (linear, {"image": torch.ones(5, 4), "label": torch.ones(5).long()},
         "(its 'image' taken for the input and its 'label' taken for the target)"),
        (Two, {"x": torch.ones(5, 4), "t": torch.ones(5).long(), "y": torch.ones(5).long()},
         "(its 'y' taken for the target)"),
        (Two, {"x": torch.ones(5, 4), "t": torch.ones(5).long(), "id": [1]}, "'id' left out, which the model does not"),
        (linear, Rows(named=True), "(its 'image' taken for the input and its 'label' taken for the target)"),
    ],
)  # fmt: skip
def test_what_is_ambiguous_is_said(factory: Any, given: Any, said: str) -> None:
    batch = batch_of_callable(factory, given, "mine")
    assert said in batch.text
    backward(factory, batch)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (lambda seed: None, "gave None: give a callable from a seed"),
        (lambda a, b: None, "takes a, b: give a callable from a seed"),
        (lambda: 1 // 0, "called it raised ZeroDivisionError"),
        (3, "is an int: give a callable from a seed"),
        (DataLoader([], 4), "holds no batch"),
        ((), "gives an empty batch"),
        (DataLoader([object()], 4), "iterated it raised TypeError"),
        (lambda seed: "words", "the model says TypeError"),
        (lambda seed: torch.ones(8, 5), "of this input [8, 5] the model says"),
    ],
)
def test_bad_batches_are_one_line(source: Any, words: str) -> None:
    line = failure(lambda: batch_of_callable(linear, source, "mine:it"))
    assert line.startswith("--input mine:it")
    assert words in line


def test_a_detection_models_loader(mine: types.ModuleType) -> None:
    """Lists of images and of boxes, which it takes together."""

    def forward(self: Any, images: Any, targets: Any = None) -> Any:
        assert targets is not None, "in training mode targets are needed"
        return {"boxes": self.inner(images[0]).square().mean(), "classes": self.inner(images[1]).mean()}

    class Detector(Lambda):
        def forward(self, images: Any, targets: Any = None) -> Any:
            return self.does(self, images, targets)

    mine.loader = DataLoader(Rows(), 4, collate_fn=lambda rows: tuple(zip(*rows, strict=True)))  # type: ignore[attr-defined]
    batch = choose_batch(lambda: Detector(forward, inner=nn.Linear(4, 2)), "mine_of_this_test:loader")
    assert "taken for two inputs" in batch.text
    assert "output['boxes'], output['classes'] (summed), taken for the loss" in batch.text
    backward(lambda: Detector(forward, inner=nn.Linear(4, 2)), batch)
