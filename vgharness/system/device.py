"""The device that computes."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import torch

from vgharness.errors import UsageError

# How the studied networks' images and weights lie in memory. On a CPU it is the layout in which convolutions are
# fastest; on an H200 a step of ten networks takes as long in it as in the other one at float32, and less at TF32 and
# bfloat16 (README, Performance).
LAYOUT: Final = torch.channels_last


def pick_device(name: str, *, all_gpus: bool = False) -> torch.device:
    """``auto`` (a GPU where there is one), ``cpu`` or ``cuda[:N]`` → a device that is really there.

    ``all_gpus``: where there are several and the name says no number, ``cuda`` is returned, which stands for all.
    Raises :class:`~vgharness.errors.UsageError` where it is not there.
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
        if all_gpus and device.index is None and count > 1:
            return device
        return torch.device("cuda", device.index or 0)
    return device


def all_of(device: torch.device) -> list[torch.device]:
    """Returns the devices that ``device`` stands for: each GPU for ``cuda``, else itself."""
    if device.type == "cuda" and device.index is None:
        return [torch.device("cuda", index) for index in range(torch.cuda.device_count())]
    return [device]


def synchronize(device: torch.device) -> None:
    """Waits for the work that is queued on a GPU; on a CPU none is."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def free_memory(device: torch.device) -> int | None:
    """Reads how many bytes of memory are free on a GPU, or for the CPU in the machine and in the control group that
    this process is in; None where the system does not say."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    found: list[int] = []
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                found.append(int(line.split()[1]) * 1024)
    except OSError:  # no Linux
        found += _free_pages()
    try:
        limit, used = (
            Path("/sys/fs/cgroup", f"memory.{name}").read_text(encoding="ascii") for name in ("max", "current")
        )
        found.append(int(limit) - int(used))
    except (OSError, ValueError):  # no such group, or one without a limit
        pass
    return min(found, default=None)


def _free_pages() -> list[int]:
    try:
        return [os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    except (AttributeError, OSError, ValueError):  # Windows; macOS, which does not have the first of them
        return []
