"""Random networks and known-good models, judged in processes of their own."""

import sys
from pathlib import Path

import pytest

from vgharness.benchmarks import trainability
from vgharness.benchmarks.random_networks import RandomNetwork
from vgharness.benchmarks.trainability import try_network, try_networks
from vgharness.benchmarks.zoo import check_models

pytestmark = pytest.mark.processes


def test_processes_give_what_one_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    networks = [
        RandomNetwork(
            family="mlp", convolutional=False, depth=2, width=16, activation="relu", cell=None, init="he", seed=seed
        )
        for seed in (3, 4)
    ]
    monkeypatch.setattr(trainability, "draw_networks", lambda count, seed: networks)
    assert list(try_networks(2, 5)) == [try_network(network) for network in networks]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not keep to the limit")
def test_a_model_that_asks_for_too_much_memory_is_refused_it(tmp_path: Path) -> None:
    (tmp_path / "greedy.py").write_text("import torch\ndef model(): return torch.nn.Linear(2**17, 2**16)\n")
    (found,) = check_models([f"{tmp_path / 'greedy.py'}:model"], 42)
    assert found.outcome == "refused"
    assert found.memory < 2**33
