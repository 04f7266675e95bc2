"""Side by side on a CPU: the same numbers whatever runs beside, all of them when one fails, none lost at Ctrl-C."""

import copy
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from factories import make_result, without_seconds

from vgharness.data.on_device import DeviceImages
from vgharness.records import Cell, CellResult, Epoch
from vgharness.training import executor as executors
from vgharness.training.callback import Callback
from vgharness.training.executor import Execution, LocalExecutor, packs_of

pytestmark = [pytest.mark.fast, pytest.mark.usefixtures("without_first_batch")]

CPU = torch.device("cpu")


def cells(**changes: Any) -> tuple[Cell, ...]:
    shape = {"architecture": "script", "epochs": 2, "depth": 2, "batch_size": 10} | changes
    return tuple(Cell(activation=a, seed=s, **shape) for s in (42, 43) for a in ("sigmoid", "relu"))


def finished(pack: Sequence[Cell], *_: object) -> tuple[CellResult, ...]:
    return tuple(make_result(cell.activation, cell.seed, curve=[50.0]) for cell in pack)


def test_results_do_not_depend_on_what_trains_beside(few_images: DeviceImages) -> None:
    found = []
    for jobs in (1, 3):
        execution = Execution(cells())
        execution.run(LocalExecutor([few_images], "fp32", jobs))
        assert execution.complete
        assert [result.cell for result in execution.results] == list(cells())
        found.append([without_seconds(result) for result in execution.results])
    assert found[0] == found[1]


def test_cells_train_side_by_side_each_on_one_thread(few_images: DeviceImages, monkeypatch: pytest.MonkeyPatch) -> None:
    meet, threads = threading.Barrier(2, timeout=60), []

    def train_pack(pack: Sequence[Cell], *_: object) -> tuple[CellResult, ...]:
        meet.wait()  # breaks where the other one is not there
        threads.append(torch.get_num_threads())
        return finished(pack)

    monkeypatch.setattr(executors, "train_pack", train_pack)
    before, execution = torch.get_num_threads(), Execution(cells())
    torch.set_num_threads(3)
    try:
        execution.run(LocalExecutor([few_images], "fp32", jobs=2))
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert [result.status for result in execution.results] == ["finished"] * 4
    assert threads == [1] * 4


def test_by_default_there_is_a_worker_for_each_core(few_images: DeviceImages, monkeypatch: pytest.MonkeyPatch) -> None:
    assert executors.worker_count(CPU, 10, jobs=4) == 4
    assert executors.worker_count(CPU, 3, jobs=4) == 3
    assert executors.worker_count(torch.device("cuda"), 10, jobs=4) == 1
    workers: list[int] = []
    make = executors.ThreadPoolExecutor

    def pool(count: int, **options: Any) -> Any:
        workers.append(count)
        return make(count, **options)

    monkeypatch.setattr(executors, "ThreadPoolExecutor", pool)
    monkeypatch.setattr(executors, "train_pack", finished)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    Execution(cells()).run(LocalExecutor([few_images], "fp32"))
    assert workers == [3]


def test_a_gpu_trains_cells_of_one_shape_together_and_a_cpu_each_alone() -> None:
    mixed = [*cells(), *cells(epochs=0)[:1], *cells(architecture="readme")[:2]]
    assert packs_of(mixed, torch.device("cuda")) == [(0, 1, 2, 3), (4,), (5, 6)]
    assert packs_of(mixed, CPU) == [(0,), (1,), (2,), (3,), (4,), (5,), (6,)]


@pytest.mark.parametrize(("precision", "setting"), [("fp32", "ieee"), ("tf32", "tf32"), ("bf16", "ieee")])
def test_precision_is_what_was_asked_for_and_only_while_training(
    few_images: DeviceImages, precision: Any, setting: str
) -> None:
    def now() -> tuple[str, str]:
        return torch.backends.cudnn.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision

    seen = set()

    class Look(Callback):
        def step_done(self, *_: object) -> None:
            seen.add(now())
            raise KeyboardInterrupt

    before = now()
    Execution(cells()).run(LocalExecutor([few_images], precision), Look())
    assert seen == {(setting, setting)}
    assert now() == before


class Splits(Callback):
    def __init__(self) -> None:
        self.seen: list[tuple[int, str]] = []

    def pack_split(self, cells: Sequence[Cell], reason: str) -> None:
        self.seen.append((len(cells), reason))


def test_a_pack_that_runs_out_of_memory_halves_itself_and_says_so(
    few_images: DeviceImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train_pack(pack: Sequence[Cell], *_: object) -> tuple[CellResult, ...]:
        if len(pack) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.\nTried to allocate")
        return finished(pack)

    monkeypatch.setattr(executors, "train_pack", train_pack)
    monkeypatch.setattr(executors, "packs_of", lambda cells, device, devices: [(0, 2, 1), (3,)])
    splits, execution = Splits(), Execution(cells())
    execution.run(LocalExecutor([few_images], "fp32"), splits)
    assert splits.seen == [(3, "OutOfMemoryError: CUDA out of memory.")]
    assert [(r.cell.activation, r.cell.seed) for r in execution.results] == [(c.activation, c.seed) for c in cells()]
    assert execution.complete


def test_a_pack_is_split_until_the_cell_that_raises_is_alone(
    few_images: DeviceImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train_pack(pack: Sequence[Cell], *_: object) -> tuple[CellResult, ...]:
        if cells()[2] in pack:
            raise RuntimeError("broken")
        return finished(pack)

    monkeypatch.setattr(executors, "train_pack", train_pack)
    monkeypatch.setattr(executors, "packs_of", lambda cells, device, devices: [(0, 1, 2, 3)])
    splits, execution = Splits(), Execution(cells())
    execution.run(LocalExecutor([few_images], "fp32"), splits)
    assert [size for size, _ in splits.seen] == [4, 2]
    assert [r.status for r in execution.results] == ["finished", "finished", "failed", "finished"]
    assert execution.results[2].reason == "RuntimeError: broken"
    assert execution.complete


def test_a_gpu_that_answers_with_errors_for_good_loses_nothing_that_is_finished(
    few_images: DeviceImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train_pack(pack: Sequence[Cell], *_: object) -> tuple[CellResult, ...]:
        if cells()[0] in pack:
            return finished(pack)
        raise RuntimeError("CUDA error: device-side assert triggered")

    def empty_cache() -> None:
        raise RuntimeError("CUDA error: device-side assert triggered")

    monkeypatch.setattr(executors, "train_pack", train_pack)
    monkeypatch.setattr(executors, "packs_of", lambda cells, device, devices: [(0,), (1, 2, 3)])
    monkeypatch.setattr("torch.cuda.empty_cache", empty_cache)
    executor = LocalExecutor([few_images], "fp32")
    monkeypatch.setattr(executor, "_images", [SimpleNamespace(device=torch.device("cuda"))])
    monkeypatch.setattr(executor, "workers", lambda packs: ThreadPoolExecutor(1))
    execution = Execution(cells())
    execution.run(executor)
    assert [result.status for result in execution.results] == ["finished", "failed", "failed", "failed"]


class InSecondEpochs(Callback):
    """Calls ``interrupt`` once both cells that train are in their second epoch."""

    def __init__(self, interrupt: Any) -> None:
        self.interrupt, self.begun = interrupt, set[Cell]()

    def epoch_done(self, cell: Cell, epoch: Epoch) -> None:
        self.begun.add(cell)
        if len(self.begun) == 2:
            self.interrupt()


def _raise() -> None:
    raise KeyboardInterrupt


@pytest.fixture
def _heeding_sigint() -> Iterator[None]:
    """As in a terminal: a process that a shell started in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_heeding_sigint")
@pytest.mark.parametrize("interrupt", [_raise, lambda: os.kill(os.getpid(), signal.SIGINT)])
def test_ctrl_c_ends_all_that_are_under_way(few_images: DeviceImages, interrupt: Any) -> None:
    execution = Execution(cells(epochs=50))
    execution.run(LocalExecutor([few_images], "fp32", jobs=2), InSecondEpochs(interrupt))
    assert not execution.complete
    assert [result.cell for result in execution.results] == list(cells(epochs=50)[:2])
    assert {result.status for result in execution.results} == {"interrupted"}
    assert all(result.epochs for result in execution.results)


def test_what_a_callback_raises_is_raised(few_images: DeviceImages, monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(Callback):
        def cell_done(self, result: CellResult) -> None:
            raise RuntimeError("broken callback")

    monkeypatch.setattr(executors, "train_pack", finished)
    with pytest.raises(RuntimeError, match="broken callback"):
        Execution(cells()).run(LocalExecutor([few_images], "fp32"), Broken())


def test_each_of_several_gpus_has_a_worker_and_a_part_of_each_shape(
    few_images: DeviceImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    meet, seen = threading.Barrier(2, timeout=60), dict[int, list[int]]()

    def train_pack(pack: Sequence[Cell], images: DeviceImages, *_: object) -> tuple[CellResult, ...]:
        meet.wait()  # breaks where the other one is not there
        seen.setdefault(id(images), []).append(len(pack))
        return finished(pack)

    monkeypatch.setattr(executors, "train_pack", train_pack)
    assert packs_of(cells()[:3], torch.device("cuda"), 2) == [(0,), (1, 2)]
    assert packs_of(cells()[:1], torch.device("cuda"), 2) == [(0,)]
    monkeypatch.setattr(executors, "packs_of", lambda cells, device, devices: [(0, 1), (2, 3)])
    images = [few_images, copy.copy(few_images)]  # as on two GPUs
    execution = Execution(cells())
    execution.run(LocalExecutor(images, "fp32"))
    assert [result.cell.seed for result in execution.results] == [42, 42, 43, 43]
    assert seen == {id(each): [2] for each in images}
