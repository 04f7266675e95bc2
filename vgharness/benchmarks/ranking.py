"""How well a score tells good from bad: the area under its ROC curve, and cuts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


def ranking_auc(good: Sequence[float], bad: Sequence[float]) -> float:
    """The area under the ROC curve of a score that is larger for what is bad: the probability that a random one of
    ``bad`` has a larger score than a random one of ``good``, ties counted as half. Raises ``ValueError`` where one of
    them is empty."""
    if not (good and bad):
        raise ValueError("a ranking needs scores on both sides")
    g, b = np.asarray(good, dtype=float), np.asarray(bad, dtype=float)[:, None]
    return float(np.mean((b > g) + (b == g) / 2))


class Cut(NamedTuple):
    """A limit on a score that is larger for what is bad: what lies above it is called bad.

    value: the limit.
    sensitivity: the share of the bad that lies above it.
    specificity: the share of the good that does not.
    """

    value: float
    sensitivity: float
    specificity: float


def cut_at(good: Sequence[float], bad: Sequence[float], *, specificity: float) -> Cut | None:
    """The least cut, one of the scores in ``good``, with at least that ``specificity``, from 0 to 1; None where only an
    infinite one has it. Raises ``ValueError`` where one side is empty."""
    if not (good and bad):
        raise ValueError("a cut needs scores on both sides")
    value = sorted(good)[max(math.ceil(specificity * len(good)) - 1, 0)]
    return apply_cut(value, good, bad) if math.isfinite(value) else None


def apply_cut(value: float, good: Sequence[float], bad: Sequence[float]) -> Cut:
    """What the cut at ``value`` makes of scores, none of whose sides is empty."""
    above = [sum(score > value for score in side) / len(side) for side in (bad, good)]
    return Cut(value, above[0], 1 - above[1])
