"""The plugin under pytest-xdist, whose workers are processes of their own."""

import json

import pytest

pytestmark = pytest.mark.processes

PROJECT = """
import pytest
import torch
from torch import nn

@pytest.mark.parametrize("i", range(4))
def test_it(gradflow, i):
    batch = torch.ones(16, 4), torch.zeros(16, dtype=torch.long)
    gradflow(lambda: nn.Linear(4, 2), batch, nn.functional.cross_entropy, seeds=1)
"""


def test_every_workers_measurements_are_saved_once(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_model=PROJECT)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "-n", "2", "--gradflow-save=both")
    result.assert_outcomes(passed=4)
    (path,) = (pytester.path / ".gradflow").rglob("*.json")
    tests = [sample["test"] for sample in json.loads(path.read_text())["samples"]]
    assert sorted(tests) == [f"test_model.py::test_it[{i}]" for i in range(4)]
    assert result.stdout.str().count("saved as") == 1


def test_a_worker_judges_its_tests_as_part_of_the_whole_build(pytester: pytest.Pytester) -> None:
    options = ("-p", "no:cacheprovider", "-n", "2")
    three = PROJECT.replace("seeds=1", "seeds=3")
    pytester.makepyfile(test_model=three)
    pytester.runpytest_subprocess(*options, "--gradflow-json=base.json").assert_outcomes(passed=4)
    half = "lambda output, target: (0.5 if i == 2 else 1) * nn.functional.cross_entropy(output, target)"
    pytester.makepyfile(test_model=three.replace("nn.functional.cross_entropy, seeds", f"{half}, seeds"))
    fail = (
        "--gradflow-compare=base.json",
        "--gradflow-compare-fail=signal_l2:-50%",
        "--gradflow-compare-fail=weight_l2:9%",
    )
    result = pytester.runpytest_subprocess(*options, *fail)
    result.assert_outcomes(passed=3, failed=1)
    assert "beyond signal_l2:-50%; p < 1e-09, corrected for 12 decisions" in result.stdout.str()  # of the four tests
