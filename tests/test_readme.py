"""What README.md shows, run."""

import re
from pathlib import Path

import pytest

from vgharness.presets import PRESETS

pytestmark = pytest.mark.fast

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def test_the_python_example_runs_and_prints_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    import torch

    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        exec(compile(example, "README.md", "exec"), {})
    assert float(capsys.readouterr().out) == pytest.approx(0.13, abs=0.01)


@pytest.mark.parametrize("name", ["quick", "test"])
def test_each_of_the_two_commands_is_one_line(name: str) -> None:
    block = re.search(rf"<!-- command: {name} -->\n```bash\n(.*?)```", README, re.DOTALL)
    assert block
    assert block[1].count("\n") == 1


def test_every_preset_is_described() -> None:
    for name, preset in PRESETS.items():
        (row,) = re.findall(rf"^\| `{name}`.*$", README, re.MULTILINE)
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        assert cells[2:4] == [str(preset.epochs), str(preset.seeds)]
