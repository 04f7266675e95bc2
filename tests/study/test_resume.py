"""A study that was ended goes on where it was: nothing is trained twice, and the run is what it would have been."""

import hashlib
import io
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from factories import without_seconds

from vgharness.data.image_set import ImageSet
from vgharness.data.images import load_images
from vgharness.data.synthetic import synthetic_images
from vgharness.errors import UsageError
from vgharness.records import Cell, CellResult, Epoch, OwnNetwork, Run, Study
from vgharness.storage.checkpoints import Configuration
from vgharness.storage.store import RunStore
from vgharness.study.run import run_study
from vgharness.training import executor as executors
from vgharness.training.callback import Callback
from vgharness.training.executor import WorkerLostError
from vgharness.training.loop import train_pack

slow = pytest.mark.processes  # a second or two each


@pytest.fixture(scope="module")
def images() -> ImageSet:
    return synthetic_images(24, 10)


def cell(activation: Any = "relu", **changes: Any) -> Cell:
    shape = {"architecture": "script", "seed": 42, "epochs": 3, "depth": 2, "batch_size": 10} | changes
    return Cell(activation=activation, **shape)


def study(*cells: Cell) -> Study:
    return Study(preset="tiny", cells=cells)


class Watch(Callback):
    """Notes each epoch that is trained, each warning and what is resumed; ends the training after ``last`` epochs."""

    def __init__(self, last: int | None = None) -> None:
        self.last, self.warnings, self.resumed = last, list[str](), list[CellResult]()
        self.trained: list[tuple[Cell, int]] = []

    def cell_advanced(self, result: CellResult) -> None:  # once the epoch is kept
        if self.last is not None and len(self.trained) >= self.last:
            raise KeyboardInterrupt

    def epoch_done(self, cell: Cell, epoch: Epoch) -> None:
        self.trained.append((cell, epoch.epoch))

    def warned(self, message: str) -> None:
        self.warnings.append(message)

    def study_resumed(self, results: Sequence[CellResult]) -> None:
        self.resumed += results


@pytest.fixture
def run(tmp_path: Path, images: ImageSet, monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Run, Watch]]:
    monkeypatch.setattr("vgharness.study.run.commit", lambda: None)  # git takes its time
    monkeypatch.setattr("vgharness.study.run.expected_seconds", lambda *_: None)

    def run(*cells: Cell, last: int | None = None, **options: Any) -> tuple[Run, Watch]:
        watch = Watch(last)
        options = {"store": RunStore(tmp_path), "jobs": 1, "claims": (), "callback": watch} | options
        return run_study(study(*cells), images, **options), watch

    return run


CELLS = (cell("sigmoid"), cell(norm="batch"), cell("tanh", epochs=0))


@pytest.fixture(scope="module")
def whole(images: ImageSet) -> list[dict[str, Any]]:
    return [without_seconds(each) for each in run_study(study(*CELLS), images, jobs=1, claims=()).results]


@pytest.mark.parametrize(
    "last", [pytest.param(4, marks=pytest.mark.fast), *(pytest.param(n, marks=slow) for n in (1, 2, 3, 6))]
)
def test_the_resumed_run_is_the_uninterrupted_one(
    last: int, run: Callable[..., tuple[Run, Watch]], whole: list[dict[str, Any]]
) -> None:
    first, before = run(*CELLS, last=last)
    second, after = run(*CELLS)
    assert first.status == "interrupted"
    assert second.status == "finished"
    assert [without_seconds(each) for each in second.results] == whole
    assert before.trained + after.trained == [(each, epoch) for each in CELLS[:2] for epoch in (1, 2, 3)]
    assert after.warnings == []


@slow
def test_what_was_resumed_is_said_and_counts_its_time(run: Callable[..., tuple[Run, Watch]]) -> None:
    first, _ = run(*CELLS, last=4)
    second, after = run(*CELLS)
    assert [(each.status, len(each.epochs)) for each in after.resumed] == [("finished", 3), ("running", 1)]
    assert second.results[0] == first.results[0]
    assert second.results[1].seconds > after.resumed[1].seconds > 0


@pytest.mark.fast
def test_another_study_trains_only_what_is_new(run: Callable[..., tuple[Run, Watch]]) -> None:
    run(cell(epochs=1))
    _, watch = run(cell(epochs=1), cell(epochs=1, seed=43))
    assert watch.trained == [(cell(epochs=1, seed=43), 1)]
    _, watch = run(cell(epochs=1), fresh=True)
    assert watch.trained == [(cell(epochs=1), 1)]


@slow
def test_other_images_and_other_settings_are_another_configuration(images: ImageSet) -> None:
    run = run_study(study(cell(epochs=0)), images, claims=())
    addresses = {
        Configuration.of(each, other).address
        for each in (cell(epochs=0), cell(), cell(norm="batch"), cell(seed=7))
        for other in (
            run,
            run.model_copy(update={"data": synthetic_images(24, 11).provenance}),
            run.model_copy(update={"study": Study(preset="tiny", cells=(cell(),), precision="bf16")}),
            run.model_copy(update={"machine": run.machine.model_copy(update={"device": "a GPU"})}),
            run.model_copy(update={"machine": run.machine.model_copy(update={"versions": {"torch": "9"}})}),
        )
    }
    assert len(addresses) == 4 * 5


def checkpoints(store: Path) -> list[Path]:
    return sorted(store.glob("*/.work/*/checkpoint"))


@pytest.mark.fast
def test_what_is_kept_is_gone_once_the_run_is_saved(run: Callable[..., tuple[Run, Watch]], tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    sigmoid, gelu, tanh = (cell(activation, epochs=1) for activation in ("sigmoid", "gelu", "tanh"))
    run(tanh, gelu)
    finished, _ = run(sigmoid, gelu)
    store.save(finished, "tiny")
    store.forget_work(finished)
    (left,) = store.studies()  # the other one, with both of its cells
    assert [(each.cell, each.done) for each in left.cells] == [(tanh, True), (gelu, True)]
    finished, watch = run(tanh, gelu)
    assert watch.trained == []
    store.forget_work(finished)
    assert {path.name for path in tmp_path.glob("*/.work/*")} == {".gitignore", ".lock"}
    assert len(store.entries().entries) == 1


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)


def of_another_network(path: Path) -> None:
    """A state of the right form with the right hash, of other weights."""
    head, facts, _ = path.read_bytes().split(b"\n", 2)
    state = io.BytesIO()
    torch.save({"model": {}, "optimizer": [], "generators": (torch.zeros(3), torch.zeros(3))}, state)
    body = facts + b"\n" + state.getvalue()
    changed = json.loads(head) | {"sha256": hashlib.sha256(body).hexdigest()}
    path.write_bytes(json.dumps(changed).encode() + b"\n" + body)


DAMAGES: list[Callable[[Path], object]] = [
    flip,
    of_another_network,
    lambda path: path.write_bytes(b""),
    lambda path: path.write_bytes(path.read_bytes()[:-1000]),
    lambda path: path.write_text("something else"),
    lambda path: path.write_bytes(path.read_bytes().replace(b'"seed":42', b'"seed":43')),
]


@slow
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_checkpoint_that_cannot_be_used_is_set_aside_and_the_cell_starts_over(
    damage: Callable[[Path], object],
    run: Callable[..., tuple[Run, Watch]],
    whole: list[dict[str, Any]],
    tmp_path: Path,
) -> None:
    run(*CELLS, last=2)
    (kept,) = checkpoints(tmp_path)
    damage(kept)
    content = kept.read_bytes()
    second, after = run(*CELLS)
    (line,) = after.warnings
    assert "set aside as checkpoint.set-aside, and script sigmoid depth 2 batch size 10 seed 42 starts over" in line
    assert "\n" not in line
    assert kept.with_name("checkpoint.set-aside").read_bytes() == content
    assert [without_seconds(each) for each in second.results] == whole
    assert len(after.trained) == 6


@slow
def test_a_result_that_cannot_be_used_is_set_aside_too(run: Callable[..., tuple[Run, Watch]], tmp_path: Path) -> None:
    run(cell())
    (done,) = tmp_path.glob("*/.work/*/done.json")
    done.write_text(done.read_text().replace('"status":"finished"', '"status":"running"'))
    _, after = run(cell())
    assert len(after.trained) == 3
    assert "set aside as done.json.set-aside" in after.warnings[0]


def failing(times: int, monkeypatch: pytest.MonkeyPatch, error: Exception, epochs: Sequence[int] = (2,)) -> None:
    """Makes training with relu raise, ``times`` times in each of ``epochs``."""
    left = dict.fromkeys(epochs, times)

    def fail(
        cells: Sequence[Cell], images: Any, precision: Any, callback: Callback, *more: Any
    ) -> tuple[CellResult, ...]:
        class Fails(Callback):
            def __getattribute__(self, name: str) -> Any:
                return getattr(callback, name) if name != "step_done" else object.__getattribute__(self, name)

            def step_done(self, cell: Cell, epoch: int, step: int, steps: int) -> None:
                if cell.activation == "relu" and left.get(epoch):
                    left[epoch] -= 1
                    raise error

        return train_pack(cells, images, precision, Fails(), *more)

    monkeypatch.setattr(executors, "train_pack", fail)


@slow
def test_a_cell_that_raises_is_tried_again_from_its_last_epoch(
    run: Callable[..., tuple[Run, Watch]], whole: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(2, monkeypatch, RuntimeError("out of luck"))
    found, watch = run(*CELLS)
    assert [without_seconds(each) for each in found.results] == whole
    assert len(watch.trained) == 6


@slow
def test_a_cell_that_raises_three_times_in_all_its_processes_is_failed(
    run: Callable[..., tuple[Run, Watch]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    failing(100, monkeypatch, RuntimeError("out of luck"))
    first, watch = run(cell(), cell("sigmoid"), last=3)
    assert [each.status for each in first.results] == ["failed", "interrupted"]
    second, watch = run(cell(), cell("sigmoid"))
    assert [each.status for each in second.results] == ["failed", "finished"]
    assert (second.status, second.results[0].reason) == ("finished", "RuntimeError: out of luck")
    assert {each for each, _ in watch.trained} == {cell("sigmoid")}
    assert RunStore(tmp_path).studies()[0].cells[0].failures == ("RuntimeError: out of luck",) * 3


@slow
def test_a_lost_worker_counts_only_where_nothing_was_kept_meanwhile(
    run: Callable[..., tuple[Run, Watch]], monkeypatch: pytest.MonkeyPatch
) -> None:
    failing(1, monkeypatch, WorkerLostError("its node is off"), epochs=range(1, 7))
    found, watch = run(cell(epochs=6))
    assert found.results[0].status == "finished"
    assert [epoch for _, epoch in watch.trained] == [1, 2, 3, 4, 5, 6]
    failing(100, monkeypatch, WorkerLostError("its node is off"), epochs=(4,))
    found, watch = run(cell(epochs=5))
    assert (found.results[0].status, found.results[0].reason) == ("failed", "its node is off")
    assert [epoch for _, epoch in watch.trained] == [1, 2, 3]


@pytest.mark.fast
def test_who_holds_a_study_is_said_and_one_that_is_gone_holds_none(
    run: Callable[..., tuple[Run, Watch]], tmp_path: Path
) -> None:
    class Second(Callback):
        said = ""

        def cell_started(self, cell: Cell) -> None:
            with pytest.raises(UsageError) as caught:
                run(cell, globals()["cell"](seed=9))
            self.said = str(caught.value)

    second = Second()
    run(cell(epochs=1), callback=second)
    assert f"process {os.getpid()} on " in second.said
    assert "since 2" in second.said
    run(cell(epochs=1))


@slow
def test_cells_of_a_pack_that_come_from_different_epochs_train_apart(
    run: Callable[..., tuple[Run, Watch]], monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = (cell("sigmoid"), cell("relu"), cell("gelu"))
    run(cells[0], last=2)
    run(cells[1], last=1)
    monkeypatch.setattr(executors, "packs_of", lambda cells, device, devices: [tuple(range(len(cells)))])
    found, watch = run(*cells)
    assert [each.status for each in found.results] == ["finished"] * 3
    assert sorted(watch.trained, key=str) == sorted(
        [(cells[0], 3), *((cells[1], e) for e in (2, 3)), *((cells[2], e) for e in (1, 2, 3))], key=str
    )


@slow
def test_where_nothing_can_be_kept_the_training_goes_on(
    run: Callable[..., tuple[Run, Watch]], monkeypatch: pytest.MonkeyPatch, whole: list[dict[str, Any]]
) -> None:
    def full_disk(path: Path, content: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("vgharness.storage.checkpoints.write_whole", full_disk)
    found, watch = run(*CELLS)
    assert [without_seconds(each) for each in found.results] == whole
    assert all("cannot be written (No space left on device)" in line for line in watch.warnings)
    assert len(watch.warnings) == len(CELLS)  # once for each network


OWN = """
import torch
from torch import nn
def rows():
    inputs = torch.randn(24, 5, generator=torch.Generator().manual_seed(0))
    return (inputs, (inputs[:, 0] > 0).long()), (inputs[:10], (inputs[:10, 0] > 0).long())
def make(width):
    return nn.Sequential(nn.Linear(5, width), nn.ReLU(), nn.Dropout(0.5), nn.Linear(width, 2))
"""


@pytest.mark.fast
def test_a_network_of_ones_own_goes_on_with_what_it_draws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nets.py").write_text(OWN)
    own = OwnNetwork(network=f"{tmp_path / 'nets.py'}:make", optimizer="RMSprop", factors={"width": 9})
    network = cell("own", architecture="mlp", depth=4, epochs=4, own=own)
    monkeypatch.setattr("vgharness.study.run.expected_seconds", lambda *_: None)
    rows = load_images(f"{tmp_path / 'nets.py'}:rows")

    def trained(last: int | None, store: str) -> CellResult:
        kept = RunStore(tmp_path / store)
        return run_study(study(network), rows, store=kept, jobs=1, claims=(), callback=Watch(last)).results[0]

    assert trained(2, "ended").status == "interrupted"
    assert without_seconds(trained(None, "ended")) == without_seconds(trained(None, "whole"))
