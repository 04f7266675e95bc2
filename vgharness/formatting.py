"""Text that came from outside, made fit for a line of a terminal."""

from __future__ import annotations


def shorten(name: str, width: int) -> str:
    """The middle of a long name becomes ``…``."""
    if len(name) <= width:
        return name
    tail = width // 2
    return f"{name[: width - 1 - tail]}…{name[-tail:]}"


def plain(text: str) -> str:
    """Without what would move the cursor or break a line."""
    return "".join(char if char.isprintable() else "�" for char in text)
