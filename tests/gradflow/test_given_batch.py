"""Batches as real code has them: which batch a seed gets, and how it is read."""

import random
from collections import UserDict
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from factories import failure
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence, pack_sequence
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from vgharness.gradflow.given_batch import draw_of, read_batch
from vgharness.gradflow.measurement import measure

pytestmark = pytest.mark.fast

X, Y = torch.arange(80.0).reshape(20, 4), torch.arange(20) % 2
ROWS = TensorDataset(X, Y)


class Linear(nn.Linear):
    def __init__(self) -> None:
        super().__init__(4, 2)


class Two(Linear):
    """Takes features and times."""

    def forward(self, x: Tensor, t: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(x + t)


class WithLoss(Linear):
    """As those of transformers: takes a dict by name, labels too, and gives its loss."""

    def forward(self, ids: Tensor, labels: Tensor | None = None) -> Any:  # type: ignore[override]
        logits = super().forward(ids)
        return UserDict(logits=logits, loss=None if labels is None else functional.cross_entropy(logits, labels))


class OfBatch(Linear):
    def forward(self, batch: dict[str, Tensor]) -> Tensor:  # type: ignore[override]
        return super().forward(batch["a"] + batch["b"])


class Packed(nn.GRU):
    def __init__(self) -> None:
        super().__init__(4, 3)

    def forward(self, words: PackedSequence) -> Tensor:  # type: ignore[override]
        return super().forward(words)[1]  # type: ignore[no-any-return]


class Graph:
    """A batch that is an object, as graphs are; it can be indexed and moved."""

    def __init__(self) -> None:
        self.x = X

    def __len__(self) -> int:
        return 1

    def __getitem__(self, key: Any) -> Any:
        return self.x

    def to(self, device: Any) -> "Graph":
        return self


class OfGraph(Linear):
    def forward(self, graph: Graph) -> Tensor:  # type: ignore[override]
        return super().forward(graph.x)


class Pair(NamedTuple):
    inputs: Tensor
    targets: Tensor


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Iterator[Any]:
        while True:
            yield torch.full((4,), random.random()), 1


cross_entropy = functional.cross_entropy


def total(output: Tensor) -> Tensor:
    return output.square().sum()


FORMS: dict[str, tuple[Any, Any, Any]] = {
    "pair": (Linear, (X, Y), cross_entropy),
    "list": (Linear, [X, Y], cross_entropy),
    "named pair": (Linear, Pair(X, Y), cross_entropy),
    "of a seed": (Linear, lambda seed: (X, Y), nn.CrossEntropyLoss()),
    "of nothing": (Linear, lambda: (X, Y), cross_entropy),
    "loader": (Linear, DataLoader(ROWS, 5), cross_entropy),
    "what makes a loader": (Linear, lambda: DataLoader(ROWS, 5), cross_entropy),
    "data set": (Linear, ROWS, cross_entropy),
    "stream": (Linear, Stream(), cross_entropy),
    "samples that are batches": (Linear, DataLoader([(X, Y)], batch_size=None), cross_entropy),
    "tensor": (Linear, X, total),
    "one input": (Linear, (X,), total),
    "no targets": (Linear, (X, None), lambda output, _: total(output)),
    "loader without targets": (Linear, DataLoader(TensorDataset(X), 5), total),
    "three, the last the target": (Two, (X, X, Y), cross_entropy),
    "loader of three": (Two, DataLoader(TensorDataset(X, X, Y), 5), cross_entropy),
    "two inputs": (Two, ((X, X), Y), cross_entropy),
    "dict": (Two, {"x": X, "t": X, "y": Y}, cross_entropy),
    "dict with an id": (Two, {"x": X, "t": X, "y": Y, "id": "7"}, cross_entropy),
    "dict of another name": (Linear, {"pixels": X, "label": Y}, cross_entropy),
    "dict for one argument": (OfBatch, {"a": X, "b": X}, total),
    "loader of dicts": (Linear, DataLoader([{"input": x, "label": y} for x, y in ROWS], 5), cross_entropy),
    "dict with labels": (WithLoss, {"ids": X, "labels": Y}, None),
    "user's dict": (WithLoss, UserDict(ids=X, labels=Y), lambda output: output["loss"]),
    "loss of model and batch": (WithLoss, {"ids": X, "labels": Y}, lambda model, batch: model(**batch)["loss"]),
    "whole dict": (Linear, {"a": X, "label": Y}, lambda model, batch: cross_entropy(model(batch["a"]), batch["label"])),
    "whole pair": (Linear, DataLoader(ROWS, 5), lambda model, batch: cross_entropy(model(batch[0]), batch[1])),
    "packed": (Packed, pack_sequence([X, X[:3]]), total),
    "object": (OfGraph, Graph(), total),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_batches(form: str) -> None:
    factory, batch, loss = FORMS[form]
    sample = measure(factory, batch, loss, seeds=2)
    assert all(layer.state == "ok" for flow in sample.flows for layer in flow.layers)


def test_a_loader_gives_each_seed_another_of_its_batches() -> None:
    draw = draw_of(DataLoader(ROWS, 5), "batch")
    assert torch.equal(draw(42)[0], X[:5])
    assert torch.equal(draw(43)[0], X[5:10])
    assert torch.equal(draw(45)[0], X[:5])  # not the last, which may be of one sample
    shuffled = draw_of(DataLoader(ROWS, 5, shuffle=True), "batch")
    assert not torch.equal(shuffled(42)[0], shuffled(43)[0])
    assert torch.equal(shuffled(42)[0], shuffled(42)[0])


def test_a_loaders_own_generator_is_seeded_and_put_back() -> None:
    own = torch.Generator().manual_seed(1)
    before = own.get_state()
    draw = draw_of(DataLoader(ROWS, 5, shuffle=True, generator=own), "batch")
    first = draw(42)[0]
    assert not torch.equal(first, draw(43)[0])
    assert torch.equal(own.get_state(), before)
    own.manual_seed(2)
    assert torch.equal(draw(42)[0], first)


def test_a_loader_is_not_asked_for_its_worker_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.utils.data.dataloader._MultiProcessingDataLoaderIter", None)
    assert len(draw_of(DataLoader(ROWS, 5, num_workers=2), "batch")(42)[0]) == 5


def test_every_generator_is_seeded_for_each_seed_and_put_back() -> None:
    drawn: list[tuple[float, ...]] = []

    def numbers() -> tuple[float, ...]:
        return random.random(), float(np.random.rand()), float(torch.rand(()))

    def factory() -> nn.Module:
        drawn.append(numbers())
        return Linear()

    class Random(Dataset[Any]):
        def __len__(self) -> int:
            return 9

        def __getitem__(self, i: int) -> Any:
            drawn.append(numbers())
            return X[i], Y[i]

    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()  # type: ignore[union-attr]
    for _ in range(2):
        measure(factory, DataLoader(Random(), 2), cross_entropy, seeds=2)
    assert drawn[: len(drawn) // 2] == drawn[len(drawn) // 2 :]
    assert len(set(drawn)) == len(drawn) // 2
    assert random.getstate() == states[0]
    assert np.random.get_state()[1].tolist() == states[1]  # type: ignore[union-attr]
    assert torch.equal(torch.get_rng_state(), states[2])


def test_a_measurement_is_the_same_whatever_was_drawn_before() -> None:
    def factory() -> nn.Module:
        model = Linear()
        model.weight.data *= float(np.random.rand()) * random.random()
        return nn.Sequential(model, nn.Dropout(), nn.Linear(2, 2))

    first = measure(factory, ROWS, cross_entropy).flows
    np.random.rand()
    random.random()
    torch.rand(3)
    assert measure(factory, ROWS, cross_entropy).flows == first


def test_pairs_are_told_from_the_rest() -> None:
    assert read_batch((X, None), Linear(), "batch").whole is X
    assert read_batch([X, Y], Linear(), "batch").targets is Y
    assert read_batch({"pixels": X, "label": Y}, Linear(), "batch").inputs is X
    assert read_batch({"x": X, "t": X, "id": 7}, Two(), "batch").inputs.keys() == {"x", "t"}
    assert read_batch((X, X, Y), Two(), "batch").targets is Y


@pytest.mark.parametrize(
    ("factory", "batch", "words"),
    [
        (Linear, 3, "batch is an int: give a callable from a seed to inputs"),
        (Linear, "train", "batch is a str"),
        (Linear, Linear(), "batch is a Linear: give a callable"),
        (Linear, np.ones((3, 4)), "batch is a ndarray"),
        (Linear, iter(DataLoader(ROWS, 5)), "which gives each batch once: give what it was made of"),
        (Linear, cross_entropy, "batch takes input, target: give a callable from a seed"),
        (Linear, (), "batch is a tuple of 0: give (inputs, targets), or the inputs alone"),
        (Linear, lambda seed: 3, "batch is an int: give (inputs, targets)"),
        (Linear, lambda seed: None, "batch gave None"),
        (Linear, DataLoader([], 4), "batch holds no batch"),
        (Linear, (X, X, Y), "batch is a tuple of 3, and the model takes 1: give ((x, t), targets)"),
        (Two, {"a": X, "b": X}, "batch is a dict of 'a', 'b', and the model takes x, t: give (inputs, targets)"),
        (Linear, {"a": X, "b": X}, "'a', 'b' is taken for one input, and the model or the loss raised TypeError"),
    ],
)  # fmt: skip
def test_what_is_no_batch_is_one_line(factory: Any, batch: Any, words: str) -> None:
    line = failure(lambda: measure(factory, batch, cross_entropy, seeds=1))
    assert words in line
    assert "\n" not in line
