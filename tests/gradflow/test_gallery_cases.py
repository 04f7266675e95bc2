"""The gallery, judged as a user's models are: each problem is named where it starts, and nothing healthy is alarmed."""

from collections.abc import Sequence
from typing import Any

import pytest

from vgharness.benchmarks.gallery import HEALTHY, SEEDS, SICK, Case, measure
from vgharness.gradflow.diagnosis import PROBLEM_KINDS, summary

# Two seeds at every change, all five in the slow tests.
BY_SEEDS = pytest.mark.parametrize(
    "seeds", [pytest.param(SEEDS[:2], marks=pytest.mark.fast), pytest.param(SEEDS, marks=pytest.mark.deep)], ids=len
)


def shown(cases: Sequence[Case]) -> list[Any]:
    return [pytest.param(case, id=case.name) for case in cases]


@BY_SEEDS
@pytest.mark.parametrize("case", shown(SICK))
def test_the_problem_is_named_first_and_where_it_starts(case: Case, seeds: Sequence[int]) -> None:
    diagnosis = measure(case, seeds).diagnosis
    assert diagnosis.problems, "no problem found"
    first = diagnosis.problems[0]
    assert first.kind == case.problem
    assert first.layer in case.layers
    assert first.layer in summary(diagnosis)
    assert first.layer in first.evidence
    assert f"of {len(seeds)} seeds" in first.evidence


@BY_SEEDS
@pytest.mark.parametrize("case", shown(HEALTHY))
def test_a_healthy_network_raises_no_alarm(case: Case, seeds: Sequence[int]) -> None:
    assert summary(measure(case, seeds).diagnosis) == "healthy"


@pytest.mark.fast
def test_the_gallery_holds_every_problem_in_several_guises() -> None:
    names = [case.name for case in (*SICK, *HEALTHY)]
    assert len(set(names)) == len(names)
    assert min(len(SICK), len(HEALTHY)) >= 14
    for problem in PROBLEM_KINDS:
        assert sum(case.problem == problem for case in SICK) >= 3
