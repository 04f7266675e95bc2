"""Training logs on the command line: listed, shown, exported; refused where only runs and sessions are taken."""

import csv
import io
import json
from pathlib import Path

import pytest
from factories import LOG_ROWS, make_flow, make_log_head, make_snapshot
from jsonschema import Draft202012Validator
from typer.testing import CliRunner, Result

from vgharness.cli.main import app
from vgharness.records import (
    Birth,
    NonfiniteOrigin,
    ParameterSnapshot,
    Sample,
    Session,
    TrainingProblem,
    log_table_of,
)
from vgharness.storage.store import RunStore
from vgharness.storage.training_log import TrainingLogWriter, load_training_log

pytestmark = pytest.mark.fast

PROBLEMS = (
    TrainingProblem(
        kind="dead", layer="conv\x1b1", began=3, ended=5, times=2, evidence="no gradient came", advice="lower the rate"
    ),
    TrainingProblem(kind="update too large", severity="warning", began=7, evidence="0.2 of the weights"),
)
BIRTH = Birth(
    step=8, batch=9, noticed=9, origin=NonfiniteOrigin(stage="forward", module="conv2", operation="aten.exp"),
    reproducer="nan of [mine]",
)  # fmt: skip


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TrainingLogWriter:
    monkeypatch.chdir(tmp_path)
    return begun()


def begun(name: str = "training") -> TrainingLogWriter:
    log = TrainingLogWriter(make_log_head(), store=RunStore(), name=name, warn=print)
    for step in range(0, 20):
        signals = (0.5 / (step + 1), 1.0)
        values = {"signal_l2": signals, "relative_update": (1e-3, None), "dead_units": (0.25, None)}
        parameters = {"conv1.weight": ParameterSnapshot(grad_l2=0.1)}
        fields = {"loss": 2.0, "learning_rates": (0.1,), "parameters": parameters}
        snapshot = make_snapshot(step, log.rows(LOG_ROWS), signals=signals, **fields)
        log.snapshot(snapshot.model_copy(update={"values": values}))
    for number, problem in enumerate(PROBLEMS):
        log.problem(number, problem)
    log.birth(BIRTH)
    log.note("two GPUs")
    log.steps("", 20)
    return log


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "80"})


def test_list_says_how_it_ended_how_long_it_was_and_what_was_wrong(log: TrainingLogWriter) -> None:
    log.close("failed")
    other = begun("other")
    killed = begun("killed")
    killed._let_go()  # as the process' end does
    lines = invoke("list").stdout.splitlines()
    what = "        20 steps; 1 problem and 1 warning; NaN or infinity came up"
    assert [lines[i].split()[-1] for i in (1, 3, 5)] == ["failed", "running", "killed"]
    assert lines[1].split()[:3] == ["0001", "training", "training"]
    assert [lines[2], lines[4]] == [what, what.replace("20", "19")]
    assert other.path is not None
    content = other.path.read_bytes()
    other.path.write_bytes(content.replace(b'"every"', b'"never"'))
    assert "        cannot be loaded: not a valid head of a training log: every" in invoke("list").stdout


def test_show_says_what_it_was_what_was_wrong_and_how_the_layers_were(log: TrainingLogWriter) -> None:
    assert "the training goes on" in invoke("show").stdout
    log.close("interrupted")
    for which in ([], ["1"], ["training"], [str(log.path)]):
        result = invoke("show", *which)
        assert (result.exit_code, result.stderr) == (0, "")
        assert all(len(line) <= 80 for line in result.stdout.splitlines()[1:])
    text = " ".join(result.stdout.split())
    assert "the training was interrupted" in text
    assert "Net, 1,234 parameters, 20 steps, the last snapshot at step 19" in text
    assert "problem: dead, conv\\x1b1, step 3 to 5, 2 times: no gradient came. What usually helps: lower" in text
    assert "warning: update too large, the model, step 7 to the end: 0.2 of the weights" in text
    assert (
        "first NaN or infinity: step 8, batch 9: the forward pass of conv2 makes NaN or infinity, by aten.exp; noticed"
        in text
    )
    assert "vgharness reproduce 'nan of [mine]'" in text
    assert "at step 0 (left) and at step 19" in text
    assert "conv1 0.500 0.500 0.0250 0.0250" in text
    assert "conv1 0.00100 25 % 0.00100 25 %" in text
    assert "conv2 – – – –" in text


def test_show_of_a_log_in_which_nothing_is_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    log = TrainingLogWriter(make_log_head("a", "b"), store=RunStore(), name="training", warn=print)
    assert "no problems" in invoke("show").stdout
    log.snapshot(make_snapshot(0, log.rows(LOG_ROWS), model="b", signals=(None, 1.0)))
    text = " ".join(invoke("show", "--markdown").stdout.split())
    assert "b, at step 0`" in text
    assert "| `conv1` | unused |" in text


def test_show_of_a_session_passes_by_the_log_only_where_it_is_named(log: TrainingLogWriter) -> None:
    sample = Sample(test="first", seeds=(1,), flows=(make_flow(),))
    shared = make_log_head()
    session = Session(created=shared.created, commit=None, command="pytest", machine=shared.machine, samples=(sample,))
    RunStore().save(session, "main")
    assert "first" in invoke("show").stdout
    assert invoke("history").stderr.endswith("the training is running, not finished\n")
    for arguments in (["show", "main", "--against", "1"], ["show", "1", "--against", "main"]):
        (line,) = invoke(*arguments).stderr.splitlines()
        assert "training log" in line


def test_what_takes_runs_only_refuses_it_in_one_line(log: TrainingLogWriter) -> None:
    result = invoke("reconcile", "1")
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert "training" in line


def test_export_writes_a_row_for_each_snapshot_and_layer(log: TrainingLogWriter, tmp_path: Path) -> None:
    import pandas

    rows = list(csv.DictReader(io.StringIO(invoke("export", "1").stdout)))
    assert len(rows) == 40
    first = {name: rows[2][name] for name in ("step", "layer", "state", "loss", "signal_l2", "learning_rates")}
    assert first == {
        "step": "1", "layer": "conv1", "state": "ok", "loss": "2.0", "signal_l2": "0.25", "learning_rates": "[0.1]"
    }  # fmt: skip
    assert json.loads(invoke("export", "1", "--json", "--what", "problems").stdout)[1]["began"] == 7
    assert "conv1.weight" in invoke("export", "training", "--what", "parameters").stdout
    assert invoke("export", "1", "--out", "log.parquet").stdout == "40 rows of snapshots written to log.parquet\n"
    frame = load_training_log(log.path).to_frame()
    assert frame.equals(pandas.read_parquet("log.parquet"))
    assert frame[frame.layer == "conv1"].signal_l2.iloc[-1] == 0.025


def test_an_empty_table_has_its_columns_and_bad_input_is_one_line(log: TrainingLogWriter) -> None:
    nothing = make_log_head()
    assert [log_table_of(nothing, what).columns[0] for what in ("snapshots", "parameters", "problems")] == [
        "model", "model", "kind"
    ]  # fmt: skip
    before = log.path.read_bytes()
    for arguments, words in (
        (["--what", "curves"], "--what curves: this is a training log; use snapshots, parameters, problems"),
        (["--what", "x"], "--what x: use curves, gradients, verdicts; of a training log snapshots"),
        (["--out", str(log.path)], "this is the run itself"),
    ):
        result = invoke("export", "1", *arguments)
        assert result.exit_code == 2
        (line,) = result.stderr.splitlines()
        assert words in line
    assert log.path.read_bytes() == before


def test_each_line_is_valid_by_the_published_schema(log: TrainingLogWriter) -> None:
    log.close("finished")
    schema = Draft202012Validator(json.loads(invoke("schema", "training").stdout))
    lines = [json.loads(line) for line in log.path.read_bytes().splitlines()]
    assert {line.get("line", "head") for line in lines} == {
        "head", "rows", "snapshot", "problem", "birth", "note", "steps", "end"
    }  # fmt: skip
    for line in lines:
        assert not list(schema.iter_errors(line))
        assert list(schema.iter_errors({**line, "surprise": 1}))
        assert list(schema.iter_errors({name: each for name, each in line.items() if name not in ("line", "created")}))
