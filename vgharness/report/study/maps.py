"""|∂L/∂h| at the first convolution after training: a map per activation on one scale, and what it means."""

from __future__ import annotations

import base64
import io
from typing import Final, NamedTuple

import numpy as np
from matplotlib import colormaps
from PIL import Image

from vgharness.formatting import count, number
from vgharness.records import Run
from vgharness.report.kinds import by_settings, heatmaps_of, kinds_of
from vgharness.report.study.answer import activation_name
from vgharness.statistics import Array, mean_over_seeds

COLOURS: Final = "viridis"


class Map(NamedTuple):
    """One activation's map.

    name: the activation's.
    activation: as a class has it.
    mean: over the map's pixels.
    picture: as a data address of a PNG of as many pixels.
    """

    name: str
    activation: str
    mean: float
    picture: str


class Maps(NamedTuple):
    """The maps of networks of the same settings.

    title: the finding, where there are two or more.
    low, high: ends of the one logarithmic scale of colours.
    seeds: of the first map, in words.
    """

    settings: str
    title: str
    maps: tuple[Map, ...]
    low: float
    high: float
    seeds: str


def maps_of(run: Run) -> tuple[Maps, ...]:
    """For each group of networks its maps, those of activations that have none left out."""
    found = []
    for settings, kinds in by_settings(kinds_of(run)).items():
        measured = [(kind, shown) for kind in kinds if (shown := heatmaps_of(kind))]
        means = [mean_over_seeds(shown, "log") for _, shown in measured]
        positive = [float(x) for mean in means for x in mean.flat if x > 0]
        if not positive:
            continue
        low, high = min(positive), max(positive)
        maps = tuple(
            Map(activation_name(kind.activation), kind.activation, float(mean.mean()), _picture(mean, low, high))
            for (kind, _), mean in zip(measured, means, strict=True)
        )
        found.append(Maps(settings, _title(maps), maps, low, high, count(len(measured[0][1]), "seed")))
    return tuple(found)


def _title(maps: tuple[Map, ...]) -> str:
    """The greatest mean as a multiple of the least."""
    least, most = min(maps, key=lambda each: each.mean), max(maps, key=lambda each: each.mean)
    if len(maps) < 2 or not least.mean:
        return f"{most.name}: {number(most.mean)} on average"
    return f"{most.name}’s gradient at conv1 is {number(most.mean / least.mean)} times {least.name}’s"


def _picture(values: Array, low: float, high: float) -> str:
    reach = np.log(high / low) or 1.0
    shares = np.log(np.maximum(values, low) / low) / reach
    pixels = (colormaps[COLOURS](shares)[..., :3] * 255).round().astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).quantize(64).save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"
