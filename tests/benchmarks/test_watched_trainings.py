"""What ``watch`` itself says of the trainings; and of a long one."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional

import vgharness
from vgharness.benchmarks.trainings import HEALTHY, WRONG
from vgharness.benchmarks.trainings.judging import judge_trainings
from vgharness.benchmarks.trainings.networks import discriminator_network, generator_network

BY_NAME = {training.name: training for training in (*WRONG, *HEALTHY)}


@pytest.mark.fast
@pytest.mark.parametrize("name", ["NaN in the forward pass", "layer that dies", "layer the optimizer lacks"])
def test_what_is_said_first_is_right(name: str) -> None:
    (judged,) = judge_trainings([BY_NAME[name]])
    assert judged.outcome == "right", judged
    assert judged.birth_right is not False, judged.birth


@pytest.mark.fast
@pytest.mark.parametrize("name", ["heavy-tailed batches", "unfreezing"])
def test_of_a_healthy_training_nothing_is_said(name: str) -> None:
    (judged,) = judge_trainings([BY_NAME[name]])
    assert judged.outcome == "quiet", judged


# Not as its label says: mend the cause and take it off this list.
KNOWN = {
    "GAN, discriminator too good": "told as a warning: no loss is given that would tell it from a GAN that has learned",
}


@pytest.mark.deep
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.xfail(reason=KNOWN[name], strict=True)) if name in KNOWN else name
        for name in BY_NAME
    ],
)
def test_each_of_the_trainings(name: str) -> None:
    (judged,) = judge_trainings([BY_NAME[name]])
    assert judged.outcome in ("right", "quiet"), judged
    assert judged.birth_right is not False, judged.birth


@pytest.mark.deep
@pytest.mark.parametrize("shift", [0.0, 20.0])
def test_a_generator_whose_discriminator_becomes_certain_is_told_where_losses_are_given(shift: float) -> None:
    torch.manual_seed(1)
    models = {"generator": generator_network(), "discriminator": discriminator_network()}
    generator, discriminator = models.values()
    first, second = (torch.optim.Adam(model.parameters(), 1e-3, betas=(0.5, 0.9)) for model in models.values())
    with vgharness.watch(models, [first, second], every=10, log=None, on_problem=None) as watch:
        for step in range(200):
            far = step >= 100 and shift > 0
            second.param_groups[0]["lr"] = 1e-2 if far else 2e-3
            real = torch.tensor([1.5, -1.0]) + 0.3 * torch.randn(64, 2) + (shift if far else 0.0)
            fake = generator(torch.randn(64, 4))
            judged = functional.softplus(-discriminator(real)).mean()
            judged = judged + functional.softplus(discriminator(fake.detach())).mean()
            second.zero_grad()
            judged.backward()
            second.step()
            loss = -functional.softplus(discriminator(fake)).mean()
            first.zero_grad()
            loss.backward()
            first.step()
            watch.step({"generator": loss, "discriminator": judged})
    told = [(x.kind, x.model) for x in watch.problems if x.severity == "problem"]
    assert told == ([("vanishing", "generator")] if shift else [])


@pytest.mark.deep
def test_the_log_of_a_long_training_is_bounded(tmp_path: Path) -> None:
    """With as many snapshots as half a million steps at ``every=100`` have."""
    torch.manual_seed(0)
    model = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(model.parameters(), 1e-3)
    inputs, targets = torch.randn(8, 4), torch.randn(8, 1)
    with vgharness.watch(model, optimizer, every=1, on_problem=None, log="long", storage=tmp_path) as watch:
        for _ in range(5_000):
            optimizer.zero_grad()
            functional.mse_loss(model(inputs), targets).backward()
            optimizer.step()
    assert watch.path is not None
    log = vgharness.load_training_log(watch.path)
    steps = [snapshot.step for snapshot in log.snapshots]
    assert (steps[0], steps[-1], log.models[0].steps) == (0, 4_999, 5_000)
    assert 512 <= len(steps) <= 1024 + 256  # these where a problem began or ended
    assert watch.path.stat().st_size < 2**20
