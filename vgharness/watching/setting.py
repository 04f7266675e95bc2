"""How a model is watched."""

from __future__ import annotations

from typing import NamedTuple

import torch

from vgharness.probe.layers import LayerChoice


class Setting(NamedTuple):
    """What was asked for.

    every: how many steps lie between two snapshots.
    start: the number of the first step.
    layers: which ones, as of a GradientProbe.
    parameters: whether each parameter is measured too.
    scaler: that scales the losses.
    alone: whether the scaler is updated once at each step of this model, as it is of the only one.
    """

    every: int
    start: int
    layers: LayerChoice | None
    parameters: bool
    scaler: torch.amp.GradScaler | None
    alone: bool
