"""A user's own network and recipe: trained as a plain loop trains it, and what is wrong with them said in one line."""

from pathlib import Path
from typing import Any

import pytest
import torch
from factories import without_seconds
from torch import nn

from vgharness.data.images import load_images
from vgharness.data.on_device import DeviceImages
from vgharness.errors import UsageError
from vgharness.records import Cell, CellResult, OwnNetwork
from vgharness.training.executor import Execution, LocalExecutor
from vgharness.training.loop import train_pack
from vgharness.training.own_network import check_own, own_learning_rate

pytestmark = pytest.mark.fast

NETS = """
import torch
from torch import nn
def rows():
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(60, 5, generator=generator)
    targets = (inputs[:, :1] > 0).float()
    return (inputs[:40], targets[:40]), (inputs[40:], targets[40:])
def plain(width, outputs=1):
    return nn.Sequential(nn.Linear(5, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 1))
def dropping(width):
    return nn.Sequential(nn.Linear(5, width), nn.ReLU(), nn.Dropout(0.5), nn.Linear(width, 1))
def broken(width):
    raise RuntimeError("no")
def number(width):
    return 3
"""


@pytest.fixture
def nets(tmp_path: Path) -> Path:
    path = tmp_path / "nets.py"
    path.write_text(NETS)
    return path


@pytest.fixture
def rows(nets: Path) -> DeviceImages:
    return DeviceImages(load_images(f"{nets}:rows"), torch.device("cpu"))


def own_cell(nets: Path, name: str = "plain", *, seed: int = 42, **changes: Any) -> Cell:
    recipe = {
        "loss": "binary_cross_entropy_with_logits",
        "optimizer": "SGD",
        "optimizer_settings": {"lr": 0.5, "momentum": 0.9},
        "schedule": "StepLR",
        "schedule_settings": {"step_size": 1, "gamma": 0.5},
        "factors": {"width": 7},
    }
    own = OwnNetwork(network=f"{nets}:{name}", **{**recipe, **changes})
    return Cell(architecture="mlp", activation="own", seed=seed, epochs=3, batch_size=16, own=own)


def trained(cell: Cell, rows: DeviceImages) -> CellResult:
    (result,) = train_pack((cell,), rows, "fp32")
    return result


def test_it_is_what_a_plain_loop_trains(nets: Path, rows: DeviceImages) -> None:
    result = trained(own_cell(nets), rows)
    assert (result.status, [layer.name for layer in result.layers]) == ("finished", ["0", "1", "2", "3", "4"])
    last = result.epochs[-1]
    assert last.test_accuracy is not None
    assert last.test_accuracy > 80
    assert last.test_loss is not None
    assert last.train_loss is not None
    assert result.epochs[0].train_loss is not None
    assert last.train_loss < result.epochs[0].train_loss
    # Everything that the README's networks get: gradients, their numerical errors, theory's word.
    assert [layer.name for layer in last.flow.layers] == ["0", "2", "4"]
    assert [moment.epoch for moment in result.numerics] == [0, 1, 3]
    assert [(layer.name, layer.above) for layer in result.predictions] == [("0", "2"), ("2", "4")]


def test_the_loop_by_hand_gives_the_same_losses(nets: Path, rows: DeviceImages) -> None:
    cell = own_cell(nets)
    result = trained(cell, rows)
    torch.default_generator.set_state(state("weights"))
    model = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 7), nn.Tanh(), nn.Linear(7, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1, gamma=0.5)
    order, images = torch.Generator(), load_images(f"{nets}:rows")
    order.set_state(state("order"))
    losses = []
    for _ in range(3):
        total = 0.0
        for part in torch.randperm(40, generator=order).split(16):
            optimizer.zero_grad()
            outputs = model(images.train_images[part])
            loss = nn.functional.binary_cross_entropy_with_logits(outputs, images.train_labels[part])
            loss.backward()
            optimizer.step()
            total += loss.item() * len(part)
        schedule.step()
        losses.append(total / 40)
    assert [epoch.train_loss for epoch in result.epochs] == pytest.approx(losses, rel=1e-5)


def state(purpose: Any) -> torch.Tensor:
    from vgharness.training.randomness import generator

    return generator(Cell(architecture="script", activation="relu", seed=42), purpose).get_state()


def test_what_it_draws_is_its_own_beside_others(nets: Path, rows: DeviceImages) -> None:
    cells = [own_cell(nets, "dropping", seed=seed) for seed in (42, 43, 44, 45)]
    execution = Execution(cells)
    execution.run(LocalExecutor([rows], "fp32", 2))
    torch.rand(5)
    alone = [trained(cell, rows) for cell in cells]
    assert [without_seconds(x) for x in execution.results] == [without_seconds(x) for x in alone]
    assert not alone[0].numerics  # of gradients that are not the same twice there is no numerical error to say


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"name": "missing"}, "has no 'missing'"),
        ({"factors": {"width": 7, "depth": 2}}, "takes no depth"),
        ({"factors": {}}, "needs width"),
        ({"loss": "cross_entropi"}, "did you mean cross_entropy"),
        ({"optimizer": "Sgd"}, "did you mean SGD"),
        ({"optimizer_settings": {"learning_rate": 1}}, "optimizer SGD: TypeError"),
        ({"optimizer": "LBFGS", "optimizer_settings": {}}, "computes the loss several times"),
        ({"schedule": "ReduceLROnPlateau"}, "needs the loss"),
        ({"schedule": "Step"}, "no such class"),
    ],
)
def test_what_is_wrong_is_said_before_anything_trains(nets: Path, changes: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says) as raised:
        check_own(own_cell(nets, **changes))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(("name", "says"), [("broken", "raised RuntimeError: no"), ("number", "gives int, not a")])
def test_a_network_that_cannot_be_made_fails_alone(nets: Path, rows: DeviceImages, name: str, says: str) -> None:
    execution = Execution([own_cell(nets, name), own_cell(nets)])
    execution.run(LocalExecutor([rows], "fp32", 1))
    failed, finished = execution.results
    assert (failed.status, finished.status) == ("failed", "finished")
    assert says in failed.reason


def test_a_schedule_is_stepped_after_each_epoch(nets: Path) -> None:
    own = own_cell(nets).own
    assert own is not None
    assert [own_learning_rate(own, epoch) for epoch in (1, 2, 3)] == [0.5, 0.25, 0.125]
