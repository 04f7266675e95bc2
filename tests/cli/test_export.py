"""``vgharness export``: each form of a table, where it goes, and what is refused."""

import csv
import io
import json
import sys
from pathlib import Path

import pytest
from factories import MACHINE, make_reading, make_result, make_run, make_verdict
from typer.testing import CliRunner, Result

from vgharness.cli.main import app
from vgharness.records import Run, Session, table_of
from vgharness.storage.store import RunStore

pytestmark = pytest.mark.fast


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    verdict = make_verdict("mixed", make_reading("mixed", label="=1+1\x1b[31m"))
    run = make_run([make_result(curve=[50.0])], verdicts=(verdict,))
    RunStore().save(run, "study")
    return run


def export(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["export", *arguments], env={"COLUMNS": "80"})


def line(result: Result) -> str:
    assert result.exit_code == 2
    (found,) = result.stderr.splitlines()
    return found.removeprefix("vgharness export: ")


def test_csv_is_printed_by_default(run: Run) -> None:
    (row,) = csv.DictReader(io.StringIO(export("study").stdout))
    assert (row["activation"], row["norm"], row["test_accuracy"]) == ("sigmoid", "", "50.0")
    assert list(row) == list(table_of(run, "curves").columns)


def test_what_came_from_outside_is_no_formula_and_reaches_a_program_as_it_is(run: Run) -> None:
    (row,) = csv.DictReader(io.StringIO(export("1", "--what", "verdicts").stdout))
    assert row["reading"] == "'=1+1\x1b[31m"


def test_a_terminal_gets_no_control_characters(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("typer.testing._NamedTextIOWrapper.isatty", lambda self: True, raising=False)
    text = export("1", "--what", "verdicts").stdout
    assert "\\x1b[31m" in text
    assert "\x1b" not in text


def test_json_is_a_list_of_rows_with_null_for_what_there_is_not(run: Run) -> None:
    rows = json.loads(export("1", "--json", "--what", "gradients").stdout)
    assert rows == table_of(run, "gradients").records()
    assert rows[0]["norm"] is None


@pytest.mark.parametrize("arguments", [["--parquet", "--out", "table"], ["--out", "table.parquet"]])
def test_parquet_goes_into_a_file(run: Run, arguments: list[str]) -> None:
    import pandas

    result = export("1", *arguments)
    assert (result.exit_code, result.stdout) == (0, f"1 row of curves written to {arguments[-1]}\n")
    assert pandas.read_parquet(arguments[-1]).test_accuracy.tolist() == [50.0]


def test_a_file_is_the_same_as_what_is_printed(run: Run) -> None:
    for form in ("csv", "json"):
        assert export("1", "--out", f"table.{form}").exit_code == 0
        assert Path(f"table.{form}").read_text() == export("1", f"--{form}").stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["1", "--csv", "--json"], "--csv, --parquet and --json: give one of them"),
        (["1", "--parquet"], "--parquet: give the file too, as --out FILE"),
        (["1", "--what", "loss"], "--what loss: use curves, gradients, verdicts"),
        (["1", "--out", "."], "this is a folder, not a file"),
        (["9"], "no run, session or training log '9' here"),
        (["tests"], "a pytest session; export is of a study's run"),
    ],
)
def test_bad_input_is_one_line(run: Run, arguments: list[str], words: str) -> None:
    session = Session(created=run.created, command="pytest", commit=None, machine=MACHINE, samples=())
    RunStore().save(session, "tests")
    assert words in line(export(*arguments))


def test_the_run_itself_is_not_overwritten(run: Run) -> None:
    (path,) = Path(".gradflow").glob("*/0001_study.json")
    assert "this is the run itself" in line(export("1", "--json", "--out", str(path)))


def test_csv_and_json_need_no_pandas(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    assert export("1").exit_code == export("1", "--json").exit_code == 0
    assert "pip install 'vgharness[frame]'" in line(export("1", "--out", "table.parquet"))
