"""A grid of cells → a run: failures, interruptions and verdicts."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from factories import make_result

from vgharness.data.image_set import ImageSet
from vgharness.data.synthetic import synthetic_images
from vgharness.records import Cell, CellResult, Epoch, Run, Study
from vgharness.storage.store import RunStore, load_run
from vgharness.study.presets import plan
from vgharness.study.run import run_study
from vgharness.training import executor as executors
from vgharness.training.callback import Callback
from vgharness.training.loop import NetworkTraining

pytestmark = pytest.mark.fast


@pytest.fixture(autouse=True)
def _no_first_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its numerics and predictions have tests of their own, and take longer than these networks."""
    monkeypatch.setattr(NetworkTraining, "measure_first_batch", lambda network: None)


@pytest.fixture(scope="module")
def images() -> ImageSet:
    return synthetic_images(40, 16)


def tiny(**changes: object) -> Study:
    return plan("script", epochs=1, seeds=(42, 43)).model_copy(update=changes)


def test_a_run_holds_every_cell_in_order_and_survives_its_store(images: ImageSet, tmp_path: Path) -> None:
    run = run_study(tiny(), images, command="as typed")
    assert run.status == "finished"
    assert [result.cell for result in run.results] == list(tiny().cells)
    assert all(result.status == "finished" for result in run.results)
    assert {verdict.claim for verdict in run.verdicts} >= {"architecture", "tanh-squashes"}
    assert run.data == images.provenance
    assert run.command == "as typed"
    path = RunStore(tmp_path).save(run, "tiny")
    assert "NaN" not in path.read_text()
    assert load_run(path) == run


def test_the_same_study_gives_the_same_values(images: ImageSet) -> None:
    pair = tiny(cells=tiny().cells[:2])
    first, second = (run_study(pair, images) for _ in range(2))
    for a, b in zip(first.results, second.results, strict=True):
        assert a.initial == b.initial
        assert a.heatmap == b.heatmap
        assert [e.model_copy(update={"seconds": 0.0}) for e in a.epochs] == [
            e.model_copy(update={"seconds": 0.0}) for e in b.epochs
        ]


def test_a_cell_that_raises_is_failed_and_the_others_go_on(images: ImageSet, monkeypatch: pytest.MonkeyPatch) -> None:
    def train_pack(cells: Sequence[Cell], *_: object) -> tuple[CellResult, ...]:
        if any(cell.seed == 42 and cell.activation == "relu" for cell in cells):
            raise RuntimeError("out of memory\nand a long story")
        return tuple(make_result(cell.activation, cell.seed, curve=[50.0] * cell.epochs) for cell in cells)

    monkeypatch.setattr(executors, "train_pack", train_pack)
    run = run_study(tiny(), images)
    assert run.status == "finished"
    failed = [result for result in run.results if result.status == "failed"]
    assert [(r.cell.name, r.reason) for r in failed] == [("script relu seed 42", "RuntimeError: out of memory")]
    assert len(run.results) == len(run.study.cells)


class InterruptsSecondCell(Callback):
    def __init__(self, where: str) -> None:
        self.where, self.begun = where, 0

    def cell_started(self, cell: Cell) -> None:
        self.begun += 1
        if self.where == "between cells" and self.begun == 2:
            raise KeyboardInterrupt

    def epoch_done(self, cell: Cell, epoch: Epoch) -> None:
        if self.where == "within a cell" and self.begun == 2:
            raise KeyboardInterrupt


@pytest.mark.parametrize(("where", "statuses"), [
    ("between cells", ["finished"]),
    ("within a cell", ["finished", "interrupted"]),
])  # fmt: skip
def test_ctrl_c_ends_the_study_with_what_there_is(where: str, statuses: list[str], images: ImageSet) -> None:
    run = run_study(tiny(), images, callback=InterruptsSecondCell(where), jobs=1)
    assert run.status == "interrupted"
    assert [result.status for result in run.results] == statuses
    assert run.verdicts


def test_expected_seconds_grow_with_the_epochs_and_leave_no_trace(images: ImageSet) -> None:
    expected = []

    class Expected(Callback):
        def study_started(self, run: Run, expected_seconds: float) -> None:
            expected.append(expected_seconds)

        def cell_started(self, cell: Cell) -> None:
            raise KeyboardInterrupt

    for epochs in (1, 200):
        run_study(plan("script", epochs=epochs, seeds=(42,)), images, callback=Expected())
    assert 0 < expected[0] < expected[1]
    one = tiny(cells=tiny().cells[:1])
    quiet, observed = run_study(one, images), run_study(one, images, callback=Callback())
    assert quiet.results[0].epochs[0].flow == observed.results[0].epochs[0].flow


def test_what_is_known_beforehand_is_what_the_run_says(images: ImageSet) -> None:
    begun: list[Run] = []

    class Begun(Callback):
        def study_started(self, run: Run, expected_seconds: float | None) -> None:
            begun.append(run)

    one = tiny(cells=tiny().cells[:1])
    run = run_study(one, images, command="as typed", callback=Begun())
    assert (begun[0].status, begun[0].results, begun[0].verdicts) == ("running", (), ())
    assert run.so_far("running", (), 0.0) == begun[0]
