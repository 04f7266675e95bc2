"""What random networks are judged to be, and what came of training them."""

import math
from functools import partial

import pytest
import torch

from vgharness.benchmarks import trainability
from vgharness.benchmarks.random_networks import RandomNetwork
from vgharness.benchmarks.trainability import Trial, confusion, separate, try_network

pytestmark = pytest.mark.fast

GOOD = RandomNetwork(
    family="mlp", convolutional=False, depth=2, width=32, activation="relu", cell=None, init="he", seed=3
)
SIGMOID = GOOD.model_copy(update={"depth": 12, "activation": "sigmoid", "init": "default"})


def trial(ratio: float | None, *, sgd: bool, adam: bool, spread: float | None = 1.0, grade: str = "healthy") -> Trial:
    return Trial(
        network=GOOD,
        grade=grade,
        diagnosis="",
        path_ratio=ratio,
        output_spread=spread,
        adam_steps=50 if adam else None,
        sgd_steps=20 if sgd else None,
    )


def test_a_good_network_is_healthy_and_trains() -> None:
    found = try_network(GOOD)
    assert (found.grade, found.diagnosis) == ("healthy", "healthy")
    assert found.trains("SGD")
    assert found.trains("Adam")
    assert 0.1 < found.path_ratio < 10
    assert 0.1 < found.output_spread < 10
    assert found.score("worse of both") < 1


def test_a_deep_sigmoid_network_is_a_problem_and_does_not_train(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainability, "STEPS", 30)
    found = try_network(SIGMOID)
    assert found.grade == "problem"
    assert found.diagnosis.startswith("vanishing")
    assert not found.trains("either")
    assert found.path_ratio < 1e-6
    assert (found.output_spread or 0.0) < 1e-3


def test_training_ends_where_the_loss_was_low_for_ten_steps() -> None:
    examples = trainability.draw_examples(GOOD, trainability.STEPS * trainability.BATCH_SIZE)
    slow, fast = (trainability.train(GOOD, examples, partial(torch.optim.SGD, lr=rate)) for rate in (0.02, 0.1))
    assert 10 <= fast < slow < trainability.STEPS
    assert trainability.train(GOOD, examples, partial(torch.optim.SGD, lr=0.0)) is None
    assert trainability.train(GOOD, examples, partial(torch.optim.SGD, lr=1e20)) is None


def test_a_network_is_tried_the_same_way_each_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainability, "STEPS", 20)
    before = torch.get_rng_state(), torch.get_num_threads()
    assert try_network(GOOD) == try_network(GOOD)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert torch.get_num_threads() == before[1]


@pytest.mark.parametrize(
    ("ratio", "spread", "score", "value"),
    [
        (1e-5, 0.1, "path ratio", 5),
        (1e5, 0.1, "path ratio", 5),
        (1e-5, 0.1, "output spread", 1),
        (1e-5, 0.1, "worse of both", 5),
        (1.0, 0.01, "worse of both", 2),
        (None, 1.0, "worse of both", math.inf),
        (1.0, None, "output spread", math.inf),
    ],
)
def test_scores_are_decades(ratio: float | None, spread: float | None, score: str, value: float) -> None:
    assert trial(ratio, spread=spread, sgd=True, adam=True).score(score) == pytest.approx(value)


def test_grades_are_counted_against_what_trains() -> None:
    trials = [
        trial(1, sgd=True, adam=True),
        trial(1, sgd=True, adam=False),
        trial(1e-4, sgd=False, adam=True, grade="warning"),
        trial(1e-9, sgd=False, adam=False, grade="problem"),
    ]
    assert confusion(trials, "SGD") == {"healthy": (2, 0), "warning": (0, 1), "problem": (0, 1)}
    assert confusion(trials, "Adam") == {"healthy": (1, 1), "warning": (1, 0), "problem": (0, 1)}
    assert confusion(trials, "either") == {"healthy": (2, 0), "warning": (1, 0), "problem": (0, 1)}


def test_a_score_that_separates_has_auc_one_and_a_cut() -> None:
    trials = [
        *(trial(10**-i, spread=10**-j, sgd=True, adam=True) for i, j in ((1, 2), (2, 1))),
        *(trial(10**-i, spread=10**-j, sgd=False, adam=True) for i, j in ((3, 2), (4, 0))),
    ]
    found = {(x.score, x.optimizers): x for x in separate(trials)}
    by_ratio = found["path ratio", "SGD"]
    assert (by_ratio.auc, by_ratio.cut, by_ratio.sensitivity, by_ratio.specificity) == (1, pytest.approx(2), 1, 1)
    by_spread = found["output spread", "SGD"]
    assert by_spread.auc == pytest.approx((0.5 + 1 + 0 + 0) / 4)
    assert found["path ratio", "Adam"].auc is None  # all of them train
    assert found["path ratio", "either"].cut is None


def test_what_the_last_steps_cannot_tell_is_not_learned_by_heart() -> None:
    """Nothing of the first of forty steps is left at the end, and the noise of the others says nothing of the class."""
    recurrent = {"family": "rnn", "cell": "rnn", "activation": "relu", "init": "default", "depth": 40, "width": 64}
    network = GOOD.model_copy(update=recurrent | {"seed": 11})
    examples = trainability.draw_examples(network, trainability.STEPS * trainability.BATCH_SIZE)
    assert trainability.train(network, examples, partial(torch.optim.SGD, lr=0.1, momentum=0.9)) is None
