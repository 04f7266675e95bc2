"""``vgharness report``, ``compare``, ``history`` and ``judge`` of training logs in a store."""

import csv
import io
import json
from pathlib import Path

import pytest
from factories import make_result, make_run
from training_logs import make_log, make_problem, make_snapshot, save_log
from typer.testing import CliRunner, Result

from vgharness import load_training_log, write_report
from vgharness.cli.main import app
from vgharness.report.history import History
from vgharness.report.training.comparison_tables import ComparedTrainings
from vgharness.report.verdict_json import Judged
from vgharness.storage.store import RunStore

pytestmark = pytest.mark.fast

CLAIMS = """
[document]
title = "How it trains"
[[claim]]
id = "moves"
sentences = ["conv1 moves."]
[[claim.reading]]
quantity = "relative_update"
of = { training = "seed-*" }
layer = "conv1"
over = { steps = [0, "last"], take = "least" }
accept = { above = 1e-4 }
"""


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "80"})


def test_report_writes_the_page_of_a_log_with_the_verdicts_of_a_claims_file() -> None:
    path = save_log(make_log(problems=[make_problem(began=300)]), "seed-1")
    Path("claims.toml").write_text(CLAIMS)
    assert run("report", "seed-1", "--out", "out").output == f"page written to {Path('out/training.html')}\n"
    page = Path("out/training.html").read_text(encoding="utf-8")
    assert "<h1><bdi>conv1 stops moving at step 300</bdi>.</h1>" in page
    assert run("report", str(path), "--out", "out", "--claims", "claims.toml").exit_code == 0
    judged = Path("out/training.html").read_text(encoding="utf-8")
    assert "1 seed; a verdict needs 3" in judged
    assert write_report(load_training_log(path), "there") == Path("there/training.html")
    assert Path("there/training.html").read_text(encoding="utf-8") == page


def test_compare_says_what_is_new_and_fails_by_it_where_it_is_asked_to() -> None:
    save_log(make_log(problems=[make_problem("dead", "conv2")]), "main")
    save_log(
        make_log(scatter=0.5, problems=[make_problem("dead", "conv2"), make_problem("stopped", "conv1", 500)]), "new"
    )
    save_log(make_log(scatter=0.5), "well")
    found = run("compare", "main", "new", "--fail", "problems")
    assert found.exit_code == 1
    lines = found.stdout.splitlines()
    assert max(map(len, lines[2:])) <= 80
    assert "problems: 1 new, 1 as before; the final loss is 1, was 1" in lines
    assert "FAIL new: stopped, conv1, step 500" in lines
    assert sum(line.count("0.00100 → 0.00150") for line in lines if line.startswith(" update ratio of")) == 4 * 3
    assert (
        run("compare", "main", "new").exit_code,
        run("compare", "main", "well", "--fail", "problems").exit_code,
    ) == (0, 0)
    assert run("compare", "main", "well", "new", "--fail", "problems").exit_code == 1
    as_json = ComparedTrainings.model_validate_json(
        run("compare", "main", "new", "--json", "--fail", "problems").stdout
    )
    assert as_json.failures == ("new: stopped, conv1, step 500",)
    rows = list(csv.DictReader(io.StringIO(run("compare", "main", "new", "--csv").stdout)))
    assert [
        float(row["change"]) for row in rows if (row["quantity"], row["at"]) == ("total_norm", "whole")
    ] == pytest.approx([0.5])
    assert [(row["at"], row["step_after"]) for row in rows if row["quantity"] == "problem: stopped"] == [("new", "500")]
    assert run("compare", "main", "new", "--markdown").stdout.startswith("#### problems: 1 new, 1 as before")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("compare", "log", "study"), "a training log, and the other is a study's run; name two of one kind"),
        (("compare", "log", "log", "--fail", "flipped"), "--fail flipped: of two trainings give problems"),
        (("compare", "log", "log", "--claims", "readme"), "--claims: is for studies' runs, these are training logs"),
        (("report", "log", "study"), "a training log, and the other is a study's run"),
        (("report", "log", "log"), "these are two training logs: `vgharness compare` compares those"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_one_line(arguments: tuple[str, ...], line: str) -> None:
    save_log(make_log(), "log")
    RunStore().save(make_run([make_result(curve=[50])]), "study")
    found = run(*arguments)
    assert found.exit_code == 2
    (said,) = found.stderr.splitlines()
    assert line in said


def test_history_follows_the_finished_logs_of_each_name() -> None:
    save_log(make_log(created="2026-01-01"), "main")
    save_log(make_log(scatter=0.5, problems=[make_problem()], created="2026-01-02"), "main")
    save_log(make_log([make_snapshot(0)], status="failed"), "main")
    found = run("history", "--json")
    series = {(x.of, x.layer, x.quantity): x for x in History.model_validate_json(found.stdout).series}
    problems = series["training: main", "all layers", "problems"]
    assert [(point.value, point.is_change) for point in problems.points] == [(0.0, False), (1.0, True)]
    updates = series["training: main", "conv1", "update ratio over the training"]
    assert updates.points[1].change == pytest.approx(0.5)
    assert "0003_main.jsonl: the training is failed, not finished" in found.stderr
    assert run("history", "main", "--html", "history.html").exit_code == 0


def test_judge_takes_several_logs_as_several_values() -> None:
    Path("claims.toml").write_text(CLAIMS)
    for seed in range(3):
        save_log(make_log(scatter=seed / 100), f"seed-{seed}")
    found = Judged.model_validate_json(run("judge", "claims.toml", "seed-0", "seed-1", "seed-2", "--json").stdout)
    assert [(verdict.claim, verdict.outcome) for verdict in found.verdicts] == [("moves", "reproduced")]
    assert {(each.kind, each.status, each.data) for each in found.runs} == {("training", "finished", None)}
    twice = json.loads(run("judge", "claims.toml", "1", "1", "2", "--json").stdout)
    assert twice["verdicts"][0]["reason"] == "2 seeds; a verdict needs 3"
