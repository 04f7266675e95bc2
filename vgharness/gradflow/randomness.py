"""Every random generator that a model, a batch or a loss may draw from: seeded together, and put back."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from torch import Tensor

_NUMPY_SEEDS: Final = 2**32


def seed_everything(seed: int) -> None:
    """Seeds Python's, numpy's and torch's generators, torch's on the CPU and on every GPU. Call it where the random
    state is kept."""
    random.seed(seed)
    np.random.seed(seed % _NUMPY_SEEDS)  # the global generator: what others draw from
    torch.manual_seed(seed)


@contextmanager
def random_state_kept() -> Iterator[None]:
    """Puts the state of those generators back afterwards."""
    python, numpy = random.getstate(), np.random.get_state()
    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


class GeneratorStates(NamedTuple):
    """The states of those generators at one moment.

    python, numpy: as these libraries give them.
    torch: of the CPU's generator.
    cuda: by number of the GPU.
    """

    python: Any
    numpy: Any
    torch: Tensor
    cuda: Mapping[int, Tensor]

    @staticmethod
    def now(gpus: tuple[int, ...] = ()) -> GeneratorStates:
        """Takes them, which waits for no GPU."""
        if gpus and torch.cuda.is_current_stream_capturing():
            gpus = ()  # a graph that is captured has a generator of its own
        return GeneratorStates(
            random.getstate(),
            np.random.get_state(),
            torch.get_rng_state(),
            {gpu: torch.cuda.get_rng_state(gpu) for gpu in gpus},
        )

    def put_back(self) -> None:
        """Sets the generators to these states; those of GPUs that are not there stay as they are."""
        random.setstate(self.python)
        np.random.set_state(self.numpy)
        torch.set_rng_state(self.torch)
        there = torch.cuda.device_count() if self.cuda else 0
        for gpu, state in self.cuda.items():
            if gpu < there:
                torch.cuda.set_rng_state(state, gpu)
