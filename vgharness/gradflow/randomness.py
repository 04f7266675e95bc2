"""Every random generator that a model, a batch or a loss may draw from: seeded together, and put back."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import numpy as np
import torch

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
