"""JSON Schemas: those of the package are made from the records, and hold what is saved and printed."""

import json
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from factories import MACHINE, make_flow, make_result, make_run, make_verdict
from jsonschema import Draft202012Validator
from typer.testing import CliRunner, Result

from vgharness.cli.main import app
from vgharness.gradflow.sample import FlowSample
from vgharness.records import Baseline, DescentRecord, Document, RemedyRecord, Sample, Session
from vgharness.report.check_json import checked
from vgharness.report.schemas import SCHEMAS, schema_text
from vgharness.report.verdict_json import as_json

pytestmark = pytest.mark.fast

COMMITTED = Path(__file__).parents[2] / "reports" / "committed" / "run.json"
SAMPLE = Sample(test="t.py::test", seeds=(42, 43), flows=(make_flow(0.1), make_flow(0.2)))
SESSION = Session(created="", commit=None, command="pytest", machine=MACHINE, samples=(SAMPLE,))
RUN = make_run([make_result(curve=[10.0])], verdicts=(make_verdict(),), document=Document(title="A paper"))


def published(name: str) -> dict[str, Any]:
    content = (files("vgharness") / "schemas" / f"{name}.json").read_text(encoding="utf-8")
    return dict(json.loads(content))


def faults(name: str, content: object) -> list[str]:
    return [error.message for error in Draft202012Validator(published(name)).iter_errors(content)]


def a_check() -> object:
    return checked("net.py:Net", FlowSample(SAMPLE), inputs="1×8", loss="the sum")


def a_check_with_remedies() -> object:
    descent = DescentRecord(optimizer="SGD", steps=3, before=(1.0, None), after=(0.5, 0.5), change=0.5)
    remedies = [
        RemedyRecord(
            remedy="unchanged", healthy=None, diagnosis="", better=False, losses=(descent,), failure="x", code=""
        )
    ]
    return checked("net.py:Net", FlowSample(SAMPLE), inputs="1×8", loss="the sum", remedies=remedies)


@pytest.mark.parametrize("name", SCHEMAS)
def test_published_schemas_are_those_of_the_records(name: str) -> None:
    Draft202012Validator.check_schema(published(name))
    assert published(name) == json.loads(schema_text(name)), "run: vgharness schema --out vgharness/schemas"


def test_there_is_a_file_for_each_and_no_other() -> None:
    assert sorted(path.name for path in (files("vgharness") / "schemas").iterdir()) == sorted(
        f"{name}.json" for name in SCHEMAS
    )


def test_the_committed_run_is_valid_and_one_that_was_edited_is_not() -> None:
    run = json.loads(COMMITTED.read_bytes())
    assert faults("run", run) == []
    run["results"][0]["epochs"][0]["test_accuracy"] = "10 %"
    assert faults("run", run) != []


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("run", lambda: RUN),
        ("session", lambda: SESSION),
        ("report", lambda: as_json(RUN.document, [("run.json", RUN), ("session.json", SESSION)], RUN.verdicts)),
        ("check", a_check),
        ("check", a_check_with_remedies),
    ],
)
def test_what_is_written_is_valid(name: str, make: Callable[[], Any]) -> None:
    content = make().model_dump(mode="json")
    assert faults(name, content) == []
    assert faults(name, {**content, "schema_version": 99}) != []
    assert faults(name, {**content, "surprise": 1}) != []


def test_a_baseline_file_is_valid_though_it_leaves_out_defaults() -> None:
    content = json.loads(Baseline().updated(SESSION, ()).to_text())
    assert "name" not in content["samples"][0]
    assert faults("baseline", content) == []


def test_a_value_that_was_not_finite_is_null_in_the_schema_too() -> None:
    run = make_run([make_result(curve=[10.0])])
    epoch = run.results[0].epochs[0]
    lost = epoch.changed(test_loss=float("nan"))
    content = make_run([run.results[0].model_copy(update={"epochs": (lost,)})]).model_dump(mode="json")
    assert content["results"][0]["epochs"][0]["test_loss"] is None
    assert faults("run", content) == []


def test_each_field_is_described() -> None:
    for name in SCHEMAS:
        schema = published(name)
        for title, each in {name: schema, **schema["$defs"]}.items():
            for field, described in each.get("properties", {}).items():
                assert described.get("description"), f"{name}: {title}.{field}"
                assert "``" not in described["description"]


def run_schema(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["schema", *arguments])


def test_the_command_lists_prints_and_writes_them(tmp_path: Path) -> None:
    assert [line.split()[0] for line in run_schema().stdout.splitlines()] == sorted(SCHEMAS)
    assert json.loads(run_schema("run").stdout) == published("run")
    assert run_schema("--out", str(tmp_path / "new")).exit_code == 0
    assert json.loads((tmp_path / "new" / "check.json").read_bytes()) == published("check")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["rnu"], "rnu: there is no such schema; use one of baseline, check, report, run, session, training"),
        (["run", "--out", "x"], "run and --out: give one of them"),
        (["--out", "/dev/null"], "--out /dev/null: this is no folder"),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], line: str) -> None:
    result = run_schema(*arguments)
    assert result.exit_code == 2
    (only,) = result.stderr.strip().splitlines()
    assert line in only
