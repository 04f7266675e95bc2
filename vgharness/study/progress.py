"""Shows a study's progress: on a terminal and in a notebook each network that trains and a bar with the time left,
plain lines when piped."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence

from rich.console import Console

from vgharness.formatting import count, duration, escaped, shorten
from vgharness.records import Cell, CellResult, Epoch, Run, Study, nan_if_none
from vgharness.study.pace import Pace
from vgharness.study.under_way import Line, StudyBar
from vgharness.training.callback import Callback

_REFRESH = 0.1  # seconds
_LEAST_NAME = 20  # characters


def study_line(study: Study, expected_seconds: float | None, done: Collection[Cell] = ()) -> str:
    """``6 networks to train, 3 to measure at initialisation; expected to take about 1 min 5 s here``; without the time
    where that is not known. Of a study in rounds of seeds, of this round. ``done``: the cells that are not left."""
    left = [cell for cell in study.cells if cell not in done]
    trained = sum(cell.epochs > 0 for cell in left)
    at_start = len(left) - trained
    rounds = study.rounds
    return (
        (f"round {rounds.at} of up to {len(rounds.looks)}, {rounds.look.seeds} seeds: " if rounds else "")
        + f"{count(trained, 'network')} to train"
        + (f", {at_start} to measure at initialisation" if at_start else "")
        + (f"; expected to take about {duration(expected_seconds)} here" if expected_seconds is not None else "")
    )


class StudyProgress(Callback):
    """The networks that train, below them a bar over the whole study, and above them a line for each that has ended;
    when piped, a line for each epoch too and no bar."""

    def __init__(self, console: Console, bar: StudyBar | None = None) -> None:
        """``bar``: where the networks under way are shown; by default at the foot of the terminal."""
        self.console = console
        self.bar = bar or StudyBar(console)
        self.task = self.bar.add_task("", total=None)

    def study_started(self, run: Run, expected_seconds: float | None) -> None:
        study, done = run.study, {result.cell for result in run.results}
        self.console.print(study_line(study, expected_seconds, done))
        self.expected = expected_seconds
        self.started = self.shown = time.monotonic()
        self.cells = study.cells
        self.epochs = sum(cell.epochs for cell in study.cells)
        self.done = {cell: float(cell.epochs) if cell in done else 0.0 for cell in study.cells}  # whole and begun
        self.under_way: list[Cell] = []
        self.ended = {result.cell for result in run.results}
        self.pace = Pace()
        self.so_far: dict[Cell, tuple[float, float]] = {}  # training loss and accuracy, of the epoch or the last one
        self.read: dict[Cell, float] = {}  # when that was
        self.tested: dict[Cell, float] = {}  # test accuracy after the last epoch
        self.bar.update(self.task, total=self.epochs)
        self.bar.start()

    def study_resumed(self, results: Sequence[CellResult]) -> None:
        for result in results:
            self.done[result.cell] = len(result.epochs) if result.status == "running" else result.cell.epochs
        going_on = sum(result.status == "running" for result in results)
        failed = sum(result.status == "failed" for result in results)
        parts = {
            "done before": len(results) - going_on - failed,
            "failed before": failed,
            "to go on from the last epoch": going_on,
        }
        said = [f"{count(many, 'network')} {what}" for what, many in parts.items() if many]
        self.console.print(f"resumed: {', '.join(said)}; --fresh starts over", soft_wrap=True)

    def warned(self, message: str) -> None:
        self.console.print(f"warning: {message}", markup=False, soft_wrap=True)

    def seconds_left(self) -> float | None:
        """How long the epochs that are left take at the pace of those that ran; before there is one, what is left of
        what was expected."""
        begun = self.ended.union(self.under_way)
        waiting = [cell for cell in self.cells if cell not in begun]
        left = self.pace.seconds_left(self.done, self.under_way, waiting)
        if left is None and self.expected is not None:
            return max(self.expected - (time.monotonic() - self.started), 0.0)
        return left

    def __enter__(self) -> StudyProgress:
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()  # leaves the terminal as it was, however the study ended

    def cell_started(self, cell: Cell) -> None:
        self.under_way.append(cell)
        self.side_by_side = len(self.under_way)
        self._show()

    def step_done(self, cell: Cell, epoch: int, step: int, steps: int) -> None:
        self.done[cell] = epoch - 1 + step / steps
        if time.monotonic() - self.shown > _REFRESH:  # a GPU does thousands of steps a second
            self._show()

    def step_measured(self, cell: Cell, read: Callable[[], tuple[float, float]]) -> None:
        now = time.monotonic()
        if self.console.is_terminal and now - self.read.get(cell, 0.0) > _REFRESH:
            self.read[cell] = now
            self.so_far[cell] = read()

    def epoch_done(self, cell: Cell, epoch: Epoch) -> None:
        self.done[cell] = epoch.epoch
        self.pace.add(cell, epoch.seconds, self.side_by_side)
        self.so_far[cell] = nan_if_none(epoch.train_loss), nan_if_none(epoch.train_accuracy)
        self.tested[cell] = nan_if_none(epoch.test_accuracy)
        if self.console.is_terminal:
            self._show()
            return
        left = self.seconds_left()
        assert left is not None  # an epoch is done
        self._line(
            cell,
            f", epoch {epoch.epoch} of {cell.epochs}: {_losses(epoch)}, {epoch.seconds:.1f} s; "
            f"about {duration(left)} left",
        )

    def cell_done(self, result: CellResult) -> None:
        epochs = sum(epoch.seconds for epoch in result.epochs)
        self.pace.add_cell(result.cell, result.seconds - epochs, self.side_by_side)
        self.under_way.remove(result.cell)
        self.ended.add(result.cell)
        self.done[result.cell] = result.cell.epochs  # what one that stopped early did not train is not left to be done
        if not result.epochs:
            measured = "measured at initialisation" if result.status == "finished" else ""
        else:
            last = result.epochs[-1]
            measured = _in_short(last) if self.console.is_terminal else _losses(last)
        status = "" if result.status == "finished" else f"{result.status}: {result.reason}; "
        self._line(result.cell, f": {status}{measured}, {duration(result.seconds)}")

    def pack_split(self, cells: Sequence[Cell], reason: str) -> None:
        self.done.update(dict.fromkeys(cells, 0.0))
        for cell in cells:
            self.so_far.pop(cell, None)
            self.tested.pop(cell, None)
        self.console.print(
            f"{len(cells)} networks did not train side by side ({escaped(reason)}): again in two halves",
            markup=False,
            soft_wrap=True,
        )

    def _show(self) -> None:
        self.shown = time.monotonic()
        self.bar.lines = [self._under_way(cell) for cell in self.under_way]
        left = self.seconds_left()
        self.bar.update(
            self.task,
            description="" if left is None else f"about {duration(left)} left",
            completed=sum(self.done.values()),
        )

    def _under_way(self, cell: Cell) -> Line:
        loss, accuracy = self.so_far.get(cell, (None, None))
        values = _number(loss, "{:.3f}"), _number(accuracy, "{:.1f} %"), _number(self.tested.get(cell), "{:.1f} %")
        epoch = min(int(self.done[cell]) + 1, cell.epochs)
        return Line(self._numbered(cell), f"{epoch} of {cell.epochs}" if cell.epochs else "initial", values)

    def _line(self, cell: Cell, text: str) -> None:
        name = self._numbered(cell)
        if self.console.is_terminal:
            name = shorten(name, max(self.console.width - len(text), _LEAST_NAME))
        self.console.print(
            escaped(f"{name}{text}"), markup=False, highlight=False, soft_wrap=not self.console.is_terminal
        )

    def _numbered(self, cell: Cell) -> str:
        return f"[{self.cells.index(cell) + 1}/{len(self.cells)}] {cell.name}"


def _losses(epoch: Epoch) -> str:
    train, test = ("not finite" if x is None else f"{x:.3f}" for x in (epoch.train_loss, epoch.test_loss))
    return f"train loss {train}, test loss {test}, test accuracy {nan_if_none(epoch.test_accuracy):.1f} %"


def _in_short(epoch: Epoch) -> str:
    loss = _number(epoch.train_loss, "{:.3f}", "not finite")
    return f"train loss {loss}, test accuracy {_number(epoch.test_accuracy, '{:.1f} %')}"


def _number(value: float | None, form: str, missing: str = "–") -> str:
    return missing if value is None else form.format(value)
