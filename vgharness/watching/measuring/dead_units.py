"""Which units are dead for good: saturated on every sample of several snapshots in a row."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from vgharness.probe.passes import Row

LOOKS: Final = 4  # how many snapshots in a row

_Key = tuple[str, int, int]  # of an activation: layer, forward pass, place after it


class DeadUnits:
    """Counts, for each unit, in how many snapshots in a row it was saturated."""

    def __init__(self) -> None:
        self._counts: dict[_Key, Tensor] = {}
        self._looks: dict[_Key, int] = {}

    def add(self, row: Row) -> Tensor | None:
        """Takes one row of a snapshot. Returns the share of its units that have been saturated in the last ``LOOKS``
        snapshots, a scalar; ``None`` before there were so many, and where sizes change from one to the next."""
        masks: dict[int, list[Tensor]] = {}
        for saturated in row.saturated:
            masks.setdefault(saturated.place, []).append(saturated.mask)
        dead = [self._dead((row.layer.name, row.forward_pass, place), own) for place, own in masks.items()]
        known = [x for x in dead if x is not None]
        if not known or len(known) < len(dead):
            return None
        units = sum(x.numel() for x in known)
        return torch.stack([x.sum() for x in known]).sum() / units

    def _dead(self, key: _Key, masks: list[Tensor]) -> Tensor | None:
        """``masks``: of the micro-batches."""
        counts = self._counts.get(key)
        if len({mask.shape for mask in masks}) > 1:
            counts = self._counts.pop(key, None)
            return None
        mask = masks[0] if len(masks) == 1 else torch.stack(masks).all(0)
        if counts is None or counts.shape != mask.shape or counts.device != mask.device:
            counts, self._looks[key] = torch.zeros_like(mask, dtype=torch.uint8), 0
        self._counts[key] = counts.add_(1).clamp_(max=LOOKS).mul_(mask)
        self._looks[key] += 1
        return self._counts[key] == LOOKS if self._looks[key] >= LOOKS else None
