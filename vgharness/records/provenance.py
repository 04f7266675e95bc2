"""Where results come from: the images, and the machine."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from vgharness.records.base import Count, Name, Record, Size


class Provenance(Record):
    """Which images a run was trained on.

    kind: where they came from.
    description: the same in words.
    cifar10: how far they are CIFAR-10: its ``canonical`` files, ``re-encoded`` (its ten classes and image counts, from
        other files), a ``part`` of either, or ``no``.
    sha256: over the pixels and labels themselves.
    classes: their names, in the order of the labels; none where the targets are no classes.
    train_images: how many there are to train on.
    test_images: how many there are to test on.
    """

    kind: Literal["cifar10", "folder", "synthetic", "torchvision", "own"]
    description: Name
    cifar10: Literal["canonical", "re-encoded", "part", "no"]
    sha256: str
    classes: tuple[Name, ...]
    train_images: Size
    test_images: Size

    @property
    def is_cifar10(self) -> bool:
        """Whether what is said about CIFAR-10 can be judged on these images."""
        return self.cifar10 in ("canonical", "re-encoded")


class Machine(Record):
    """Where a run was made.

    id: of what stays the same from day to day; names the machine's folder in the store.
    system: the operating system and its version.
    processor: the CPU's model name.
    cores: how many the operating system shows.
    threads: how many PyTorch computes with.
    device: the GPU's name, or ``cpu``.
    python: its version.
    versions: by package, the version installed.
    cuda: the version that PyTorch was built with; ``None`` on a CPU.
    cudnn: its version; ``None`` on a CPU.
    driver: the GPU driver's version; ``None`` on a CPU.
    memory: of the GPU, bytes; ``None`` on a CPU.
    capability: the GPU's compute capability, such as ``9.0``; ``None`` on a CPU.
    power_limit: of the GPU, watts; ``None`` on a CPU, or where the driver does not say.
    mig: whether the device is a part of a GPU that is divided (Multi-Instance GPU); ``None`` on a CPU, or not known.
    deterministic: whether PyTorch was asked for the same result every time, where a GPU would else add in any order.
    cudnn_benchmark: whether cuDNN chose its algorithms by trying them out; ``None`` on a CPU.
    """

    id: str = Field(pattern=r"^[^./\\\x00-\x1f][^/\\\x00-\x1f]*$")
    system: str
    processor: str
    cores: Count
    threads: Count
    device: str
    python: str
    versions: dict[str, str]
    cuda: str | None = None
    cudnn: str | None = None
    driver: str | None = None
    memory: Size | None = None
    capability: str | None = None
    power_limit: float | None = None
    mig: bool | None = None
    deterministic: bool = False
    cudnn_benchmark: bool | None = None

    @property
    def facts(self) -> dict[str, str]:
        """What else is known of a GPU, by name; nothing of a CPU."""
        memory = None if self.memory is None else f"{self.memory / 2**30:.0f} GiB"
        power = None if self.power_limit is None else f"{self.power_limit:.0f} W"
        found = {
            "CUDA": self.cuda,
            "cuDNN": self.cudnn,
            "driver": self.driver,
            "memory": memory,
            "compute capability": self.capability,
            "power limit": power,
            "divided GPU (MIG)": _yes_or_no(self.mig),
            "cuDNN's trials of algorithms": _yes_or_no(self.cudnn_benchmark),
            "deterministic algorithms": _yes_or_no(self.deterministic or None),
        }
        return {name: value for name, value in found.items() if value is not None}

    @property
    def hardware(self) -> str:
        """What computed: the GPU's name, or the processor's."""
        return self.device if self.device != "cpu" else self.processor


def _yes_or_no(value: bool | None) -> str | None:
    return None if value is None else "yes" if value else "no"
