"""Optimizers and schedules against PyTorch's own, and the packs that activations with parameters make."""

import pytest
import torch
from small_cells import small_cell, train
from torch.nn import functional
from torch.optim.lr_scheduler import CosineAnnealingLR

from vgharness.data.on_device import DeviceImages
from vgharness.training.loop import train_pack
from vgharness.training.optimizer import learning_rate_at
from vgharness.training.pack import Pack, initial_network, pack_key
from vgharness.training.randomness import Batches

pytestmark = [pytest.mark.fast, pytest.mark.usefixtures("without_first_batch")]


def test_sgd_with_momentum_on_a_cosine_is_pytorchs_own(few_images: DeviceImages) -> None:
    cell = small_cell(optimizer="sgd", learning_rate=0.05, schedule="cosine", epochs=3, width=0.5)
    model, batches = initial_network(cell, few_images), Batches((cell,), few_images)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    schedule = CosineAnnealingLR(optimizer, T_max=3)
    expected = []
    for epoch in range(1, 4):
        assert learning_rate_at(cell, epoch) == pytest.approx(schedule.get_last_lr()[0], rel=1e-12)
        batches.shuffle()
        total = 0.0
        for size in batches.sizes:
            (inputs,), (targets,) = batches.take(size)
            optimizer.zero_grad()
            loss = functional.cross_entropy(model(inputs), targets)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            total += loss.item() * size
        schedule.step()
        expected.append(total / 24)
    found = [epoch.train_loss for epoch in train(cell, few_images, "fp32").epochs]
    assert found == pytest.approx(expected, rel=1e-5)
    constant = train(cell.model_copy(update={"schedule": "constant"}), few_images, "fp32").epochs
    assert constant[2].train_loss != pytest.approx(expected[2], rel=1e-5)


def test_a_rehearsal_takes_back_what_sgd_keeps(few_images: DeviceImages) -> None:
    for momentum in (0.0, 0.9):
        pack = Pack((small_cell(optimizer="sgd", momentum=momentum),), few_images, "fp32")
        pack.rehearse(1)
        kept = [value for state in pack.optimizer.state.values() for value in state.values() if value is not None]
        assert bool(kept) == bool(momentum)
        assert not any(value.any() for value in kept)


def test_an_activation_that_is_trained_is_a_layer_and_shares_a_pack_with_its_like_alone(
    few_images: DeviceImages,
) -> None:
    cells = [small_cell("prelu", seed=seed) for seed in (42, 43)]
    together = train_pack(cells, few_images, "fp32")
    alone = [train(cell, few_images, "fp32") for cell in cells]
    for a, b in zip(together, alone, strict=True):
        assert (a.status, a.initial, a.epochs[0].flow) == ("finished", b.initial, b.epochs[0].flow)
        assert [layer.name for layer in a.epochs[0].flow.layers] == ["conv1", "act1", "conv2", "act2", "fc"]
    assert pack_key(small_cell("prelu")) != pack_key(small_cell("relu")) == pack_key(small_cell("mish"))
    with pytest.raises(ValueError, match="trained ones are apart"):
        Pack((small_cell("prelu"), small_cell("relu")), few_images, "fp32")
