"""The inputs that are inferred from the layers of models that the check has never seen."""

import math
import types
from collections.abc import Callable
from typing import Any

import pytest
from factories import failure
from torch import Tensor, nn
from unseen_models import Gpt, HeadFirst, Lambda, Patches, Raw, Recommender, backward, convolutions, shaped

from vgharness.check.batch import infer_batch
from vgharness.check.model_source import load_factory
from vgharness.gradflow.measurement import measure

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
    "LSTM": (lambda: nn.LSTM(6, 4, batch_first=True), "sequences [8, 16, 6]",
             "output[0], output[1][0], output[1][1] (summed) against random targets of 4 classes"),
    "GRU, steps first": (lambda: nn.GRU(6, 4), "sequences [16, 8, 6] of unit noise", "output[0]"),
    "RNN cell": (lambda: nn.RNNCell(6, 4), "rows [8, 6] of unit noise", "4 classes"),
    "tagger": (lambda: nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 3)), "tokens [8, 16] below 9",
               "3 classes at each position"),
    "GPT": (Gpt, "tokens [8, 64] below 11", "output[0] against random targets of 11 classes at each position"),
    "bag": (lambda: nn.Sequential(nn.EmbeddingBag(9, 4), nn.Linear(4, 3)), "tokens [8, 16] below 9", "3 classes"),
    "recommender": (Recommender, "tokens [8, 16] below 20 and tokens [8, 16] below 20",
                    "output, taken for the loss"),
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
    [("vit_b_32", 224, ""), ("maxvit_t", 224, ""), ("inception_v3", 299, ".logits, output.aux_logits (summed)"),
     ("googlenet", 32, ".logits, output.aux_logits2, output.aux_logits1 (summed)"),
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
    assert "ok" in {layer.state for layer in sample.record.flows[0].layers}


@pytest.mark.fast
def test_nothing_fits() -> None:
    def refuses(self: nn.Module, x: Any) -> None:
        raise TypeError("a graph\nis needed")

    line = failure(lambda: infer_batch(lambda: Lambda(refuses, inner=nn.Linear(3, 2))))
    assert "give --input SHAPE, such as 8,3,32,32, or --input MODULE:CALLABLE" in line
    assert "of rows [8, 3] of unit noise it says TypeError: a graph is needed" in line


@pytest.mark.fast
def test_so_many_inputs_are_tried_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many layers there are; and only inputs that fit into memory."""
    monkeypatch.setattr("vgharness.check.input_shapes.LARGEST_INPUT", 2**16)
    tried: list[int] = []

    def refuses(self: nn.Module, x: Tensor) -> None:
        tried.append(x.numel())
        raise TypeError

    layers = {f"layer{i}": nn.Linear(i, 1) for i in range(1, 100)}
    failure(lambda: infer_batch(lambda: Lambda(refuses, **layers)))
    assert 100 < len(tried) < 130
    assert 2**15 < max(tried[:100]) <= 2**16


# --- collections ---------------------------------------------------------------------------------------------


class Net(nn.Module):
    """As models of transformers are: called by keyword, with a configuration."""

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
