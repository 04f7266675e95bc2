"""What a step and an evaluation ask of a device, counted on the CPU: on a GPU they must not wait for it, bring nothing
to it, and not do one by one what it can do at once."""

from typing import Any

import pytest
import torch
from small_cells import pack_cells
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from vgharness.data.on_device import DeviceImages
from vgharness.probe import norms
from vgharness.records import Precision
from vgharness.training.pack import Pack

pytestmark = pytest.mark.fast

WAITS = (  # for a value, or for how many there are
    torch.ops.aten._local_scalar_dense.default,
    torch.ops.aten.nonzero.default,
    torch.ops.aten.masked_select.default,
)
JOINS = (torch.ops.aten.stack.default, torch.ops.aten.cat.default, torch.ops.aten.cat.out)
MOST_MIXED = 8  # tensors of several types in one join, each of which a GPU casts and copies by itself


class Operations(TorchDispatchMode):
    """Notes the operations that would slow a GPU down or break a CUDA graph, and counts all."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.waits: list[str] = []
        self.mixed: list[int] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += 1
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
    assert operations.count > 100
    # A constant that is first brought to the device in a step would be a copy from the host in a captured graph.
    assert made == [cache.cache_info().misses for cache in (norms.constant, norms._group_of_row, norms._back_from)]


def test_scalars_of_several_types_are_stacked_in_their_order() -> None:
    values: list[Tensor] = [torch.tensor(float(i), dtype=(torch.float32, torch.float64)[i % 3 == 1]) for i in range(9)]
    found = norms.stacked(values)
    assert found.dtype is torch.float64
    assert found.tolist() == list(map(float, range(9)))
    assert norms.stacked(values[:1]).dtype is torch.float32
