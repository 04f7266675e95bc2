"""float32, TF32 and bfloat16: which there are, where, and how PyTorch is made to use them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, Final, TypeVar

import torch

from vgharness.errors import UsageError
from vgharness.records import Precision

_Value = TypeVar("_Value")

# The older names of these settings set the same of recurrent layers too.
_SETTINGS: Final[tuple[Any, ...]] = (
    torch.backends.cudnn.conv,  # type: ignore[attr-defined]
    torch.backends.cudnn.rnn,
    torch.backends.cuda.matmul,
)


def check_precision(precision: Precision, device: torch.device) -> None:
    """Raises :class:`~vgharness.errors.UsageError` where ``device`` does not have it."""
    if precision == "tf32" and device.type != "cuda":
        raise UsageError("--precision tf32: only a CUDA GPU has it; use fp32 or bf16")


@contextmanager
def float32_precision(precision: Precision) -> Iterator[None]:
    """Sets how float32 convolutions and matrix products are computed on a GPU, and puts it back afterwards.

    PyTorch rounds the inputs of float32 convolutions to TF32 by default; here only for ``tf32``. What a user's own code
    asks inside, by PyTorch's newer names or its older ones, is answered alike.
    """
    is_tf32 = precision == "tf32"
    before = [setting.fp32_precision for setting in _SETTINGS]
    older = _read(lambda: torch.backends.cudnn.allow_tf32), _read(torch.get_float32_matmul_precision)
    _set_older(is_tf32, "high" if is_tf32 else "highest")
    for setting in _SETTINGS:
        setting.fp32_precision = "tf32" if is_tf32 else "ieee"
    try:
        yield
    finally:
        _set_older(*older)
        for setting, value in zip(_SETTINGS, before, strict=True):
            setting.fp32_precision = value


def _read(setting: Callable[[], _Value]) -> _Value | None:
    """``None`` where PyTorch's older name of a setting disagrees with the newer one already, and so cannot be read."""
    try:
        return setting()
    except RuntimeError:
        return None


def _set_older(convolutions: bool | None, products: str | None) -> None:
    """Sets by PyTorch's older names, which raise where they disagree with the newer ones; ``None``: leaves it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some versions ask to use the newer names, which are set as well
        if convolutions is not None:
            torch.backends.cudnn.allow_tf32 = convolutions
        if products is not None:
            torch.set_float32_matmul_precision(products)


def autocast(precision: Precision, device: torch.device) -> torch.autocast | nullcontext[None]:
    """Around a forward pass: bfloat16 where it loses little, for ``bf16``; nothing otherwise."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()
