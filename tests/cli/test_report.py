"""``vgharness report``: of one run with the others of its store, and of two runs the page that compares them."""

from pathlib import Path

import pytest
from factories import MACHINE, make_flow, make_reading, make_result, make_run, make_verdict
from typer.testing import CliRunner, Result

from vgharness.cli.main import app
from vgharness.records import Document, Outcome, Run, Sample, Session
from vgharness.storage.store import RunStore

pytestmark = pytest.mark.fast


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunStore:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("vgharness.report.study_page.draw", lambda run: ())
    return RunStore(tmp_path / "store")


def run_of(day: int, outcome: Outcome = "reproduced", document: str = "A document") -> Run:
    return make_run(
        [make_result(curve=[50])],
        created=f"2026-01-{day:02}T00:00:00+00:00",
        document=Document(title=document),
        verdicts=(make_verdict(outcome, make_reading(outcome)),),
    )


def session() -> Session:
    sample = Sample(test="t", seeds=(1,), flows=(make_flow(),))
    return Session(created="2026-01-01", commit=None, command="pytest", machine=MACHINE, samples=(sample,))


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["report", *arguments, "--storage", "store", "--out", "out"])


def test_the_page_of_a_run_ends_with_the_earlier_ones_of_its_store(store: RunStore) -> None:
    store.save(run_of(1), "a")
    saved = store.save(run_of(2, "mixed"), "b")
    (saved.parent / "0009_broken.json").write_text("{")
    result = invoke("2")
    assert result.exit_code == 0
    assert "0009_broken.json" in result.stderr
    page = Path("out/index.html").read_text(encoding="utf-8")
    assert "0001 a" in page
    assert "it-is-so: reproduced → mixed" in page
    assert [path.name[:6] for path in Path("out/runs").iterdir()] == ["0002_b"]


def test_a_file_from_elsewhere_has_no_page_of_its_own(store: RunStore, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_bytes(store.save(run_of(1), "a").read_bytes())
    assert invoke("run.json").exit_code == 0
    assert 'id="earlier"' not in Path("out/index.html").read_text(encoding="utf-8")


def test_a_file_in_place_of_the_folder_of_pages_is_refused_before_anything_is_written(store: RunStore) -> None:
    store.save(run_of(1), "a")
    Path("out").mkdir()
    Path("out/runs").write_text("mine")
    result = invoke("1")
    assert result.exit_code == 2
    assert "out/runs" in result.stderr
    assert [path.name for path in Path("out").iterdir()] == ["runs"]
    assert Path("out/runs").read_text() == "mine"


def test_two_runs_are_compared(store: RunStore) -> None:
    store.save(run_of(1), "a")
    store.save(run_of(2, "mixed"), "b")
    result = invoke("1", "b")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[2:] == [
        "it-is-so: reproduced → mixed",
        "1 of 1 verdict changed",
        f"page written to {Path('out/compare.html')}",
    ]
    assert [path.name for path in Path("out").iterdir()] == ["compare.html"]


def test_what_cannot_be_compared_is_refused_with_what_to_do(store: RunStore) -> None:
    store.save(run_of(1), "a")
    store.save(run_of(2, document="Another"), "b")
    store.save(session(), "s")
    store.save(session(), "t")
    for pair, line in (
        (("a", "b"), "give --claims FILE"),
        (("a", "s"), "a pytest session, and the other is a study's run"),
        (("s", "t"), "`vgharness compare`"),
    ):
        result = invoke(*pair)
        assert result.exit_code == 2
        assert line in result.stderr
        assert len(result.stderr.splitlines()) == 1
    assert invoke("a", "b", "--claims", "readme").exit_code == 0
