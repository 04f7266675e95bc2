"""Where and with what a run is made."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from vgharness.errors import UsageError
from vgharness.records import Machine, Precision

_PACKAGES = ("vgharness", "torch", "torchvision", "numpy", "scipy", "pillow")


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


def check_precision(precision: Precision, device: torch.device) -> None:
    """Raises :class:`~vgharness.errors.UsageError` where ``device`` does not have it."""
    if precision == "tf32" and device.type != "cuda":
        raise UsageError("--precision tf32: only a CUDA GPU has it; use fp32 or bf16")


def synchronize(device: torch.device) -> None:
    """Waits for the work that is queued on a GPU; on a CPU none is."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def describe(device: torch.device) -> Machine:
    """This machine, as far as a result can depend on it."""
    on_gpu = device.type == "cuda"
    cudnn = torch.backends.cudnn.version() if on_gpu else None  # type: ignore[no-untyped-call]
    gpu = torch.cuda.get_device_name(device) if on_gpu else None
    system = f"{platform.system()}-{platform.machine()}"
    python = platform.python_version()
    return Machine(
        id=f"{system}-py{python.rpartition('.')[0]}-{gpu or 'cpu'}".replace(" ", "_").replace("/", "_"),
        system=platform.platform(),
        processor=_processor(),
        cores=os.cpu_count() or 1,
        threads=torch.get_num_threads(),
        device=gpu or "cpu",
        python=python,
        versions={name: found for name in _PACKAGES if (found := _version(name))},
        cuda=torch.version.cuda if on_gpu else None,
        cudnn=str(cudnn) if cudnn else None,
        driver=_output("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader") if on_gpu else None,
    )


def commit() -> str | None:
    """The commit that this package's source is at, with ``-dirty`` where files differ from it;
    ``None`` for an installed package."""
    source = Path(__file__).resolve().parents[2]
    top = _output("git", "-C", str(source), "rev-parse", "--show-toplevel")
    # The reports folder holds this program's own output; what it lacks cannot change a result.
    return commit_of(source, ":!reports") if top is not None and Path(top).resolve() == source else None


def commit_of(folder: Path, *without: str) -> str | None:
    """The commit that ``folder`` is at, with ``-dirty`` where files in it differ, not counting the pathspecs
    ``without``; ``None`` where it is in no repository."""
    head = _output("git", "-C", str(folder), "rev-parse", "HEAD")
    changed = _output("git", "-C", str(folder), "status", "--porcelain", "--", ".", *without)
    return f"{head}-dirty" if head and changed else head


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def _output(*command: str) -> str | None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip().partition("\n")[0] or None
