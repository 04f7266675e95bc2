"""Small trainings to watch."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional


class Training:
    """A small classifier and its optimizer; ``run`` takes steps, each on a batch of its own."""

    def __init__(self, model: nn.Module | None = None, lr: float = 0.1) -> None:
        torch.manual_seed(0)
        self.model = model or nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=lr)
        self.data = torch.Generator().manual_seed(1)

    def loss(self) -> Tensor:
        x = torch.randn(16, 6, generator=self.data)
        return functional.cross_entropy(self.model(x), torch.randint(3, (16,), generator=self.data))

    def backward(self, scale: float = 1.0) -> Tensor:
        loss = self.loss()
        (scale * loss).backward()
        return loss.detach()

    def run(self, steps: int, before_step: Callable[[], object] = lambda: None) -> None:
        for _ in range(steps):
            self.optimizer.zero_grad()
            self.backward()
            before_step()
            self.optimizer.step()
