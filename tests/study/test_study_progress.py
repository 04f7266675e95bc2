"""What is shown of cells that train side by side."""

import io

import pytest
from factories import make_result, make_run
from rich.console import Console

from vgharness.records import Activation, Cell, Rounds, Study
from vgharness.study.looks import planned_looks
from vgharness.study.progress import StudyProgress
from vgharness.study.under_way import Line, StudyBar

pytestmark = pytest.mark.fast


def cell(activation: Activation, epochs: int) -> Cell:
    return Cell(architecture="script", activation=activation, seed=42, epochs=epochs)


STUDY = Study(preset="script", cells=(cell("sigmoid", 2), cell("relu", 2), cell("tanh", 0)))


@pytest.fixture
def out() -> io.StringIO:
    return io.StringIO()


def started(out: io.StringIO, *, terminal: bool, expected: float | None = 60.0) -> StudyProgress:
    progress = StudyProgress(Console(file=out, force_terminal=terminal, width=120))
    progress.study_started(make_run([make_result()]).model_copy(update={"study": STUDY}), expected)
    return progress


def train(progress: StudyProgress, cell: Cell, epochs: int) -> None:
    result = make_result(cell.activation, curve=[50.0] * epochs, epochs=cell.epochs)
    for epoch in result.epochs:
        progress.step_done(cell, epoch.epoch, 1, 1)
        progress.epoch_done(cell, epoch)
    progress.cell_done(result.model_copy(update={"cell": cell}))


def test_a_line_per_epoch_names_its_cell_whichever_began_last(out: io.StringIO) -> None:
    sigmoid, relu, tanh = STUDY.cells
    with started(out, terminal=False) as progress:
        progress.cell_started(sigmoid)
        progress.cell_started(relu)
        train(progress, sigmoid, 2)
        progress.cell_started(tanh)
        train(progress, relu, 2)
        train(progress, tanh, 0)
    lines = out.getvalue().splitlines()
    assert lines[0] == "2 networks to train, 1 to measure at initialisation; expected to take about 1 min 0 s here"
    assert [line.split(",")[0] for line in lines[1:]] == [
        *["[1/3] script sigmoid seed 42"] * 2,
        "[1/3] script sigmoid seed 42: train loss 2.000",
        *["[2/3] script relu seed 42"] * 2,
        "[2/3] script relu seed 42: train loss 2.000",
        "[3/3] script tanh seed 42: measured at initialisation",
    ]
    assert "epoch 2 of 2: train loss 2.000, test loss 2.000, test accuracy 50.0 %, 1.0 s; about" in lines[2]


def test_a_later_round_of_seeds_counts_what_is_left_of_it(out: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("vgharness.study.progress.time.monotonic", lambda: now[0])
    _, relu, _ = STUDY.cells
    study = STUDY.model_copy(update={"rounds": Rounds(looks=planned_looks(20), at=2)})
    begun = make_run([make_result("sigmoid", curve=[50.0, 50.0])]).model_copy(update={"study": study})
    with StudyProgress(Console(file=out, width=120)) as progress:
        progress.study_started(begun, 20.0)
        assert progress.seconds_left() == 20.0
        progress.cell_started(relu)
        now[0] = 30.0
        progress.epoch_done(relu, make_result("relu", curve=[50.0]).epochs[0])
        assert progress.seconds_left() == 1.0, "one epoch of two is left, at its pace: sigmoid's are not counted"
    line = "round 2 of up to 5, 7 seeds: 1 network to train, 1 to measure at initialisation; expected"
    assert out.getvalue().startswith(line)


def test_the_time_left_is_of_the_epochs_that_ran_not_of_what_came_before_them(
    out: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("vgharness.study.progress.time.monotonic", lambda: now[0])
    sigmoid, relu, _ = STUDY.cells
    with started(out, terminal=False) as progress:
        assert progress.seconds_left() == 60.0
        now[0] = 50.0  # setting up
        assert progress.seconds_left() == 10.0
        progress.cell_started(sigmoid)
        progress.cell_started(relu)
        progress.step_done(relu, 1, 1, 2)  # half an epoch
        progress.step_done(sigmoid, 1, 2, 2)
        progress.epoch_done(sigmoid, make_result(curve=[50.0]).epochs[0].model_copy(update={"seconds": 20.0}))
    assert "about 30 s left" in out.getvalue()  # relu's 1.5 of 2 epochs, 20 s each; sigmoid's runs beside it


def test_without_an_expectation_there_is_none(out: io.StringIO) -> None:
    with started(out, terminal=False, expected=None):
        pass
    assert out.getvalue() == "2 networks to train, 1 to measure at initialisation\n"


def test_on_a_terminal_each_network_under_way_has_a_line_and_the_bar_ends_full(out: io.StringIO) -> None:
    sigmoid, relu, _ = STUDY.cells
    with started(out, terminal=True) as progress:
        progress.cell_started(sigmoid)
        progress.cell_started(relu)
        assert [line.name for line in progress.bar.lines] == [
            "[1/3] script sigmoid seed 42", "[2/3] script relu seed 42"
        ]  # fmt: skip
        assert progress.bar.lines[0][1:] == ("1 of 2", ("–", "–", "–"))
        progress.step_measured(sigmoid, lambda: (2.25, 12.5))
        progress._show()
        assert progress.bar.lines[0][1:] == ("1 of 2", ("2.250", "12.5 %", "–"))
        progress.epoch_done(sigmoid, make_result(curve=[50.0]).epochs[0])
        assert progress.bar.lines[0][1:] == ("2 of 2", ("2.000", "50.0 %", "50.0 %"))
        assert progress.bar.tasks[0].description.startswith("about ")
        train(progress, sigmoid, 1)  # diverged after the first of its two epochs
        train(progress, relu, 2)
        progress._show()
        assert progress.bar.tasks[0].completed == progress.bar.tasks[0].total == 4
        assert progress.bar.lines == []


@pytest.mark.parametrize(("width", "height"), [(80, 24), (60, 10), (200, 50)])
def test_no_line_wraps_and_there_are_no_more_than_there_is_room_for(out: io.StringIO, width: int, height: int) -> None:
    console = Console(file=out, force_terminal=True, width=width, height=height, color_system=None)
    bar = StudyBar(console)
    long = "[1000/1800] script leaky_relu depth 10 norm batch optimizer sgd schedule cosine seed 42"
    bar.lines = [Line(long, "20 of 20", ("12.345", "100.0 %", "100.0 %"))] * 40
    bar.add_task("about 12 h 34 min left", total=1)
    console.print(*bar.get_renderables())
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert len(lines) <= height - 1
    assert ("and " in out.getvalue()) == (height < 40)
    networks = [line for line in lines if line.startswith("[1000/")]
    assert all(line.rstrip().endswith("12.345     100.0 %    100.0 %") for line in networks)
    assert "about 12 h 34 min left" in lines[-1]


def test_on_a_terminal_a_network_that_has_ended_is_one_line(out: io.StringIO) -> None:
    progress = StudyProgress(Console(file=out, force_terminal=True, width=80, color_system=None))
    progress.study_started(make_run([make_result()]).model_copy(update={"study": STUDY}), 60.0)
    with progress:
        progress.cell_started(STUDY.cells[0])
        train(progress, STUDY.cells[0], 2)
    assert "[1/3] script sigmoid seed 42: train loss 2.000, test accuracy 50.0 %, 2 s\n" in out.getvalue()


def test_a_pack_that_is_split_begins_again(out: io.StringIO) -> None:
    sigmoid, relu, _ = STUDY.cells
    with started(out, terminal=False) as progress:
        progress.cell_started(sigmoid)
        progress.cell_started(relu)
        progress.step_done(sigmoid, 1, 1, 1)
        progress.pack_split([sigmoid, relu], "OutOfMemoryError: CUDA out of memory. [here]")
        assert sum(progress.done.values()) == 0
    assert "2 networks did not train side by side (OutOfMemoryError: CUDA out of memory. [here])" in out.getvalue()
