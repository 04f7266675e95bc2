"""``vgharness check``: any model, from the command line."""

import html
import json
import os
import re
import statistics
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from vgharness.cli import main as cli
from vgharness.formatting import number, percent

pytestmark = pytest.mark.fast

MODELS = """
import torch
from torch import nn

def healthy():
    return nn.Sequential(nn.Linear(20, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 5))

class Scaled(nn.Linear):
    def forward(self, x):
        return 1e-8 * super().forward(x)

def closed():
    model = healthy()
    model[2] = Scaled(64, 64)
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
def test_a_sick_models_problem_and_its_layer_are_named_with_what_helps(name: str, problem: str, layer: str) -> None:
    result = check(f"models.py:{name}", "--seeds", "3")
    assert result.exit_code == 1
    assert f"{problem} from {layer}:" in result.output
    assert "what usually helps" in result.output


def test_markdown_is_fit_for_a_comment() -> None:
    result = check("models.py:closed", "--markdown")
    assert result.exit_code == 1
    assert result.output.startswith("**vanishing from 0 toward the input**\n\n- vanishing from `0`: ")
    header, rule, *rows = [line for line in result.output.splitlines() if line.startswith("|")]
    assert header.startswith("| layer | signal_l2 | 95 % interval | factor toward the input |")
    assert set(rule) == set("|:- ")
    assert [row.split("|")[1].strip() for row in rows] == ["`0`", "`2`", "`4`"]
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
    page = tmp_path / "net.html"
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


# --- one number, whatever the form ---------------------------------------------------------------------


def table_of(terminal: str) -> dict[str, list[str]]:
    """By layer, the terminal's signal, interval and factor."""
    rows = [line for line in terminal.splitlines() if re.match(r" ?\d ", line)]
    return {row.split()[0]: re.split(r"  +", re.sub(r"[█░!]", "", row).strip())[1:] for row in rows}


@pytest.mark.parametrize("name", ["healthy", "closed"])
def test_terminal_page_markdown_and_json_agree_number_for_number(name: str, tmp_path: Path) -> None:
    terminal = check(f"models.py:{name}", "--html", "page.html")
    markdown = check(f"models.py:{name}", "--markdown")
    found = json.loads(check(f"models.py:{name}", "--json").stdout)
    assert terminal.exit_code == markdown.exit_code == (0 if found["healthy"] else 1)
    shown, page = table_of(terminal.output), (tmp_path / "page.html").read_text(encoding="utf-8")
    in_page = [
        re.findall(r"<t[hd][^>]*>([^<]*)", row) for row in re.findall(r'<tr><th scope="row".*?</tr>', page, re.DOTALL)
    ]
    in_markdown = [line.strip("|").split("|") for line in markdown.output.splitlines() if line.startswith("| `")]
    assert len(shown) == len(in_page) == len(in_markdown) == len(found["layers"]) == 3
    for layer, (key, cells), of_page, of_markdown in zip(
        found["layers"], shown.items(), in_page, in_markdown, strict=True
    ):
        signal, factor = layer["signal_l2"], layer["factor_toward_input"]
        mean, span = number(signal["value"]), f"{number(signal['low'])} to {number(signal['high'])}"
        expected = [mean, span, *([number(factor["value"])] if factor else [])]
        assert layer["layer"] == key
        assert cells == expected
        assert of_page[0] == key
        assert [of_page[2], of_page[3], of_page[4].removeprefix("! ")] == [*expected, ""][:3]
        assert f">{mean}</text>" in page
        assert not factor or f">× {number(factor['value'])}</text>" in page
        assert of_page[5].startswith(number(layer["weight_l2"]["value"]))
        assert of_page[6] == percent(layer["saturated"]["value"], missing="–")
        assert [cell.strip(" `!") for cell in of_markdown[:4]] == [key, *expected, ""][:4]
    for problem in found["problems"]:
        line = f"{problem['kind']} from {problem['layer']}: {problem['evidence']}"
        assert line in terminal.output
        assert html.unescape(page).count(problem["evidence"]) == 1


def test_the_json_holds_what_the_session_gives(tmp_path: Path) -> None:
    """The numbers are those that anybody computes from the raw values of a saved session."""
    found = json.loads(check("models.py:closed", "--json").stdout)
    from vgharness import measure
    from vgharness.check.batch import choose_batch
    from vgharness.check.model_source import load_factory

    factory = load_factory("models.py:closed")
    batch = choose_batch(factory)
    sample = measure(factory, batch, batch.loss.function, saturation=True).record
    assert found["seeds"] == list(sample.seeds)
    for layer, values in zip(found["layers"], sample.values("signal_l2").values(), strict=True):
        assert layer["signal_l2"]["value"] == pytest.approx(statistics.geometric_mean(values), rel=1e-12)
    for layer, values in zip(found["layers"], sample.factors().values(), strict=False):
        assert layer["factor_toward_input"]["value"] == pytest.approx(statistics.geometric_mean(values), rel=1e-12)


# --- bad input -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["", "missing/page.html", "a" * 300, "pipe", "models.py/page.html"])
def test_a_page_that_cannot_be_written_is_found_before_any_work(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    result = check("nowhere.py:model", "--html", str(tmp_path / name))  # which would fail too, but later
    assert result.exit_code == 2
    (line,) = result.output.splitlines()
    assert line.startswith("vgharness check: --html ")


def test_names_are_shown_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "names.py").write_text(
        "from torch import nn\n"
        "def model():\n"
        "    net = nn.Sequential()\n"
        "    for name in ('[red]a[/red]', 'b\\x1b[31m', 'c\\u202e', 'd\\n', 'e\\udc80', '<script>', ':smile:'):\n"
        "        net.add_module(name, nn.Linear(4, 4))\n"
        "    return net\n"
    )
    for options in ([], ["--markdown"], ["--json"], ["--html", "page.html"]):
        result = check("names.py:model", "--input", "8,4", *options)
        assert result.exit_code in (0, 1), result.output
        assert result.output.replace("\n", "").isprintable()
    assert "[red]a[/red]" in result.output
    assert r"b\x1b[31m" in result.output
    assert r"e\udc80" in result.output
    assert ":smile:" in result.output
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "<script>" not in page
    assert "\x1b" not in page


# --- inputs and losses -----------------------------------------------------------------------------------

OWN = """
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

class Timed(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.e, self.aux = nn.Linear(4, 8), nn.Embedding(10, 8), nn.Linear(8, 3)
        self.head = nn.Linear(8, 3)
    def forward(self, x, t):
        h = torch.relu(self.a(x) + self.e(t))
        return {"logits": self.head(h), "aux": self.aux(h)}

loader = DataLoader(TensorDataset(torch.randn(32, 4), torch.arange(32) % 10, torch.arange(32) % 3), 16, shuffle=True)
def net():
    return nn.Linear(4, 3)
def of_output(output):
    return output.square().mean()
def of_model(model, x):
    return model(x).square().mean()
def vector(output, target):
    return output.sum(1)
def meta():
    return nn.Linear(4, 3, device="meta")
made = net()
def same():
    return made
"""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["own:Timed", "--input", "x=8,4 t=8:int64:10"], "output['logits'], output['aux'] (summed)"),
        (["own:Timed"], "rows [8, 4] of unit noise and ids [8] below 10; "),
        (["own:Timed", "--input", "own:loader"], "(3 of them, the last taken for the target); cross-entropy of"),
        (["own:net", "--loss", "own:of_output"], "own:of_output of the output"),
        (["own:net", "--loss", "own:of_model"], "own:of_model of the model"),
    ],
)
def test_inputs_and_losses_of_every_form(tmp_path: Path, arguments: list[str], words: str) -> None:
    """Of a module in the current folder."""
    (tmp_path / "own.py").write_text(OWN)
    result = check(*(part.replace("own:", "own.py:") for part in arguments), "--seeds", "1")
    assert result.exit_code == 0, result.output
    assert words.replace("own:", "own.py:") in result.output.splitlines()[0]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["own.py:net", "--loss", "own.py:vector"], "--loss own.py:vector is not one number but a Tensor [8]: let it"),
        (["own.py:net", "--loss", "output.loss"], "--loss output.loss: the output has no such part, but output"),
        (["own.py:net", "--input", "100000000,4"], "--input 100000000,4"),
        (["own.py:net", "--input", "x=8,4 t=8"], "the model's forward takes"),
        (["own.py:meta"], "gives a model on meta"),
        (["own.py:same"], "own.py:same gives the same model each time"),
        (["own.py:made"], "is a model that is made already"),
    ],
)
def test_bad_inputs_and_losses_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    monkeypatch.setattr("vgharness.check.trial.free_memory", lambda device: 10**9)
    (tmp_path / "own.py").write_text(OWN)
    result = check(*arguments)
    assert result.exit_code == 2
    (line,) = result.output.splitlines()
    assert line.startswith("vgharness check: ")
    assert words in line


# --- remedies --------------------------------------------------------------------------------------------


def test_remedies_are_a_table_and_the_code_of_the_best(tmp_path: Path) -> None:
    result = check("models.py:closed", "--seeds", "2", "--remedies", "--html", "page.html")
    page = html.unescape((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert set(re.findall(r"<summary>(.+): the code</summary>", page)) == set(
        re.findall(r"^# (.+?): ", result.output, re.MULTILINE)
    )
    assert result.exit_code == 1  # the model itself is as it was
    table = result.output.split("remedies (2 seeds each), the best first")[1]
    rows = [re.split(r"  +", line.strip()) for line in table.splitlines() if re.match(r" \S.*%", line)]
    assert rows[0][:2] == ["unchanged", "vanishing: 0"]
    assert rows[1][1] == "healthy"
    assert all(len(row) == 5 for row in rows)
    assert max(len(line) for line in table.split("\n\n#")[0].splitlines()) <= 80
    assert f"\n# {rows[1][0]}: healthy; loss " in table
    assert "\ndef " in table
    assert re.search(r"^\w+\(model.*\)$", table, re.MULTILINE)


def test_remedies_in_markdown_and_where_there_is_none() -> None:
    output = check("models.py:closed", "--seeds", "2", "--remedies", "--markdown").output
    assert "| `unchanged` | `vanishing: 0` |" in output
    assert output.count("```python\n") == output.count("\n```\n") >= 1
    missing = check("models.py:Unused", "--seeds", "2", "--remedies").output
    assert "no remedy was tried: what gets no gradient is cut off" in missing


def test_remedies_are_in_the_json_where_they_were_asked_for() -> None:
    found = json.loads(check("models.py:closed", "--seeds", "1", "--remedies", "--json").stdout)
    assert found["remedies"][0]["remedy"] == "unchanged"
    assert found["remedies"][1]["diagnosis"] == "healthy"
    assert "remedies" not in json.loads(check("models.py:healthy", "--seeds", "1", "--json").stdout)
    both = check("models.py:closed", "--markdown", "--json")
    assert (both.exit_code, len(both.output.splitlines())) == (2, 1)


# --- parameters ------------------------------------------------------------------------------------------


def test_parameters_have_rows_in_every_form_on_request(tmp_path: Path) -> None:
    arguments = ("models.py:Unused", "--seeds", "2")
    terminal = check(*arguments, "--parameters", "--html", "page.html").output
    rows = [line.split()[:2] for line in terminal.splitlines() if line.startswith("   .")]
    assert [row[0] for row in rows] == [".weight", ".bias"] * 2
    assert rows[2][1] == "no"  # gradient
    found = {
        x["name"]: x for layer in json.loads(check(*arguments, "--json").stdout)["layers"] for x in layer["parameters"]
    }
    assert list(found) == ["used.weight", "used.bias", "unused.weight", "unused.bias"]
    assert rows[0][1] == number(found["used.weight"]["l2"]["value"])
    assert found["unused.weight"]["state"] == "unused"
    assert check(*arguments, "--parameters", "--markdown").output.count("| `  .bias` |") == 2
    assert (tmp_path / "page.html").read_text(encoding="utf-8").count(">.bias<") == 2
    assert ".weight" not in check(*arguments).output
