"""The store: numbers go up, nothing is overwritten, half a run is never met, a bad file is named."""

import errno
import json
import math
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from factories import MACHINE, failure, make_errors, make_flow, make_result, make_run
from filelock import FileLock

import vgharness
from vgharness.errors import UsageError
from vgharness.records import (
    SCHEMA_VERSION,
    SESSION_VERSION,
    Bounds,
    CellResult,
    Document,
    LayerGradient,
    Reading,
    Run,
    Sample,
    SeedValue,
    Session,
    Verdict,
)
from vgharness.storage import store as store_module
from vgharness.storage.store import RunStore, load_run, load_session

pytestmark = pytest.mark.fast

RUN = make_run([make_result(curve=[10.0, 20.5])])


SESSION = Session(
    created="2026-01-02T03:04:05+00:00",
    command="pytest",
    commit=None,
    machine=MACHINE,
    samples=(Sample(test="tests/test_model.py::test_flow[relu]", seeds=(42,), flows=(make_flow(),)),),
    extra={"branch": "main"},
)


def full_run() -> Run:
    """A run with something in every field, and with values that are hard to write down."""
    awkward = LayerGradient(name="conv1", state="nonfinite", weight_l2=5e-324, signal_l2=math.nan, signal_rms=0.1 + 0.2)
    finished = make_result(
        curve=[10.0, 1 / 3], initial=make_flow().model_copy(update={"layers": (awkward, *make_flow().layers[1:])})
    )
    other = make_result("relu", curve=[10.0, 10.0], numerics=(make_errors(0, 5e-324), make_errors(2, math.inf)))
    failed = CellResult(
        cell=finished.cell.model_copy(update={"seed": 43}), status="failed", reason='RuntimeError: "σ" <script>\n\t\\'
    )
    reading = Reading(
        label="σ, accuracy",
        quantity="accuracy",
        words="45%",
        expected="≥ 2",
        printed=(45.0,),
        unit="×",
        outcome="inconclusive",
        reason="über",
        values=(
            SeedValue(seed=2**63 - 1, value=math.inf),
            SeedValue(seed=0, value=-0.0, bounds=Bounds(low=-1.0)),
        ),
        value=math.nan,
        low=1e-300,
        high=1e300,
        method="t",
        seeds_needed=12,
    )
    verdict = Verdict(
        claim="x", variant="script", sentence="→ ~45%", outcome="inconclusive", readings=(reading, reading)
    )
    document = Document(title="σ", address="https://example.com")
    return make_run(
        [finished, other, failed], verdicts=(verdict,), document=document, commit=None, status="interrupted"
    )


FULL = full_run()


def files_under(folder: Path) -> set[str]:
    found = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return {str(path.relative_to(folder)) for path in found}


# --- saving ---------------------------------------------------------------------------------------


def test_what_was_saved_comes_back_equal(tmp_path: Path) -> None:
    for run in (RUN, full_run()):
        path = RunStore(tmp_path).save(run, "x")
        assert load_run(path) == run
        assert "NaN" not in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "running",
    [RUN.so_far("running", RUN.results, 1.0), RUN.model_copy(update={"results": (make_result(status="running"),)})],
    ids=["run", "cell"],
)
def test_what_still_trains_is_neither_saved_nor_loaded(running: Run, tmp_path: Path) -> None:
    assert "it still trains" in failure(lambda: RunStore(tmp_path).save(running, "x"))
    assert not files_under(tmp_path)
    path = tmp_path / "run.json"
    path.write_text(running.model_dump_json())
    assert "it still trains" in failure(lambda: load_run(path))


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
from vgharness.storage.store import RunStore
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
    paths = [str(Path(__file__).parents[1]), *filter(None, sys.path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
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


def test_a_failed_save_uses_up_no_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = RunStore(tmp_path)
    first = store.save(RUN, "a")
    content = first.read_bytes()
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", no_space)
        with pytest.raises(
            UsageError, match=r"\A[^\n]*'a' was not saved \(No space left[^\n]*: free some space[^\n]*\Z"
        ):
            store.save(RUN, "a")
    assert files_under(tmp_path) == {f"{RUN.machine.id}/0001_a.json"}
    assert first.read_bytes() == content
    assert store.save(RUN, "a").name == "0002_a.json"


def test_a_record_that_is_not_valid_is_not_saved(tmp_path: Path) -> None:
    result = RUN.results[0]
    for wrong, where in (
        (result.model_copy(update={"status": "banana"}), "results.0.status"),
        (result.model_copy(update={"seconds": math.nan}), "results.0.seconds"),
        (result.model_copy(update={"epochs": ({"epoch": 0},)}), "results.0.epochs.0"),
    ):
        with pytest.raises(UsageError, match=rf"\Anot saved, for the record is not valid: {re.escape(where)}[^\n]*\Z"):
            RunStore(tmp_path).save(RUN.model_copy(update={"results": (wrong,)}), "wrong")
    with pytest.raises(UsageError, match="samples"):
        RunStore(tmp_path).save(SESSION.model_copy(update={"samples": "none"}), "wrong")
    assert files_under(tmp_path) == set()


def test_a_new_store_is_kept_out_of_the_repository_around_it(tmp_path: Path) -> None:
    RunStore(tmp_path / "new").save(RUN, "a")
    assert (tmp_path / "new" / ".gitignore").read_text(encoding="utf-8") == "*\n"
    (tmp_path / "new" / ".gitignore").unlink()  # a user who commits saved runs
    RunStore(tmp_path / "new").save(RUN, "b")
    assert not (tmp_path / "new" / ".gitignore").exists()


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


# --- sessions beside runs -------------------------------------------------------------------------


def on(machine: str) -> Session:
    return SESSION.model_copy(update={"machine": MACHINE.model_copy(update={"id": machine})})


def test_a_session_comes_back_equal_and_shares_the_numbers_with_runs(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    paths = [store.save(each, "a") for each in (SESSION, RUN, SESSION)]
    assert [path.name for path in paths] == ["0001_a.json", "0002_a.json", "0003_a.json"]
    assert load_session(paths[0]) == SESSION
    assert load_run(paths[1]) == RUN


def test_each_loader_refuses_the_other_kind_and_says_what_to_do(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    run, session = store.save(RUN, "a"), store.save(SESSION, "a")
    with pytest.raises(UsageError, match=r"\A[^\n]*a pytest session, not a study's run; `vgharness show`[^\n]*\Z"):
        load_run(session)
    with pytest.raises(UsageError, match=r"\A[^\n]*a study's run, not a pytest session; `vgharness report [^\n]*\Z"):
        load_session(run)


WHOLE_SESSION = SESSION.model_dump_json(indent=1).encode()


def session_with(**changes: object) -> bytes:
    return json.dumps({**json.loads(WHOLE_SESSION), **changes}).encode()


BAD_SESSIONS = [
    pytest.param(b"", "cut off", id="empty"),
    pytest.param(WHOLE_SESSION[: len(WHOLE_SESSION) // 2], "cut off", id="truncated"),
    pytest.param(b"[" * 100_000, "not a whole JSON file", id="deep"),
    pytest.param(b'{"benchmarks": []}', "not a run of vgharness", id="somebody else's"),
    pytest.param(session_with(schema_version=SESSION_VERSION + 1), "newer vgharness .*; upgrade", id="newer"),
]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        *BAD_SESSIONS,
        pytest.param(session_with(samples=3), "not a valid session: samples", id="wrong type"),
        pytest.param(
            session_with(samples=[{"test": "x"}]), r"not a valid session: samples\.0\.seeds", id="deep inside"
        ),
        pytest.param(session_with(schema_version=0), "not a valid session: schema_version", id="older than any"),
        pytest.param(
            session_with(samples=2 * json.loads(WHOLE_SESSION)["samples"]), "as a whole: .*two samples", id="twice"
        ),
    ],
)
def test_a_file_that_is_no_session_is_refused_in_one_line(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=rf"\A{re.escape(str(path))}: [^\n]*{reason}[^\n]*\Z"):
        load_session(path)


@pytest.mark.parametrize(
    ("upgrades", "load", "new"), [("RUN_UPGRADES", load_run, RUN), ("SESSION_UPGRADES", load_session, SESSION)]
)
def test_old_versions_load_through_their_steps_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, upgrades: str, load: Any, new: Any
) -> None:
    path = RunStore(tmp_path).save(new, "old")
    content = {**json.loads(path.read_bytes()), "schema_version": -1, "typed": new.command}
    del content["command"]
    path.write_text(json.dumps(content), encoding="utf-8")
    steps = {
        -1: lambda old: {**{k: v for k, v in old.items() if k != "typed"}, "typed in": old["typed"]},
        0: lambda old: {**{k: v for k, v in old.items() if k != "typed in"}, "command": old["typed in"]},
        1: lambda old: old,
        2: lambda old: old,
    }
    monkeypatch.setattr(store_module, upgrades, steps)
    assert load(path) == new
    assert json.loads(path.read_bytes()) == content
    del steps[0]
    with pytest.raises(UsageError, match="schema_version"):
        load(path)


# --- listing --------------------------------------------------------------------------------------


def test_entries_tell_kind_number_name_machine_time_and_size(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    saved = [store.save(SESSION, "a"), store.save(RUN, "b-c.d"), store.save(on("other"), "a")]
    found = store.entries()
    assert found.skipped == ()
    assert [entry.path for entry in found.entries] == saved
    assert [entry[1:6] for entry in found.entries] == [
        (MACHINE.id, 1, "a", "session", SESSION.created),
        (MACHINE.id, 2, "b-c.d", "run", RUN.created),
        ("other", 1, "a", "session", SESSION.created),
    ]
    assert [entry.size for entry in found.entries] == [path.stat().st_size for path in saved]


def test_a_file_that_was_written_by_another_program_is_listed_all_the_same(tmp_path: Path) -> None:
    path = RunStore(tmp_path).save(SESSION, "a")
    path.write_text(json.dumps(json.loads(path.read_bytes()), sort_keys=True) + "\n", encoding="utf-8")
    (entry,) = RunStore(tmp_path).entries().entries
    assert (entry.kind, entry.created) == ("session", SESSION.created)


def test_a_store_that_is_not_there_is_empty_and_stays_away(tmp_path: Path) -> None:
    assert RunStore(tmp_path / "none").entries() == ((), ())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "reason"), [*BAD_SESSIONS, pytest.param(session_with(kind="x"), "its kind is 'x'", id="another kind")]
)
def test_what_cannot_be_read_is_skipped_with_its_reason_and_left_alone(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    store = RunStore(tmp_path)
    good, bad = store.save(SESSION, "a"), store.save(SESSION, "b")
    bad.write_bytes(content)
    listing, found = store.entries(), store.find()
    assert [entry.path for entry in listing.entries] == [good]
    assert found.path == good
    for ((path, why),) in (listing.skipped, found.skipped):
        assert path == bad
        assert re.search(reason, why)
        assert str(path) not in why
    assert bad.read_bytes() == content
    assert store.save(SESSION, "c").name == "0003_c.json"
    assert bad.read_bytes() == content


def test_a_file_of_another_name_is_said_to_be_none_of_the_runs(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    store.save(SESSION, "a")
    for name in ("notes.txt", "7_x.json", "0008_x.json.bak", ".hidden.part"):
        (tmp_path / MACHINE.id / name).touch()
    found = store.entries()
    assert len(found.entries) == 1
    assert [path.name for path, _ in found.skipped] == ["0008_x.json.bak", "7_x.json", "notes.txt"]
    assert {reason for _, reason in found.skipped} == {
        "not a saved run: its name is not NNNN_name.json or NNNN_name.jsonl"
    }


# --- problem --------------------------------------------------------------------------------------


def test_a_session_is_found_by_number_name_path_or_as_the_latest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    store = RunStore(Path("store"))
    one, two, three = (store.save(SESSION, name) for name in ("main", "other", "main"))
    four = store.save(RUN, "main")
    baseline = Path("baseline.json")
    baseline.write_bytes(WHOLE_SESSION)
    for which, path in (
        ("1", one),
        ("0002", two),
        ("main", three),
        ("other", two),
        (None, three),
        ("4", four),  # its number is unmistakable; the loader says that it is no session
        ("baseline.json", baseline),
        ("./baseline.json", baseline),
        (str(one), one),
    ):
        assert store.find(which) == (path, ())
    assert store.find(kind="run").path == four
    assert store.find("main", kind="run").path == four


def test_a_name_of_digits_is_found_where_no_run_has_that_number(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    path = store.save(SESSION, "2024")
    assert store.find("2024").path == path


def test_the_latest_of_two_machines_is_the_one_written_last(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    early, late = [store.save(on("a"), "x") for _ in range(2)][1], store.save(on("b"), "x")
    os.utime(early, (1000, 1000))
    os.utime(late, (2000, 2000))
    assert store.find().path == store.find("x").path == late
    os.utime(early, (3000, 3000))
    assert store.find().path == early


def test_the_latest_of_one_machine_goes_by_number_whatever_the_clock_says(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    first, second = store.save(SESSION, "x"), store.save(SESSION, "x")
    os.utime(first, (3000, 3000))
    os.utime(second, (1000, 1000))
    assert store.find().path == second


@pytest.mark.parametrize(
    ("which", "reason"),
    [
        ("7", r"no session '7' here; `vgharness list`"),
        ("nobody", r"no session 'nobody' here; `vgharness list`"),
        ("nobody.json", r"no session 'nobody.json' here; `vgharness list`"),
        ("no/such.json", r"no/such.json: there is no such file; `vgharness list`"),
        ("1", r"number 1 is there 2 times: give the path of one, such as .*0001_x.json"),
    ],
)
def test_what_is_not_there_or_there_twice_is_one_clear_line(tmp_path: Path, which: str, reason: str) -> None:
    store = RunStore(tmp_path)
    store.save(on("a"), "x")
    store.save(on("b"), "x")
    with pytest.raises(UsageError, match=rf"\A[^\n]*{reason}[^\n]*\Z"):
        store.find(which)


def test_a_store_without_a_session_says_so(tmp_path: Path) -> None:
    store = RunStore(tmp_path / "store")
    with pytest.raises(UsageError, match="no saved session here; "):
        store.find()
    store.save(SESSION, "a").write_bytes(b"{")
    store.save(RUN, "a")
    with pytest.raises(UsageError, match=r"no saved session here \(1 cannot be read\); "):
        store.find()


def test_a_root_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = RunStore(tmp_path / "file")
    for call in (store.entries, store.find):
        with pytest.raises(UsageError, match=r"file: cannot be read \(Not a directory\); give the store's folder"):
            call()
    with pytest.raises(UsageError, match=r"was not saved .*give another folder"):
        store.save(SESSION, "a")


@pytest.mark.parametrize(
    ("number", "fix"),
    [
        (errno.EROFS, "let this user write there or give another folder"),
        (errno.EACCES, "let this user write there or give another folder"),
        (errno.ENOSPC, "free some space there or give another folder; what was saved before is whole"),
        (errno.EDQUOT, "free some space there or give another folder; what was saved before is whole"),
    ],
)
def test_a_store_that_cannot_be_written_to_says_so_and_names_the_fix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, fix: str
) -> None:
    store = RunStore(tmp_path)
    before = store.save(SESSION, "a").read_bytes()

    def refuse(*args: object, **options: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        patched.setattr(store_module, "write_whole", refuse)
        with pytest.raises(UsageError, match=rf"\A[^\n]*'a' was not saved \({os.strerror(number)}\): {fix}\Z"):
            store.save(SESSION, "a")
    assert files_under(tmp_path) == {f"{MACHINE.id}/0001_a.json"}
    assert (tmp_path / MACHINE.id / "0001_a.json").read_bytes() == before
    assert len(store.entries().entries) == 1


def test_a_name_too_long_for_the_disk_is_said_to_be_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"was not saved \(.*too long\): give a shorter name\Z"):
        RunStore(tmp_path).save(SESSION, "a" * 300)
    assert files_under(tmp_path) == set()


def test_a_lock_that_is_never_given_up_ends_the_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = RunStore(tmp_path)
    folder = store.save(SESSION, "a").parent
    monkeypatch.setattr(store_module, "_LOCK_SECONDS", 0.05)
    with (
        FileLock(folder / ".lock"),
        pytest.raises(UsageError, match=r"was not saved .*another process has held its lock"),
    ):
        store.save(SESSION, "a")
    assert store.save(SESSION, "a").name == "0002_a.json"


def test_threads_that_save_at_once_get_numbers_of_their_own(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda i: RunStore(tmp_path).save(SESSION, f"t{i}"), range(40)))
    assert sorted(path.name[:4] for path in paths) == [f"{i:04}" for i in range(1, 41)]
    assert len(RunStore(tmp_path).entries().entries) == 40


FORKED = """
import os, sys
from pathlib import Path
from test_store import SESSION
from vgharness.storage.store import RunStore
children = []
for i in range(int(sys.argv[2])):
    child = os.fork()
    if not child:
        RunStore(Path(sys.argv[1])).save(SESSION, f"p{i}")
        os._exit(0)
    children.append(child)
sys.exit(max(os.waitpid(child, 0)[1] for child in children) != 0)
"""


@pytest.mark.deep
def test_processes_that_save_sessions_at_once_lose_none(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    count = 100 if pytestconfig.getoption("-m") == "deep" else 8
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, sys.path)]),
    }
    subprocess.run([sys.executable, "-c", FORKED, tmp_path, str(count)], env=environment, check=True, timeout=120)
    found = RunStore(tmp_path).entries()
    assert found.skipped == ()
    assert [entry.number for entry in found.entries] == list(range(1, count + 1))
    assert {entry.name for entry in found.entries} == {f"p{i}" for i in range(count)}
    assert all(load_session(entry.path) == SESSION for entry in found.entries)


def test_what_lists_and_compares_never_imports_torch() -> None:
    rooms = ("storage.store", "gradflow.comparison", "report.tables", "cli.runs")
    modules = ", ".join(f"vgharness.{room}" for room in rooms)
    code = f"import sys, {modules}; assert 'torch' not in sys.modules"
    environment = {**os.environ, "PYTHONPATH": str(Path(vgharness.__file__).parents[1])}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, timeout=60)
