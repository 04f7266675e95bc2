"""The plugin in processes of its own: pytest-xdist's workers, and one in which the entry point loads it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vgharness.storage.store import load_session

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


def test_the_entry_point_loads_the_plugin(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("def test_it(gradflow):\n    pass\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "vgharness.pytest_plugin.entry", "-q"],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        cwd=tmp_path,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "never calls it" in done.stdout


WHOLE_WAY = """
@pytest.mark.gradflow(min_total=1e-9, compare_fail="signal_l2:1%")
def test_odd(gradflow):
    gradflow(lambda: nn.Linear(4, 2), torch.ones(16, 4), lambda o: o.sum(), name="\\ud800", extra_info={"a": "\\ud800"})

def test_never(gradflow):
    pass

@pytest.mark.gradflow(min_facter=1)
def test_wrong(gradflow):
    pass
"""


def test_warnings_errors_and_odd_texts_come_home_from_workers(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_model=PROJECT + WHOLE_WAY)
    options = ("-p", "no:cacheprovider", "-n", "2", "--gradflow-seeds=3", "--junitxml=report.xml")
    pytester.runpytest_subprocess(*options, "--gradflow-json=own.json")
    result = pytester.runpytest_subprocess(*options, "--gradflow-compare=own.json", "--gradflow-html=page.html")
    result.assert_outcomes(passed=6, errors=1, warnings=1)
    assert "unknown keyword 'min_facter'" in result.stdout.str()
    samples = json.loads((pytester.path / "own.json").read_text())["samples"]
    assert {len(sample["seeds"]) for sample in samples} == {3}
    assert (pytester.path / "page.html").exists()
    assert (pytester.path / "report.xml").read_text().count("gradflow_diagnosis") == 5


TWO = """
import pytest
import torch
from torch import nn

def measured(gradflow):
    batch = torch.ones(16, 4), torch.zeros(16, dtype=torch.long)
    gradflow(lambda: nn.Linear(4, 2), batch, nn.functional.cross_entropy, seeds=1, check=False)

@pytest.mark.xdist_group("a")
def test_one(gradflow):
    measured(gradflow)

@pytest.mark.xdist_group("b")
def test_two(gradflow):
    measured(gradflow)
"""


@pytest.mark.parametrize("options", [["-n", "2"], ["-n", "2", "--dist=loadgroup"], ["-n", "2", "-k", "one"]])
def test_nothing_is_gone_because_workers_ran_it(pytester: pytest.Pytester, options: list[str]) -> None:
    pytester.makepyfile(test_model=TWO)
    pytester.runpytest_subprocess("--gradflow-update=base.json").assert_outcomes(passed=2)
    text = (pytester.path / "base.json").read_text()
    gate = ["--gradflow-compare=base.json", *(f"--gradflow-compare-fail={x}" for x in ("vanished", "new", "renamed"))]
    result = pytester.runpytest_subprocess(*gate, *options, "--gradflow-save=x")
    assert result.ret == pytest.ExitCode.OK, result.stdout.str()
    (path,) = (pytester.path / ".gradflow").rglob("*.json")
    assert json.loads(path.read_text())["status"] == ("partial" if "-k" in options else "finished")
    pytester.runpytest_subprocess("--gradflow-update=base.json", *options)
    assert (pytester.path / "base.json").read_text() == text
    pytester.makepyfile(test_model=TWO.partition('@pytest.mark.xdist_group("b')[0])
    result = pytester.runpytest_subprocess(*gate, *options)
    assert "test_model.py::test_two vanished (--gradflow-compare-fail=vanished)" in result.stdout.str()


UPDATE = """
import sys
from pathlib import Path
from factories import MACHINE, make_flow
from vgharness.records import Sample, Session
from vgharness.storage.baseline import update_baseline
path, name = Path(sys.argv[1]), sys.argv[2]
for i in range(10):
    sample = Sample(test=f"{name}{i}", seeds=(1,), flows=(make_flow(),))
    update_baseline(path, Session(created="", commit=None, command="", machine=MACHINE, samples=(sample,)))
"""


def test_processes_that_update_one_baseline_at_once_lose_nothing(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, sys.path)]),
    }
    path = tmp_path / "base.json"
    processes = [subprocess.Popen([sys.executable, "-c", UPDATE, path, x], env=environment) for x in "abc"]
    assert [process.wait(timeout=120) for process in processes] == [0, 0, 0]
    labels = [sample.label for sample in load_session(path).samples]
    assert labels == sorted(f"{name}{i}" for name in "abc" for i in range(10))
    assert [x.name for x in tmp_path.iterdir()] == ["base.json"]


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
