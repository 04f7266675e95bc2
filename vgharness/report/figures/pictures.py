"""The three figures of a study as files: PNGs under the names that the studied README gives them, SVGs beside them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from vgharness.records import Run
from vgharness.report.figures import sheet
from vgharness.report.figures.accuracy import accuracy_sheet
from vgharness.report.figures.gradients import gradients_sheet
from vgharness.report.figures.maps import maps_sheet

_SHEETS: Final[dict[str, Callable[[Run], sheet.Sheet]]] = {
    "loss_acc_comparison": accuracy_sheet,
    "grad_norms_per_layer": gradients_sheet,
    "activation_gradmaps_conv1": maps_sheet,
}
FIGURES: Final = tuple(f"{name}.png" for name in _SHEETS)
DRAWINGS: Final = tuple(f"{name}.svg" for name in _SHEETS)


class Picture(NamedTuple):
    """A figure that stands alone.

    name: its files', without their ending.
    title: what it found.
    png: as pixels.
    svg: as lines and text.
    """

    name: str
    title: str
    png: bytes
    svg: bytes


def draw(run: Run) -> tuple[Picture, ...]:
    """The figures of ``run``; one for which it holds nothing says so."""
    pictures = []
    with sheet.style():
        for name, make in _SHEETS.items():
            made = make(run)
            pictures.append(Picture(name, made.title, *sheet.written(made)))
    return tuple(pictures)
