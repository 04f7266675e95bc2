"""The loss for an output that the check has never seen: inferred, or as --loss asks for it."""

import math
import types
from collections import namedtuple
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from factories import failure
from torch import Tensor, nn
from torch.nn import functional
from unseen_models import Lambda

from vgharness.check.batch import infer_batch
from vgharness.check.loss import infer_loss, named_loss

pytestmark = pytest.mark.fast


@dataclass
class Outputs:
    count: int
    mean: Tensor


Pair = namedtuple("Pair", "logits aux")


@pytest.mark.parametrize(
    ("output", "said", "targets"),
    [
        (torch.zeros(8, 5), "cross-entropy of output against random targets of 5 classes", (8,)),
        (torch.zeros(8, 7, 5), "cross-entropy of output against random targets of 5 classes at each position", (8, 7)),
        (torch.zeros(8, 5, 4, 3), "random targets of 5 classes at each position", (8, 4, 3)),
        (torch.zeros(8, 1), "mean square error of output against noise", (8, 1)),
        (torch.zeros(8, 7, 1), "mean square error", (8, 7, 1)),
        (torch.zeros(8), "mean square error", (8,)),
        (torch.zeros(2, 3, 4, 5, 6), "mean square error", (2, 3, 4, 5, 6)),
        ((torch.ones(3, dtype=torch.int64), [torch.zeros(8, 1)]), "mean square error of output[1][0]", (8, 1)),
        ({"none": None, "out": torch.zeros(8, 5)}, "cross-entropy of output['out'] against", (8,)),
        (Outputs(3, torch.zeros(8, 1)), "mean square error of output.mean", (8, 1)),
        ({"last_hidden_state": torch.zeros(8, 7, 5)}, "mean square error of output['last_hidden_state']", (8, 7, 5)),
    ],
)
def test_the_loss_that_an_output_speaks_for(output: Any, said: str, targets: tuple[int, ...]) -> None:
    loss = infer_loss(output)
    assert said in loss.text
    assert loss.targets(42).shape == targets
    classes = "cross" in loss.text
    assert loss.targets(42).dtype == (torch.int64 if classes else torch.float32)
    # Of zeros: the logarithm of the number of classes, and the variance of the noise.
    expected = math.log(5) if classes else loss.targets(42).square().mean().item()
    assert loss.function(output, loss.targets(42)).item() == pytest.approx(expected)


def test_the_models_own_loss() -> None:
    given = torch.tensor(3.0)
    for output in ({"logits": torch.zeros(8, 5), "loss": given}, types.SimpleNamespace(loss=given)):
        assert infer_loss(output).function(output, None) is given
        assert infer_loss(output).targets(42) is None
    assert "cross-entropy" in infer_loss({"loss": None, "logits": torch.zeros(8, 5)}).text


def test_given_targets_say_which_axis_has_the_classes() -> None:
    scores = torch.randn(8, 7, 5)
    for targets, expected in [
        (torch.randint(5, (8, 7)), lambda t: functional.cross_entropy(scores.flatten(0, 1), t.flatten())),
        (torch.randint(7, (8, 5)), lambda t: functional.cross_entropy(scores, t)),
    ]:
        assert infer_loss(scores, targets).function(scores, targets) == pytest.approx(expected(targets))


def test_labels_of_two_classes_for_one_score() -> None:
    labels = torch.randint(2, (8,))
    loss = infer_loss(torch.zeros(8, 1), labels)
    assert loss.text == "mean square error of output against the given targets"
    assert loss.function(torch.zeros(8, 1), labels) == labels.float().mean()


def test_named_losses(mine: types.ModuleType) -> None:
    output = torch.full((8, 5), 2.0)
    assert named_loss("mean_square", output).function(output, None).item() == 4
    assert named_loss("mean_square", output).targets(42) is None
    assert named_loss("mse", output).targets(42).shape == (8, 5)
    assert named_loss("cross_entropy", output).targets(42).shape == (8,)
    mine.both = lambda output, target: output.requires_grad_().sum() + target  # type: ignore[attr-defined]
    loss = named_loss("mine_of_this_test:both", output)
    assert loss.function(output, 3).item() == 83
    assert loss.targets(42).shape == (8,)
    assert loss.text == "mine_of_this_test:both of the output"


def test_an_output_that_no_loss_can_be_taken_of(mine: types.ModuleType) -> None:
    assert "use cross_entropy, mse, mean_square, output.NAME or MODULE" in failure(
        lambda: named_loss("hinge", torch.zeros(8, 5))
    )
    assert "has no classes" in failure(lambda: named_loss("cross_entropy", torch.zeros(8, 1)))
    assert "has no classes" in failure(lambda: named_loss("cross_entropy", torch.zeros(8)))
    assert "no floating tensor: give --loss" in failure(lambda: infer_loss({"classes": torch.ones(8).long()}))
    mine.own = lambda output, target: output  # type: ignore[attr-defined]
    batch = infer_batch(lambda: Lambda(lambda self, x: str(self.inner(x).shape), inner=nn.Linear(3, 2)))
    assert "no floating tensor: give --loss" in failure(lambda: batch.loss)
    assert batch.with_loss("mine_of_this_test:own")(42)[1] is None
