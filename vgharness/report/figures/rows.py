"""Which groups of panels there is room for, and in which row each stands."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import TypeVar

Item = TypeVar("Item")


def side_by_side(groups: Mapping[str, Sequence[Item]], columns: int) -> list[list[Item]]:
    """Rows of at most ``columns`` panels, in the groups' order: a group is in one row, beside others where they fit."""
    rows: list[list[Item]] = []
    for group in groups.values():
        if not rows or len(rows[-1]) + len(group) > columns:
            rows.append([])
        rows[-1] += group
    return rows


def first_groups(groups: Mapping[str, Sequence[Item]], most: int) -> dict[str, Sequence[Item]]:
    """The first of the groups, at least one, that have no more than ``most`` panels together."""
    totals = accumulate(len(group) for group in groups.values())
    return dict(list(groups.items())[: max(sum(total <= most for total in totals), 1)])
