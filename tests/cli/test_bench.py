"""The benchmark's arithmetic and its command; never a time."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from vgharness.benchmarks import timing
from vgharness.benchmarks.gallery import models, peers
from vgharness.benchmarks.timing import probe_cost, ratio, take_turns
from vgharness.cli import main as cli

pytestmark = pytest.mark.fast

CPU = torch.device("cpu")


def test_arms_take_turns_and_the_first_round_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, order = [0.0], []
    monkeypatch.setattr(timing.time, "perf_counter", lambda: clock[0])

    def arm(name: str, seconds: float) -> None:
        clock[0] += seconds * (100 if name not in order else 1)  # the first time is slow
        order.append(name)

    times = take_turns({"a": lambda: arm("a", 1), "b": lambda: arm("b", 2)}, 3, CPU)
    assert order == ["a", "b"] * 4
    assert times == {"a": [1, 1, 1], "b": [2, 2, 2]}


def test_a_ratio_is_taken_round_by_round() -> None:
    """A machine ten times slower in one round changes nothing."""
    found = ratio([2, 2.2, 30, 2], [1, 1, 10, 1])
    assert (found.low, found.median, found.high) == pytest.approx((2.0, 2.1, 2.4))


def test_every_arm_trains_the_same_network(monkeypatch: pytest.MonkeyPatch) -> None:
    models = []
    monkeypatch.setattr(
        timing, "DeepCNN", lambda *a, make=timing.DeepCNN, **k: models.append(make(*a, **k)) or models[-1]
    )
    cost = probe_cost("script", "relu", CPU, batch_size=2, rounds=2, steps=1)
    assert (cost.architecture, cost.batch_size, cost.rounds) == ("script", 2, 2)
    assert len(models) == 4
    for model in models[1:]:
        assert all(torch.equal(a, b) for a, b in zip(models[0].parameters(), model.parameters(), strict=True))


def test_the_command_prints_ratios_and_writes_them(tmp_path: Path) -> None:
    options = [
        "--rounds",
        "2",
        "--steps",
        "1",
        "--batch-size",
        "2",
        "--device",
        "cpu",
        "--json",
        str(tmp_path / "b.json"),
    ]
    result = CliRunner().invoke(cli.app, ["bench", "probe", *options])
    assert result.exit_code == 0, result.output
    for words in ("readme relu", "script relu", "baseline way", "Ratios to the step without"):
        assert words in result.output
    written = json.loads((tmp_path / "b.json").read_text())
    assert [cost["architecture"] for cost in written["costs"]] == ["readme", "script"]
    assert written["machine"]["versions"]["torch"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--rounds", "1"], "--rounds 1: give 2 or more"),
        (["--steps", "0"], "--steps 0: give 1 or more"),
        (["--device", "tpu"], "--device tpu: use auto, cpu, cuda or cuda:N"),
    ],
)
def test_bad_input_is_one_line(options: list[str], words: str) -> None:
    result = CliRunner().invoke(cli.app, ["bench", "probe", *options])
    assert result.exit_code == 2
    assert words in result.output


# --- the gallery ---------------------------------------------------------------------------------------


@pytest.fixture
def small_gallery(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two sick networks and a healthy one, three seeds."""
    sick = [next(case for case in models.SICK if case.problem == problem) for problem in ("vanishing", "missing")]
    monkeypatch.setattr(peers, "SICK", sick)
    monkeypatch.setattr(peers, "HEALTHY", [case for case in models.HEALTHY if case.name == "kaiming MLP"])
    monkeypatch.setattr(peers, "SEEDS", (42, 43, 44))


def judge(said: Any) -> list[str]:
    found: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(peers._SAY, "another", said)
        peers.judge_gallery(["another"], lambda judged: found.append(judged.judgements["another"]))
    return found


@pytest.mark.usefixtures("small_gallery")
def test_a_peers_word_is_held_against_the_illness() -> None:
    assert judge(lambda model, batch: None) == ["missed", "missed", "quiet"]
    assert judge(lambda model, batch: "missing") == ["seen", "named", "alarm"]
    assert judge(lambda model, batch: 1 / 0) == ["crashed"] * 3


@pytest.mark.usefixtures("small_gallery")
def test_a_peer_is_given_the_model_with_its_loss() -> None:
    losses = []

    def say(model: Any, batch: Any) -> None:
        loss = model(*batch)
        loss.backward()
        losses.append(loss.item())

    assert judge(say) == ["missed", "missed", "quiet"]
    assert len(losses) == 9
    assert len(set(losses)) == 9  # each seed has a model and a batch of its own


@pytest.mark.usefixtures("small_gallery")
def test_the_command_prints_what_each_tool_that_is_here_made_of_the_gallery(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "installed", lambda: {"vgharness": "0", "torchtest2": "1"})
    monkeypatch.setitem(peers._SAY, "torchtest2", lambda model, batch: None)
    result = CliRunner().invoke(cli.app, ["bench", "gallery"])
    assert result.exit_code == 0, result.output
    assert "vgharness: 2 of 2 problems named, 2 seen; 0 of 1 healthy models not left in peace" in result.output
    assert "torchtest2: 0 of 2 problems named, 0 seen; 0 of 1" in result.output
