"""How the gallery is judged; what is said of each of its cases is in tests/gradflow/test_diagnosis.py."""

from pathlib import Path
from typing import Any

import pytest

import vgharness
from vgharness.benchmarks.gallery import HEALTHY, SICK, peers
from vgharness.benchmarks.gallery.peers import Judged, Judgement, Peer, Tally, judge_cases, tally
from vgharness.gradflow.symptoms import ProblemKind

pytestmark = pytest.mark.fast


PACKAGE = Path(vgharness.__file__).parent
# A vanishing and a missing gradient, and a healthy network.
CASES = (
    next(case for case in SICK if case.problem == "vanishing"),
    next(case for case in SICK if case.problem == "missing"),
    next(case for case in HEALTHY if case.name == "kaiming MLP"),
)


def judge(find: Any) -> list[str]:
    """What is made of a peer that finds so."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(peers.PEERS, "another", Peer("another", find))
        return [judged.judgements["another"] for judged in judge_cases(CASES, ["another"])]


def test_what_a_peer_finds_is_held_against_the_problem() -> None:
    assert judge(lambda model, batch: None) == ["missed", "missed", "quiet"]
    assert judge(lambda model, batch: "missing") == ["seen", "named", "alarm"]
    assert judge(lambda model, batch: 1 / 0) == ["crashed"] * 3


def test_what_it_finds_in_most_seeds_counts() -> None:
    found = iter(["missing", "dead", "missing", "dead", "missing"] * 3)
    assert judge(lambda model, batch: next(found)) == ["seen", "named", "alarm"]


def test_a_peer_is_given_the_model_with_its_loss() -> None:
    losses = []

    def find(model: Any, batch: Any) -> None:
        loss = model(*batch)
        loss.backward()
        losses.append(loss.item())

    assert judge(find) == ["missed", "missed", "quiet"]
    assert len(losses) == len(set(losses)) == 15  # each seed has a model and a batch of its own


def test_judgements_are_counted() -> None:
    judgements: list[tuple[ProblemKind | None, Judgement]] = [
        *[("dead", x) for x in ("named", "named", "seen", "missed", "crashed")],
        *[(None, x) for x in ("quiet", "alarm", "crashed")],
    ]
    judged = [Judged("a network", problem, {"tool": judgement}) for problem, judgement in judgements]
    assert tally(judged, "tool") == Tally(sick=5, named=2, seen=3, healthy=3, alarms=2)
