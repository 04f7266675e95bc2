"""Chooses a loss, with random targets, for the output of a model that was never seen before."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from vgharness.check.model_source import load_callable
from vgharness.errors import UsageError

LOSSES = ("cross_entropy", "mse", "mean_square")

# Added to a seed for its targets, which must not be the numbers of its inputs. The CPU's generator reads 32 bits only.
_SEED_OFFSET = 0x9E3779B9


class ChosenLoss(NamedTuple):
    """A loss with what makes targets for it.

    function: called with the model's output and the targets; gives one number.
    targets: called with a seed; gives targets, or None for a loss without any.
    text: the loss in words.
    """

    function: Callable[[Any, Any], Tensor]
    targets: Callable[[int], Any]
    text: str


def infer_loss(output: Any, targets: Any = None, *, inputs: Sequence[tuple[int, ...]] = ()) -> ChosenLoss:
    """Chooses the loss that suits an ``output``, and the batch's own ``targets`` where it has some.

    The model's own loss where the output has one. Cross-entropy where the output looks like scores of classes: [B, C],
    or [B, T, C] or [B, C, H, W] with scores at each position. Mean square error otherwise, and for hidden states and
    for an output of more than two dimensions that has the shape of one of the ``inputs``. Of several tensors the first
    floating-point one counts. Raises :class:`~vgharness.errors.UsageError` where there is none.
    """
    if _models_loss(output) is not None:
        return ChosenLoss(lambda output, _: _models_loss(output), _no_targets, "the loss that the model gives")
    where, tensor = _first_floating(output)
    if isinstance(targets, Tensor):
        classes = not targets.is_floating_point() and targets.numel() != tensor.numel()
    else:
        hidden = re.search("hidden|pooler|embed", where)
        like_input = tensor.dim() > 2 and tuple(tensor.shape) in inputs
        scores = tensor.dim() in (2, 3, 4) and tensor.shape[_class_axis(tensor)] > 1
        classes = scores and not hidden and not like_input
    return named_loss("cross_entropy" if classes else "mse", output, targets)


def named_loss(name: str, output: Any, targets: Any = None) -> ChosenLoss:
    """Makes the loss called ``name``, one of :data:`LOSSES` or MODULE:CALLABLE, for outputs like ``output``.

    ``targets``: the batch's own, if it has some. Raises :class:`~vgharness.errors.UsageError` for another name, and
    for an output that the loss cannot be taken of.
    """
    if ":" in name:
        return _loss_of_callable(name, output)
    where, tensor = _first_floating(output)
    of = f"output{where}"
    if name == "mean_square":
        return ChosenLoss(
            lambda output, _: _first_floating(output)[1].square().mean(), _no_targets, f"mean square of {of}"
        )
    if name == "mse":
        against = "noise" if targets is None else "the given targets"
        return ChosenLoss(
            lambda output, target: _mse(_first_floating(output)[1], target),
            lambda seed: torch.randn(tensor.shape, generator=_generator(seed)).to(tensor),
            f"mean square error of {of} against {against}",
        )
    if name == "cross_entropy":
        return _cross_entropy_loss(tensor, of, targets)
    raise UsageError(f"--loss {name}: use {', '.join(LOSSES)} or MODULE:CALLABLE, called with output and target")


def _loss_of_callable(name: str, output: Any) -> ChosenLoss:
    function = load_callable(name)
    try:
        targets = infer_loss(output).targets
    except UsageError:  # the callable may well take an output without a tensor, but then there is no shape of targets
        targets = _no_targets
    return ChosenLoss(function, targets, f"{name} of the output")


def _cross_entropy_loss(tensor: Tensor, of: str, targets: Any) -> ChosenLoss:
    axis = _class_axis(tensor)
    classes = tensor.shape[axis] if tensor.dim() > 1 else 1
    if classes < 2:
        raise UsageError(f"--loss cross_entropy: {of} {list(tensor.shape)} has no classes; use mse or mean_square")
    shape = [side for i, side in enumerate(tensor.shape) if i != axis % tensor.dim()]
    of_classes = f"targets of {classes} classes{' at each position' if len(shape) > 1 else ''}"
    return ChosenLoss(
        lambda output, target: _cross_entropy(_first_floating(output)[1], target),
        lambda seed: torch.randint(classes, shape, generator=_generator(seed)).to(tensor.device),
        f"cross-entropy of {of} against " + (f"random {of_classes}" if targets is None else "the given targets"),
    )


def _class_axis(scores: Tensor) -> int:
    """Says which axis holds the classes: the last of [B, T, C], the second of [B, C] and [B, C, H, W]."""
    return -1 if scores.dim() == 3 else 1


def _cross_entropy(scores: Tensor, target: Tensor) -> Tensor:
    if scores.dim() == 3 and target.shape == scores.shape[:-1]:
        scores = scores.movedim(-1, 1)
    return functional.cross_entropy(scores, target)


def _mse(found: Tensor, target: Tensor) -> Tensor:
    return functional.mse_loss(found, target.to(found.dtype).reshape(found.shape))


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed + _SEED_OFFSET)


def _no_targets(seed: int) -> None:
    return None


def _models_loss(output: Any) -> Any:
    """Finds the loss in an output that has one, as models of transformers give it; None elsewhere."""
    found = output.get("loss") if isinstance(output, Mapping) else getattr(output, "loss", None)
    return found if isinstance(found, Tensor) and found.numel() == 1 else None


def _first_floating(output: Any) -> tuple[str, Tensor]:
    """Finds the first floating-point tensor in ``output``, with its place there: ``[0]``, ``['logits']``, …."""
    for where, tensor in _floating_tensors(output, ""):
        return where, tensor
    raise UsageError("the model's output has no floating tensor: give --loss MODULE:CALLABLE, called with the output")


def _floating_tensors(output: Any, where: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(output, Tensor) and output.is_floating_point():
        yield where, output
    elif isinstance(output, Mapping):
        for name, value in output.items():
            yield from _floating_tensors(value, f"{where}[{name!r}]")
    elif isinstance(output, tuple | list):
        names = getattr(output, "_fields", None)
        for index, value in enumerate(output):
            yield from _floating_tensors(value, f"{where}.{names[index]}" if names else f"{where}[{index}]")
    elif dataclasses.is_dataclass(output):
        for field in dataclasses.fields(output):
            yield from _floating_tensors(getattr(output, field.name), f"{where}.{field.name}")
