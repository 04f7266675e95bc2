"""The values that steps and evaluations leave on the device, and their way to the host.

Each kind is one flat tensor, for which an epoch needs one buffer and one copy to the host; its columns have names here.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class StepValues:
    """What training steps measured, of before each step's update.

    flat: [..., values]: as a step gives it [R, values], of an epoch [steps, R, values], R the number of networks. The
        values are a network's gradients, rows · columns of them as the probe reads them, its loss, and its correct.
    """

    flat: Tensor

    @staticmethod
    def join(gradients: Tensor, losses: Tensor, correct: Tensor) -> StepValues:
        """The values of one step from ``gradients`` [R, rows · columns], ``losses`` [R] and ``correct`` [R]."""
        return StepValues(torch.cat([gradients, losses[:, None], correct[:, None]], dim=1))

    @property
    def gradients(self) -> Tensor:
        """[..., rows · columns]: the probe's quantities."""
        return self.flat[..., :-2]

    @property
    def losses(self) -> Tensor:
        """[...]: the mean loss over the batch, nats."""
        return self.flat[..., -2]

    @property
    def correct(self) -> Tensor:
        """[...]: how many images of the batch the network classified right."""
        return self.flat[..., -1]

    def of_network(self, number: int) -> StepValues:
        """Of an epoch's values one network's: [steps, values]."""
        return StepValues(self.flat[:, number].contiguous())


@dataclass(frozen=True)
class EvaluationValues:
    """What an evaluation measured of R networks.

    flat: [R, 2]: the loss summed over the test images, in nats, and how many of them the network classified right.
    """

    flat: Tensor

    @staticmethod
    def zeros(networks: int, device: torch.device) -> EvaluationValues:
        """The values of ``networks`` networks before the first image."""
        return EvaluationValues(torch.zeros(networks, 2, device=device))

    @property
    def losses(self) -> Tensor:
        """[R]: the summed losses."""
        return self.flat[:, 0]

    @property
    def correct(self) -> Tensor:
        """[R]: the numbers of right answers."""
        return self.flat[:, 1]

    def add(self, number: int, loss: Tensor, correct: Tensor) -> None:
        """Adds to a network's sums those over more images, scalars."""
        self.flat[number].add_(torch.stack([loss, correct]))


class EpochBuffer:
    """Where the steps of an epoch leave their values, on the device.

    Which step is next is counted there too: to add a step's values is the same work every time, which a CUDA graph can
    repeat, and they go to the same place in every epoch.
    """

    def __init__(self, steps: int, device: torch.device) -> None:
        """``steps``: of an epoch."""
        self._steps = steps
        self._added = torch.zeros(1, dtype=torch.int64, device=device)
        self._flat = torch.empty(0, device=device)  # [steps, R, values], once a step's values have come

    @property
    def values(self) -> StepValues:
        """All steps' values; those of steps that were not added yet are an earlier epoch's, or arbitrary."""
        return StepValues(self._flat)

    def add(self, step: StepValues) -> None:
        """Copies the values of the epoch's next step to their place."""
        if not len(self._flat):
            self._flat = step.flat.new_empty(self._steps, *step.flat.shape)
        self._flat.index_copy_(0, self._added, step.flat[None])
        self._added += 1

    def rewind(self) -> None:
        """Makes the next step the epoch's first."""
        self._added.zero_()


def to_host(steps: StepValues, evaluation: EvaluationValues) -> tuple[StepValues, EvaluationValues]:
    """Copies both from the device to the host in one transfer, as float64."""
    host = torch.cat([steps.flat.flatten(), evaluation.flat.flatten()]).double().cpu()
    count = steps.flat.numel()
    return (
        StepValues(host[:count].view(steps.flat.shape)),
        EvaluationValues(host[count:].view(evaluation.flat.shape)),
    )
