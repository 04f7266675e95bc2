"""Shows progress: a bar with the time left on a terminal, plain lines when piped."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from vgharness.formatting import count, duration, escaped
from vgharness.records import Cell, CellResult, Epoch, Run, Study, nan_if_none
from vgharness.training.callback import Callback

Item = TypeVar("Item")

_REFRESH = 0.1  # seconds


@contextmanager
def decoding(console: Console) -> Iterator[Callable[[int, int], None]]:
    """What ``load_images`` is to call while it decodes a folder."""
    with _bar(console) as bar:
        task = bar.add_task("decoding images", total=None)

        def progress(done: int, total: int) -> None:
            if console.is_terminal:
                bar.update(task, completed=done, total=total)
            elif done == total or done % 10_000 == 0:
                console.print(f"decoded {done:,} of {total:,} images")

        yield progress


def counted(console: Console, what: str, items: Iterable[Item], total: int) -> Iterator[Item]:
    """Passes on ``items``, of which there are ``total``, with a bar on a terminal that says ``what`` is being done."""
    with _bar(console) as bar:
        yield from bar.track(items, total=total, description=what)


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
    """A bar over the whole study, cells side by side, and a line per cell; when piped, no bar and a line per epoch."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.bar = _bar(console)
        self.task = self.bar.add_task("", total=None)

    def study_started(self, run: Run, expected_seconds: float | None) -> None:
        study, done = run.study, {result.cell for result in run.results}
        self.console.print(study_line(study, expected_seconds, done))
        self.expected = expected_seconds
        self.started = self.shown = time.monotonic()
        self.cells = study.cells
        self.epochs = sum(cell.epochs for cell in study.cells)
        self.done = {cell: float(cell.epochs) if cell in done else 0.0 for cell in study.cells}  # whole and begun
        self.before = sum(self.done.values())
        self.under_way: list[Cell] = []
        self.bar.update(self.task, total=self.epochs)
        self.bar.start()

    def seconds_left(self) -> float | None:
        """How long the epochs that are left take at the pace so far; before there is one, as was expected."""
        done = sum(self.done.values())
        if done <= self.before:
            return self.expected
        return (time.monotonic() - self.started) / (done - self.before) * (self.epochs - done)

    def __enter__(self) -> StudyProgress:
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()  # leaves the terminal as it was, however the study ended

    def cell_started(self, cell: Cell) -> None:
        self.under_way.append(cell)
        self._show()

    def step_done(self, cell: Cell, epoch: int, step: int, steps: int) -> None:
        self.done[cell] = epoch - 1 + step / steps
        if time.monotonic() - self.shown > _REFRESH:  # a GPU does thousands of steps a second
            self._show()

    def epoch_done(self, cell: Cell, epoch: Epoch) -> None:
        self.done[cell] = epoch.epoch
        if self.console.is_terminal:
            return
        left = self.seconds_left()
        assert left is not None  # an epoch is done
        self._line(
            cell,
            f", epoch {epoch.epoch} of {cell.epochs}: {_losses(epoch)}, {epoch.seconds:.1f} s; "
            f"about {duration(left)} left",
        )

    def cell_done(self, result: CellResult) -> None:
        self.under_way.remove(result.cell)
        self.done[result.cell] = result.cell.epochs  # what one that stopped early did not train is not left to be done
        if not result.epochs:
            measured = "measured at initialisation" if result.status == "finished" else ""
        else:
            measured = _losses(result.epochs[-1])
        status = "" if result.status == "finished" else f"{result.status}: {result.reason}; "
        self._line(result.cell, f": {status}{measured}, {duration(result.seconds)}")

    def pack_split(self, cells: Sequence[Cell], reason: str) -> None:
        self.done.update(dict.fromkeys(cells, 0.0))
        self.console.print(
            f"{len(cells)} networks did not train side by side ({escaped(reason)}): again in two halves",
            markup=False,
            soft_wrap=True,
        )

    def _show(self) -> None:
        self.shown = time.monotonic()
        names = ", ".join(self._numbered(cell) for cell in self.under_way)
        self.bar.update(self.task, description=names, completed=sum(self.done.values()))

    def _line(self, cell: Cell, text: str) -> None:
        self.console.print(escaped(f"{self._numbered(cell)}{text}"), markup=False, highlight=False, soft_wrap=True)

    def _numbered(self, cell: Cell) -> str:
        return f"[{self.cells.index(cell) + 1}/{len(self.cells)}] {cell.name}"


def _losses(epoch: Epoch) -> str:
    train, test = ("not finite" if x is None else f"{x:.3f}" for x in (epoch.train_loss, epoch.test_loss))
    return f"train loss {train}, test loss {test}, test accuracy {nan_if_none(epoch.test_accuracy):.1f} %"


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeRemainingColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )
