"""The workflow that README.md shows to copy: read from there, and its steps run, in a small project."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.processes

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
TESTS = """
import torch
from torch import nn

SCALE = 1.0


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(8, 16), nn.Linear(16, 2)

    def forward(self, x):
        return SCALE * self.second(torch.relu(self.first(x)))


def batch(seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(16, 8, generator=generator), torch.randint(2, (16,), generator=generator)


def test_gradients(gradflow):
    gradflow(Model, batch, nn.functional.cross_entropy)
"""


def steps() -> list[dict[str, Any]]:
    (text,) = re.findall(r"<!-- workflow -->\n```yaml\n(.*?)```", README, re.DOTALL)
    (job,) = yaml.safe_load(text)["jobs"].values()
    return list(job["steps"])


def shell(project: Path, command: str) -> subprocess.CompletedProcess[str]:
    """As GitHub runs a step: bash that ends at the first failure."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "GITHUB_", "COV_"))}
    here = os.pathsep.join([str(Path(__file__).parents[1]), inherited.get("PYTHONPATH", "")])
    path = os.pathsep.join([str(Path(sys.executable).parent), inherited["PATH"]])
    environment = {**inherited, "PATH": path, "PYTHONPATH": here, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        ["bash", "-eo", "pipefail", "-c", command], cwd=project, env=environment, capture_output=True, text=True
    )


def run_all(project: Path) -> dict[str, int]:
    """The exit status of each step that runs a command, but for what installs."""
    return {
        step["name"]: shell(project, step["run"]).returncode
        for step in steps()
        if "run" in step and step["name"] != "install"
    }


def test_the_workflow_is_green_then_red_for_a_change_and_green_where_it_is_accepted(tmp_path: Path) -> None:
    (tmp_path / "test_model.py").write_text(TESTS)
    assert run_all(tmp_path)["test"] == 4  # no baseline yet, which it requires
    assert shell(tmp_path, "pytest --gradflow-update=gradients.json").returncode == 0
    assert run_all(tmp_path) == {"test": 0, "what changed": 0}
    (tmp_path / "test_model.py").write_text(TESTS.replace("SCALE = 1.0", "SCALE = 0.5"))
    assert run_all(tmp_path) == {"test": 1, "what changed": 0}
    assert "signal_l2" in (tmp_path / "changes.md").read_text(encoding="utf-8")
    red = shell(tmp_path, next(step["run"] for step in steps() if step.get("name") == "test"))
    (command,) = re.findall(r"^to accept it: (pytest .*)$", red.stdout, re.MULTILINE)
    assert shell(tmp_path, command).returncode == 0
    assert run_all(tmp_path) == {"test": 0, "what changed": 0}


def test_what_later_steps_use_is_what_earlier_ones_write() -> None:
    written = " ".join(step.get("run", "") for step in steps())
    for step in steps():
        path = step.get("with", {}).get("path")
        assert path is None or path in written
