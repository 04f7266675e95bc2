"""Short names for layers beside a chart: each as wide as there is room, and no two alike where that can be."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from vgharness.formatting import shorten


def short_names(names: Sequence[str], width: int) -> dict[str, str]:
    """By name, one of at most ``width`` characters: itself, or with the parts before its last abbreviated, as
    ``enc.lay.3.self.out_proj``; else its end, or its beginning and end."""
    long = [name for name in names if len(name) > width]
    for way in _ways(width):
        found = {name: name if name not in long else way(name) for name in names}
        if len(set(found.values())) == len(set(names)) and max(map(len, found.values()), default=0) <= width:
            return found
    return {name: shorten(name, width) for name in names}


def _ways(width: int) -> Iterator[Callable[[str], str]]:
    for letters in (4, 3, 2, 1):
        yield lambda name, letters=letters: _abbreviated(name, letters)  # type: ignore[misc]
    yield lambda name: shorten(name, width)
    yield lambda name: _end(name, width)
    yield lambda name: _end(_abbreviated(name, 1), width)


def _abbreviated(name: str, letters: int) -> str:
    *parts, last = name.split(".")
    return ".".join([*(part[:letters] if not part.isdecimal() else part for part in parts), last])


def _end(name: str, width: int) -> str:
    return name if len(name) <= width else f"…{name[1 - width :]}"
