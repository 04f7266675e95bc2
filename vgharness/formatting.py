"""Numbers, intervals, bars and names as text: the same in the terminal, on the pages and in every message."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vgharness.statistics import Summary  # scipy is slow to import

_LARGEST_IN_FULL = 1e6
_AS_FACTOR = 9.0
BAR_WIDTH = 8


def number(value: float | None, missing: str = "–") -> str:
    """Three significant digits, whole numbers in full: ``52.9``, ``0.000123``, ``1.23e-07``, ``261,322``.

    ``missing`` stands for ``None`` and NaN.
    """
    if value is None or math.isnan(value):
        return missing
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if abs(value) >= _LARGEST_IN_FULL:
        return f"{value:.3g}"
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:#.3g}"


def percent(share: float | None, missing: str = "not finite") -> str:
    """A share: ``0.24 %``, ``47.1 %``, ``120 %``."""
    if share is None or not math.isfinite(share):
        return missing
    if share >= 1:
        return f"{100 * share:,.0f} %"
    return f"{100 * share:.2g} %" if share < 0.1 else f"{100 * share:.3g} %"


def level(confidence: float) -> str:
    """A level of confidence, whose last digits count: ``95 %``, ``99.25 %``."""
    return f"{100 * confidence:.4g} %"


def count(many: int, noun: str) -> str:
    """``1 seed``, ``5 seeds``, ``0 seeds``."""
    return f"{many:,} {noun}{'' if many == 1 else 's'}"


def listing(items: Iterable[object], most: int | None = None) -> str:
    """``a, b, c``; with ``most``, as many and ``and 4 more``."""
    texts = [str(item) for item in items]
    if most is None or len(texts) <= most:
        return ", ".join(texts)
    return f"{', '.join(texts[:most])} and {len(texts) - most} more"


def span(low: float | None, high: float | None) -> str:
    """An interval: ``0.5 to 2``; empty where there is none."""
    return "" if low is None or high is None else f"{number(low)} to {number(high)}"


def with_span(value: float | None, low: float | None, high: float | None, *, unit: str = "", missing: str = "–") -> str:
    """A value and its interval: ``0.127 (0.126 to 0.128)``; ``unit`` after the value; ``missing`` in place of one that
    is not known."""
    ends = span(low, high)
    return f"{number(value, missing)}{unit}{f' ({ends})' if ends else ''}"


def together(names: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def interval(summary: Summary) -> str:
    """The 95 % interval of a summary, or ``–``."""
    return span(summary.low, summary.high) or "–"


def bars(values: Iterable[float], width: int = BAR_WIDTH) -> list[str]:
    """A bar for each value, on one logarithmic scale from the least to the greatest of them, one decade at least.

    A bar is ``width`` characters, ``█`` filled and ``░`` not; nothing is filled for a value that is not a
    positive number.
    """
    logs = [math.log10(value) if math.isfinite(value) and value > 0 else None for value in values]
    known = [log for log in logs if log is not None]
    most = max(known, default=0.0)
    decades = max(most - min(known, default=0.0), 1.0)
    full = [0 if log is None else max(1, round(width * (1 - (most - log) / decades))) for log in logs]
    return ["█" * filled + "░" * (width - filled) for filled in full]


def relative_change(relative: float | None) -> str:
    """A change as a share of what was, written as limits are: ``-12.3%``; from ten times as much on as a factor:
    ``×14``."""
    if relative is None:
        return "–"
    return f"×{relative + 1:.3g}" if relative >= _AS_FACTOR else f"{100 * relative:+.1f}%"


def duration(seconds: float) -> str:
    """``42 s``, ``3 min 20 s``, ``2 h 5 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def moment(created: str) -> str:
    """An ISO time to the second: ``2026-01-31 12:00:00``."""
    return created[:19].replace("T", " ")


# --- names from outside ----------------------------------------------------------------------------------


def escaped(text: str, keep: Callable[[str], bool] = str.isprintable) -> str:
    """``text`` with every character that ``keep`` refuses written as its Python escape.

    By default those that a terminal would obey or cannot show: control characters, line breaks, marks that turn the
    direction of writing, lone surrogates.

    >>> escaped("a\\nb")
    'a\\\\nb'
    """
    return "".join(char if keep(char) else char.encode("unicode_escape").decode("ascii") for char in text)


def shorten(name: str, width: int) -> str:
    """The middle of a name longer than ``width`` becomes ``…``."""
    if len(name) <= width:
        return name
    tail = width // 2
    return f"{name[: width - 1 - tail]}…{name[-tail:]}"


def in_one_line(error: BaseException, longest: int = 300) -> str:
    """Type and message of an exception, for the middle of a line of ours."""
    message = escaped(" ".join(str(error).split()))
    text = message if len(message) <= longest else message[: longest - 1] + "…"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
