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


# --- every output takes part -----------------------------------------------------------------------------


def test_a_guessed_loss_is_the_sum_over_all_floating_outputs() -> None:
    head, auxiliary, hidden = torch.randn(8, 5), torch.randn(8, 5), torch.randn(8, 3)
    for output in (
        Pair(head, {"aux": auxiliary, "hidden": hidden, "count": 3, "ids": torch.ones(8).long(), "again": head}),
        types.SimpleNamespace(head=head, aux=[auxiliary], hidden=hidden),
    ):
        loss = infer_loss(output)
        labels, others, noise = loss.targets(42)
        assert torch.equal(labels, others)  # an auxiliary head has the targets of the head
        expected = (
            functional.cross_entropy(head, labels)
            + functional.cross_entropy(auxiliary, labels)
            + functional.mse_loss(hidden, noise)
        )
        assert loss.function(output, loss.targets(42)).item() == pytest.approx(expected.item(), rel=1e-6)
        assert loss.text.count("cross-entropy of output") == 1
        assert "(summed) against random targets of 5 classes plus mean square error of output" in loss.text


def test_every_head_gets_a_gradient() -> None:
    names = ("a", "b", "c")
    factory = lambda: Lambda(  # noqa: E731
        lambda self, x: {name: (getattr(self, name)(x), None) for name in names}, **{n: nn.Linear(3, 4) for n in names}
    )
    batch = infer_batch(factory)
    model = factory()
    inputs, targets = batch(42)
    batch.loss.function(model(inputs), targets).backward()  # type: ignore[no-untyped-call]
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_what_has_no_graph_is_left_out_and_said_to_be() -> None:
    batch = infer_batch(lambda: Lambda(lambda self, x: (x, self.inner(x), x.sum()), inner=nn.Linear(3, 4)))
    assert batch.loss.text == (
        "cross-entropy of output[1] against random targets of 4 classes (left out: output[0], output[2])"
    )
    detached = infer_batch(lambda: Lambda(lambda self, x: self.inner(x).detach(), inner=nn.Linear(3, 4)))
    assert "nothing that the model puts out depends on its weights" in failure(lambda: detached.loss)


def test_single_numbers_are_the_loss_itself() -> None:
    numbers = {"boxes": torch.tensor(2.0), "classes": torch.tensor(3.0)}
    assert infer_loss(numbers).text == "output['boxes'], output['classes'] (summed), taken for the loss"
    assert infer_loss(numbers).function(numbers, None) == 5
    assert infer_loss(torch.tensor(2.0)).function(torch.tensor(2.0), None) == 2
    mixed = {"logits": torch.zeros(8, 5), "aux_loss": torch.tensor(3.0)}
    loss = infer_loss(mixed)
    assert loss.function(mixed, loss.targets(42)).item() == pytest.approx(math.log(5) + 3)


def test_given_targets_go_with_what_they_fit() -> None:
    output = {"logits": torch.zeros(8, 5), "aux": torch.zeros(8, 5), "embedding": torch.zeros(8, 3)}
    labels = torch.arange(8) % 5
    loss = infer_loss(output, labels)
    assert loss.text == (
        "cross-entropy of output['logits'], output['aux'] (summed) against the given targets plus mean square error of "
        "output['embedding'] against noise"
    )
    assert loss.function(output, labels) == loss.function(output, labels)  # the noise is the same each time
    named = {"logits": labels, "embedding": torch.ones(8, 3)}
    only = {"logits": output["logits"], "embedding": output["embedding"]}
    for targets in (named, tuple(named.values())):
        found = infer_loss(only, targets)
        assert found.function(only, targets).item() == pytest.approx(math.log(5) + 1)
        assert "noise" not in found.text
    line = failure(lambda: infer_loss(output, torch.ones(7)))
    assert line.startswith("targets [7] fit none of output['logits'] [8, 5], output['aux'] [8, 5]")


def test_named_losses_are_of_every_part_that_they_can_be_taken_of() -> None:
    output = (torch.full((8, 5), 2.0), torch.full((8, 1), 3.0))
    assert named_loss("mean_square", output).function(output, None).item() == 13
    assert named_loss("cross_entropy", output).text.endswith("5 classes (left out: output[1])")


# --- forms of losses -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["output.total", "output['total']", 'output["total"]', "output[total]"])
def test_a_part_of_the_output_is_the_loss(name: str) -> None:
    output = {"total": torch.tensor(2.0, requires_grad=True), "parts": [torch.tensor(3.0, requires_grad=True)]}
    assert named_loss(name, output).function(output, None).item() == 2
    assert named_loss("output.parts[0]", output).function(output, None).item() == 3
    assert named_loss("output[-1]", list(output.values())[:1]).function(list(output.values())[:1], None).item() == 2
    missing = named_loss("output.nothing", output)
    assert "no such part, but output['total']" in failure(lambda: missing.function(output, None))
    assert "name a part of the output as output.loss" in failure(lambda: named_loss("output..x", output))


def test_callables_of_every_form(mine: types.ModuleType) -> None:
    output = torch.ones(8, 5, requires_grad=True)
    forms: dict[str, Any] = {
        "of_output": lambda output: output.sum(),
        "of_both": lambda output, target: output.sum() + 0 * target.sum(),
        "of_any": lambda *both: both[0].sum() + 0 * both[1].sum(),
        "with_option": lambda output, weight=1.0: weight * output.sum(),
        "with_target": lambda output, target=None: output.sum() + 0 * target.sum(),
    }
    for name, form in forms.items():
        setattr(mine, name, form)
        loss = named_loss(f"mine_of_this_test:{name}", output)
        assert loss.function(output, loss.targets(42)).item() == 40, name
    assert named_loss("torch.nn:CrossEntropyLoss", output).function(output, torch.zeros(8).long()).item() == (
        pytest.approx(math.log(5))
    )
    mine.three = lambda a, b, c: a  # type: ignore[attr-defined]
    assert "takes a, b, c: give a callable" in failure(lambda: named_loss("mine_of_this_test:three", output))
    mine.with_model = lambda model, other: other  # type: ignore[attr-defined]
    assert "takes other: beside model" in failure(lambda: named_loss("mine_of_this_test:with_model", output))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (lambda o: None, "None: does its function end with return?"),
        (lambda o: o, "a Tensor [8, 5]: let it give a tensor of one element, such as .mean()"),
        (lambda o: o.sum().item(), "the float 40.0: give the tensor, without .item()"),
        (lambda o: o.detach().sum(), "does not depend on the model's weights"),
        (lambda o: (o.sum(), 1), "a tuple of 2"),
        (lambda o: o[9], "raised IndexError"),
    ],
)
def test_a_loss_that_is_none_is_one_line(mine: types.ModuleType, value: Any, words: str) -> None:
    output = torch.ones(8, 5, requires_grad=True)
    mine.own = value  # type: ignore[attr-defined]
    loss = named_loss("mine_of_this_test:own", output)
    line = failure(lambda: loss.function(output, None))
    assert line.startswith("--loss mine_of_this_test:own ")
    assert words in line
