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

    @property
    def hardware(self) -> str:
        """What computed: the GPU's name, or the processor's."""
        return self.device if self.device != "cpu" else self.processor
