"""How bad a diagnosis is, in one word."""

from __future__ import annotations

from typing import Final, Literal, get_args

from vgharness.gradflow.diagnosis import Diagnosis

Grade = Literal["problem", "warning", "healthy"]
GRADES: Final[tuple[Grade, ...]] = get_args(Grade)  # the worst first


def grade_of(diagnosis: Diagnosis) -> Grade:
    """Returns the grade of the worst problem in ``diagnosis``; ``healthy`` where there is none."""
    if not diagnosis.healthy:
        return "problem"
    return "warning" if diagnosis.problems else "healthy"
