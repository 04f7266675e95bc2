"""The state of a network at the end of an epoch: what goes on from it is what would have gone on."""

import pytest
import torch
from small_cells import pack_cells

from vgharness.data.on_device import DeviceImages
from vgharness.training.checkpoint import CheckpointError, restore, state_of
from vgharness.training.pack import Pack

pytestmark = pytest.mark.fast


def epochs(pack: Pack, count: int) -> list[torch.Tensor]:
    return [pack.epoch(lambda step: None).flat.clone() for _ in range(count)]


@pytest.mark.parametrize("norm", [None, "batch"])
def test_a_pack_goes_on_from_states_of_others_whatever_is_rehearsed_before(
    few_images: DeviceImages, norm: str | None
) -> None:
    cells = pack_cells(2, norm=norm)
    whole = Pack(cells, few_images, "fp32")
    epochs(whole, 2)
    states = [state_of(whole, number) for number in range(2)]
    again = Pack(cells[::-1], few_images, "fp32")  # they have changed places
    for number, state in enumerate(reversed(states)):
        restore(again, number, state)
    again.rehearse(2)  # as before a recording on a GPU
    for a, b in zip(epochs(whole, 2), epochs(again, 2), strict=True):
        torch.testing.assert_close(a, b.flip(1), rtol=0, atol=0, equal_nan=True)


def test_a_state_of_another_network_is_refused(few_images: DeviceImages) -> None:
    deep = Pack(pack_cells(1, depth=3), few_images, "fp32")
    epochs(deep, 1)
    pack = Pack(pack_cells(2), few_images, "fp32")
    for content in (state_of(deep, 0), b"", b"\x80\x04N.", state_of(deep, 0)[:500]):
        with pytest.raises(CheckpointError) as caught:
            restore(pack, 1, content)
        assert caught.value.number == 1
        assert "\n" not in caught.value.reason


def test_nothing_in_a_state_is_run(few_images: DeviceImages) -> None:
    import io

    class Runs:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return exec, ("raise SystemExit('it was run')",)

    file = io.BytesIO()
    torch.save({"model": Runs(), "optimizer": [], "generators": ()}, file)
    with pytest.raises(CheckpointError):
        restore(Pack(pack_cells(1), few_images, "fp32"), 0, file.getvalue())
