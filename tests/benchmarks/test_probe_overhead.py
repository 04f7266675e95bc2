"""That every way of measuring is timed on the same network; never a time."""

import pytest
import torch

from vgharness.benchmarks import probe_overhead
from vgharness.benchmarks.probe_overhead import probe_cost

pytestmark = pytest.mark.fast

CPU = torch.device("cpu")


def test_every_arm_trains_the_same_network(monkeypatch: pytest.MonkeyPatch) -> None:
    models = []
    monkeypatch.setattr(
        probe_overhead,
        "DeepCNN",
        lambda *a, make=probe_overhead.DeepCNN, **k: models.append(make(*a, **k)) or models[-1],
    )
    cost = probe_cost("script", "relu", CPU, batch_size=2, rounds=2, steps=1)
    assert (cost.architecture, cost.batch_size, cost.rounds) == ("script", 2, 2)
    assert len(models) == 4
    for model in models[1:]:
        assert all(torch.equal(a, b) for a, b in zip(models[0].parameters(), model.parameters(), strict=True))
