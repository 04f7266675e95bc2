"""What a model may take, as the shapes of its layers say: what is tried on it, the likeliest first."""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from torch import nn
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd

BATCH_SIZE = 8  # batch norm needs more than one

# Of signals, images and volumes, in the order in which they are tried; 28 is MNIST's, 84 Atari's.
_SIDES: dict[int, list[tuple[int, ...]]] = {
    1: [(n,) for n in (32, 64, 128, 256, 512, 1000, 1024, 4096, 16000)],
    2: [(n, n) for n in (32, 28, 64, 96, 224, 299, 16, 48, 84, 128, 256, 384)],
    3: [(8, 32, 32), (16, 32, 32), (32, 32, 32), (16, 64, 64), (16, 112, 112), (16, 224, 224)],
}
_NOUNS = {1: "signals", 2: "images", 3: "volumes"}
_LENGTHS = (16, 8, 32, 64, 128, 256, 512, 1024)  # of sequences: learned positions fit one length only
_TRIES = 120
_LARGEST = 2**25  # numbers of an input that is tried


class Drawn(NamedTuple):
    """One argument of a model: unit noise, or integers under ``below`` where that is not 0; by ``keyword``, if any."""

    noun: str
    shape: tuple[int, ...]
    below: int = 0
    keyword: str = ""

    def __str__(self) -> str:
        return f"{self.noun} {list(self.shape)} " + (f"below {self.below}" if self.below else "of unit noise")


Arguments = tuple[Drawn, ...]


def likely_inputs(model: nn.Module) -> Iterator[Arguments]:
    """Inputs that the model may take, the likeliest first."""
    if isinstance(getattr(model, "main_input_name", None), str):  # a model of transformers
        yield from _of_transformers(model)
    parameters = inspect.signature(model.forward).parameters.values()
    plain = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    each = max(1, sum(p.default is p.empty and p.kind in plain for p in parameters))
    modules = list(model.modules())
    # What is made for sequences may take one of them, without a batch, and then be wrong about its axes.
    sequences = any(isinstance(m, nn.RNNBase | nn.MultiheadAttention) for m in modules)
    settings: Any = getattr(model, "default_cfg", None)  # a model of timm's
    size = settings.get("input_size") if isinstance(settings, Mapping) else None
    known = [Drawn("images", (BATCH_SIZE, *size))] if size else []
    usual = [Drawn("images", (BATCH_SIZE, *shape)) for shape in ((3, 32, 32), (1, 28, 28), (3, 224, 224))]
    of_layers = dict.fromkeys(drawn for module in modules for drawn in _of_layer(module, sequences))
    small = [drawn for drawn in of_layers if math.prod(drawn.shape) <= _LARGEST]
    for drawn in [*known, *small[:_TRIES], *usual]:
        yield (drawn,) * each


def _of_layer(layer: nn.Module, sequences: bool) -> Iterator[Drawn]:
    """What goes into ``layer``, should the model begin with it."""
    if isinstance(layer, _ConvNd):
        dims = len(layer.kernel_size)
        sizes = _SIDES[dims]
        if isinstance(layer, _ConvTransposeNd):  # what begins with one grows its input
            sizes = [(n,) * dims for n in (1, 4, 8, 16)]
        for sides in sizes:
            yield Drawn(_NOUNS[dims], (BATCH_SIZE, layer.in_channels, *sides))
    elif isinstance(layer, nn.Embedding | nn.EmbeddingBag):
        for shape in [*((BATCH_SIZE, length) for length in _LENGTHS), (BATCH_SIZE,)]:
            yield Drawn("tokens", shape, layer.num_embeddings)
    elif isinstance(layer, nn.RNNBase | nn.MultiheadAttention):
        features = layer.input_size if isinstance(layer, nn.RNNBase) else layer.embed_dim
        for length in _LENGTHS:
            steps = (BATCH_SIZE, length) if layer.batch_first else (length, BATCH_SIZE)
            yield Drawn("sequences", (*steps, features))
    else:
        # Of a layer of the user's own either side of its matrices.
        widths = [side for p in layer.parameters(recurse=False) if p.dim() == 2 for side in p.shape]
        if isinstance(layer, nn.Linear | nn.RNNCellBase):
            widths = [layer.in_features if isinstance(layer, nn.Linear) else layer.input_size]
        for width in widths:
            rows = Drawn("rows", (BATCH_SIZE, width))
            steps_of = [Drawn("sequences", (BATCH_SIZE, length, width)) for length in _LENGTHS]
            yield from [*steps_of, rows] if sequences else [rows, *steps_of]


def _of_transformers(model: Any) -> Iterator[Arguments]:
    config, takes = model.config, inspect.signature(model.forward).parameters
    parts = [config, *(getattr(config, part, None) for part in ("text_config", "vision_config", "encoder"))]

    def of(name: str, default: int) -> int:
        found = next((value for part in parts if isinstance(value := getattr(part, name, None), int)), None)
        return found or default

    tokens, below = (BATCH_SIZE, _LENGTHS[0]), of("vocab_size", 2)
    side = of("image_size", 224)
    shapes = {
        "input_ids": tokens,
        "decoder_input_ids": tokens,
        "pixel_values": (BATCH_SIZE, of("num_channels", 3), side, side),
        "input_values": (BATCH_SIZE, 8000),  # of sound
        "input_features": (BATCH_SIZE, of("num_mel_bins", 80), 2 * of("max_source_positions", 1500)),
    }
    known = {name: Drawn(name, shape, below if shape == tokens else 0, name) for name, shape in shapes.items()}
    main = model.main_input_name
    for names in ((main,), (main, "decoder_input_ids"), ("input_ids", "pixel_values")):
        if all(name in takes and name in known for name in names):
            yield tuple(known[name] for name in names)
