"""With what a run is made: the machine, the versions, the commit."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vgharness.records import Machine

if TYPE_CHECKING:
    import torch  # slow to import

_PACKAGES = ("vgharness", "torch", "torchvision", "numpy", "scipy", "pillow")


def describe(device: torch.device) -> Machine:
    """This machine, as far as a result can depend on it."""
    import torch

    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return Machine(
        id=f"{machine_prefix()}{gpu or 'cpu'}".replace(" ", "_").replace("/", "_"),
        system=platform.platform(),
        processor=_processor(),
        cores=os.cpu_count() or 1,
        threads=torch.get_num_threads(),
        device=gpu or "cpu",
        python=platform.python_version(),
        versions={name: found for name in _PACKAGES if (found := _version(name))},
        deterministic=torch.are_deterministic_algorithms_enabled() or torch.backends.cudnn.deterministic,
        **(_gpu_facts(device) if gpu else {}),
    )


def _gpu_facts(device: torch.device) -> dict[str, Any]:
    """The fields of a :class:`Machine` that only one with a GPU has."""
    import torch

    properties = torch.cuda.get_device_properties(device)
    cudnn = torch.backends.cudnn.version()  # type: ignore[no-untyped-call]
    query = ("nvidia-smi", "--query-gpu=driver_version,power.limit,mig.mode.current", "--format=csv,noheader,nounits")
    # By its own name, for a process may see other GPUs, in another order; a part of a divided one has no such name.
    asked = _output(*query, f"--id=GPU-{properties.uuid}") or _output(*query)
    driver, power, mig = (*(x.strip() for x in (asked or "").split(",")), "", "", "")[:3]
    return {
        "cuda": torch.version.cuda,
        "cudnn": str(cudnn) if cudnn else None,
        "driver": driver or None,
        "memory": properties.total_memory,
        "capability": f"{properties.major}.{properties.minor}",
        "power_limit": float(power) if re.fullmatch(r"\d+(\.\d+)?", power) else None,
        "mig": {"Enabled": True, "Disabled": False}.get(mig),
        "cudnn_benchmark": torch.backends.cudnn.benchmark,
    }


def machine_prefix() -> str:
    """What the ids of this machine begin with, whatever its device: known without PyTorch."""
    return f"{platform.system()}-{platform.machine()}-py{platform.python_version().rpartition('.')[0]}-"


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


def commit_named(ref: str) -> str | None:
    """The commit that git calls ``ref`` in the current folder's repository: a branch, a tag, ``HEAD~1``. ``None`` where
    it knows none."""
    return _output("git", "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}")


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
