"""The table of remedies."""

import pytest

from vgharness.check.remedies import Remedy
from vgharness.check.remedy_trials import Descent, Trial
from vgharness.cli.remedies import remedy_table
from vgharness.gradflow.diagnosis import Diagnosis, Problem

pytestmark = pytest.mark.fast


def trial(*severities: str) -> Trial:
    problems = [
        Problem(kind="vanishing", layer="fc7", evidence="e", advice="a", seeds=1, severity=x)  # type: ignore[arg-type]
        for x in severities
    ]
    descent = Descent((1.0,), (0.5,))
    return Trial(
        Remedy("He init", ("init",)),  # type: ignore[arg-type]
        Diagnosis(problems=tuple(problems)),
        descents={"Adam 1e-3": descent, "SGD 0.01": descent},
    )


def test_a_remedy_that_leaves_a_warning_says_so_and_is_not_green() -> None:
    sheet = remedy_table([trial("problem"), trial("warning"), trial(), Trial(Remedy("x", ()), failure="no")])
    assert [row[1] for row in sheet.rows] == ["vanishing: fc7", "warning: vanishing: fc7", "healthy", "failed"]
    assert sheet.styles == ("", "", "green", "")
    assert sheet.names[1] >= len("warning: vanishing: fc7")
