"""The batch for a model that the check has never seen: inferred, or as --input asks for it."""

import types

import pytest
import torch
from factories import failure
from torch import Tensor, nn
from unseen_models import Lambda, backward

from vgharness.check.batch import batch_of_callable, batch_of_shape, choose_batch, infer_batch
from vgharness.check.model_source import load_factory

pytestmark = pytest.mark.fast


def test_a_seed_alone_decides() -> None:
    batch = infer_batch(lambda: nn.Sequential(nn.Embedding(1000, 4), nn.Linear(4, 100)))
    (tokens, targets), (again, _), (other, others) = batch(42), batch(42), batch(43)
    assert torch.equal(tokens, again)
    assert not torch.equal(tokens, other)
    assert not torch.equal(targets, others)
    assert (tokens.shape, targets.shape) == ((8, 16), (8, 16))
    assert 900 < tokens.max() < 1000
    assert 80 < targets.max() < 100
    assert tokens.min() < 100


def test_targets_of_noise_are_other_noise_than_the_input() -> None:
    inputs, targets = infer_batch(lambda: nn.Conv2d(3, 3, 1))(42)
    assert inputs.shape == targets.shape
    assert abs(torch.corrcoef(torch.stack([inputs.flatten(), targets.flatten()]))[0, 1]) < 0.05
    assert inputs.std().item() == pytest.approx(1, abs=0.05)


def test_several_inputs_are_drawn_apart() -> None:
    inputs, _ = infer_batch(lambda: nn.MultiheadAttention(8, 2))(42)
    assert [tuple(x.shape) for x in inputs] == [(16, 8, 8)] * 3
    assert not torch.equal(inputs[0], inputs[1])


def test_torchs_random_state_is_left_as_it_was() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    for batch in (infer_batch(lambda: nn.Linear(3, 2)), batch_of_shape(lambda: nn.Linear(3, 2), "8,3")):
        batch(42)
        assert torch.equal(torch.get_rng_state(), before)
        assert batch.output.parts[0].shape == (8, 2)


def test_inputs_are_tried_in_the_mode_in_which_the_model_is_measured() -> None:
    """Two outputs in training, one in evaluation."""
    factory = lambda: Lambda(lambda self, x: (self.a(x), self.b(x)) if self.training else self.a(x),  # noqa: E731
                             a=nn.Linear(3, 2), b=nn.Linear(3, 4))  # fmt: skip
    assert "output[0]" in infer_batch(factory).text
    assert "output against" in infer_batch(lambda: factory().eval()).text


@pytest.mark.filterwarnings("ignore:Lazy modules")
@pytest.mark.parametrize("given", [None, "8,3"])
def test_lazy_layers_are_refused(given: str | None) -> None:
    assert "lazy layers have no shape yet" in failure(lambda: choose_batch(lambda: nn.LazyLinear(3), given))


def test_detection_is_refused() -> None:
    line = failure(lambda: infer_batch(load_factory("torchvision:ssdlite320_mobilenet_v3_large")))
    assert "boxes: give --input MODULE:CALLABLE" in line


# --- what is given ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", ["4,3,9,9", "4x3x9x9", "4, 3, 9, 9"])
def test_a_shape(shape: str) -> None:
    batch = choose_batch(lambda: nn.Conv2d(3, 2, 3), shape)
    assert batch(42)[0].shape == (4, 3, 9, 9)
    assert batch.text.startswith("input [4, 3, 9, 9] of unit noise; cross-entropy")


def test_a_shape_of_tokens() -> None:
    factory = lambda: nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 3))  # noqa: E731
    assert batch_of_shape(factory, "2,5").inputs == "tokens [2, 5] below 9"
    assert batch_of_shape(factory, "2,5", "int")(42)[0].dtype == torch.int64
    assert "the model says" in failure(lambda: batch_of_shape(factory, "2,5", "float"))
    late = lambda: nn.Sequential(nn.Linear(3, 2), Lambda(lambda self, x: x, words=nn.Embedding(9, 4)))  # noqa: E731
    assert batch_of_shape(late, "2,3").inputs == "input [2, 3] of unit noise"


@pytest.mark.parametrize("shape", ["", "8,", "8,a", "0,3", "-1,3", "8;3", "8 by 3", "²,3", "8,3\n,,2"])
def test_no_shape(shape: str) -> None:
    assert "give a shape such as 8,3,32,32" in failure(lambda: batch_of_shape(lambda: nn.Linear(3, 2), shape))


def test_a_shape_that_does_not_fit() -> None:
    line = failure(lambda: choose_batch(lambda: nn.Linear(3, 2), "8,4"))
    assert line.startswith("--input 8,4: of this input [8, 4] the model says RuntimeError: ")
    assert "[8, 4] X [3, 2]" in line


def test_a_callable_makes_inputs(mine: types.ModuleType) -> None:
    mine.draw = lambda seed: torch.full((4, 3), float(seed))  # type: ignore[attr-defined]
    batch = choose_batch(lambda: nn.Linear(3, 2), "mine_of_this_test:draw")
    assert batch(42)[0].eq(42).all()
    assert batch(42)[1].shape == (4,)
    assert batch.text.startswith("inputs of mine_of_this_test:draw; cross-entropy of output against random targets")


@pytest.mark.parametrize(
    ("targets", "said"),
    [(torch.ones(4, dtype=torch.int64), "cross-entropy"), (torch.ones(4, 2), "mean square error")],
)
def test_a_callable_makes_targets(targets: Tensor, said: str) -> None:
    """Once for both: what it reads and shuffles belongs together."""
    seeds: list[int] = []

    def draw(seed: int) -> tuple[Tensor, Tensor]:
        seeds.append(seed)
        return torch.ones(4, 3), targets

    factory = lambda: nn.Linear(3, 2)  # noqa: E731
    batch = batch_of_callable(factory, draw, "mine")
    seeds.clear()
    assert batch(42)[1] is targets
    assert seeds == [42]
    assert batch.loss.text == f"{said} of output against the given targets"
    assert batch.with_loss("mse").loss.text == "mean square error of output against the given targets"
    backward(factory, batch)


def test_a_callable_makes_several_arguments() -> None:
    class Two(nn.Bilinear):
        pass

    factory = lambda: Two(3, 2, 4)  # noqa: E731
    as_tuple = batch_of_callable(factory, lambda seed: ((torch.ones(4, 3), torch.ones(4, 2)), None), "mine")
    as_dict = batch_of_callable(factory, lambda seed: {"input1": torch.ones(4, 3), "input2": torch.ones(4, 2)}, "mine")
    for batch in (as_tuple, as_dict):
        assert batch(42)[1].shape == (4,)
        backward(factory, batch)


def test_a_callable_that_fails() -> None:
    factory = lambda: nn.Linear(3, 2)  # noqa: E731
    line = failure(lambda: batch_of_callable(factory, lambda seed: 1 // 0, "mine"))
    assert line.startswith("--input mine: called with a seed it raised ZeroDivisionError")
    assert "of this input [8, 4] the model says" in failure(
        lambda: batch_of_callable(factory, lambda seed: torch.ones(8, 4), "mine")
    )


@pytest.mark.parametrize("given", [None, "8,3", "mine_of_this_test:draw"])
def test_a_loss_is_chosen_for_every_batch(mine: types.ModuleType, given: str | None) -> None:
    mine.draw = lambda seed: torch.ones(8, 3)  # type: ignore[attr-defined]
    factory = lambda: nn.Linear(3, 2)  # noqa: E731
    batch = choose_batch(factory, given).with_loss("mean_square")
    assert batch.loss.text == "mean square of output"
    assert batch(42)[1] is None
    backward(factory, batch)
