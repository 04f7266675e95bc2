"""``vgharness compare`` of two studies' runs: what is printed in each form, what fails, and what is refused."""

import csv
import io
import json
from pathlib import Path

import pytest
from factories import MACHINE, make_reading, make_result, make_run, make_verdict
from typer.testing import CliRunner, Result

from vgharness.cli.main import app
from vgharness.records import Document, Outcome, Run, SeedValue, Session, Verdict
from vgharness.report.versus.tables import ComparedRuns
from vgharness.storage.store import RunStore

pytestmark = pytest.mark.fast

BEFORE, AFTER, OTHER = (50.0, 52.0, 57.0), (51.0, 53.0, 58.0), (70.0, 72.0, 77.0)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunStore:
    monkeypatch.chdir(tmp_path)
    return RunStore()


def claim(name: str, outcome: Outcome, numbers: tuple[float, ...], label: str = "test accuracy") -> Verdict:
    values = [SeedValue(seed=seed, value=x) for seed, x in enumerate(numbers, 42)]
    reading = make_reading(
        outcome, (), label=label, values=values, value=sum(numbers) / 3, method="t", networks="script"
    )
    return make_verdict(outcome, reading, claim=name)


def run_of(*verdicts: Verdict, day: int = 1, title: str = "A document") -> Run:
    return make_run(
        [make_result(curve=[50])],
        created=f"2026-01-{day:02}T00:00:00+00:00",
        document=Document(title=title),
        verdicts=verdicts,
    )


def save(store: RunStore, after: Verdict, name: str = "quick", before: Verdict | None = None) -> None:
    same = claim("same", "mixed", BEFORE)
    store.save(run_of(before or claim("flips", "reproduced", BEFORE), same), name)
    store.save(run_of(after, same, day=2), name)


def compare(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["compare", *arguments], env={"COLUMNS": "80"})


def test_the_terminal_shows_what_flipped_and_by_how_much(store: RunStore) -> None:
    save(store, claim("flips", "mixed", OTHER))
    result = compare("1", "2")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert max(map(len, lines[2:])) <= 80
    assert "flips: reproduced → mixed" in lines
    assert "test accuracy" in result.stdout
    assert "+20 points (20 to 20)" in result.stdout
    assert "same: mixed" not in result.stdout
    assert (
        "1 of 2 verdicts changed: flips 1 of 2 values changed by more than chance, each at 95 % by itself, seed by "
        "seed 1 claim not shown: as before, with no value that clearly changed"
    ) in " ".join(result.stdout.split())


def test_other_networks_with_the_same_seeds_are_not_paired(store: RunStore) -> None:
    after = claim("flips", "mixed", OTHER)
    reading = after.readings[0].model_copy(update={"networks": "script, norm batch"})
    save(store, after.model_copy(update={"readings": (reading,)}))
    (flips, same) = ComparedRuns.model_validate_json(compare("1", "2", "--json").stdout).claims
    assert (flips.readings[0].paired, same.readings[0].paired) == (False, True)
    assert flips.readings[0].difference_low != flips.readings[0].difference_high


def test_json_has_every_claim_and_what_fails(store: RunStore) -> None:
    save(store, claim("flips", "mixed", AFTER))
    result = compare("quick", "2", "--json", "--fail", "flipped")
    assert result.exit_code == 0  # the latest of that name against itself
    result = compare("1", "quick", "--json", "--fail", "flipped")
    assert result.exit_code == 1
    found = json.loads(result.stdout)
    assert found["failures"] == ["flips: reproduced → mixed"]
    assert [(x["claim"], x["before"], x["after"]) for x in found["claims"]] == [
        ("flips", "reproduced", "mixed"), ("same", "mixed", "mixed")
    ]  # fmt: skip
    (reading,) = found["claims"][0]["readings"]
    assert (reading["difference"], reading["difference_is"], reading["paired"]) == (1.0, "difference", True)


def test_csv_has_a_row_for_each_reading_and_no_formula(store: RunStore) -> None:
    save(
        store,
        claim("flips", "mixed", AFTER, label="=1+1"),
        before=claim("flips", "reproduced", BEFORE, label="=1+1"),
    )
    rows = list(csv.DictReader(io.StringIO(compare("1", "2", "--csv").stdout)))
    assert [(row["claim"], row["verdict_before"], row["verdict_after"]) for row in rows] == [
        ("flips", "reproduced", "mixed"), ("same", "mixed", "mixed")
    ]  # fmt: skip
    assert (rows[0]["label"], rows[0]["difference"], rows[0]["seeds_after"]) == ("'=1+1", "1.0", "42, 43, 44")


def test_markdown_has_what_changed_first(store: RunStore) -> None:
    save(store, claim("flips", "mixed", OTHER))
    text = compare("1", "2", "--markdown", "--fail", "changed").stdout
    assert text.startswith("#### 1 of 2 verdicts changed: flips\n\n- FAIL flips: reproduced → mixed\n")
    assert "| reading | before | after | change |" in text


@pytest.mark.parametrize(
    ("before", "after", "flipped", "changed"),
    [
        ("reproduced", "reproduced", 0, 0),
        ("reproduced", "not run", 1, 1),
        ("mixed", "reproduced", 0, 1),
        ("inconclusive", "not reproduced", 0, 1),
    ],
)
def test_what_fails(store: RunStore, before: Outcome, after: Outcome, flipped: int, changed: int) -> None:
    save(store, claim("it", after, AFTER), before=claim("it", before, BEFORE))
    assert compare("1", "2").exit_code == 0
    assert compare("1", "2", "--fail", "flipped").exit_code == flipped
    assert compare("1", "2", "--fail", "changed").exit_code == changed


def test_a_reproduced_claim_that_is_gone_has_flipped(store: RunStore) -> None:
    save(store, claim("new", "reproduced", AFTER), before=claim("gone", "reproduced", BEFORE))
    result = compare("1", "2", "--fail", "flipped")
    assert result.exit_code == 1
    assert "FAIL gone: reproduced → not judged" in result.stdout
    assert "new: not judged" not in result.stdout


def test_one_run_is_held_against_the_latest_and_globs_name_several(store: RunStore) -> None:
    save(store, claim("flips", "mixed", AFTER))
    assert "after:  " in compare("1").stdout
    assert compare("1").stdout.splitlines()[1].endswith("0002_quick.json")
    assert compare("quick*").stdout.splitlines()[1].endswith("0002_quick.json")


def test_a_name_of_both_kinds_means_the_kind_of_the_first(store: RunStore) -> None:
    save(store, claim("flips", "mixed", AFTER), name="main")
    session = Session(created="2026-01-01", commit=None, command="pytest", machine=MACHINE, samples=())
    store.save(session, "main")
    assert compare("1", "main").stdout.splitlines()[1].endswith("0002_main.json")
    assert compare("main", "1").exit_code == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["1", "3"], "a pytest session, and the other is a study's run; name two of one kind"),
        (["1", "2", "--fail", "signal_l2:20%"], "of two studies give flipped or changed"),
        (["1", "4"], "give --claims FILE"),
        (["1", "2", "4", "--json"], "--csv and --json are of two, these are 3"),
        (["1", "nothing"], "no run 'nothing' here"),
    ],
)
def test_bad_input_is_one_line(store: RunStore, arguments: list[str], words: str) -> None:
    save(store, claim("flips", "mixed", AFTER))
    store.save(Session(created="2026-01-01", commit=None, command="pytest", machine=MACHINE, samples=()), "tests")
    store.save(run_of(claim("flips", "mixed", AFTER), title="Another"), "other")
    result = compare(*arguments)
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert words in line


def test_runs_of_other_documents_are_held_against_one(store: RunStore) -> None:
    store.save(run_of(claim("it", "mixed", BEFORE)), "one")
    store.save(run_of(claim("it", "mixed", AFTER), title="Another"), "two")
    assert compare("one", "two", "--claims", "readme").exit_code == 0
