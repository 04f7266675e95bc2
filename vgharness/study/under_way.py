"""The networks that train now, a line each, above a bar over the whole study: what a terminal shows of a training."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

from vgharness.formatting import escaped, shorten

_HEADINGS: Final = ("network", "epoch", "train loss", "train acc.", "test acc.")
_GAP: Final = 2
_LEAST_NAME: Final = 12
_BESIDE: Final = 3  # lines that are no network's: headings, the bar, and where the cursor stands


class Line(NamedTuple):
    """What is shown of a network.

    name: its number and name.
    epoch: ``2 of 20``.
    values: its training loss and accuracy so far in the epoch, else of the last one; its test accuracy after that.
    """

    name: str
    epoch: str
    values: tuple[str, str, str]


class StudyBar(Progress):
    """A bar with the time left, below :attr:`lines`; nothing where the output is no terminal."""

    def __init__(self, console: Console) -> None:
        self.lines: Sequence[Line] = ()
        super().__init__(
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.description}", markup=False),
            console=console,
            disable=not console.is_terminal,
            transient=True,
        )

    def get_renderables(self) -> Iterable[RenderableType]:
        if self.lines:
            yield _table(self.lines, self.console.width, self.console.height)
        yield from super().get_renderables()


def _table(lines: Sequence[Line], width: int, height: int) -> Table:
    """As many lines as there is room for, none of which wraps."""
    rows = [(line.name, line.epoch, *line.values) for line in lines]
    widths = [max(map(len, column)) for column in zip(_HEADINGS, *rows, strict=True)][1:]
    room = max(width - sum(widths) - _GAP * len(widths), _LEAST_NAME)
    table = Table.grid(padding=(0, _GAP, 0, 0))
    for index, heading in enumerate(_HEADINGS):
        table.add_column(Text(heading), justify="right" if index else "left", no_wrap=True)
    table.show_header = True
    shown = rows if len(rows) <= height - _BESIDE else rows[: max(height - _BESIDE - 1, 1)]
    for name, *rest in shown:
        table.add_row(Text(shorten(escaped(name), room)), *map(Text, rest))
    if len(shown) < len(rows):
        table.add_row(Text(f"and {len(rows) - len(shown):,} more", "dim"))
    return table
