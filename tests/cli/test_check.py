"""``vgharness check``: any model, from the command line; and the page of what was measured."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from vgharness.cli import main as cli
from vgharness.gradflow.measurement import as_session, measure
from vgharness.records import Session
from vgharness.report.session_page import render_session

pytestmark = pytest.mark.fast

MODELS = """
import torch
from torch import nn

def healthy():
    return nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 5))

def closed():
    model = healthy()
    model[2].weight.data *= 1e-8
    return model

class Unused(nn.Module):
    def __init__(self):
        super().__init__()
        self.used, self.unused = nn.Linear(20, 5), nn.Linear(20, 5)
    def forward(self, x):
        return self.used(x)

def inputs(seed):
    return torch.randn(4, 20, generator=torch.Generator().manual_seed(seed))

def loss(output, target):
    return output.square().mean()

def broken():
    class Broken(nn.Linear):
        def forward(self, x):
            raise RuntimeError("out of order")
    return Broken(20, 5)
"""


@pytest.fixture(autouse=True)
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models.py").write_text(MODELS)
    return tmp_path / "models.py"


def check(*arguments: str) -> Result:
    return CliRunner().invoke(cli.app, ["check", *arguments])


def test_a_healthy_model_is_said_to_be_and_exits_0() -> None:
    result = check("models.py:healthy")
    assert result.exit_code == 0, result.output
    assert "\nhealthy" in result.output
    assert "[8, 20]" in result.output  # what was inferred
    assert max(map(len, result.output.splitlines()[1:])) <= 80


@pytest.mark.parametrize(("name", "problem", "layer"), [("closed", "vanishing", "0"), ("Unused", "missing", "unused")])
def test_a_sick_models_illness_and_its_layer_are_named_with_what_helps(name: str, problem: str, layer: str) -> None:
    result = check(f"models.py:{name}", "--seeds", "3")
    assert result.exit_code == 1
    assert f"{problem} from {layer}:" in result.output
    assert "what usually helps" in result.output


def test_markdown_is_fit_for_a_comment() -> None:
    result = check("models.py:closed", "--markdown")
    assert result.exit_code == 1
    assert result.output.startswith("**")
    assert (
        "| --- |" in result.output.replace(":", "").replace("---|", "--- |").replace("|-", "| -")
        or "|" in result.output
    )
    assert "\x1b" not in result.output


def test_input_loss_seeds_and_layers_are_as_asked() -> None:
    result = check(
        "models.py:healthy", "--input", "models:inputs", "--loss", "models:loss", "--seeds", "2", "--layers", "[02]"
    )
    assert result.exit_code == 0, result.output
    assert "(2 seeds)" in result.output
    assert "\n 4 " not in result.output
    assert check("models.py:healthy", "--input", "4x20", "--loss", "mse").exit_code == 0


def test_a_page_is_written_on_request(tmp_path: Path) -> None:
    page = tmp_path / "out" / "net.html"
    result = check("models.py:closed", "--html", str(page))
    assert "page written to" in result.output
    text = page.read_text(encoding="utf-8")
    assert "vanishing from 0" in text
    assert "models.py:closed" in text
    assert "http" not in text.replace("http-equiv", "")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["models.py:nothing"], "nothing"),
        (["nowhere.py:model"], "nowhere.py"),
        (["models.py:broken"], "out of order"),
        (["models.py:healthy", "--input", "4,21"], "--input 4,21"),
        (["models.py:healthy", "--seeds", "0"], "--seeds 0: give 1 or more"),
        (["models.py:healthy", "--loss", "hinge"], "hinge"),
        (["models.py:healthy", "--layers", "conv*"], "conv*"),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], words: str) -> None:
    result = check(*arguments)
    assert result.exit_code == 2
    assert words in result.output
    assert len(result.output.strip().splitlines()) == 1


# --- the page ------------------------------------------------------------------------------------------


def session(test: str = "tests/test_it.py::test_it", **options: object) -> Session:
    import torch
    from torch import nn

    sample = measure(
        lambda: nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)),
        (torch.ones(2, 4), torch.tensor([0, 1])),
        nn.functional.cross_entropy,
        test=test,
        **options,  # type: ignore[arg-type]
    ).sample
    return as_session([sample], command="pytest -q", folder=Path.cwd(), extra={})


def test_what_came_from_outside_is_escaped() -> None:
    text = render_session(session("<script>alert(1)</script>", extra_info={"note": "<b>"}))
    assert "<script>" not in text
    assert "&lt;script&gt;" in text
    assert "&lt;b&gt;" in text


def test_each_layer_has_its_row_and_saturation_its_column_where_it_was_measured() -> None:
    plain, saturated = render_session(session(seeds=1)), render_session(session(seeds=1, saturation=True))
    assert plain.count('<td data-label="Layer">') == 2
    assert "Saturated" not in plain
    assert "Saturated" in saturated


def test_the_page_of_a_saved_session_stands_beside_a_studys(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(session().model_dump_json())
    result = CliRunner().invoke(cli.app, ["report", "run.json", "--out", "reports"])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "reports/gradflow.html").exists()
    assert not (tmp_path / "reports/index.html").exists()
