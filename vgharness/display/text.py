"""A chart of lines of text: a layer, its error signal, its factor and a bar in each."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Mapping
from typing import Final, TypeVar

from vgharness.formatting import bars, escaped, number

FACTOR_HEADING: Final = "factor toward the input"

Key = TypeVar("Key", bound=Hashable)


def chart(
    signals: Mapping[Key, float],
    factors: Mapping[Key, float] | None = None,
    marked: Collection[Key] = (),
    most: int | None = None,
) -> list[str]:
    """A heading, and a line for each layer from the input to the output: its name, ‖∂L/∂h‖₂ and a bar on a logarithmic
    scale.

    signals: by layer. factors: a column of theirs too. marked: layers before which ``>`` stands. most: lines at the
    most, of the first and the last layers.
    """
    names = {key: escaped(str(key)) for key in signals}
    width = max(map(len, names.values()), default=0)
    width = max(width, len("layer"))
    lines = []
    for (key, signal), bar in zip(signals.items(), bars(signals.values()), strict=True):
        factor = f"  {_text(factors[key]) if key in factors else '':>{len(FACTOR_HEADING)}}" if factors else ""
        sign = ">" if key in marked else " "
        lines.append(f"{sign} {names[key]:{width}}  {number(signal):>8}{factor}  {bar}")
    first, last = ends(len(lines), len(lines) if most is None else most)
    between = [f"  … {len(lines) - len(first) - len(last):,} more"] if last else []
    shown = [lines[at] for at in first] + between + [lines[at] for at in last]
    return [f"  {'layer':{width}}  ‖∂L/∂h‖₂{f'  {FACTOR_HEADING}' if factors else ''}", *shown]


def ends(many: int, most: int) -> tuple[range, range]:
    """Which of so many rows are shown where there is room for ``most``: all, or the first and the last of them."""
    if many <= most:
        return range(many), range(0)
    return range(most // 2), range(many - most // 2, many)


def _text(factor: float) -> str:
    return number(factor, missing="NaN")
