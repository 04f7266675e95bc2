"""A loss for the output of a model that was never seen before, with targets that are random."""

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
_TARGETS = 0x9E3779B9


class Loss(NamedTuple):
    """``function(output, targets)``, ``targets`` of a seed, and in ``text`` what they are."""

    function: Callable[[Any, Any], Tensor]
    targets: Callable[[int], Any]
    text: str


def infer_loss(output: Any, targets: Any = None, *, inputs: Sequence[tuple[int, ...]] = ()) -> Loss:
    """What goes with an ``output`` like this one, and with ``targets`` like these where the batch has some.

    The model's own loss where it gives one; cross-entropy where the output looks like scores of classes: [B, C], at
    each position [B, T, C] or [B, C, H, W]; mean square error else, so of hidden states, and of what has more than
    two dimensions and the shape of one of the ``inputs``. Of several tensors the first floating one counts.
    """
    if _own_loss(output) is not None:
        return Loss(lambda output, _: _own_loss(output), _no_targets, "the loss that the model gives")
    where, tensor = _first(output)
    if isinstance(targets, Tensor):
        classes = not targets.is_floating_point() and targets.numel() != tensor.numel()
    else:
        hidden = re.search("hidden|pooler|embed", where)
        same = tensor.dim() > 2 and tuple(tensor.shape) in inputs
        classes = tensor.dim() in (2, 3, 4) and tensor.shape[_class_axis(tensor)] > 1 and not hidden and not same
    return named_loss("cross_entropy" if classes else "mse", output, targets)


def named_loss(name: str, output: Any, targets: Any = None) -> Loss:
    """One of ``LOSSES``, or MODULE:CALLABLE, for outputs like this one."""
    if ":" in name:
        function = load_callable(name)
        try:
            aim = infer_loss(output).targets
        except UsageError:  # no tensor to aim at: that is this loss's own affair
            aim = _no_targets
        return Loss(function, aim, f"{name} of the output")
    where, tensor = _first(output)
    of = f"output{where}"
    if name == "mean_square":
        return Loss(lambda output, _: _first(output)[1].square().mean(), _no_targets, f"mean square of {of}")
    if name == "mse":
        against = "noise" if targets is None else "the given targets"
        return Loss(
            lambda output, target: _mse(_first(output)[1], target),
            lambda seed: torch.randn(tensor.shape, generator=_of_seed(seed)).to(tensor),
            f"mean square error of {of} against {against}",
        )
    if name != "cross_entropy":
        raise UsageError(f"--loss {name}: use {', '.join(LOSSES)} or MODULE:CALLABLE, called with output and target")
    axis = _class_axis(tensor)
    classes = tensor.shape[axis] if tensor.dim() > 1 else 1
    if classes < 2:
        raise UsageError(f"--loss cross_entropy: {of} {list(tensor.shape)} has no classes; use mse or mean_square")
    shape = [side for i, side in enumerate(tensor.shape) if i != axis % tensor.dim()]
    of_classes = f"targets of {classes} classes{' at each position' if len(shape) > 1 else ''}"
    return Loss(
        lambda output, target: _cross_entropy(_first(output)[1], target),
        lambda seed: torch.randint(classes, shape, generator=_of_seed(seed)).to(tensor.device),
        f"cross-entropy of {of} against " + (f"random {of_classes}" if targets is None else "the given targets"),
    )


def _class_axis(tensor: Tensor) -> int:
    return -1 if tensor.dim() == 3 else 1


def _cross_entropy(scores: Tensor, target: Tensor) -> Tensor:
    if scores.dim() == 3 and target.shape == scores.shape[:-1]:
        scores = scores.movedim(-1, 1)
    return functional.cross_entropy(scores, target)


def _mse(found: Tensor, target: Tensor) -> Tensor:
    return functional.mse_loss(found, target.to(found.dtype).reshape(found.shape))


def _of_seed(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed + _TARGETS)


def _no_targets(seed: int) -> None:
    return None


def _own_loss(output: Any) -> Any:
    found = output.get("loss") if isinstance(output, Mapping) else getattr(output, "loss", None)
    return found if isinstance(found, Tensor) and found.numel() == 1 else None


def _first(output: Any) -> tuple[str, Tensor]:
    for where, tensor in _floats(output, ""):
        return where, tensor
    raise UsageError("the model's output has no floating tensor: give --loss MODULE:CALLABLE, called with the output")


def _floats(output: Any, where: str) -> Iterator[tuple[str, Tensor]]:
    """The floating tensors in ``output``, each with the way to it."""
    if isinstance(output, Tensor) and output.is_floating_point():
        yield where, output
    elif isinstance(output, Mapping):
        for name, value in output.items():
            yield from _floats(value, f"{where}[{name!r}]")
    elif isinstance(output, tuple | list):
        names = getattr(output, "_fields", None)
        for index, value in enumerate(output):
            yield from _floats(value, f"{where}.{names[index]}" if names else f"{where}[{index}]")
    elif dataclasses.is_dataclass(output):
        for field in dataclasses.fields(output):
            yield from _floats(getattr(output, field.name), f"{where}.{field.name}")
