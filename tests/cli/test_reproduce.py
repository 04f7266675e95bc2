"""``vgharness reproduce``: the pass of a first NaN, run again from its folder."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from vgharness.cli.main import app
from vgharness.watching.first_nan.pulse import Pulse

MODEL = """
import torch
from torch import nn

class Log(nn.Module):
    def forward(self, x):
        return x.log()

def make_model():
    return nn.Sequential(nn.Linear(3, 3), Log(), nn.Linear(3, 1))
"""


@pytest.fixture
def born(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of a model that a file beside the script makes."""
    (tmp_path / "logs_model.py").write_text(MODEL)
    monkeypatch.syspath_prepend(str(tmp_path))
    from logs_model import make_model  # type: ignore[import-not-found]

    model = make_model()
    pulse = Pulse(model, "", folder=lambda: tmp_path / "born", note=print)
    pulse.open()
    model(-torch.ones(2, 3)).sum().backward()
    pulse.before_step(12)
    pulse.close()
    del sys.modules["logs_model"]
    return tmp_path / "born"


@pytest.mark.fast
def test_it_says_then_and_now_and_exits_1(born: Path) -> None:
    result = CliRunner().invoke(app, ["reproduce", str(born)])
    assert result.exit_code == 1, result.output
    assert result.output.splitlines() == [
        f"{born}: torch.nn.modules.container.Sequential, step 12, batch 0",
        "then: the forward pass of 1 makes NaN or infinity, by log",
        "now: the forward pass of 1 makes NaN or infinity, by log",
    ]
    by_factory = CliRunner().invoke(
        app, ["reproduce", str(born), "--model", f"{born.parent / 'logs_model.py'}:make_model"]
    )
    assert (by_factory.exit_code, by_factory.output) == (1, result.output)


@pytest.mark.fast
def test_a_model_that_was_mended_exits_0(born: Path) -> None:
    mended = born.parent / "mended.py"
    mended.write_text(MODEL.replace("x.log()", "x.abs().log()"))
    result = CliRunner().invoke(app, ["reproduce", str(born), "--model", f"{mended}:make_model"])
    assert result.exit_code == 0, result.output
    assert result.output.splitlines()[-1] == "now: all is finite"


@pytest.mark.fast
def test_bad_input_is_one_line_that_names_the_fix(born: Path) -> None:
    def complaint(*arguments: str) -> str:
        result = CliRunner().invoke(app, ["reproduce", *arguments])
        assert result.exit_code == 2, result.output
        assert result.output.count("\n") == 1
        return result.output

    assert "give the folder that the first NaN was written to" in complaint(str(born / "nothing"))
    assert "use cpu, cuda" in complaint(str(born), "--device", "abacus")
    (born.parent / "logs_model.py").unlink()
    assert "give --model" in complaint(str(born))
    (born / "weights.pt").write_bytes(b"no tensors")
    assert "weights.pt: cannot be read" in complaint(str(born))
    (born / "weights.pt").unlink()
    assert "the folder is not whole" in complaint(str(born))
    facts = json.loads((born / "reproduce.json").read_text())
    (born / "reproduce.json").write_text(json.dumps(facts | {"schema_version": 9}))
    assert "schema_version" in complaint(str(born))


SCRIPT = """
from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

import vgharness
from vgharness.watching.first_nan.pulse import Pulse

WIDTH = 3
x = Path("trained").write_text(Path("trained").read_text() + "x" if Path("trained").exists() else "x")
try:
    import module_that_is_not_there
except ImportError:
    module_that_is_not_there = None


def shifted(x):
    return (x - OFFSET).log()


OFFSET = 5.0


class Part(nn.Module):
    def forward(self, x):
        return x if module_that_is_not_there else shifted(x)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc, self.part = nn.Linear(WIDTH, WIDTH), Part()

    def forward(self, x):
        return self.part(self.fc(x))


model = Net()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
pulse = Pulse(model, "", folder=lambda: Path("born"), note=print)
pulse.open()
for step in range(3):
    optimizer.zero_grad()
    OFFSET, x = 5.0, torch.ones(4, WIDTH)
    model(x).sum().backward()
    pulse.before_step(step)
    optimizer.step()
pulse.close()
print(pulse.birth.cause)
"""


@pytest.mark.processes
def test_a_script_without_a_guard_shows_its_nan_again_and_does_not_train_again(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(SCRIPT)
    trained = subprocess.run([sys.executable, "train.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert trained.stdout == "the forward pass of part makes NaN or infinity, by log\n", trained.stderr
    (tmp_path / "train.py").write_text("raise RuntimeError('it was edited since')")
    (tmp_path / "elsewhere").mkdir()
    command = [sys.executable, "-m", "vgharness", "reproduce", str(tmp_path / "born")]
    again = subprocess.run(command, cwd=tmp_path / "elsewhere", capture_output=True, text=True, check=False)
    assert again.returncode == 1, again.stderr
    assert again.stdout.splitlines()[-1] == "now: the forward pass of part makes NaN or infinity, by log"
    assert (tmp_path / "trained").read_text() == "x"
