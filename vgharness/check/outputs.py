"""The floating tensors in what a model puts out, by their places in it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from vgharness.errors import UsageError
from vgharness.gradflow.arguments import models_loss


class OutputPart(NamedTuple):
    """A floating tensor of an output, without its values.

    where: its place: empty for an output that is one tensor, else ``[0]``, ``['logits']``, ``.aux_logits``, ….
    shape: its shape, batch included.
    dtype, device: its type and its device.
    graph: whether a gradient can come back through it; None where the pass kept no graph.
    """

    where: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device
    graph: bool | None = None

    @property
    def name(self) -> str:
        """The part in words: ``output.logits``."""
        return f"output{self.where}"


class Output(NamedTuple):
    """What is known of a model's output without its values.

    parts: its floating tensors, each once.
    own_loss: whether it holds a loss of the model's own, as those of transformers do.
    """

    parts: tuple[OutputPart, ...]
    own_loss: bool = False


def describe_output(output: Any, *, of_training: bool = False) -> Output:
    """Describes an output, so that the tensors in it need not be kept.

    of_training: the pass kept a graph, so that a tensor without one is known to have none.
    """
    if isinstance(output, Output):
        return output
    tensors = list(floating_tensors(output))
    graph = of_training or any(tensor.requires_grad for _, tensor in tensors)
    parts = (
        OutputPart(where, tuple(t.shape), t.dtype, t.device, t.requires_grad if graph else None) for where, t in tensors
    )
    return Output(tuple(parts), models_loss(output) is not None)


def floating_tensors(output: Any) -> Iterator[tuple[str, Tensor]]:
    """Yields the floating-point tensors in ``output`` with their places there, each tensor once."""
    seen: list[Tensor] = []
    for where, tensor in _walk(output, ""):
        if not any(tensor is other for other in seen):
            seen.append(tensor)
            yield where, tensor


def tensor_at(output: Any, where: str) -> Tensor:
    """Finds the floating tensor at ``where`` in an output.

    Raises :class:`~vgharness.errors.UsageError` where this output has none there.
    """
    for place, tensor in _walk(output, ""):
        if place == where:
            return tensor
    raise UsageError(
        f"the model's output has no floating tensor output{where} this time: give --loss MODULE:CALLABLE, called with "
        "output and target"
    )


def _walk(output: Any, where: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(output, Tensor):
        if output.is_floating_point():
            yield where, output
    elif isinstance(output, Mapping):
        for name, value in output.items():
            yield from _walk(value, f"{where}[{name!r}]")
    elif isinstance(output, tuple | list):
        names = getattr(output, "_fields", None)
        for index, value in enumerate(output):
            yield from _walk(value, f"{where}.{names[index]}" if names else f"{where}[{index}]")
    elif dataclasses.is_dataclass(output):
        for field in dataclasses.fields(output):
            yield from _walk(getattr(output, field.name), f"{where}.{field.name}")
    elif type(output).__module__ != "builtins" and hasattr(output, "__dict__"):  # a class of the user's own
        for name, value in vars(output).items():
            if not name.startswith("_") and isinstance(value, Tensor | tuple | list | Mapping):
                yield from _walk(value, f"{where}.{name}")
