"""What is watched as the names and numbers that trackers take.

A metric's name is ``gradflow/QUANTITY/LAYER``, and ``gradflow/MODEL/QUANTITY/LAYER`` where several models are watched;
what is of no layer ends with its quantity: ``gradflow/total_norm``.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

from vgharness.formatting import escaped
from vgharness.records import LogRow, Snapshot, TrainingProblem
from vgharness.watching.notices import line_of

PREFIX: Final = "gradflow"
GOING_ON: Final = f"{PREFIX}/problems_going_on"

_WHOLE: Final = ("loss", "total_norm", "clipped_norm", "greatest_norm", "loss_scale", "output_spread")
_PARAMETER: Final = {"grad_l2": "parameter_grad_l2", "norm": "parameter_norm", "relative_update": "parameter_update",
                     "idle_rows": "parameter_idle_rows"}  # fmt: skip
# What every tracker takes between two slashes; MLflow's set is the smallest.
_REFUSED: Final = re.compile(r"[^A-Za-z0-9_.-]")
_LIKE_A_PASS: Final = re.compile(r"-(pass|backward)\d+$")
_LONGEST: Final = 100  # MLflow takes 250 characters for the whole name


def metrics_of(snapshot: Snapshot, rows: tuple[LogRow, ...]) -> dict[str, float]:
    """Names each number of a snapshot as a tracker takes it.

    rows: those that its values are of.

    Returns what was measured and is finite; of the rows of a layer that runs several times, the later ones are
    ``LAYER-pass1``, ``LAYER-pass2``.
    """
    start = f"{PREFIX}/{metric_part(snapshot.model)}" if snapshot.model else PREFIX
    found: dict[str, float | None] = {f"{start}/{name}": getattr(snapshot, name) for name in _WHOLE}
    for group, rate in enumerate(snapshot.learning_rates):
        found[f"{start}/learning_rate/{group}"] = rate
    for quantity, values in snapshot.values.items():
        for row, value in zip(rows, values, strict=True):
            found[f"{start}/{quantity}/{_row_part(row)}"] = value
    for name, parameter in snapshot.parameters.items():
        for field, title in _PARAMETER.items():
            found[f"{start}/{title}/{metric_part(name)}"] = getattr(parameter, field)
    return {name: value for name, value in found.items() if value is not None}


def metric_part(name: str) -> str:
    """A name as the part of a metric's name between two slashes.

    A character that a tracker may refuse becomes ``_``; the end then tells names apart that would be the same:
    ``down/conv`` becomes ``down_conv-3f6a0c``.
    """
    part = _REFUSED.sub("_", name) or "root"
    if len(part) > _LONGEST:
        part = f"{part[: _LONGEST // 2]}..{part[-_LONGEST // 2 :]}"
    if part == name and not _LIKE_A_PASS.search(name):
        return name
    return f"{part}-{hashlib.sha256(name.encode('utf-8', 'surrogatepass')).hexdigest()[:6]}"


class Problems:
    """The problems of a training so far.

    Attributes:

    lines: one for each that began, and for each that ended.
    """

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._known: dict[tuple[str, str, str], TrainingProblem] = {}

    def add(self, problem: TrainingProblem) -> None:
        """Takes one that began, or ended."""
        self.lines.append(line_of(problem))
        self._known[problem.kind, problem.model, problem.layer] = problem

    @property
    def going_on(self) -> int:
        """How many have not ended."""
        return sum(problem.ended is None for problem in self._known.values())

    @property
    def kinds(self) -> list[str]:
        """Each that there was with its place: ``dead (conv1)``."""
        places = [(kind, "/".join(filter(None, place))) for kind, *place in self._known]
        return [f"{kind} ({escaped(place)})" if place else kind for kind, place in places]


def _row_part(row: LogRow) -> str:
    part = metric_part(row.name)
    if row.forward_pass:
        part += f"-pass{row.forward_pass}"
    return part + (f"-backward{row.backward_pass}" if row.backward_pass else "")
