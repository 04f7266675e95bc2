"""Inputs that a model may take, inferred from the shapes of its layers."""

from __future__ import annotations

import inspect
import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from torch import nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

from vgharness.gradflow.given_batch import BATCH_SIZE

MOST_TRIED = 120  # inputs inferred from the layers
LARGEST_INPUT = 2**25  # numbers in one of those

# Sizes of signals, images and volumes, in the order in which they are tried; 28 is MNIST's, 84 Atari's.
_SIZES: dict[int, list[tuple[int, ...]]] = {
    1: [(n,) for n in (32, 64, 128, 256, 512, 1000, 1024, 4096, 16000)],
    2: [(n, n) for n in (32, 28, 64, 96, 224, 299, 16, 48, 84, 128, 256, 384)],
    3: [(8, 32, 32), (16, 32, 32), (32, 32, 32), (16, 64, 64), (16, 112, 112), (16, 224, 224)],
}
_NOUNS = {1: "signals", 2: "images", 3: "volumes"}
_LENGTHS = (16, 8, 32, 64, 128, 256, 512, 1024)  # of sequences; learned positions fit one length only
_COMMON_IMAGES = ((3, 32, 32), (1, 28, 28), (3, 224, 224))

_MOST_CLASSES, _MOST_FIRST = 3, 40  # embeddings whose numbers are tried for a second argument, with so many first ones
_TIMES = frozenset({"t", "time", "times", "timestep", "timesteps", "step", "steps", "sigma", "noise_level"})


class InputSpec(NamedTuple):
    """One argument of a model, to be drawn at random.

    noun: what its rows are, as shown to the user: ``images``, ``tokens``, ….
    shape: its shape, batch included.
    below: integers from 0 up to, without, this number; 0: unit noise (normal, mean 0, variance 1).
    keyword: the argument's name; empty: it is passed by position.
    dtype: its type's name in torch, such as ``int32``; empty: int64 for integers, else the type of the model's weights.
    batch_axis: which of the axes counts the samples.
    """

    noun: str
    shape: tuple[int, ...]
    below: int = 0
    keyword: str = ""
    dtype: str = ""
    batch_axis: int = 0

    def __str__(self) -> str:
        if self.dtype == "bool":
            return f"{self.noun} {list(self.shape)} of true and false"
        typed = "" if self.dtype in ("", "int64") else f" {self.dtype}"
        return f"{self.noun} {list(self.shape)}{typed} " + (f"below {self.below}" if self.below else "of unit noise")

    def of_batch(self, size: int) -> InputSpec:
        """Returns the same argument for a batch of another size."""
        axis = self.batch_axis
        return self._replace(shape=(*self.shape[:axis], size, *self.shape[axis + 1 :]))


Arguments = tuple[InputSpec, ...]

_TIMESTEPS = InputSpec("timesteps", (BATCH_SIZE,), 1000)  # of the noise that a diffusion model takes away


def likely_inputs(model: nn.Module) -> Iterator[Arguments]:
    """Yields inputs that ``model`` may take, the likeliest first; each has one spec per argument.

    First what a model of transformers or timm states of itself, then what each layer would take if the model began
    with it, in the order of registration, then images of common sizes.
    """
    if isinstance(getattr(model, "main_input_name", None), str):  # a model of transformers
        yield from _inputs_of_transformers(model)
    parameters = inspect.signature(model.forward).parameters.values()
    plain = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    names = [p.name for p in parameters if p.default is p.empty and p.kind in plain]
    arguments = max(1, len(names))
    modules = list(model.modules())
    # A recurrent or attention layer also takes rows, as one sequence without a batch: so sequences are tried first.
    sequences_first = any(isinstance(m, nn.RNNBase | nn.MultiheadAttention) for m in modules)
    settings: Any = getattr(model, "default_cfg", None)  # a model of timm's
    size = settings.get("input_size") if isinstance(settings, Mapping) else None
    stated = [InputSpec("images", (BATCH_SIZE, *size))] if size else []
    common = [InputSpec("images", (BATCH_SIZE, *shape)) for shape in _COMMON_IMAGES]
    of_layers = dict.fromkeys(spec for module in modules for spec in _inputs_of_layer(module, sequences_first))
    fitting = [spec for spec in of_layers if math.prod(spec.shape) <= LARGEST_INPUT]
    times = [name in _TIMES for name in names[1:]]
    # What goes with the first argument, where that has not the shape of the others: classes or steps, one per sample.
    classes = dict.fromkeys(m.num_embeddings for m in modules if isinstance(m, nn.Embedding))
    ids = [InputSpec("ids", (BATCH_SIZE,), below) for below in list(classes)[:_MOST_CLASSES]] if names[1:] else []
    for spec in [*stated, *fitting[:MOST_TRIED], *common]:
        if any(times):
            yield (spec, *(_TIMESTEPS if is_time else spec for is_time in times))
        yield (spec,) * arguments
    for spec, others in itertools.product(fitting[:_MOST_FIRST], ids):
        yield (spec, *(others for _ in names[1:]))
        if any(times) and not all(times):
            yield (spec, *(_TIMESTEPS if is_time else others for is_time in times))


def _inputs_of_layer(layer: nn.Module, sequences_first: bool) -> Iterator[InputSpec]:
    """Yields inputs that ``layer`` takes, which are the model's if it begins with this layer."""
    if isinstance(layer, _ConvNd):
        dims = len(layer.kernel_size)
        sizes = _SIZES[dims]
        if isinstance(layer, _ConvTransposeNd):  # a model that begins with one enlarges its input
            sizes = [(n,) * dims for n in (1, 4, 8, 16)]
        for size in sizes:
            yield InputSpec(_NOUNS[dims], (BATCH_SIZE, layer.in_channels, *size))
    elif isinstance(layer, nn.Embedding | nn.EmbeddingBag):
        for shape in [*((BATCH_SIZE, length) for length in _LENGTHS), (BATCH_SIZE,)]:
            yield InputSpec("tokens", shape, layer.num_embeddings)
    elif isinstance(layer, nn.RNNBase | nn.MultiheadAttention):
        features = layer.input_size if isinstance(layer, nn.RNNBase) else layer.embed_dim
        for length in _LENGTHS:
            steps = (BATCH_SIZE, length) if layer.batch_first else (length, BATCH_SIZE)
            yield InputSpec("sequences", (*steps, features), batch_axis=0 if layer.batch_first else 1)
    else:
        for width in _widths(layer):
            rows = InputSpec("rows", (BATCH_SIZE, width))
            sequences = [InputSpec("sequences", (BATCH_SIZE, length, width)) for length in _LENGTHS]
            yield from [*sequences, rows] if sequences_first else [rows, *sequences]


def _widths(layer: nn.Module) -> list[int]:
    """Lists how many features a row of the layer's input may have: of an unknown layer, either side of its matrices."""
    if isinstance(layer, nn.Linear):
        return [layer.in_features]
    if isinstance(layer, nn.RNNCellBase):
        return [layer.input_size]
    return [side for parameter in layer.parameters(recurse=False) if parameter.dim() == 2 for side in parameter.shape]


def _inputs_of_transformers(model: Any) -> Iterator[Arguments]:
    """Yields inputs by the argument names and the configuration of a model of transformers."""
    config, takes = model.config, inspect.signature(model.forward).parameters
    parts = [config, *(getattr(config, part, None) for part in ("text_config", "vision_config", "encoder"))]

    def setting(name: str, default: int) -> int:
        found = next((value for part in parts if isinstance(value := getattr(part, name, None), int)), None)
        return found or default

    tokens, below = (BATCH_SIZE, _LENGTHS[0]), setting("vocab_size", 2)
    side = setting("image_size", 224)
    shapes = {
        "input_ids": tokens,
        "decoder_input_ids": tokens,
        "pixel_values": (BATCH_SIZE, setting("num_channels", 3), side, side),
        "input_values": (BATCH_SIZE, 8000),  # samples of sound
        "input_features": (BATCH_SIZE, setting("num_mel_bins", 80), 2 * setting("max_source_positions", 1500)),
    }
    known = {name: InputSpec(name, shape, below if shape == tokens else 0, name) for name, shape in shapes.items()}
    main = model.main_input_name
    for names in ((main,), (main, "decoder_input_ids"), ("input_ids", "pixel_values")):
        if all(name in takes and name in known for name in names):
            yield tuple(known[name] for name in names)
