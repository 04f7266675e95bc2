"""Lines of JSON and CSV: whole, appended only where that was asked for."""

import csv
import json
import os
from pathlib import Path

import pytest
from watched_steps import DEAD, OVER, ROWS, snapshot

from vgharness.errors import UsageError
from vgharness.integrations import files
from vgharness.integrations.files import CsvSink, JsonlSink

pytestmark = pytest.mark.fast
SINKS = (JsonlSink, CsvSink)
Sink = type[JsonlSink] | type[CsvSink]


def fill(sink: JsonlSink | CsvSink, *steps: int) -> None:
    for step in steps:
        sink.snapshot(snapshot(step), ROWS)
    sink.close()


def test_json_has_a_line_for_each_snapshot_and_problem(tmp_path: Path) -> None:
    sink = JsonlSink(tmp_path / "steps.jsonl")
    sink.snapshot(snapshot(3), ROWS)
    sink.problem(DEAD)
    sink.problem(OVER)
    sink.close()
    first, began, ended = (json.loads(line) for line in (tmp_path / "steps.jsonl").read_text().splitlines())
    assert first["snapshot"]["step"] == 3
    layers = first["snapshot"]["layers"]
    assert [layer["name"] for layer in layers] == [row.name for row in ROWS]
    assert [layer["signal_l2"] for layer in layers] == [3.1, 3.2, 0.0, None]
    assert layers[3]["state"] == "nonfinite"
    assert (began["problem"]["ended"], ended["problem"]["ended"]) == (None, 5)


def test_csv_has_a_row_for_each_snapshot_and_layer(tmp_path: Path) -> None:
    sink = CsvSink(str(tmp_path / "steps.csv"))
    sink.problem(DEAD)
    fill(sink, 0, 100)
    with (tmp_path / "steps.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["step"], row["layer"], row["forward_pass"]) for row in rows] == [
        (step, each.name, str(each.forward_pass)) for step in ("0", "100") for each in ROWS
    ]
    assert [row["signal_l2"] for row in rows[4:]] == ["100.1", "100.2", "0.0", ""]
    assert {row["total_norm"] for row in rows[4:]} == {"100.75"}


@pytest.mark.parametrize("make", SINKS)
def test_a_file_that_exists_is_left_alone_unless_lines_are_to_be_added(tmp_path: Path, make: Sink) -> None:
    path = tmp_path / "steps"
    fill(make(path), 0)
    before = path.read_bytes()
    with pytest.raises(UsageError, match="append=True"):
        make(path)
    assert path.read_bytes() == before
    path.write_bytes(before[:-5])  # a line that was cut off by a crash
    fill(make(path, append=True), 1)
    after = path.read_bytes()
    assert after.startswith(before[:-5] + b"\n")
    fill(make(tmp_path / "alone"), 1)
    head = b"" if make is JsonlSink else before.splitlines(keepends=True)[0]
    assert after.endswith((tmp_path / "alone").read_bytes().removeprefix(head))


def test_a_table_of_other_columns_gets_no_rows(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("step,loss\n1,2\n")
    with pytest.raises(UsageError, match="other columns"):
        CsvSink(tmp_path / "mine.csv", append=True)


@pytest.mark.parametrize("make", SINKS)
def test_what_is_no_file_is_refused_before_the_training(tmp_path: Path, make: Sink) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", tmp_path / "nowhere" / "steps"):
        with pytest.raises(UsageError):
            make(path, append=True)


@pytest.mark.parametrize("make", SINKS)
def test_the_file_is_made_with_its_first_line(tmp_path: Path, make: Sink) -> None:
    """Of several processes that train one model, each makes a sink, and one writes."""
    writing, idle = make(tmp_path / "steps"), make(tmp_path / "steps")
    fill(writing, 0)
    idle.close()
    with pytest.raises(FileExistsError):  # the lines of two are never mixed
        idle.snapshot(snapshot(0), ROWS)
    assert [path.name for path in tmp_path.iterdir()] == ["steps"]


def test_what_a_full_disk_cuts_off_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = JsonlSink(tmp_path / "steps.jsonl")
    sink.snapshot(snapshot(0), ROWS)
    whole = (tmp_path / "steps.jsonl").read_bytes()
    write, room = os.write, [10]

    def filling(descriptor: int, content: bytes) -> int:
        if not room:
            raise OSError(28, "No space left on device")
        return write(descriptor, content[: room.pop()])

    monkeypatch.setattr(files.os, "write", filling)
    with pytest.raises(OSError, match="No space"):
        sink.snapshot(snapshot(1), ROWS)
    monkeypatch.undo()
    assert (tmp_path / "steps.jsonl").read_bytes() == whole
    fill(sink, 2)
    steps = [json.loads(line)["snapshot"]["step"] for line in (tmp_path / "steps.jsonl").read_text().splitlines()]
    assert steps == [0, 2]
