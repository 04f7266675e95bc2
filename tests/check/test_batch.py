"""A batch and a loss for models that the module has never seen."""

import math
import sys
import types
from collections import namedtuple
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from vgharness.check.batch import (
    Batch,
    batch_of_callable,
    batch_of_shape,
    call,
    choose_batch,
    infer_batch,
)
from vgharness.check.loss import infer_loss, named_loss
from vgharness.check.model_source import load_factory
from vgharness.errors import UsageError
from vgharness.gradflow.measurement import measure


def failure(make: Callable[[], Any]) -> str:
    with pytest.raises(UsageError) as caught:
        make()
    line = str(caught.value)
    assert "\n" not in line
    return line


def backward(factory: Callable[[], nn.Module], batch: Batch, seed: int = 42) -> float:
    """The loss of one training step, which sends a gradient to some weight."""
    model = factory()
    inputs, targets = batch(seed)
    loss = batch.loss.function(call(model, inputs), targets)
    loss.backward()  # type: ignore[no-untyped-call]
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
    return loss.item()


class Lambda(nn.Module):
    """Modules under names, and what is done with them."""

    def __init__(self, forward: Callable[..., Any], **modules: nn.Module) -> None:
        super().__init__()
        self.does = forward
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x: Any) -> Any:
        return self.does(self, x)


def convolutions(channels: int, flat: int, **options: Any) -> nn.Module:
    """A convolution and a linear layer that fits one size of image only."""
    return nn.Sequential(nn.Conv2d(channels, 2, 3, 2, **options), nn.Flatten(), nn.Linear(flat, 10))


class Gpt(nn.Module):
    """Learned positions are registered before the words, of which there are fewer; they fit one length only."""

    def __init__(self) -> None:
        super().__init__()
        self.positions = nn.Parameter(torch.zeros(1, 64, 8))
        self.words = nn.Embedding(11, 8)
        self.block = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.head = nn.Linear(8, 11)

    def forward(self, tokens: Tensor, targets: Tensor | None = None) -> tuple[Tensor, None]:
        return self.head(self.block(self.words(tokens) + self.positions)), None


class HeadFirst(nn.Module):
    """Registers its layers in the reverse of the order in which they run."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(4, 3)
        self.stem = nn.Conv2d(1, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.stem(x).mean((2, 3)))


class Recommender(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.users, self.items = nn.Embedding(50, 4), nn.Embedding(20, 4)
        self.head = nn.Linear(8, 1)

    def forward(self, user: Tensor, item: Tensor, scale: float = 1.0) -> Tensor:
        return self.head(torch.cat([self.users(user), self.items(item)], -1)).sum()


class Raw(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(7, 5))

    def forward(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight)


class Patches(nn.Module):
    """Cuts images into patches for its first layer, which is linear."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(3 * 8 * 8, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.embed(functional.unfold(x, 8, stride=8).transpose(1, 2)).mean(1)


INFERRED: dict[str, tuple[Callable[[], nn.Module], str, str]] = {
    "mlp": (lambda: nn.Sequential(nn.Linear(20, 8), nn.ReLU(), nn.Linear(8, 3)),
            "rows [8, 20] of unit noise", "cross-entropy of output against random targets of 3 classes"),
    "regression": (lambda: nn.Linear(20, 1), "rows [8, 20] of unit noise", "mean square error of output against noise"),
    "any size": (lambda: HeadFirst(), "images [8, 1, 32, 32] of unit noise", "3 classes"),
    "MNIST": (lambda: convolutions(1, 2 * 13 * 13), "images [8, 1, 28, 28] of unit noise", "10 classes"),
    "64": (lambda: convolutions(3, 2 * 31 * 31), "images [8, 3, 64, 64] of unit noise", "10 classes"),
    "Atari": (lambda: convolutions(4, 2 * 41 * 41), "images [8, 4, 84, 84] of unit noise", "10 classes"),
    "double precision": (lambda: convolutions(3, 450).double(), "images [8, 3, 32, 32]", "10 classes"),
    "signals": (lambda: nn.Sequential(nn.Conv1d(2, 4, 5), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.BatchNorm1d(4)),
                "signals [8, 2, 32] of unit noise", "4 classes"),
    "volumes": (lambda: nn.Sequential(nn.Conv3d(1, 2, 3), nn.Flatten(), nn.LazyLinear(3)).apply(shaped),
                "volumes [8, 1, 8, 32, 32] of unit noise", "3 classes"),
    "generator": (lambda: nn.Sequential(nn.ConvTranspose2d(16, 1, 4), nn.Tanh()),
                  "images [8, 16, 1, 1] of unit noise", "mean square error"),
    "autoencoder": (lambda: nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ConvTranspose2d(4, 3, 3, padding=1)),
                    "images [8, 3, 32, 32] of unit noise", "mean square error of output against noise"),
    "segmentation": (lambda: nn.Conv2d(3, 5, 1),
                     "images [8, 3, 32, 32]", "random targets of 5 classes at each position"),
    "LSTM": (lambda: nn.LSTM(6, 4, batch_first=True), "sequences [8, 16, 6]", "output[0] against random targets of 4"),
    "GRU, steps first": (lambda: nn.GRU(6, 4), "sequences [16, 8, 6] of unit noise", "output[0]"),
    "RNN cell": (lambda: nn.RNNCell(6, 4), "rows [8, 6] of unit noise", "4 classes"),
    "tagger": (lambda: nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 3)), "tokens [8, 16] below 9",
               "3 classes at each position"),
    "GPT": (Gpt, "tokens [8, 64] below 11", "output[0] against random targets of 11 classes at each position"),
    "bag": (lambda: nn.Sequential(nn.EmbeddingBag(9, 4), nn.Linear(4, 3)), "tokens [8, 16] below 9", "3 classes"),
    "recommender": (Recommender, "tokens [8, 16] below 20 and tokens [8, 16] below 20", "mean square error"),
    "encoder": (lambda: nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16), 1),
                "sequences [16, 8, 8] of unit noise", "mean square error"),
    "projected encoder": (lambda: nn.Sequential(nn.Linear(5, 8),
                                                nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)),
                          "sequences [8, 16, 5] of unit noise", "8 classes at each position"),
    "attention": (lambda: nn.MultiheadAttention(8, 2, batch_first=True),
                  " and ".join(["sequences [8, 16, 8] of unit noise"] * 3), "output[0]"),
    "Transformer": (lambda: nn.Transformer(8, 2, 1, 1, 16, batch_first=True),
                    " and ".join(["sequences [8, 16, 8] of unit noise"] * 2), "mean square error"),
    "a layer of one's own": (Raw, "rows [8, 5] of unit noise", "7 classes"),
    "patches": (Patches, "images [8, 3, 32, 32] of unit noise", "4 classes"),
    "mean of squares": (lambda: Lambda(lambda self, x: {"loss": self.inner(x).square().mean(), "y": x},
                                       inner=nn.Linear(3, 2)), "rows [8, 3]", "the loss that the model gives"),
}  # fmt: skip


def shaped(module: nn.Module) -> None:
    """Gives a lazy layer behind a convolution its shape, as its owner should."""
    if isinstance(module, nn.Sequential):
        module(torch.zeros(1, 1, 8, 32, 32))


@pytest.mark.fast
@pytest.mark.parametrize("name", INFERRED)
@pytest.mark.filterwarnings("ignore:enable_nested_tensor", "ignore:Lazy modules")
def test_a_batch_is_found(name: str) -> None:
    factory, inputs, loss = INFERRED[name]
    batch = infer_batch(factory)
    assert batch.inputs.startswith(inputs)
    assert loss in batch.loss.text
    assert batch.text == f"{batch.inputs}; {batch.loss.text}"
    assert math.isfinite(backward(factory, batch))


@pytest.mark.fast
@pytest.mark.parametrize(
    ("name", "side"),
    [("resnet18", 32), ("mobilenet_v3_small", 32), ("squeezenet1_0", 32), ("shufflenet_v2_x0_5", 32)],
)
def test_models_of_torchvision(name: str, side: int) -> None:
    batch = infer_batch(load_factory(f"torchvision:{name}"))
    assert batch.text == (
        f"images [8, 3, {side}, {side}] of unit noise; cross-entropy of output against random targets of 1000 classes"
    )


@pytest.mark.deep
@pytest.mark.parametrize(
    ("name", "side", "output"),
    [("vit_b_32", 224, ""), ("maxvit_t", 224, ""), ("inception_v3", 299, ".logits"), ("googlenet", 32, ".logits"),
     ("alexnet", 64, ""), ("swin_t", 32, ""), ("densenet121", 32, "")],
)  # fmt: skip
def test_large_models_of_torchvision(name: str, side: int, output: str) -> None:
    batch = infer_batch(load_factory(f"torchvision:{name}"))
    assert batch.text == (
        f"images [8, 3, {side}, {side}] of unit noise; cross-entropy of output{output} against random targets of 1000 "
        "classes"
    )


@pytest.mark.fast
@pytest.mark.parametrize("name", ["MNIST", "GPT", "attention", "mean of squares"])
def test_gradient_flow_is_measured_of_it(name: str) -> None:
    factory, _, _ = INFERRED[name]
    batch = infer_batch(factory)
    sample = measure(factory, batch, batch.loss.function, seeds=2)
    assert sample.seeds == (42, 43)
    assert "ok" in {layer.state for layer in sample.sample.flows[0].layers}


@pytest.mark.fast
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


@pytest.mark.fast
def test_noise_to_reach_is_not_the_input() -> None:
    inputs, targets = infer_batch(lambda: nn.Conv2d(3, 3, 1))(42)
    assert inputs.shape == targets.shape
    assert abs(torch.corrcoef(torch.stack([inputs.flatten(), targets.flatten()]))[0, 1]) < 0.05
    assert inputs.std().item() == pytest.approx(1, abs=0.05)


@pytest.mark.fast
def test_several_inputs_are_drawn_apart() -> None:
    inputs, _ = infer_batch(lambda: nn.MultiheadAttention(8, 2))(42)
    assert [tuple(x.shape) for x in inputs] == [(16, 8, 8)] * 3
    assert not torch.equal(inputs[0], inputs[1])


@pytest.mark.fast
def test_nothing_that_is_random_moves() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    for batch in (infer_batch(lambda: nn.Linear(3, 2)), batch_of_shape(lambda: nn.Linear(3, 2), "8,3")):
        batch(42)
        assert torch.equal(torch.get_rng_state(), before)
        assert not batch.output.requires_grad


@pytest.mark.fast
def test_it_is_tried_in_the_mode_that_is_measured() -> None:
    """Two outputs in training, one in evaluation."""
    factory = lambda: Lambda(lambda self, x: (self.a(x), self.b(x)) if self.training else self.a(x),  # noqa: E731
                             a=nn.Linear(3, 2), b=nn.Linear(3, 4))  # fmt: skip
    assert "output[0]" in infer_batch(factory).text
    assert "output against" in infer_batch(lambda: factory().eval()).text


# --- where nothing fits ----------------------------------------------------------------------------------


@pytest.mark.fast
def test_nothing_fits() -> None:
    def refuses(self: nn.Module, x: Any) -> None:
        raise TypeError("a graph\nis needed")

    line = failure(lambda: infer_batch(lambda: Lambda(refuses, inner=nn.Linear(3, 2))))
    assert "give --input SHAPE, such as 8,3,32,32, or --input MODULE:CALLABLE" in line
    assert "of rows [8, 3] of unit noise it says TypeError: a graph is needed" in line


@pytest.mark.fast
def test_tries_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred layers make for no more than so many tries, of inputs that fit into memory."""
    monkeypatch.setattr("vgharness.check.input_shapes._LARGEST", 2**16)
    tried: list[int] = []

    def refuses(self: nn.Module, x: Tensor) -> None:
        tried.append(x.numel())
        raise TypeError

    layers = {f"layer{i}": nn.Linear(i, 1) for i in range(1, 100)}
    failure(lambda: infer_batch(lambda: Lambda(refuses, **layers)))
    assert 100 < len(tried) < 130
    assert 2**15 < max(tried[:100]) <= 2**16


@pytest.mark.fast
@pytest.mark.filterwarnings("ignore:Lazy modules")
@pytest.mark.parametrize("given", [None, "8,3"])
def test_lazy_layers_are_refused(given: str | None) -> None:
    assert "lazy layers have no shape yet" in failure(lambda: choose_batch(lambda: nn.LazyLinear(3), given))


@pytest.mark.fast
def test_detection_is_refused() -> None:
    line = failure(lambda: infer_batch(load_factory("torchvision:ssdlite320_mobilenet_v3_large")))
    assert "boxes: give --input MODULE:CALLABLE" in line


# --- what is given ---------------------------------------------------------------------------------------


@pytest.mark.fast
@pytest.mark.parametrize("shape", ["4,3,9,9", "4x3x9x9", "4, 3, 9, 9"])
def test_a_shape(shape: str) -> None:
    batch = choose_batch(lambda: nn.Conv2d(3, 2, 3), shape)
    assert batch(42)[0].shape == (4, 3, 9, 9)
    assert batch.text.startswith("input [4, 3, 9, 9] of unit noise; cross-entropy")


@pytest.mark.fast
def test_a_shape_of_tokens() -> None:
    factory = lambda: nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 3))  # noqa: E731
    assert batch_of_shape(factory, "2,5").inputs == "tokens [2, 5] below 9"
    assert batch_of_shape(factory, "2,5", "int")(42)[0].dtype == torch.int64
    assert "the model says" in failure(lambda: batch_of_shape(factory, "2,5", "float"))
    late = lambda: nn.Sequential(nn.Linear(3, 2), Lambda(lambda self, x: x, words=nn.Embedding(9, 4)))  # noqa: E731
    assert batch_of_shape(late, "2,3").inputs == "input [2, 3] of unit noise"


@pytest.mark.fast
@pytest.mark.parametrize("shape", ["", "8,", "8,a", "0,3", "-1,3", "8;3", "8 by 3", "²,3", "8,3\n,,2"])
def test_no_shape(shape: str) -> None:
    assert "give a shape such as 8,3,32,32" in failure(lambda: batch_of_shape(lambda: nn.Linear(3, 2), shape))


@pytest.mark.fast
def test_a_shape_that_does_not_fit() -> None:
    line = failure(lambda: choose_batch(lambda: nn.Linear(3, 2), "8,4"))
    assert line.startswith("--input 8,4: of this input [8, 4] the model says RuntimeError: ")
    assert "8x4 and 3x2" in line


@pytest.fixture
def mine(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    module = types.ModuleType("mine_of_this_test")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module


@pytest.mark.fast
def test_a_callable_makes_inputs(mine: types.ModuleType) -> None:
    mine.draw = lambda seed: torch.full((4, 3), float(seed))  # type: ignore[attr-defined]
    batch = choose_batch(lambda: nn.Linear(3, 2), "mine_of_this_test:draw")
    assert batch(42)[0].eq(42).all()
    assert batch(42)[1].shape == (4,)
    assert batch.text.startswith("inputs of mine_of_this_test:draw; cross-entropy of output against random targets")


@pytest.mark.fast
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


@pytest.mark.fast
def test_a_callable_makes_several_arguments() -> None:
    class Two(nn.Bilinear):
        pass

    factory = lambda: Two(3, 2, 4)  # noqa: E731
    as_tuple = batch_of_callable(factory, lambda seed: ((torch.ones(4, 3), torch.ones(4, 2)), None), "mine")
    as_dict = batch_of_callable(factory, lambda seed: {"input1": torch.ones(4, 3), "input2": torch.ones(4, 2)}, "mine")
    for batch in (as_tuple, as_dict):
        assert batch(42)[1].shape == (4,)
        backward(factory, batch)


@pytest.mark.fast
def test_a_callable_that_fails() -> None:
    factory = lambda: nn.Linear(3, 2)  # noqa: E731
    line = failure(lambda: batch_of_callable(factory, lambda seed: 1 // 0, "mine"))
    assert line.startswith("--input mine: called with a seed it raised ZeroDivisionError")
    assert "of this input [8, 4] the model says" in failure(
        lambda: batch_of_callable(factory, lambda seed: torch.ones(8, 4), "mine")
    )


# --- losses ------------------------------------------------------------------------------------------------


@dataclass
class Outputs:
    count: int
    mean: Tensor


Pair = namedtuple("Pair", "logits aux")


@pytest.mark.fast
@pytest.mark.parametrize(
    ("output", "said", "targets"),
    [
        (torch.zeros(8, 5), "cross-entropy of output against random targets of 5 classes", (8,)),
        (torch.zeros(8, 7, 5), "cross-entropy of output against random targets of 5 classes at each position", (8, 7)),
        (torch.zeros(8, 5, 4, 3), "random targets of 5 classes at each position", (8, 4, 3)),
        (torch.zeros(8, 1), "mean square error of output against noise", (8, 1)),
        (torch.zeros(8, 7, 1), "mean square error", (8, 7, 1)),
        (torch.zeros(8), "mean square error", (8,)),
        (torch.zeros(()), "mean square error", ()),
        (torch.zeros(2, 3, 4, 5, 6), "mean square error", (2, 3, 4, 5, 6)),
        ((torch.ones(3, dtype=torch.int64), [torch.zeros(8, 1)]), "mean square error of output[1][0]", (8, 1)),
        (Pair(torch.zeros(8, 5), torch.zeros(8, 6)), "cross-entropy of output.logits against", (8,)),
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


@pytest.mark.fast
def test_the_models_own_loss() -> None:
    given = torch.tensor(3.0)
    for output in ({"logits": torch.zeros(8, 5), "loss": given}, types.SimpleNamespace(loss=given)):
        assert infer_loss(output).function(output, None) is given
        assert infer_loss(output).targets(42) is None
    assert "cross-entropy" in infer_loss({"loss": None, "logits": torch.zeros(8, 5)}).text


@pytest.mark.fast
def test_given_targets_say_which_axis_has_the_classes() -> None:
    scores = torch.randn(8, 7, 5)
    for targets, expected in [
        (torch.randint(5, (8, 7)), lambda t: functional.cross_entropy(scores.flatten(0, 1), t.flatten())),
        (torch.randint(7, (8, 5)), lambda t: functional.cross_entropy(scores, t)),
    ]:
        assert infer_loss(scores, targets).function(scores, targets) == pytest.approx(expected(targets))


@pytest.mark.fast
def test_labels_of_two_classes_for_one_score() -> None:
    labels = torch.randint(2, (8,))
    loss = infer_loss(torch.zeros(8, 1), labels)
    assert loss.text == "mean square error of output against the given targets"
    assert loss.function(torch.zeros(8, 1), labels) == labels.float().mean()


@pytest.mark.fast
def test_named_losses(mine: types.ModuleType) -> None:
    output = torch.full((8, 5), 2.0)
    assert named_loss("mean_square", output).function(output, None).item() == 4
    assert named_loss("mean_square", output).targets(42) is None
    assert named_loss("mse", output).targets(42).shape == (8, 5)
    assert named_loss("cross_entropy", output).targets(42).shape == (8,)
    mine.both = lambda output, target: (output, target)  # type: ignore[attr-defined]
    loss = named_loss("mine_of_this_test:both", output)
    assert loss.function(output, 3) == (output, 3)
    assert loss.targets(42).shape == (8,)
    assert loss.text == "mine_of_this_test:both of the output"


@pytest.mark.fast
@pytest.mark.parametrize("given", [None, "8,3", "mine_of_this_test:draw"])
def test_a_loss_is_chosen_for_every_batch(mine: types.ModuleType, given: str | None) -> None:
    mine.draw = lambda seed: torch.ones(8, 3)  # type: ignore[attr-defined]
    factory = lambda: nn.Linear(3, 2)  # noqa: E731
    batch = choose_batch(factory, given).with_loss("mean_square")
    assert batch.loss.text == "mean square of output"
    assert batch(42)[1] is None
    backward(factory, batch)


@pytest.mark.fast
def test_what_no_loss_goes_with(mine: types.ModuleType) -> None:
    assert "use cross_entropy, mse, mean_square or MODULE" in failure(lambda: named_loss("hinge", torch.zeros(8, 5)))
    assert "has no classes" in failure(lambda: named_loss("cross_entropy", torch.zeros(8, 1)))
    assert "has no classes" in failure(lambda: named_loss("cross_entropy", torch.zeros(8)))
    assert "no floating tensor: give --loss" in failure(lambda: infer_loss({"classes": torch.ones(8).long()}))
    mine.own = lambda output, target: output  # type: ignore[attr-defined]
    batch = infer_batch(lambda: Lambda(lambda self, x: str(self.inner(x).shape), inner=nn.Linear(3, 2)))
    assert "no floating tensor: give --loss" in failure(lambda: batch.loss)
    assert batch.with_loss("mine_of_this_test:own")(42)[1] is None


# --- collections ---------------------------------------------------------------------------------------------


class Net(nn.Module):
    """As models of transformers are: told by keyword, with a configuration."""

    def __init__(self, main: str, **config: Any) -> None:
        super().__init__()
        self.main_input_name, self.config = main, types.SimpleNamespace(**config)
        self.words, self.pixels = nn.Embedding(config.get("vocab_size", 7), 4), nn.Conv2d(3, 4, 4)
        self.sound = nn.Linear(8000, 4)


class Reader(Net):
    def forward(self, input_ids: Any = None, attention_mask: Any = None) -> dict[str, Tensor]:
        return {"last_hidden_state": self.words(input_ids)}


class Translator(Net):
    def forward(self, input_ids: Any = None, decoder_input_ids: Any = None) -> dict[str, Tensor]:
        return {"logits": self.words(input_ids) + self.words(decoder_input_ids)}


class Viewer(Net):
    def forward(self, pixel_values: Tensor) -> dict[str, Tensor]:
        assert pixel_values.shape[-1] == 20
        return {"logits": self.pixels(pixel_values).mean((2, 3))}


class Matcher(Net):
    def forward(self, input_ids: Any = None, pixel_values: Any = None) -> dict[str, Tensor]:
        return {"logits": self.words(input_ids).mean(1) * self.pixels(pixel_values).mean((2, 3))}


class Observer(Net):
    def forward(self, input_values: Tensor) -> dict[str, Tensor]:
        return {"logits": self.sound(input_values)}


VISION = types.SimpleNamespace(image_size=20)


@pytest.mark.fast
@pytest.mark.parametrize(
    ("factory", "inputs"),
    [
        (lambda: Reader("input_ids", vocab_size=9), "input_ids [8, 16] below 9"),
        (lambda: Translator("input_ids", vocab_size=9),
         "input_ids [8, 16] below 9 and decoder_input_ids [8, 16] below 9"),
        (lambda: Viewer("pixel_values", image_size=20), "pixel_values [8, 3, 20, 20] of unit noise"),
        (lambda: Matcher("input_ids", text_config=types.SimpleNamespace(vocab_size=7), vision_config=VISION),
         "input_ids [8, 16] below 7 and pixel_values [8, 3, 20, 20] of unit noise"),
        (lambda: Observer("input_values"), "input_values [8, 8000] of unit noise"),
    ],
)  # fmt: skip
def test_models_of_transformers(factory: Callable[[], nn.Module], inputs: str) -> None:
    batch = infer_batch(factory)
    assert batch.inputs == inputs
    assert isinstance(batch(42)[0], dict)
    backward(factory, batch)


@pytest.mark.fast
def test_models_of_timm_name_their_size() -> None:
    class Timm(HeadFirst):
        default_cfg = {"input_size": (1, 20, 24)}  # noqa: RUF012

    assert infer_batch(Timm).inputs == "images [8, 1, 20, 24] of unit noise"
