"""What a measurement is given: forms of losses, and each fault as one line that shows the right form."""

import types
from typing import Any

import pytest
import torch
from factories import failure
from torch import Tensor, nn
from torch.nn import functional

from vgharness.gradflow.arguments import loss_value
from vgharness.gradflow.measurement import measure

pytestmark = pytest.mark.fast

BATCH = (torch.ones(8, 4), torch.zeros(8).long())


def net() -> nn.Module:
    return nn.Linear(4, 2)


def of_model(model: nn.Module) -> Tensor:
    return sum((p.square().sum() for p in model.parameters()), torch.zeros(()))


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (lambda output: output.sum(), lambda model: model(BATCH[0]).sum()),
        (lambda out, y: functional.cross_entropy(out, y),
         lambda model: functional.cross_entropy(model(BATCH[0]), BATCH[1])),
        (nn.CrossEntropyLoss(), lambda model: functional.cross_entropy(model(BATCH[0]), BATCH[1])),
        (of_model, of_model),
        (lambda model, x: model(2 * x).sum(), lambda model: model(2 * BATCH[0]).sum()),
        (lambda model, batch: model(batch[0]).sum() + batch[1].sum(), lambda model: model(BATCH[0]).sum()),
        (lambda output, target, model: output.sum() + target.sum() + of_model(model),
         lambda model: model(BATCH[0]).sum() + of_model(model)),
    ],
)  # fmt: skip
def test_forms_of_a_loss(loss: Any, expected: Any) -> None:
    model = net()
    assert loss_value(loss, model, *BATCH).item() == pytest.approx(expected(model).item(), rel=1e-6)
    assert measure(net, BATCH, loss, seeds=1).flows


def test_a_loss_that_calls_the_model_is_alone_in_that() -> None:
    calls: list[int] = []
    model = net()
    model.register_forward_hook(lambda *_: calls.append(1))
    loss_value(lambda model, x: model(x).sum(), model, *BATCH)
    assert len(calls) == 1


def raises(*_: Any) -> Any:
    raise ValueError("not\nfound")


def on_meta() -> nn.Module:
    return nn.Linear(4, 2, device="meta")


@pytest.mark.parametrize(
    ("factory", "batch", "loss", "words"),
    [
        (nn.Linear(4, 2), BATCH, of_model, "the model factory is a Linear: give a callable that makes a new model"),
        (None, BATCH, of_model, "the model factory is None"),
        (raises, BATCH, of_model, "the model factory raised ValueError: not found: give a callable without arguments"),
        (nn.Linear, BATCH, of_model, "the model factory raised TypeError"),
        (lambda: nn.Linear, BATCH, of_model, "the model factory gave the class Linear"),
        (lambda: (net(), 1), BATCH, of_model, "the model factory gave a tuple of 2"),
        (on_meta, BATCH, of_model, "the model factory gives a model on meta, whose weights have no values"),
        (
            lambda seed: net(),
            BATCH,
            of_model,
            "missing 1 required positional argument: 'seed': give a callable",
        ),
        (net, None, of_model, "batch is None: give a callable"),
        (net, raises, of_model, "batch: called with a seed it raised ValueError: not found"),
        (net, BATCH, nn.CrossEntropyLoss, "the loss is the class CrossEntropyLoss: give one of it, CrossEntropyLoss()"),
        (
            net,
            BATCH,
            None,
            "the loss is None, and the output, a Tensor [8, 2], has no .loss: give a loss",
        ),
        (net, BATCH[0], functional.cross_entropy, "the loss takes targets and the batch has none (TypeError"),
        (net, BATCH, lambda model, **rest: None, "the loss is not one number but None"),
        (net, BATCH, lambda model, word: None, "the loss takes word: beside model it can take output, inputs, targets"),
        (net, BATCH, lambda out: types.SimpleNamespace(loss=out.sum()), "a SimpleNamespace: let it give its .loss"),
        (net, BATCH, 3, "the loss is an int: give a callable of the output"),
        (net, BATCH, lambda a, b, c: a, "the loss takes a, b, c"),
        (net, BATCH, lambda out, y: None, "the loss is not one number but None"),
        (net, BATCH, lambda out: out.sum(1), "the loss is not one number but a Tensor [8]"),
    ],
)
def test_bad_input_is_one_line(factory: Any, batch: Any, loss: Any, words: str) -> None:
    assert words in failure(lambda: measure(factory, batch, loss, seeds=1))
