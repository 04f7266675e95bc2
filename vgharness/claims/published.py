"""The curves that the studied README published."""

from __future__ import annotations

import csv
from functools import cache
from importlib.resources import files


@cache
def published_curves() -> dict[str, list[dict[str, float]]]:
    """Reads the published plots, as measured off their pixels.

    Returns, by activation, one row per epoch: value by column of ``document/published_curves.csv``.
    """
    curves: dict[str, list[dict[str, float]]] = {}
    text = (files("vgharness.claims") / "document" / "published_curves.csv").read_text(encoding="utf-8")
    for row in csv.DictReader(text.splitlines()):
        curves.setdefault(row.pop("activation"), []).append({key: float(value) for key, value in row.items()})
    return curves
