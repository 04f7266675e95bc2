"""Numbers on their way from a device to the host: all at once."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable

import torch
from torch import Tensor

from vgharness.probe.norms import stacked, wide_dtype


class Numbers:
    """Gathers scalars by key, and brings them to the host in one go."""

    def __init__(self) -> None:
        self._scalars: dict[Hashable, Tensor] = {}
        self._vectors: list[tuple[list[Hashable], Tensor]] = []

    def put(self, key: Hashable, scalar: Tensor | None) -> None:
        if scalar is not None:
            self._scalars[key] = scalar

    def put_all(self, keys: Iterable[Hashable], vector: Tensor) -> None:
        self._vectors.append((list(keys), vector))

    def fetch(self) -> dict[Hashable, float]:
        """By key; waits for the device."""
        keys = [*self._scalars, *(key for own, _ in self._vectors for key in own)]
        if not keys:
            return {}
        tensors = [*self._scalars.values(), *(vector for _, vector in self._vectors)]
        device = tensors[0].device
        tensors = [x if x.device == device else x.to(device) for x in tensors]
        parts = [stacked(tensors[: len(self._scalars)])] if self._scalars else []
        parts += tensors[len(self._scalars) :]
        values: list[float] = torch.cat([part.to(wide_dtype(device)) for part in parts]).tolist()
        return dict(zip(keys, values, strict=True))


def finite(value: float | None) -> float | None:
    """``None`` for what is not finite."""
    return value if value is not None and math.isfinite(value) else None
