"""float32, TF32 and bfloat16: which there are, where, and how PyTorch is made to use them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch

from vgharness.errors import UsageError
from vgharness.records import Precision


def check_precision(precision: Precision, device: torch.device) -> None:
    """Raises :class:`~vgharness.errors.UsageError` where ``device`` does not have it."""
    if precision == "tf32" and device.type != "cuda":
        raise UsageError("--precision tf32: only a CUDA GPU has it; use fp32 or bf16")


@contextmanager
def float32_precision(precision: Precision) -> Iterator[None]:
    """Sets how float32 convolutions and matrix products are computed on a GPU, and puts it back afterwards.

    PyTorch rounds the inputs of float32 convolutions to TF32 by default; here only for ``tf32``.
    """
    settings: tuple[Any, ...] = (torch.backends.cudnn.conv, torch.backends.cuda.matmul)  # type: ignore[attr-defined]
    before = [setting.fp32_precision for setting in settings]
    for setting in settings:
        setting.fp32_precision = "tf32" if precision == "tf32" else "ieee"
    try:
        yield
    finally:
        for setting, value in zip(settings, before, strict=True):
            setting.fp32_precision = value


def autocast(precision: Precision, device: torch.device) -> torch.autocast | nullcontext[None]:
    """Around a forward pass: bfloat16 where it loses little, for ``bf16``; nothing otherwise."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()
