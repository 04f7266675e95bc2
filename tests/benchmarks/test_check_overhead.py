"""What is run, and what is divided by what, to say what `vgharness check` costs; never a time."""

import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vgharness.benchmarks import check_overhead
from vgharness.benchmarks.check_overhead import InProcess, check_costs, memory_of_check, time_parts
from vgharness.benchmarks.timing import Ratio
from vgharness.errors import UsageError

pytestmark = pytest.mark.fast

MODELS = """
from torch import nn

def good(): return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))

def closed():
    model = good()
    nn.init.zeros_(model[2].weight)
    return model

class Choosy(nn.Module):
    def __init__(self): super().__init__(); self.layer = nn.Linear(3, 3)
    def forward(self, x): raise ValueError("not this")
"""


@pytest.fixture
def models(tmp_path: Path) -> str:
    (tmp_path / "models.py").write_text(MODELS)
    return str(tmp_path / "models.py")


def in_turn(seconds: dict[str, list[float]], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Instead of timing: each arm runs once, and these are its seconds. Returns the arms in the order of their runs."""
    ran: list[str] = []

    def take_turns(arms: Any, rounds: int, device: torch.device) -> dict[str, list[float]]:
        for name, arm in arms.items():
            ran.append(name)
            arm()
        return {name: seconds[name] for name in arms}

    monkeypatch.setattr(check_overhead, "take_turns", take_turns)
    return ran


def test_parts_are_over_the_passes_that_they_are_to_be_compared_with(
    models: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = in_turn({"plain": [4.0, 4.0], "measuring": [6.0, 6.0], "choosing": [1.0, 1.0]}, monkeypatch)
    found = time_parts(f"{models}:good", seeds=4, rounds=2)
    assert ran == ["plain", "measuring", "choosing"]
    assert found.passes == 4  # nothing is closed: no steps
    assert (found.plain_seconds, found.measuring.median, found.choosing.median) == (4.0, 1.5, 1.0)
    assert found.both.median == 7.0 / 4.0
    assert "cross-entropy" in found.batch


def test_passes_of_steps_on_copies_count(models: str, monkeypatch: pytest.MonkeyPatch) -> None:
    in_turn({"plain": [2.0, 2.0], "measuring": [6.0, 6.0], "choosing": [1.0, 1.0]}, monkeypatch)
    found = time_parts(f"{models}:closed", seeds=2, rounds=2)
    assert found.passes == 2 + 2  # two seeds, and one after a step of either optimizer
    assert found.both.median == pytest.approx(7.0 / found.passes)


def test_plain_passes_are_of_new_models_and_send_gradients_back(models: str) -> None:
    made: list[nn.Module] = []
    sent: list[Tensor] = []

    def factory() -> nn.Module:
        made.append(nn.Linear(8, 4))
        made[-1].weight.register_hook(lambda grad: sent.append(grad))
        return made[-1]

    batch = check_overhead.choose_batch(lambda: nn.Linear(8, 4))
    check_overhead._plain_passes(factory, batch, 3)
    assert len(made) == len(sent) == 3
    assert not torch.equal(made[0].weight, made[1].weight)


def test_a_process_is_over_its_import_and_its_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    one = Ratio(median=1, low=1, high=1)
    parts = InProcess(batch="b", passes=8, plain_seconds=10.0, measuring=one, choosing=one, both=one)
    started: list[bool] = []

    def process(configured: bool) -> ThreadPoolExecutor:
        started.append(configured)
        return ThreadPoolExecutor(1)

    monkeypatch.setattr(check_overhead, "isolated_process", process)
    monkeypatch.setattr(check_overhead, "time_parts", lambda model, seeds, rounds: parts)
    monkeypatch.setattr(check_overhead, "memory_of_check", lambda model, seeds: 1000 + 100 * seeds)
    monkeypatch.setattr(check_overhead, "time_processes", lambda model, seeds, rounds: ([2.0, 2.0], [24.0, 24.0]))
    (cost,) = check_costs(["a:b"], seeds=5, rounds=2)
    assert cost.process.median == 24 / (2 + 8 * 10 / 5)
    assert cost.process_per_seed.median == 24 / (2 + 10)
    assert (cost.memory_of_one, cost.memory) == (1100, 1500)
    assert (cost.within_time, cost.within_memory) == (False, False)
    assert started == [False] * 3  # as a user starts them


def test_goals_are_met_up_to_their_limits() -> None:
    one, most = Ratio(median=1, low=1, high=1), Ratio(median=1.2, low=1, high=2)
    parts = InProcess(batch="b", passes=8, plain_seconds=10.0, measuring=one, choosing=one, both=one)
    cost = check_overhead.CheckCost(
        model="a:b",
        seeds=5,
        rounds=2,
        parts=parts,
        import_seconds=1.0,
        process=most,
        process_per_seed=one,
        memory_of_one=1000,
        memory=1300,
    )
    assert (cost.within_time, cost.within_memory) == (True, True)


def test_processes_are_the_import_and_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    in_turn({"import": [1.0], "check": [2.0]}, monkeypatch)
    commands: list[Sequence[str]] = []
    monkeypatch.setattr(check_overhead, "_run", commands.append)
    assert check_overhead.time_processes("a:b", 3, 2) == ([1.0], [2.0])
    assert [command[-1] for command in commands] == ["a:b", "3"]
    assert commands[1][1:] == ["-m", "vgharness", "check", "a:b", "--seeds", "3"]


def test_a_process_that_is_refused_its_model_is_said() -> None:
    check_overhead._run([sys.executable, "-c", "raise SystemExit(1)"])  # a problem was found
    refused = "import sys; print('no such thing', file=sys.stderr); sys.exit(2)"
    with pytest.raises(UsageError, match="ended with 2: no such thing"):
        check_overhead._run([sys.executable, "-c", refused])


def test_memory_is_of_a_process_that_checked(models: str) -> None:
    assert memory_of_check(f"{models}:good", 2) > 2**26
    with pytest.raises(UsageError, match="no input was found"):
        memory_of_check(f"{models}:Choosy", 1)
