"""The earlier runs of a store, at the end of a run's page: rows, changes, key values, and what is kept of each run."""

import re
from pathlib import Path

import pytest
from factories import MACHINE, SYNTHETIC, make_reading, make_result, make_run, make_verdict

from vgharness.records import Document, Machine, Outcome, Provenance, Run
from vgharness.report.past import digest as digests
from vgharness.report.past.digest import digest_at, digest_of
from vgharness.report.past.runs import FOLDER, Past, changes_of, past_of
from vgharness.report.past.section import section_of
from vgharness.report.study_page import render, write_report
from vgharness.storage.store import RunStore, load_run

pytestmark = pytest.mark.fast

DOCUMENT = Document(title="A document")


def run_of(
    day: int,
    outcomes: tuple[Outcome, ...] = ("reproduced",),
    *,
    accuracy: float = 60.0,
    machine: Machine = MACHINE,
    data: Provenance = SYNTHETIC,
    document: Document = DOCUMENT,
    expected: str = "≥ 1",
    name: str = "it",
) -> Run:
    results = [make_result(seed=seed, curve=[accuracy + seed / 10]) for seed in (1, 2, 3)]
    verdicts = tuple(
        make_verdict(outcome, make_reading(outcome, expected=expected), claim=f"{name}-{place}", variant="")
        for place, outcome in enumerate(outcomes)
    )
    return make_run(
        results,
        created=f"2026-01-{day:02}T00:00:00+00:00",
        commit=f"{day:040x}",
        machine=machine,
        data=data,
        document=document,
        verdicts=verdicts,
    )


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "store")


def past(saved: Path, out: Path) -> Past:
    found = past_of(saved, load_run(saved), out)
    assert found is not None
    return found


# --- which runs ------------------------------------------------------------------------------------------


def test_a_run_has_the_earlier_ones_of_its_store_newest_first_and_knows_of_a_newer(
    store: RunStore, tmp_path: Path
) -> None:
    paths = [store.save(run_of(day), "study") for day in (1, 3, 2, 4)]
    RunStore(tmp_path / "elsewhere").save(run_of(1), "foreign")
    found = past(paths[1], tmp_path)
    assert [run.label for run in found.earlier] == ["0003 study", "0001 study"]
    assert found.newer is not None
    assert found.newer.label == "0004 study"
    assert past(paths[3], tmp_path).newer is None


def test_a_file_that_lies_in_no_store_has_no_others(store: RunStore, tmp_path: Path) -> None:
    saved = store.save(run_of(1), "study")
    copy = tmp_path / "0001_study.json"
    copy.write_bytes(saved.read_bytes())
    assert past_of(copy, load_run(copy), tmp_path) is None
    other_name = saved.rename(saved.with_name("run.json"))
    assert past_of(other_name, load_run(other_name), tmp_path) is None


def test_damaged_and_foreign_files_are_passed_over_with_a_line(store: RunStore, tmp_path: Path) -> None:
    saved = [store.save(run_of(day), "study") for day in (1, 2, 3)]
    saved[0].write_text("{")
    content = saved[1].read_text(encoding="utf-8")
    saved[1].write_text(content.replace('"finished"', '"unheard of"', 2), encoding="utf-8")
    (saved[0].parent / "notes.txt").write_text("mine")
    found = past(saved[2], tmp_path)
    assert found.earlier == ()
    assert sorted(path.name for path, _ in found.skipped) == ["0001_study.json", "0002_study.json", "notes.txt"]
    page = render(load_run(saved[2]), past=found)
    assert "Passed over in the store: " in page
    assert "notes.txt" in page


def test_only_so_many_are_read_and_of_those_only_so_many_are_not_folded(
    store: RunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vgharness.report.past.runs._MOST_READ", 4)
    monkeypatch.setattr("vgharness.report.past.section._SHOWN", 2)
    paths = [store.save(run_of(day), "study") for day in range(1, 8)]
    found = past(paths[-1], tmp_path)
    section = section_of(found)
    assert section is not None
    assert [row.label for row in section.rows] == ["0007 study", "0006 study", "0005 study"]
    assert [row.label for row in section.folded] == ["0004 study", "0003 study"]
    assert section.notes == ("2 older runs are not shown; vgharness list has all of them",)
    assert not (paths[0].parent / ".digests" / paths[0].name).exists()


# --- what is kept of a run -------------------------------------------------------------------------------


def test_a_digest_is_read_in_place_of_the_run_as_long_as_its_file_is_the_same(
    store: RunStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    loads: list[Path] = []

    def watched(path: Path) -> Run:
        loads.append(path)
        return load_run(path)

    monkeypatch.setattr(digests, "load_run", watched)
    saved = store.save(run_of(1), "study")
    first = digest_at(saved)
    assert digest_at(saved) == first
    assert len(loads) == 1
    assert first.verdicts == digest_of(load_run(saved)).verdicts

    other = store.save(run_of(1, ("not reproduced",)), "other")
    saved.write_bytes(other.read_bytes())
    assert [verdict.outcome for verdict in digest_at(saved).verdicts] == ["not reproduced"]
    kept = saved.parent / ".digests" / saved.name
    for damage in ("{", "[]", '{"schema_version": 99}'):
        kept.write_text(damage)
        assert [verdict.outcome for verdict in digest_at(saved).verdicts] == ["not reproduced"]
    kept.unlink()
    assert digest_at(saved).created == "2026-01-01T00:00:00+00:00"
    assert kept.is_file()


def test_a_digest_that_cannot_be_kept_is_made_each_time(store: RunStore) -> None:
    saved = store.save(run_of(1), "study")
    (saved.parent / ".digests").write_text("in the way")
    assert digest_at(saved) == digest_at(saved)


def test_digests_are_no_saved_runs(store: RunStore) -> None:
    digest_at(store.save(run_of(1), "study"))
    entries, skipped = store.entries()
    assert [entry.name for entry in entries] == ["study"]
    assert skipped == ()


# --- changes of verdicts ---------------------------------------------------------------------------------


def changes(store: RunStore, tmp_path: Path, *runs: Run) -> list[tuple[str, str, str]]:
    paths = [store.save(run, "study") for run in runs]
    found = past(paths[-1], tmp_path)
    return [tuple(change) for change in changes_of(found.this, found.earlier)]


def test_a_change_is_against_the_last_run_in_which_that_claim_ran(store: RunStore, tmp_path: Path) -> None:
    first, second = run_of(1, ("reproduced", "mixed")), run_of(2, ("not run", "mixed"))
    third = run_of(3, ("not reproduced", "mixed"))
    assert changes(store, tmp_path, first, second, third) == [("it-0", "reproduced", "not reproduced")]


def test_what_did_not_run_is_no_change(store: RunStore, tmp_path: Path) -> None:
    assert changes(store, tmp_path, run_of(1, ("reproduced",)), run_of(2, ("not run",))) == []


@pytest.mark.parametrize(
    "other",
    [{"document": Document(title="Another")}, {"expected": "≥ 2"}, {"name": "that"}],
    ids=lambda x: next(iter(x)),
)
def test_another_claim_is_no_change(store: RunStore, tmp_path: Path, other: dict[str, object]) -> None:
    before = run_of(1, ("reproduced",), **other)  # type: ignore[arg-type]
    assert changes(store, tmp_path, before, run_of(2, ("mixed",))) == []


# --- the page --------------------------------------------------------------------------------------------


def test_the_page_of_the_newest_is_the_index_and_each_has_its_own(
    store: RunStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vgharness.report.study_page.draw", lambda run: ())
    out = tmp_path / "out"
    paths = [store.save(run_of(1), "study"), store.save(run_of(2, ("mixed",)), "study")]
    unreported = store.save(run_of(3, ("mixed",)), "study")
    for path in paths:
        write_report(load_run(path), out, past(path, out))
    newest = store.save(run_of(4, ("mixed",), accuracy=40.0), "study")
    page = write_report(load_run(newest), out, past(newest, out)).read_text(encoding="utf-8")
    section = page[page.index('id="earlier"') :]
    links = re.findall(r'href="(runs/[^"]+)"', section)
    assert len(links) == 3  # not of the one that has no page
    assert "0003 study" in section
    assert unreported.is_file()
    for link in links:
        own = (out / link).read_text(encoding="utf-8")
        assert 'href="../index.html"' in own
        assert 'id="earlier"' not in own
    assert "changed: it-0: reproduced → mixed, at <code>000000000</code>" in section
    assert 'aria-label="it-0: mixed"' in section
    assert len({path.name for path in (out / FOLDER).iterdir()}) == 3


def test_two_runs_of_one_number_and_name_have_two_pages(store: RunStore, tmp_path: Path) -> None:
    other = MACHINE.model_copy(update={"id": "other"})
    paths = [store.save(run_of(1), "study"), store.save(run_of(1, machine=other), "study")]
    assert paths[0].name == paths[1].name
    assert past(paths[0], tmp_path).this.page != past(paths[1], tmp_path).this.page


def test_key_values_are_those_of_this_runs_machine_and_images(store: RunStore, tmp_path: Path) -> None:
    other = MACHINE.model_copy(update={"id": "other"})
    images = SYNTHETIC.model_copy(update={"sha256": "1" * 64})
    for run in (run_of(1), run_of(2, machine=other), run_of(3, data=images), run_of(4, accuracy=30.0)):
        store.save(run, "study")
    saved = store.save(run_of(5), "study")
    section = section_of(past(saved, tmp_path))
    assert section is not None
    assert section.headings == (
        "run",
        "sigmoid (script), factor at initialisation",
        "sigmoid (script), factor over epoch 1",
        "sigmoid (script), test accuracy after epoch 1, %",
    )
    numbers = [(row[0], row[3]) for row in section.numbers]
    assert [name for name, _ in numbers] == ["0004 study", "0003 study", "0001 study"]
    assert numbers[1][1].startswith("30.2 (")
    assert [text.endswith(", changed") for _, text in numbers] == [True, True, False]
    assert section.trails[2].drawn.count('class="one"') == 2


def test_without_another_run_there_is_no_section(store: RunStore, tmp_path: Path) -> None:
    saved = store.save(run_of(1), "study")
    assert section_of(past(saved, tmp_path)) is None
    assert 'id="earlier"' not in render(run_of(1))


def test_many_claims_are_counted(store: RunStore, tmp_path: Path) -> None:
    store.save(run_of(1), "study")
    saved = store.save(run_of(2, ("reproduced", "mixed") * 30), "study")
    section = section_of(past(saved, tmp_path))
    assert section is not None
    assert section.rows[0].says == "30 reproduced, 30 mixed"
    assert len(section.rows[0].tiles) == 2


def test_whatever_a_store_holds_is_text(store: RunStore, tmp_path: Path) -> None:
    odd = "<script>alert(1)</script>"
    machine = MACHINE.model_copy(update={"processor": odd})
    data = SYNTHETIC.model_copy(update={"description": odd})
    first = run_of(1, ("reproduced",), machine=machine, data=data)
    store.save(first.model_copy(update={"commit": odd, "study": first.study.model_copy(update={"preset": odd})}), "x")
    saved = store.save(run_of(2, ("mixed",)), "x")
    page = render(load_run(saved), past=past(saved, tmp_path))
    assert "<script" not in page
    assert page.count("&lt;script") >= 3
