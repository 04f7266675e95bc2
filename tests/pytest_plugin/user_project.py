"""A project of somebody else's, as pytester lays it out, and ways to run it."""

from pathlib import Path

import pytest

# What a project of somebody else's has: a model, a batch, a loss.
PROJECT = """
import pytest
import torch
from torch import nn

def model():
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))

class Scaled(nn.Linear):
    def forward(self, x):
        return 1e-9 * super().forward(x)

def faint():
    made = model()
    made[2] = Scaled(8, 2)
    return made

def small():
    made = model()
    made[2].weight.data *= 0.03
    return made

def batch(seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(16, 4, generator=generator), torch.zeros(16, dtype=torch.long)

loss = nn.functional.cross_entropy
"""
FLOWS = "\ndef test_flows(gradflow):\n    gradflow(model, batch, loss)\n"


def run(project: pytest.Pytester, *options: str) -> pytest.RunResult:
    return project.runpytest_inprocess("-p", "no:cacheprovider", "-p", "no:randomly", *options)


def rewrite(project: pytest.Pytester, tests: str) -> None:
    project.makepyfile(test_model=PROJECT + tests)


def saved(project: pytest.Pytester) -> list[Path]:
    return sorted((project.path / ".gradflow").rglob("*.json"))
