"""The device that computes."""

from __future__ import annotations

import torch

from vgharness.errors import UsageError


def pick_device(name: str) -> torch.device:
    """``auto`` (a GPU where there is one), ``cpu`` or ``cuda[:N]`` → a device that is really there.

    Raises :class:`~vgharness.errors.UsageError` where it is not.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda"):
        raise UsageError(f"--device {name}: use auto, cpu, cuda or cuda:N")
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise UsageError(f"--device {name}: PyTorch {torch.__version__} sees no CUDA GPU here; use --device cpu")
        count = torch.cuda.device_count()
        if (device.index or 0) >= count:
            raise UsageError(f"--device {name}: there are {count} GPUs here; use cuda:0 to cuda:{count - 1}")
        return torch.device("cuda", device.index or 0)
    return device


def synchronize(device: torch.device) -> None:
    """Waits for the work that is queued on a GPU; on a CPU none is."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
