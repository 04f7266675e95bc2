"""Values of steps and evaluations: columns by name, and one way to the host."""

import pytest
import torch

from vgharness.training.values import EpochBuffer, EvaluationValues, StepValues, to_host

pytestmark = pytest.mark.fast

CPU = torch.device("cpu")


def step(first: float) -> StepValues:
    """Two networks with three gradients each."""
    gradients = first + torch.arange(6.0).view(2, 3)
    return StepValues.join(gradients, losses=torch.tensor([0.1, 0.2]), correct=torch.tensor([7.0, 8.0]))


def test_columns_have_names() -> None:
    values = step(0)
    assert values.flat.shape == (2, 5)
    assert values.gradients.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert torch.equal(values.losses, torch.tensor([0.1, 0.2]))
    assert values.correct.tolist() == [7, 8]


def test_an_epoch_holds_its_steps_in_order_and_the_next_one_replaces_them() -> None:
    epoch = EpochBuffer(2, CPU)
    for first in (0, 100):
        epoch.rewind()
        epoch.add(step(first))
        epoch.add(step(first + 10))
        assert epoch.values.gradients[:, :, 0].tolist() == [[first, first + 3], [first + 10, first + 13]]
    second = epoch.values.of_network(1)
    assert second.gradients.tolist() == [[103, 104, 105], [113, 114, 115]]
    assert second.correct.tolist() == [8, 8]


def test_an_evaluation_sums_what_each_network_adds() -> None:
    values = EvaluationValues.zeros(2, CPU)
    for _ in range(2):
        values.add(1, torch.tensor(1.5), torch.tensor(4.0))
    assert values.losses.tolist() == [0, 3]
    assert values.correct.tolist() == [0, 8]


def test_the_host_gets_both_as_they_were() -> None:
    steps, evaluation = StepValues(torch.stack([step(0).flat, step(1).flat])), EvaluationValues(torch.ones(2, 2))
    copied_steps, copied_evaluation = to_host(steps, evaluation)
    assert torch.equal(copied_steps.flat, steps.flat.double())
    assert torch.equal(copied_evaluation.flat, evaluation.flat.double())
