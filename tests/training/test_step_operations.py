"""What a step and an evaluation ask of a device, counted on the CPU: on a GPU they must not wait for it, bring nothing
to it, not do one by one what it can do at once, and read no memory that is gone when the step is repeated."""

import gc
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from small_cells import pack_cells
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from vgharness.data.on_device import DeviceImages
from vgharness.probe import norms, passes
from vgharness.records import Precision
from vgharness.training.pack import Pack
from vgharness.training.values import StepValues

pytestmark = pytest.mark.fast

WAITS = (  # for a value, or for how many there are
    torch.ops.aten._local_scalar_dense.default,
    torch.ops.aten.nonzero.default,
    torch.ops.aten.masked_select.default,
)
JOINS = (torch.ops.aten.stack.default, torch.ops.aten.cat.default, torch.ops.aten.cat.out)
NO_KERNELS = (  # they look at tensors, or make another view of one
    *("_record_function_enter_new", "_record_function_exit", "can_cast", "promote_types", "view", "_unsafe_view"),
    *("select", "slice", "split", "unsqueeze", "squeeze", "permute", "expand", "detach", "alias", "as_strided", "t"),
    *("transpose", "unbind", "unfold", "lift_fresh"),
)
MOST_MIXED = 8  # tensors of several types in one join, each of which a GPU casts and copies by itself


class Operations(TorchDispatchMode):
    """Notes the operations that would slow a GPU down or break a CUDA graph, and counts all."""

    def __init__(self) -> None:
        super().__init__()
        self.kernels: Counter[str] = Counter()
        self.waits: list[str] = []
        self.mixed: list[int] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket.__name__ not in NO_KERNELS:
            self.kernels[func.overloadpacket.__name__] += 1
        by_mask = func is torch.ops.aten.index.Tensor and any(x is not None and x.dtype is torch.bool for x in args[1])
        if func in WAITS or by_mask:
            self.waits.append(str(func))
        if func in JOINS and len({tensor.dtype for tensor in args[0]}) > 1 and len(args[0]) > MOST_MIXED:
            self.mixed.append(len(args[0]))
        return func(*args, **(kwargs or {}))


@pytest.mark.usefixtures("without_first_batch")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_step_neither_waits_nor_joins_numbers_one_by_one(few_images: DeviceImages, precision: Precision) -> None:
    pack = Pack(pack_cells(), few_images, precision)
    pack.rehearse(1)
    made = [cache.cache_info().misses for cache in (norms.constant, norms._group_of_row, norms._back_from)]
    pack.batches.shuffle()
    pack._measured.rewind()
    with Operations() as operations:
        with pack.probe:
            for size in pack.batches.sizes:
                pack._measure_step(size)
        pack.evaluate(few_images.test_count)
    assert (operations.waits, operations.mixed) == ([], [])
    assert operations.kernels.total() > 100
    # A constant that is first brought to the device in a step would be a copy from the host in a captured graph.
    assert made == [cache.cache_info().misses for cache in (norms.constant, norms._group_of_row, norms._back_from)]


def test_scalars_of_several_types_are_stacked_in_their_order() -> None:
    values: list[Tensor] = [torch.tensor(float(i), dtype=(torch.float32, torch.float64)[i % 3 == 1]) for i in range(9)]
    found = norms.stacked(values)
    assert found.dtype is torch.float64
    assert found.tolist() == list(map(float, range(9)))
    assert norms.stacked(values[:1]).dtype is torch.float32


# Of ten networks: what one stream does alone, while nothing else can be done, and of all of them at most. Each is what
# there was when this was written, and a few more.
BUDGETS = {"take": 18, "sum": 2, "update": 4, "read": 24, "forward": 200, "backward": 290}


@pytest.mark.usefixtures("without_first_batch")
def test_the_parts_of_a_step_of_ten_networks_keep_to_their_budgets(
    monkeypatch: pytest.MonkeyPatch, images: DeviceImages
) -> None:
    monkeypatch.setattr(passes, "_MOST_WEIGHTS", passes._MOST_WEIGHTS_ON_A_GPU)
    # A CPU takes three operations for a norm where a GPU takes one.
    monkeypatch.setattr("vgharness.probe.probe.norm_parts", lambda signal: torch.linalg.vector_norm(signal.detach()))
    cells = [cell.model_copy(update={"seed": seed, "depth": 4}) for seed in range(5) for cell in pack_cells(2)]
    pack = Pack(cells, images, "fp32")
    pack.rehearse(1)
    counts: dict[str, int] = {}

    def counted(name: str, part: Callable[[], Any]) -> Any:
        with Operations() as operations:
            found = part()
        counts[name] = operations.kernels.total()
        return found

    with pack.probe:
        batch = counted("take", lambda: pack.batches.take(10))
        pack.optimizer.zero_grad()
        losses, _ = counted("forward", lambda: pack._forward(batch))
        loss = counted("sum", lambda: torch.stack(losses).sum())
        counted("backward", loss.backward)
        counted("update", pack.optimizer.step)
        counted("read", pack.probe.read)
    assert counts.keys() == BUDGETS.keys()
    assert {name: count for name, count in counts.items() if count > BUDGETS[name]} == {}


class Storages(TorchDispatchMode):
    """Notes the memory that operations read and had not made themselves, and what they made."""

    def __init__(self) -> None:
        super().__init__()
        self.read: dict[StorageWeakRef, str] = {}
        self.made: dict[StorageWeakRef, str] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = _storages(args, kwargs)
        for storage in given - self.made.keys():
            self.read.setdefault(storage, str(func))
        output = func(*args, **(kwargs or {}))
        for storage in _storages(output) - given:
            self.made.setdefault(storage, str(func))
        return output


def _storages(*trees: Any) -> set[StorageWeakRef]:
    tensors = [leaf for leaf in tree_leaves(trees) if isinstance(leaf, Tensor)]
    return {StorageWeakRef(tensor.untyped_storage()) for tensor in tensors}


@pytest.mark.usefixtures("without_first_batch")
@pytest.mark.parametrize("norm", [None, "batch"])
def test_a_step_reads_no_memory_that_is_gone_when_it_is_repeated(few_images: DeviceImages, norm: Any) -> None:
    """Recorded steps repeat on the addresses that they had; those of one size of batch come after those of another."""
    pack = Pack(pack_cells(norm=norm), few_images, "fp32")
    pack.rehearse(1)
    pack.batches.shuffle()
    pack._measured.rewind()
    seen: list[Storages] = []
    with pack.probe:
        for size in sorted(set(pack.batches.sizes), reverse=True):
            pack.optimizer.zero_grad()
            with Storages() as storages:
                pack._measure_step(size)
            seen.append(storages)
    gc.collect()
    first, second = seen
    assert [first.made[storage] for storage in second.read.keys() & first.made.keys()] == []
    assert [by for storages in seen for storage, by in storages.read.items() if storage.expired()] == []
    assert len(second.read) > 20


@pytest.mark.usefixtures("without_first_batch")
def test_a_rehearsal_changes_everything_where_it_lies(few_images: DeviceImages) -> None:
    pack = Pack(pack_cells(norm="batch"), few_images, "fp32")

    def places() -> dict[str, int]:
        state = {
            f"{number} {name}": value
            for number, parameter in enumerate(pack.models.parameters())
            for name, value in pack.optimizer.state[parameter].items()
        }
        return {name: tensor.data_ptr() for name, tensor in {**pack.models.state_dict(), **state}.items()}

    pack.rehearse(1)
    before = places()
    pack.rehearse(1)
    assert places() == before
    assert len(before) > 3 * len(list(pack.models.parameters()))


@pytest.mark.usefixtures("without_first_batch")
def test_no_part_of_a_graph_outlives_its_step(few_images: DeviceImages, monkeypatch: pytest.MonkeyPatch) -> None:
    """What accumulates a gradient computes on the stream that it was made on, of a recording that is over."""
    pack = Pack(pack_cells(), few_images, "fp32")
    accumulating = [lambda p=p: p.view_as(p).grad_fn.next_functions[0][0] for p in pack.models.parameters()]
    kept: list[Any] = []

    def forward(batch: Any, *, plain: Any = pack._forward) -> Any:
        found = plain(batch)
        for node in accumulating:
            node().metadata["of this step"] = True
        kept.append(sum("of this step" in node().metadata for node in accumulating))
        return found

    monkeypatch.setattr(pack, "_forward", forward)
    gc.disable()
    try:
        with pack.probe:
            pack.step(pack.batches.sizes[0])
        left = [node for node in accumulating if "of this step" in node().metadata]
    finally:
        gc.enable()
    assert kept == [len(accumulating)]  # while it runs, they are there
    assert left == []


@pytest.mark.usefixtures("without_first_batch")
@pytest.mark.parametrize("norm", [None, "batch"])
def test_an_evaluation_between_two_epochs_changes_neither(few_images: DeviceImages, norm: Any) -> None:
    def epochs(*, evaluated: bool) -> list[StepValues]:
        pack, found = Pack(pack_cells(norm=norm), few_images, "fp32"), []
        for _ in range(2):
            found.append(StepValues(pack.epoch(lambda step: None).flat.clone()))
            if evaluated:
                pack.evaluate(few_images.test_count)
        return found

    for with_it, without in zip(epochs(evaluated=True), epochs(evaluated=False), strict=True):
        torch.testing.assert_close(with_it.flat, without.flat, rtol=0, atol=0, equal_nan=True)


def test_memory_that_is_filled_again_stays_where_it_is() -> None:
    buffer, sizes, places = norms.FlatBuffer(), (1000, 30, 7), set()
    for some in (sizes, sizes[:1], sizes[1:], sizes):
        found = buffer.fill([[torch.full((size,), 2.0)] for size in some]).norms().tolist()
        assert found == pytest.approx([2.0 * size**0.5 for size in some])
        places.add(buffer._memory.data_ptr())
    assert len(places) == 1
