"""Which parameters a model has, and where they lie: to notice that it was changed while it is watched."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from vgharness.formatting import listing


class Shape(NamedTuple):
    """Of one model.

    parameters: each by its name.
    places: device and type of each.
    """

    parameters: dict[str, nn.Parameter]
    places: dict[str, tuple[torch.device, torch.dtype]]

    @classmethod
    def of(cls, model: nn.Module) -> Shape:
        parameters = dict(model.named_parameters())
        return cls(parameters, {name: (p.device, p.dtype) for name, p in parameters.items()})

    def same_parameters(self, other: Shape) -> bool:
        return len(self.parameters) == len(other.parameters) and all(
            other.parameters.get(name) is parameter for name, parameter in self.parameters.items()
        )

    def change_to(self, now: Shape) -> str | None:
        """What was done to the model since, in words; ``None``: nothing."""
        if not self.same_parameters(now):
            removed = [name for name in self.parameters if name not in now.parameters]
            added = [name for name in now.parameters if name not in self.parameters]
            others = [x for x, p in self.parameters.items() if now.parameters.get(x, p) is not p]
            kinds = (("added", added), ("removed", removed), ("replaced by others", others))
            return "; ".join(f"parameters were {what}: {listing(names, most=3)}" for what, names in kinds if names)
        if self.places != now.places:
            name = next(name for name, place in self.places.items() if place != now.places[name])
            (device, dtype), (was_on, was_of) = now.places[name], self.places[name]
            moved = (
                f"from {was_on} to {device}" if device != was_on else f"from {was_of} to {dtype}".replace("torch.", "")
            )
            return f"the model was moved {moved}"
        return None
