"""A training's log: what is written is read again, whatever killed the writer, and costs the training nothing."""

import errno
import os
import random
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from factories import LOG_ROWS, MACHINE, failure, make_log_head, make_snapshot

import vgharness
from vgharness.errors import UsageError
from vgharness.records import (
    Birth,
    LogRow,
    NonfiniteOrigin,
    ParameterSnapshot,
    Snapshot,
    TrainingProblem,
)
from vgharness.storage import training_log as training_log_module
from vgharness.storage.store import RunStore, load, load_run, load_session
from vgharness.storage.training_log import TrainingLogWriter, load_training_log
from vgharness.storage.training_reading import overview_of

DEAD = TrainingProblem(kind="dead", layer="conv1", began=20, evidence="no gradient came", advice="lower the rate")
BIRTH = Birth(
    step=20, batch=20, noticed=23, origin=NonfiniteOrigin(stage="forward", module="conv1", operation="aten.exp"),
    reproducer="nan at 20",
)  # fmt: skip


class Warned(list[str]):
    """Lines that a writer has said."""

    def __call__(self, line: str) -> None:
        self.append(line)


def writer(folder: Path | None, *models: str, most: int = 1024, warn: Callable[[str], None] = print) -> Any:
    store = None if folder is None else RunStore(folder)
    return TrainingLogWriter(make_log_head(*models), store=store, name="training", warn=warn, most=most)


def train(log: TrainingLogWriter, start: int, stop: int, model: str = "") -> None:
    for step in range(start, stop):
        log.snapshot(make_snapshot(step, rows=log.rows(LOG_ROWS), model=model))
        log.steps(model, step + 1)


def a_log(folder: Path, status: str = "finished") -> Path:
    """One with a line of each kind."""
    log = writer(folder)
    train(log, 0, 3)
    log.note("one line, “quoted”\nand \x1b[31mmore")
    log.problem(0, DEAD)
    log.birth(BIRTH)
    log.problem(0, DEAD.model_copy(update={"ended": 30, "times": 2}))
    train(log, 3, 5)
    log.close(status)
    assert log.path is not None
    return log.path


# --- what comes back --------------------------------------------------------------------------------------


@pytest.mark.fast
def test_what_was_seen_comes_back(tmp_path: Path) -> None:
    path = a_log(tmp_path)
    assert path == tmp_path / MACHINE.id / "0001_training.jsonl"
    log = load_training_log(str(path))
    assert load(path) == log
    assert [snapshot.step for snapshot in log.snapshots] == [0, 1, 2, 3, 4]
    assert log.problems == (DEAD.model_copy(update={"ended": 30, "times": 2}),)
    assert (log.births, log.status, log.models[0].steps) == ((BIRTH,), "finished", 5)
    assert log.notes == ("one line, “quoted”\nand \x1b[31mmore",)
    assert log.flow(log.snapshots[0]).layers[1].key == ("conv2", 0, 0)
    assert "NaN" not in path.read_text(encoding="utf-8")
    assert {path.name for path in path.parent.iterdir()} == {".lock", path.name}
    assert (tmp_path / ".gitignore").read_text() == "*\n"


@pytest.mark.fast
def test_values_have_six_digits_and_no_value_is_lost(tmp_path: Path) -> None:
    log = writer(tmp_path)
    values = (1 / 3, 5e-324, None, 1.7976931348623157e308)
    rows = log.rows(tuple(LogRow(name=f"x{i}") for i in range(4)))
    parameters = {"x0.bias": ParameterSnapshot(grad_l2=2e-7 / 3, norm=float("nan"))}
    log.snapshot(make_snapshot(0, rows, signals=values, parameters=parameters))
    (snapshot,) = load_training_log(log.path).snapshots
    assert snapshot.values["signal_l2"] == (0.333333, 5e-324, None, 1.79769e308)
    assert snapshot.parameters["x0.bias"] == ParameterSnapshot(grad_l2=6.66667e-8, nonfinite=("norm",))


@pytest.mark.fast
def test_the_writer_shows_what_the_file_holds_at_any_time(tmp_path: Path) -> None:
    on_disk, in_memory = writer(tmp_path, "a", "b", most=16), writer(None, "a", "b", most=16)
    for step in range(100):
        for log in (on_disk, in_memory):
            train(log, step, step + 1, "ab"[step % 3 == 0])
            if step % 20 == 0:
                log.problem(step // 20, DEAD.model_copy(update={"model": "a", "began": step}))
        assert on_disk.log == in_memory.log
        if step % 7 == 0:
            on_disk.note(f"step {step}")  # written with it: the steps
            in_memory.note(f"step {step}")
            assert load_training_log(on_disk.path) == on_disk.log
    assert in_memory.path is None


@pytest.mark.fast
def test_a_long_training_is_bounded_in_file_and_memory(tmp_path: Path) -> None:
    log = writer(tmp_path, most=64)
    most = []
    for step in range(0, 2_000):
        rows = log.rows((*LOG_ROWS, LogRow(name=f"head{step // 10}")))  # as of a layer that is made anew now and then
        log.snapshot(make_snapshot(step, rows, signals=(1.0, 2.0, 3.0)))
        flapping = TrainingProblem(kind="spike", began=0, ended=step, evidence="x", times=step)
        log.problem(0, flapping)
        most.append(log.path.stat().st_size)
    assert max(most[1_000:]) < 1.5 * max(most[:1_000])
    found = load_training_log(log.path)
    assert len(found.snapshots) <= 64
    assert (found.snapshots[0].step, found.snapshots[-1].step) == (0, 1_999)
    assert found.rows[found.snapshots[-1].rows][-1].name == "head199"
    assert found.problems == (flapping,)
    assert len(log._rows) <= 64


@pytest.mark.fast
def test_what_comes_again_and_again_does_not_make_the_file_grow(tmp_path: Path) -> None:
    log = writer(tmp_path)
    rows = log.rows(LOG_ROWS)
    for step in range(1_200):
        log.problem(0, TrainingProblem(kind="spike", began=0, ended=step, evidence="x", times=step))
        log.note(f"note {step % 7}")
    assert len(log.path.read_bytes().splitlines()) < 600
    for step in range(1_200):
        log.note(f"another {step}")
    assert len(log.log.notes) == 256
    log.snapshot(make_snapshot(1_200, rows))  # the number of rows stays good
    assert load_training_log(log.path) == log.log


@pytest.mark.fast
def test_a_value_that_is_not_finite_is_no_token_of_its_own(tmp_path: Path) -> None:
    log = writer(tmp_path)
    fields = dict(make_snapshot(0, log.rows(LOG_ROWS))) | {"values": {"signal_l2": (float("nan"), float("inf"))}}
    log.snapshot(Snapshot.model_construct(**fields))
    assert load_training_log(log.path).snapshots[0].values["signal_l2"] == (None, None)


@pytest.mark.fast
def test_of_a_resumed_training_the_steps_that_were_watched_count(tmp_path: Path) -> None:
    head = make_log_head().model_copy(update={"first_step": 1_000})
    log = TrainingLogWriter(head, store=RunStore(tmp_path), name="training", warn=print)
    train(log, 1_007, 1_008)
    log.steps("", 3)  # what comes next was killed
    assert load_training_log(log.path).models[0].steps == 7
    assert overview_of(log.path).steps == 7


@pytest.mark.fast
@pytest.mark.parametrize("at", [1, 2, 50, 127, 199])
def test_the_greatest_norm_of_a_snapshot_that_is_left_out_is_kept_by_the_next(tmp_path: Path, at: int) -> None:
    log = writer(tmp_path, most=16)
    for step in range(200):
        log.snapshot(make_snapshot(step, log.rows(LOG_ROWS), greatest_norm=30.0 if step == at else 1.0))
    log.close("finished")
    kept = load_training_log(log.path).snapshots
    after = next(snapshot.step for snapshot in kept if snapshot.step >= at)
    assert [snapshot.step for snapshot in kept if snapshot.greatest_norm == 30.0] == [after]


def test_the_snapshot_where_a_problem_began_outlives_the_thinning(tmp_path: Path) -> None:
    log = writer(tmp_path, most=16)
    train(log, 0, 402)
    log.problem(0, DEAD.model_copy(update={"began": 401}))
    train(log, 402, 1_000)
    assert 401 in [snapshot.step for snapshot in load_training_log(log.path).snapshots]


# --- whatever happens to the file ----------------------------------------------------------------------------


@pytest.mark.fast
def test_a_last_line_that_was_cut_off_anywhere_is_passed_over(tmp_path: Path) -> None:
    content = a_log(tmp_path).read_bytes()
    begins = content.rstrip().rfind(b"\n") + 1
    path = tmp_path / "cut.jsonl"
    for length in range(begins, len(content) - 1):
        path.write_bytes(content[:length])
        assert load_training_log(path).status == "running"
        assert overview_of(path).problems == 1
    path.write_bytes(content[:-1])
    assert load_training_log(path).status == "finished"


@pytest.mark.fast
def test_a_log_that_is_cut_anywhere_loads_or_is_one_line(tmp_path: Path) -> None:
    content = a_log(tmp_path).read_bytes()
    path = tmp_path / "cut.jsonl"
    head = content.find(b"\n")
    for length in range(0, len(content), 13):
        path.write_bytes(content[:length])
        line = damage_of(path)
        assert (line is not None) == (length < head)
        assert line is None or is_one_line(line, path)


def damage_of(path: Path) -> str | None:
    """What is said of the log that is there; None: it can be loaded."""
    try:
        load_training_log(path)
    except UsageError as error:
        return str(error)
    return None


def is_one_line(line: str, path: Path) -> bool:
    return line.startswith(f"{path}: ") and "\n" not in line and len(line) < 500


@pytest.mark.fast
@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (lambda lines: [b"{", *lines[1:]], "not a whole JSON file"),
        (lambda lines: [b'{"schema_version":1,"kind":"session"}', *lines[1:]], "not a training log"),
        (lambda lines: [lines[0].replace(b":1,", b":2,", 1), *lines[1:]], "newer vgharness (schema 2, this one"),
        (lambda lines: [lines[0].replace(b'"every"', b'"never"'), *lines[1:]], "head of a training log: every"),
        (lambda lines: [lines[0], lines[1][:-9], *lines[2:]], "line 2: "),
        (lambda lines: [lines[0], *lines[2:]], "line 2: the snapshot of step 0 lacks its rows"),
        (lambda lines: [lines[0], lines[1], lines[1], *lines[2:]], "line 3: rows 0 are there twice"),
        (lambda lines: [*lines[:3], lines[2], *lines[3:]], "line 4: snapshot 0 is there twice"),
        (lambda lines: [*lines, lines[2]], "there is more after the line that says how the training ended"),
        (lambda lines: [*lines[:2], b"7", *lines[2:]], "line 3: "),
        (lambda lines: [*lines[:2], b'{"line":"x"}', *lines[2:]], "line 3: "),
        (lambda lines: [*lines[:2], b'{"line":"steps","model":"x\x1b","steps":1}', *lines[2:]], "line 3: "),
        (lambda lines: [*lines[:2], b'{"line":"steps","model":"x","steps":1}', *lines[2:]], "'x' is no watched model"),
        (lambda lines: [*lines[:2], lines[2].replace(b"1.0", b"NaN", 1), *lines[3:]], "line 3: snapshot"),
        (lambda lines: [*lines[:2], lines[2].replace(b"1.0", b"-1.0", 1), *lines[3:]], "line 3: snapshot"),
        (lambda lines: [*lines[:2], b"[" * 100_000, *lines[2:]], "line 3: "),
        (lambda lines: [*lines[:2], b"\xff\xfe\x00", *lines[2:]], "line 3: "),
    ],
)  # fmt: skip
def test_damage_is_one_line_that_says_where(
    edit: Callable[[list[bytes]], list[bytes]], reason: str, tmp_path: Path
) -> None:
    path = a_log(tmp_path)
    path.write_bytes(b"\n".join(edit(path.read_bytes().splitlines())) + b"\n")
    line = failure(lambda: load_training_log(path))
    assert reason in line
    assert is_one_line(line, path)
    RunStore(tmp_path).entries()


@pytest.mark.fast
def test_damage_of_any_kind_is_one_line_or_a_log(tmp_path: Path) -> None:
    content, chance = a_log(tmp_path).read_bytes(), random.Random(17)
    path = tmp_path / MACHINE.id / "0002_damaged.jsonl"
    for _ in range(300):
        damaged = bytearray(content)
        for _ in range(chance.choice([1, 1, 3])):
            at = chance.randrange(len(damaged))
            damaged[at : at + chance.choice([0, 1, 1, 40])] = chance.choice(
                [b"", b"\n", b"\x00", b"{", b'"', b"1e999", b"-1", b"null", b"\\ud800", bytes([chance.randrange(256)])]
            )
        path.write_bytes(bytes(damaged))
        line = damage_of(path)
        assert line is None or is_one_line(line, path)
        assert sum(map(len, RunStore(tmp_path).entries())) == 2


@pytest.mark.fast
def test_nothing_but_a_file_is_opened(tmp_path: Path) -> None:
    folder = tmp_path / MACHINE.id
    folder.mkdir()
    os.mkfifo(folder / "0001_pipe.jsonl")
    os.mkfifo(folder / ".0002_training.lock")
    (folder / "0003_folder.jsonl").mkdir()
    assert "no regular file" in failure(lambda: load_training_log(folder / "0001_pipe.jsonl"))
    assert len(RunStore(tmp_path).entries().skipped) == 2
    assert a_log(tmp_path).name == "0004_training.jsonl"


@pytest.mark.fast
def test_a_log_is_no_run_and_no_session(tmp_path: Path) -> None:
    path = a_log(tmp_path)
    for line in (failure(lambda: load_run(path)), failure(lambda: load_session(path))):
        assert line.endswith("a training log, no run and no session; `vgharness show` shows it")


# --- where it cannot be written ------------------------------------------------------------------------------


@pytest.mark.fast
def test_a_name_that_is_no_files_is_refused_at_once(tmp_path: Path) -> None:
    for name in ("a/b", "", ".x", "a\nb"):
        make = lambda: TrainingLogWriter(make_log_head(), store=RunStore(tmp_path), name=name, warn=print)  # noqa: B023, E731
        assert "use letters" in failure(make)
    assert not list(tmp_path.iterdir())


@pytest.mark.fast
def test_a_full_disk_is_said_once_and_what_was_measured_is_written_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warned = Warned()
    log = writer(tmp_path, warn=warned)
    train(log, 0, 3)
    real = os.write
    full = True

    def write(descriptor: int, content: bytes) -> int:
        if full:
            real(descriptor, content[:10])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(descriptor, content)

    monkeypatch.setattr("vgharness.system.files.os.write", write)
    train(log, 3, 6)
    log.problem(0, DEAD)
    assert [snapshot.step for snapshot in load_training_log(log.path).snapshots] == [0, 1, 2]
    assert len(log.log.snapshots) == 6
    full = False
    train(log, 6, 8)
    log.close("finished")
    found = load_training_log(log.path)
    assert ([snapshot.step for snapshot in found.snapshots], found.problems) == (list(range(8)), (DEAD,))
    (line,) = warned
    assert "No space left on device" in line
    assert str(log.path) in line
    assert "the training goes on" in line
    assert "\n" not in line


@pytest.mark.fast
def test_it_is_written_again_at_the_next_thinning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    warned = Warned()
    log = writer(tmp_path, most=16, warn=warned)
    with monkeypatch.context() as patch:
        patch.setattr(training_log_module, "replace_end", lambda *_: (_ for _ in ()).throw(OSError(errno.EIO, "x")))
        train(log, 0, 3)
    assert len(load_training_log(log.path).snapshots) == 0
    train(log, 3, 40)
    assert load_training_log(log.path).snapshots[-1].step == 39
    assert len(warned) == 1


@pytest.mark.fast
@pytest.mark.parametrize("then", ["removed", "replaced"])
def test_a_file_that_is_gone_is_said_and_another_takes_its_place_at_the_end(then: str, tmp_path: Path) -> None:
    warned = Warned()
    log = writer(tmp_path, warn=warned)
    train(log, 0, 3)
    first = log.path
    first.rename(tmp_path / "elsewhere")
    if then == "replaced":
        first.write_bytes(b"mine")
    train(log, 3, 5)
    log.close("failed")
    (line,) = warned
    assert "removed or replaced" in line
    assert (log.path == first) == (then == "removed")
    assert load_training_log(log.path).status == "failed"
    assert len(load_training_log(log.path).snapshots) == 5
    if then == "replaced":
        assert first.read_bytes() == b"mine"


@pytest.mark.fast
def test_nothing_is_left_of_a_longer_line_that_a_shorter_one_replaced(tmp_path: Path) -> None:
    log = writer(tmp_path, most=8)
    for step in range(100):
        wide = {f"parameter {i}": ParameterSnapshot(grad_l2=1.0) for i in range(step % 10)}
        log.snapshot(make_snapshot(step, log.rows(LOG_ROWS), parameters=wide))
        assert load_training_log(log.path).snapshots[-1].step == step


@pytest.mark.fast
def test_a_file_that_something_else_has_shortened_is_written_anew_at_the_end(tmp_path: Path) -> None:
    warned = Warned()
    log = writer(tmp_path, warn=warned)
    train(log, 0, 3)
    os.truncate(log.path, 100)
    train(log, 3, 5)
    assert b"\0" not in log.path.read_bytes()
    log.close("finished")
    assert "something else has shortened the file" in warned[0]
    assert len(load_training_log(log.path).snapshots) == 5


@pytest.mark.fast
def test_a_lock_that_cannot_be_asked_says_nothing_of_a_kill(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = writer(tmp_path)

    def refuse(lock: Path) -> bool:
        raise PermissionError(errno.EACCES, str(lock))

    with monkeypatch.context() as patch:
        patch.setattr("vgharness.storage.entries.is_held", refuse)
        assert [entry.status for entry in RunStore(tmp_path).entries().entries] == ["running"]
    log._let_go()
    (log.path.parent / ".0001_training.lock").mkdir()
    assert [entry.status for entry in RunStore(tmp_path).entries().entries] == ["killed"]


@pytest.mark.fast
@pytest.mark.parametrize("door", ["replace_end", "write_whole"])
def test_ctrl_c_while_it_is_written_costs_nothing(door: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    warned = Warned()
    log = writer(tmp_path, most=16, warn=warned)
    train(log, 0, 16)
    real = getattr(training_log_module, door)

    def interrupted(*arguments: Any) -> None:
        real(*arguments)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):  # noqa: PT012
        patch.setattr(training_log_module, door, interrupted)
        train(log, 16, 40)
    log.close("interrupted")
    (entry,) = RunStore(tmp_path).entries().entries
    assert (entry.status, warned) == ("interrupted", [])
    assert load_training_log(log.path) == log.log


@pytest.mark.fast
def test_a_store_that_cannot_be_made_costs_no_training(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("a file")
    warned = Warned()
    log = writer(tmp_path / "store", most=16, warn=warned)
    train(log, 0, 40)
    log.close("finished")
    assert (log.path, len(warned)) == (None, 1)
    assert "the training goes on" in warned[0]
    assert log.log.snapshots[-1].step == 39
    assert log.log.status == "finished"


@pytest.mark.fast
def test_what_comes_after_the_end_changes_nothing(tmp_path: Path) -> None:
    log = writer(tmp_path)
    train(log, 0, 2)
    log.close("interrupted")
    before = log.path.read_bytes()
    train(log, 2, 4)
    log.problem(0, DEAD)
    log.note("late")
    log.close("finished")
    assert log.path.read_bytes() == before
    assert log.log.status == "interrupted"


# --- beside others -------------------------------------------------------------------------------------------


@pytest.mark.fast
def test_two_that_write_at_once_have_numbers_of_their_own(tmp_path: Path) -> None:
    first, second = writer(tmp_path), writer(tmp_path)
    train(first, 0, 2)
    train(second, 0, 3)
    assert [log.path.name for log in (first, second)] == ["0001_training.jsonl", "0002_training.jsonl"]
    assert [entry.status for entry in RunStore(tmp_path).entries().entries] == ["running", "running"]
    first.close("finished")
    assert [entry.status for entry in RunStore(tmp_path).entries().entries] == ["finished", "running"]
    assert [len(load_training_log(log.path).snapshots) for log in (first, second)] == [2, 3]


@pytest.mark.fast
def test_a_forked_child_writes_nothing_and_holds_nothing(tmp_path: Path) -> None:
    log = writer(tmp_path)
    train(log, 0, 2)
    before = log.path.read_bytes()
    child = os.fork()
    if not child:
        train(log, 2, 4)
        log.problem(0, DEAD)
        log.close("failed")
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert log.path.read_bytes() == before
    assert [entry.status for entry in RunStore(tmp_path).entries().entries] == ["running"]
    train(log, 2, 3)
    assert len(load_training_log(log.path).snapshots) == 3


@pytest.mark.fast
def test_it_is_found_by_number_name_path_and_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store, path = RunStore(tmp_path), a_log(tmp_path)
    for which in ("1", "training", str(path), None):
        assert store.find(which, "training").path == path
    assert store.find_all("train*", "training") == (path,)
    assert "no session 'training' here" in failure(lambda: store.find("training"))
    (entry,) = store.entries().entries
    assert (entry.kind, entry.status, entry.number) == ("training", "finished", 1)


@pytest.mark.fast
def test_the_folder_that_shows_a_nan_again_is_no_run_and_keeps_its_number(tmp_path: Path) -> None:
    path = a_log(tmp_path)
    path.with_suffix(".reproducer").mkdir()
    assert not RunStore(tmp_path).entries().skipped
    path.unlink()
    assert a_log(tmp_path).name == "0002_training.jsonl"


CHILD = """
    import os, resource, sys, time
    sys.path.insert(0, {tests!r})
    from test_training_log import DEAD, train, writer
    from pathlib import Path
    log = writer(Path({folder!r}), warn=lambda line: print(line, flush=True))
    {body}
"""


def child(folder: Path, body: str) -> subprocess.Popen[str]:
    code = textwrap.dedent(CHILD).format(tests=str(Path(__file__).parent), folder=str(folder), body=body)
    paths = os.pathsep.join([str(Path(vgharness.__file__).parents[1]), str(Path(__file__).parents[1])])
    return subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": paths}
    )


@pytest.mark.processes
def test_the_log_of_a_killed_training_is_read_and_said_to_be_killed(tmp_path: Path) -> None:
    worker = "print(os.fork() or (os.close(1), time.sleep(600)), flush=True)"  # as a DataLoader's; it lives on
    body = f"{worker}; log.problem(0, DEAD); train(log, 0, 50); print('now', flush=True); train(log, 50, 10**9)"
    process = child(tmp_path, body)
    assert process.stdout is not None
    forked = int(process.stdout.readline())
    assert process.stdout.readline() == "now\n"
    (entry,) = RunStore(tmp_path).entries().entries
    assert entry.status == "running"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    (entry,) = RunStore(tmp_path).entries().entries
    os.kill(forked, signal.SIGKILL)
    assert entry.status == "killed"
    found = load_training_log(entry.path)
    assert (found.status, found.problems) == ("running", (DEAD,))
    assert found.snapshots[-1].step >= 49
    assert overview_of(entry.path).steps >= 49
    locks = [path.name for path in entry.path.parent.glob(".*_*.lock")]
    assert locks == [".0001_training.lock"]
    a_log(tmp_path)  # the next one removes it
    assert not list(entry.path.parent.glob(".*_*.lock"))


@pytest.mark.processes
def test_a_file_that_may_not_grow_ends_no_training(tmp_path: Path) -> None:
    limit = "resource.setrlimit(resource.RLIMIT_FSIZE, ({}, resource.RLIM_INFINITY))"
    full, free = limit.format(20_000), limit.format("resource.RLIM_INFINITY")
    process = child(tmp_path, f"{full}; train(log, 0, 500); {free}; log.close('finished')")
    said, _ = process.communicate()
    assert process.returncode == 0
    (line,) = said.splitlines()
    assert "File too large" in line
    (entry,) = RunStore(tmp_path).entries().entries
    assert entry.status == "finished"
    assert len(load_training_log(entry.path).snapshots) == 500
