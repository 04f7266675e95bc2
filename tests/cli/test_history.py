"""``vgharness history``: points, changes and their commits, as text, JSON, a page and for another program."""

import json
import re
from pathlib import Path

import pytest
from factories import CANONICAL, MACHINE, SYNTHETIC, make_flow, make_result, make_run
from typer.testing import CliRunner, Result

from vgharness.cli.main import app
from vgharness.records import Machine, Sample, Session, TestOutcome
from vgharness.report.history import History, Saved, history_of
from vgharness.report.history_page import render_history
from vgharness.report.past.digest import digest_of
from vgharness.storage.store import RunStore

pytestmark = pytest.mark.fast

OTHER_IMAGES = SYNTHETIC.model_copy(update={"sha256": "1" * 64})
SPREAD = (0.7, 1.5, 0.9, 1.1, 1.0)


def session(
    size: float = 1.0,
    commit: str = "a" * 40,
    seeds: int = 5,
    *,
    test: str = "test_a.py::test_it",
    outcome: TestOutcome = "passed",
    machine: Machine = MACHINE,
    first_seed: int = 0,
) -> Session:
    flows = tuple(make_flow(last=size * spread) for spread in SPREAD[:seeds])
    sample = Sample(test=test, outcome=outcome, seeds=tuple(range(first_seed, first_seed + seeds)), flows=flows)
    return Session(
        created="2026-01-02T03:04:05+00:00", commit=commit, command="pytest", machine=machine, samples=(sample,)
    )


def changes(*sessions: Session) -> list[tuple[int, str, str]]:
    """Number, layer and quantity of each."""
    found = history_of(Saved(number, "x", each) for number, each in enumerate(sessions, 1))
    return [(p.number, x.layer, x.quantity) for x in found.series for p in x.points if p.is_change]


LAYERS = ["conv1", "conv2", "conv3", "conv4", "fc"]


def test_a_change_is_where_the_interval_leaves_out_zero_and_is_large_enough() -> None:
    assert changes(session(), session(), session(0.9), session(0.9)) == [(3, layer, "signal_l2") for layer in LAYERS]
    assert changes(session(), session(0.96)) == []  # certain, and small
    assert changes(session(), session(0.9, first_seed=9)) == []  # other seeds, which spread by more
    assert changes(session(seeds=1), session(0.85, seeds=1)) == []
    assert len(changes(session(seeds=1), session(0.5, seeds=1))) == 5


def test_points_of_another_machine_are_never_held_against_each_other() -> None:
    assert changes(session(), session(0.1, machine=MACHINE.model_copy(update={"id": "other"}))) == []


def test_a_study_has_its_accuracy_and_its_factor() -> None:
    runs = [
        make_run([make_result(seed=s, curve=[x + s / 10], factor=f) for s in (1, 2, 3)])
        for x, f in ((60, 0.8), (50, 0.1))
    ]
    found = history_of(Saved(i, "study", digest_of(run)) for i, run in enumerate(runs, 1))
    assert {x.of for x in found.series} == {"study: sigmoid (script)"}
    assert [(x.quantity, [round(p.value or 0, 2) for p in x.points]) for x in found.series] == [
        ("factor at initialisation", [0.8, 0.1]),
        ("factor over epoch 1", [0.8, 0.1]),
        ("test accuracy after epoch 1, %", [60.2, 50.2]),
    ]
    assert all(x.points[1].is_change for x in found.series)


def test_values_of_other_images_are_never_held_against_each_other() -> None:
    runs = [make_run([make_result(curve=[50])], data=data) for data in (CANONICAL, OTHER_IMAGES)]
    found = history_of(Saved(i, "study", digest_of(run)) for i, run in enumerate(runs, 1))
    assert {len(x.points) for x in found.series} == {1}
    assert {x.images for x in found.series} == {CANONICAL.description, OTHER_IMAGES.description}


# --- the command ----------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    made = RunStore(tmp_path / "store")
    made.save(session(), "main")
    made.save(session(0.5, commit="b" * 40, outcome="failed"), "main")
    made.save(session(0.5, commit="c" * 40), "main")
    return made


def invoke(store: RunStore, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["history", *arguments, "--storage", str(store.root)])


def test_each_value_is_a_line_and_each_change_one_with_its_commit(store: RunStore) -> None:
    result = invoke(store)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == "test_a.py::test_it"
    (line,) = [line for line in lines if line.split()[:2] == ["fc", "signal_l2"]]
    assert line.split()[2:6] == ["█▆▆", "1.01", "→", "0.504"]
    found = [line for line in lines if line.startswith("  change: fc ")]
    assert found == [f"  change: fc signal_l2 -50.0% at 0002 main {'b' * 9}, {MACHINE.id}"]
    assert invoke(store, "nothing").exit_code == 2


def test_as_json_it_is_the_whole_history(store: RunStore) -> None:
    found = History.model_validate_json(invoke(store, "test_it", "--json").stdout)
    assert {len(series.points) for series in found.series} == {3}
    assert [point.outcome for point in found.series[0].points] == ["passed", "failed", "passed"]


def test_the_page_is_self_contained_and_whatever_is_in_it_is_text(store: RunStore, tmp_path: Path) -> None:
    store.save(session(test="<script>alert(1)</script>\n"), "x")
    page = tmp_path / "history.html"
    assert invoke(store, "--html", str(page)).exit_code == 0
    text = page.read_text(encoding="utf-8")
    assert "<script" not in text
    assert "http" not in text.replace("http-equiv", "")
    marks = re.findall(r'<line class="one"[^>]*/><text[^>]*>(\w+)</text>', text)
    assert marks == ["b" * 9] * 5
    assert "<h1>5 of 12 values changed over 4 saved sessions, runs and trainings.</h1>" in text
    assert 'class="skip" href="#main"' in text


def test_a_page_of_values_that_are_missing_can_be_drawn() -> None:
    flow = make_flow()
    broken = flow.model_copy(update={"layers": tuple(x.model_copy(update={"signal_l2": None}) for x in flow.layers)})
    sample = Sample(test="t", seeds=(1, 2), flows=(flow, broken))
    lost = session().model_copy(update={"samples": (sample,)})
    render_history(history_of([Saved(1, "a", lost), Saved(2, "b", lost)]))


def test_the_export_is_the_latest_session_as_github_action_benchmark_takes_it(store: RunStore) -> None:
    entries = json.loads(invoke(store, "--export", "github-action-benchmark").stdout)
    assert entries[0]["name"] == "test_a.py::test_it: all layers factor"
    assert len(entries) == 6
    for entry in entries:
        assert {"name", "unit", "value"} <= entry.keys() <= {"name", "unit", "value", "range", "extra"}
        assert isinstance(entry["value"], float)
    assert invoke(store, "--export", "xml").exit_code == 2


def test_bad_files_are_passed_over(store: RunStore) -> None:
    next(store.root.rglob("0001_*")).write_text("{")
    result = invoke(store, "--json")
    assert result.exit_code == 0
    assert "skipped" in result.stderr
