"""The folder of a cell: what was kept comes back, and nothing else does."""

import random
from pathlib import Path

import pytest
from factories import make_result, make_run

from vgharness.records import CellResult
from vgharness.storage.checkpoints import CellWork, Checkpoint, Configuration, look_at
from vgharness.storage.store import RunStore

RESULT = CellResult(**{
    **dict(make_result("relu", 42, curve=[10.0, 20.0])), "status": "interrupted", "reason": "x", "heatmap": None,
})  # fmt: skip
CONFIGURATION = Configuration.of(RESULT.cell, make_run([RESULT]))
KEPT = Checkpoint(RESULT, b"a state\nof two lines \x00\xff")


def work(folder: Path) -> tuple[CellWork, list[str]]:
    warnings: list[str] = []
    return CellWork(folder / CONFIGURATION.address, CONFIGURATION, warnings.append), warnings


@pytest.mark.fast
def test_what_was_kept_comes_back_and_can_be_seen(tmp_path: Path) -> None:
    kept, warnings = work(tmp_path)
    assert (kept.checkpoint(), kept.result(), kept.failures) == (None, None, ())
    kept.begin()
    kept.keep(KEPT)
    kept.add_failure("RuntimeError: no luck")
    again, _ = work(tmp_path)
    assert (again.checkpoint(), again.failures) == (KEPT, ("RuntimeError: no luck",))
    folder = tmp_path / CONFIGURATION.address
    assert look_at(folder) == (RESULT.cell, False, 2, ("RuntimeError: no luck",))
    ended = make_result("relu", 42, curve=[10.0])
    again.end(ended)
    assert (again.result(), again.checkpoint()) == (ended, None)
    assert look_at(folder).done
    again.remove()
    assert not folder.exists()
    assert warnings == []


@pytest.mark.fast
def test_what_others_left_in_the_folder_stays(tmp_path: Path) -> None:
    kept, _ = work(tmp_path)
    kept.begin()
    note = tmp_path / CONFIGURATION.address / "note.txt"
    note.write_text("mine")
    kept.remove()
    assert [path.name for path in note.parent.iterdir()] == ["note.txt"]


@pytest.mark.fast
def test_what_is_no_regular_file_is_set_aside_unread(tmp_path: Path) -> None:
    kept, warnings = work(tmp_path)
    (tmp_path / CONFIGURATION.address / "checkpoint").mkdir(parents=True)
    assert kept.checkpoint() is None
    assert "Is a directory" in warnings[0]
    kept.keep(KEPT)
    assert kept.checkpoint() == KEPT


@pytest.mark.parametrize(
    "count", [pytest.param(100, marks=pytest.mark.fast), pytest.param(10_000, marks=pytest.mark.deep)]
)
def test_no_changed_file_is_taken_for_what_was_kept(count: int, tmp_path: Path) -> None:
    """Bytes are changed, cut out, doubled and cut off, in any of the three files."""
    chance = random.Random(0)
    kept, _ = work(tmp_path)
    kept.begin()
    kept.keep(KEPT)
    kept.add_failure("RuntimeError: no luck")
    folder = tmp_path / CONFIGURATION.address
    originals = {"cell.json": b"", "checkpoint": b"", "done.json": b""}
    for name in ("cell.json", "checkpoint"):
        originals[name] = (folder / name).read_bytes()
    kept.end(make_result("relu", 42, curve=[10.0]))
    originals["done.json"] = (folder / "done.json").read_bytes()
    for _ in range(count):
        name, original = chance.choice(list(originals.items()))
        changed = mutated(original, chance)
        (folder / name).write_bytes(changed)
        again, said = work(tmp_path)
        if name == "checkpoint":
            assert again.checkpoint() in (None, KEPT if changed == original else None)
        else:
            again.result(), again.failures
        assert all("\n" not in line for line in said)
        look_at(folder)
        for path in folder.iterdir():
            path.unlink()


def mutated(content: bytes, chance: random.Random) -> bytes:
    start = chance.randrange(len(content))
    end = min(len(content), start + chance.choice((1, 1, 2, 10, 1000)))
    middle = chance.choice((b"", content[start:end] * 2, bytes(chance.randrange(256) for _ in range(end - start))))
    return content[:start] if chance.random() < 0.2 else content[:start] + middle + content[end:]


@pytest.mark.fast
def test_the_stores_listing_knows_nothing_of_work(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    run = make_run([RESULT], command="vgharness full --preset quick")
    with store.work(run, print) as study:
        study.cell(RESULT.cell).begin()
        (seen,) = store.studies()
        assert (seen.trains, seen.note.command) == (True, "vgharness full --preset quick")
    assert store.entries() == ((), ())
    (seen,) = store.studies()
    assert not seen.trains
    assert (tmp_path / run.machine.id / ".work/.gitignore").read_text() == "*\n"
