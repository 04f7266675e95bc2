"""What a session keeps of the tests that measured: how they ended, what they raised, what their marks asked for."""

import json
from typing import Any

import pytest
from user_project import rewrite, run

from vgharness.pytest_plugin.fixture import limits_of
from vgharness.records import Session

pytestmark = pytest.mark.fast

TESTS = """
@pytest.mark.gradflow(min_factor=0.1, max_factor=5, expect="healthy")
def test_marked(gradflow):
    gradflow(model, batch, loss, seeds=2)

def test_bare(gradflow):
    gradflow(model, batch, loss, seeds=2)

def test_that_fails(gradflow):
    gradflow(model, batch, loss, seeds=2)
    assert False, "first line\\nsecond \\ud800 line"

@pytest.mark.xfail(reason="known")
def test_expected_to_fail(gradflow):
    gradflow(faint, batch, loss, seeds=2)

def test_long(gradflow):
    gradflow(model, batch, loss, seeds=2)
    raise ValueError("x" * 10_000)
"""


def test_outcomes_failures_and_limits_are_kept(project: pytest.Pytester) -> None:
    rewrite(project, TESTS)
    run(project, "--gradflow-json=session.json")
    text = (project.path / "session.json").read_text(encoding="utf-8")
    session = Session.model_validate_json(text)
    found = {sample.test.partition("::")[2]: sample for sample in session.samples}
    marked, failed, expected = found["test_marked"], found["test_that_fails"], found["test_expected_to_fail"]
    assert marked.limits is not None
    assert marked.limits.model_dump(exclude_none=True) == {
        "min_factor": 0.1,
        "max_factor": 5.0,
        "quantity": "signal_l2",
        "expect": "healthy",
    }
    assert (marked.outcome, marked.failure) == ("passed", "")
    assert found["test_bare"].limits is None
    assert failed.outcome == "failed"
    assert failed.failure.startswith("AssertionError: first line\n  second \\ud800 line")
    assert (expected.outcome, "vanishing from" in expected.failure) == ("xfailed", True)
    assert (len(found["test_long"].failure), found["test_long"].failure[-1]) == (4000, "…")
    without = json.loads(text)
    for sample in without["samples"]:  # as files of before have it
        del sample["limits"], sample["failure"]
    assert Session.model_validate_json(json.dumps(without)).samples[0].limits is None


@pytest.mark.parametrize(
    ("marked", "kept"),
    [
        ({}, None),
        ({"seeds": 3, "quantity": "weight_l2"}, None),
        ({"max_total": float("inf")}, None),
        (
            {"min_factor": 1, "max_factor": float("inf"), "quantity": "weight_l2"},
            {"min_factor": 1.0, "quantity": "weight_l2"},
        ),
        ({"expect": "vanishing"}, {"quantity": "signal_l2", "expect": "vanishing"}),
    ],
)
def test_what_a_mark_asks_for(marked: dict[str, Any], kept: dict[str, Any] | None) -> None:
    limits = limits_of(marked)
    assert (None if limits is None else limits.model_dump(exclude_none=True)) == kept
