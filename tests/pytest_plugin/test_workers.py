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
