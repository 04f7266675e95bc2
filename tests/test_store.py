"""The store: numbers go up, nothing is overwritten, half a run is never met, a bad file is named."""

import json
import math
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from factories import make_result, make_run

from vgharness.errors import UsageError
from vgharness.files import check_writable, write_whole
from vgharness.records import SCHEMA_VERSION, CellResult, GradientFlow, LayerGradient, Reading, Run, SeedValue, Verdict
from vgharness.store import RunStore, load_run

pytestmark = pytest.mark.fast

RUN = make_run([make_result(curve=[10.0, 20.5])])


def full_run() -> Run:
    """A run with something in every field, and with figures that are hard to write down."""
    awkward = LayerGradient(name="conv1", state="nonfinite", weight_l2=5e-324, signal_l2=math.nan, signal_rms=0.1 + 0.2)
    finished = make_result(curve=[10.0, 1 / 3], initial=GradientFlow(layers=(awkward,), missed=("fc",)))
    failed = CellResult(cell=finished.cell, status="failed", reason='RuntimeError: "σ" <script>\n\t\\')
    reading = Reading(
        label="σ, accuracy",
        measure="accuracy",
        expected="≥ 2",
        unit="×",
        outcome="inconclusive",
        reason="über",
        values=(SeedValue(seed=2**63 - 1, value=math.inf), SeedValue(seed=0, value=-0.0, at_least=True)),
        mean=math.nan,
        low=1e-300,
        high=1e300,
        method="bootstrap",
        seeds_needed=12,
    )
    verdict = Verdict(
        claim="x", architecture="script", sentence="→ ~45%", outcome="inconclusive", readings=(reading, reading)
    )
    return make_run([finished, failed], verdicts=(verdict,), commit=None, status="interrupted")


def files_under(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() and path.name != ".lock"}


# --- saving ---------------------------------------------------------------------------------------


def test_what_was_saved_comes_back_equal(tmp_path: Path) -> None:
    for run in (RUN, full_run()):
        path = RunStore(tmp_path).save(run, "x")
        assert load_run(path) == run
        assert "NaN" not in path.read_text(encoding="utf-8")


def test_numbers_go_up_and_nothing_is_overwritten(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    folder = tmp_path / RUN.machine.id
    runs = [RUN.model_copy(update={"command": f"run {i}"}) for i in range(4)]
    paths = [store.save(run, name) for run, name in zip(runs, ("quick", "quick", "full", "quick"), strict=True)]
    assert paths == [folder / f"000{i}_{name}.json" for i, name in enumerate(("quick", "quick", "full", "quick"), 1)]
    assert [load_run(path) for path in paths] == runs


def test_a_number_once_given_is_not_given_again_while_a_later_one_is_there(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    first, second, _ = (store.save(RUN, "a") for _ in range(3))
    first.unlink()
    second.unlink()
    assert store.save(RUN, "a").name == "0004_a.json"


def test_files_that_are_no_runs_do_not_disturb_the_numbers(tmp_path: Path) -> None:
    folder = tmp_path / RUN.machine.id
    folder.mkdir()
    for name in ("notes.txt", "007_x.json", "abcd_x.json", ".0009_x.json"):
        (folder / name).touch()
    assert RunStore(tmp_path).save(RUN, "a").name == "0001_a.json"


def test_nothing_is_overwritten_after_number_9999(tmp_path: Path) -> None:
    folder = tmp_path / RUN.machine.id
    folder.mkdir()
    (folder / "9999_a.json").touch()
    store = RunStore(tmp_path)
    paths = [store.save(RUN.model_copy(update={"command": f"run {i}"}), "a") for i in range(3)]
    assert [load_run(path).command for path in paths] == ["run 0", "run 1", "run 2"]


def test_each_machine_has_a_folder_and_numbers_of_its_own(tmp_path: Path) -> None:
    other = RUN.model_copy(update={"machine": RUN.machine.model_copy(update={"id": "other"})})
    store = RunStore(tmp_path)
    assert [store.save(run, "a") for run in (RUN, other)] == [
        tmp_path / RUN.machine.id / "0001_a.json",
        tmp_path / "other" / "0001_a.json",
    ]


@pytest.mark.parametrize("name", ["a", "A-b_c.d", "2026-01-01", "übung", "a" * 100])
def test_plain_names_are_taken(tmp_path: Path, name: str) -> None:
    assert RunStore(tmp_path).save(RUN, name).name == f"0001_{name}.json"


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".hidden", "a b", "a/b", "../a", "/a", "a\\b", "a\n", "a\x00", "a*", "a:b"]
)
def test_names_that_could_leave_the_folder_are_refused_and_nothing_is_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"\Arun name [^\n]*use letters[^\n]*\Z") as caught:
        RunStore(tmp_path).save(RUN, name)
    assert repr(name) in str(caught.value)
    assert list(tmp_path.iterdir()) == []


SAVING = """
import sys, time
from pathlib import Path
from factories import make_result, make_run
from vgharness.store import RunStore
assert "torch" not in sys.modules
root, name, count = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
run = make_run([make_result(curve=[10.0])], command=name)
(root / f"{name}.ready").touch()
while not (root / "go").exists():
    time.sleep(0.001)
for _ in range(count):
    RunStore(root / "store").save(run, name)
"""


def test_processes_that_save_at_once_get_numbers_of_their_own_and_whole_files(tmp_path: Path) -> None:
    count, names = 10, ("one", "two", "three")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])}
    processes = [
        subprocess.Popen([sys.executable, "-c", SAVING, tmp_path, name, str(count)], env=environment) for name in names
    ]
    try:
        while not all((tmp_path / f"{name}.ready").exists() for name in names):
            assert all(process.poll() is None for process in processes)
            time.sleep(0.005)
        (tmp_path / "go").touch()
        assert [process.wait(timeout=60) for process in processes] == [0] * len(names)
    finally:
        for process in processes:
            process.kill()
    saved = sorted(path for path in (tmp_path / "store" / RUN.machine.id).iterdir() if path.name != ".lock")
    assert [path.name[:4] for path in saved] == [f"{i:04}" for i in range(1, count * len(names) + 1)]
    commands = [load_run(path).command for path in saved]
    assert [path.name[5:] for path in saved] == [f"{command}.json" for command in commands]
    assert {name: commands.count(name) for name in names} == dict.fromkeys(names, count)


# --- a write that fails ---------------------------------------------------------------------------


def no_space(descriptor: int) -> None:
    raise OSError(28, "No space left on device")


def interrupted(descriptor: int) -> None:
    raise KeyboardInterrupt


@pytest.mark.parametrize(("fails", "error"), [(no_space, OSError), (interrupted, KeyboardInterrupt)])
def test_a_failed_write_leaves_the_old_file_whole_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: Any, error: type[BaseException]
) -> None:
    path = tmp_path / "run.json"
    write_whole(path, b"old")
    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(error):
        write_whole(path, b"new and longer")
    assert files_under(tmp_path) == {"run.json"}
    assert path.read_bytes() == b"old"
    monkeypatch.undo()
    write_whole(path, b"new")
    assert path.read_bytes() == b"new"


def test_a_run_is_on_the_disk_before_it_has_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[set[str], int]] = []

    def look(descriptor: int) -> None:
        seen.append((files_under(tmp_path), os.fstat(descriptor).st_size))

    monkeypatch.setattr(os, "fsync", look)
    write_whole(tmp_path / "run.json", b"content")
    ((before, size),) = seen
    assert "run.json" not in before
    assert size == len(b"content")
    assert files_under(tmp_path) == {"run.json"}


def test_a_failed_save_uses_up_no_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = RunStore(tmp_path)
    first = store.save(RUN, "a")
    content = first.read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", no_space)
        with pytest.raises(OSError, match="No space left"):
            store.save(RUN, "a")
    assert files_under(tmp_path) == {f"{RUN.machine.id}/0001_a.json"}
    assert first.read_bytes() == content
    assert store.save(RUN, "a").name == "0002_a.json"


def test_a_folder_that_cannot_be_written_to_is_named_with_the_fix(tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    for folder in (in_the_way, in_the_way / "deeper"):
        with pytest.raises(
            UsageError, match=rf"\A--out {re.escape(str(folder))} cannot be written to .*: take another\Z"
        ):
            check_writable(folder, "--out", "take another")
    check_writable(tmp_path / "a" / "b", "--out", "take another")
    assert files_under(tmp_path) == {"file"}


# --- loading --------------------------------------------------------------------------------------

WHOLE = RUN.model_dump_json().encode()


def changed(**changes: object) -> bytes:
    return json.dumps({**json.loads(WHOLE), **changes}).encode()


def without(field: str) -> bytes:
    return json.dumps({key: value for key, value in json.loads(WHOLE).items() if key != field}).encode()


def with_accuracy(value: object) -> bytes:
    content = json.loads(WHOLE)
    content["results"][0]["epochs"][0]["test_accuracy"] = value
    return json.dumps(content).encode()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(b"", "cut off", id="empty"),
        pytest.param(WHOLE[: len(WHOLE) // 2], "cut off", id="truncated"),
        pytest.param(WHOLE[:-1], "cut off", id="one byte short"),
        pytest.param(WHOLE + b"{}", "not a whole JSON file", id="more than one run"),
        pytest.param(b"\xff\xfe\x00not text", "not a whole JSON file", id="binary"),
        pytest.param(b"epoch,loss\n1,2\n", "not a whole JSON file", id="csv"),
        pytest.param(b"[1, 2]", "not a run of vgharness", id="list"),
        pytest.param(b"null", "not a run of vgharness", id="null"),
        pytest.param(b'"schema_version"', "not a run of vgharness", id="string"),
        pytest.param(b'{"benchmarks": []}', "not a run of vgharness", id="somebody else's"),
        pytest.param(changed(schema_version="1"), "not a run of vgharness", id="schema in words"),
        pytest.param(without("schema_version"), "not a run of vgharness", id="no schema"),
        pytest.param(
            changed(schema_version=SCHEMA_VERSION + 1),
            rf"newer vgharness \(schema {SCHEMA_VERSION + 1}, this one knows {SCHEMA_VERSION}\); upgrade",
            id="newer",
        ),
        pytest.param(changed(schema_version=0), "not a valid run: schema_version", id="older than any"),
        pytest.param(without("machine"), "not a valid run: machine: Field required", id="field missing"),
        pytest.param(changed(surprise=1), "not a valid run: surprise: Extra", id="unknown field"),
        pytest.param(changed(status="done"), "not a valid run: status", id="unknown status"),
        pytest.param(changed(results=3), "not a valid run: results", id="wrong type"),
        pytest.param(with_accuracy("high"), r"not a valid run: results\.0\.epochs\.0\.test_accuracy", id="deep inside"),
    ],
)
def test_a_file_that_is_no_run_is_refused_in_one_line_and_left_alone(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    path = tmp_path / "0001_a.json"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=rf"\A{re.escape(str(path))}: [^\n]*{reason}[^\n]*\Z"):
        load_run(path)
    assert path.read_bytes() == content
    assert files_under(tmp_path) == {"0001_a.json"}


@pytest.mark.parametrize("name", ["missing.json", "."])
def test_what_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    with pytest.raises(UsageError, match=rf"\A{re.escape(str(path))}: cannot be read \([^\n]+\)\Z"):
        load_run(path)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_token_that_is_no_json_number_never_becomes_one(tmp_path: Path, value: float) -> None:
    path = tmp_path / "0001_a.json"
    path.write_bytes(with_accuracy(value))
    try:
        (epoch, *_) = load_run(path).results[0].epochs
    except UsageError:
        return
    assert epoch.test_accuracy is None
    assert epoch.nonfinite == ("test_accuracy",)
