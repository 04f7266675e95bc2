"""Which of a run's results count for a reading: cells that did not finish, epochs that are not there, other recipes."""

from typing import Any

import pytest
from factories import make_result, make_run
from worlds import (
    ANY,
    BAND,
    CLAIMS,
    DOCUMENT,
    GAP,
    PLOTS,
    SEEDS,
    SIGMOID,
    Net,
    climb,
    cut,
    numbers_of,
    reading_of,
    results_of,
    swap,
)

from vgharness.claims.verdicts import judge
from vgharness.records import CellResult

pytestmark = pytest.mark.fast


def test_a_diverged_cell_has_no_accuracy_after_its_last_epoch() -> None:
    five = results_of({"sigmoid": DOCUMENT["sigmoid"]}, seeds=range(42, 47))
    results = swap(five, lambda r: cut(r, 3, "diverged"), "seed 44")
    last = reading_of(results, "accuracy", {"at_least": 71, "at_most": 75}, epoch="last", **SIGMOID)
    assert last.outcome == "not reproduced"
    assert [seed for seed, value in numbers_of(last).items() if value is None] == [44]
    first = reading_of(results, "accuracy", BAND, epoch=(1,), **SIGMOID)
    assert first.outcome == "reproduced"
    assert len(first.values) == 5


def test_the_curve_of_a_diverged_cell_is_not_the_published_one() -> None:
    results = swap(results_of(PLOTS, "script"), lambda r: cut(r, 19, "diverged"), "relu seed 43")
    (verdict,) = judge([CLAIMS[-1]], make_run(results))
    assert [reading.outcome for reading in verdict.readings] == ["reproduced", "not reproduced"]


@pytest.mark.parametrize("measure", ["factor", "largest_factor"])
def test_a_diverged_cell_has_no_gradient_after_its_last_epoch(measure: str) -> None:
    """Leaving the seed out would pass the claim on those that happened to survive."""
    five = results_of({"sigmoid": DOCUMENT["sigmoid"]}, seeds=range(42, 47))
    results = swap(five, lambda r: cut(r, 3, "diverged"), "seed 44")
    reading = reading_of(results, measure, {"below": 0.5}, quantity="signal_l2", moment="last", **SIGMOID)
    assert reading.outcome == "not reproduced"
    assert [seed for seed, value in numbers_of(reading).items() if value is None] == [44]


def test_the_accuracy_of_an_epoch_whose_loss_was_not_finite_is_none() -> None:
    """A network of NaN still puts out a class: training records its 10 % beside a loss of null."""

    def diverge(result: CellResult) -> CellResult:
        broken = result.epochs[2].model_copy(
            update={"test_accuracy": 10.0, "test_loss": None, "train_loss": None, "nonfinite": ("test_loss",)}
        )
        return result.model_copy(update={"epochs": (*result.epochs[:2], broken), "status": "diverged"})

    level = {"sigmoid": Net(climb(58, 73)), "relu": Net(climb(60, 82.5))}
    results = swap(results_of(level), diverge, *(f"sigmoid seed {seed}" for seed in SEEDS))
    reading = reading_of(results, "accuracy_gap", {"above": 10}, epoch=(1, 2, 3), **GAP)
    assert reading.outcome == "not reproduced"


def test_failed_cells_are_ignored() -> None:
    good = results_of({"sigmoid": DOCUMENT["sigmoid"]})
    failed = [r.model_copy(update={"status": "failed"}) for r in results_of({"sigmoid": Net(climb(0, 0))}, seeds=[45])]
    asked: dict[str, Any] = {"accept": BAND, "epoch": (1,), **SIGMOID}
    assert reading_of([*good, *failed], "accuracy", **asked) == reading_of(good, "accuracy", **asked)
    assert reading_of([*good[:2], *failed], "accuracy", **asked).outcome == "inconclusive"
    assert reading_of(failed, "accuracy", **asked).outcome == "not run"


def test_an_interrupted_cell_counts_for_the_epochs_that_it_has() -> None:
    four = results_of({"sigmoid": DOCUMENT["sigmoid"]}, seeds=range(42, 46))
    results = swap(four, lambda r: cut(r, 3, "interrupted"), "seed 45")
    seeds = {
        when: list(numbers_of(reading_of(results, "accuracy", ANY, epoch=when, **SIGMOID)))
        for when in ((1,), (1, 2, 3), (3, 4), "last")
    }
    assert seeds == {(1,): [42, 43, 44, 45], (1, 2, 3): [42, 43, 44, 45], (3, 4): [42, 43, 44], "last": [42, 43, 44]}
    every = [cut(result, 3, "interrupted") for result in four]
    assert reading_of(every, "accuracy", ANY, epoch="last", **SIGMOID).outcome == "not run"


@pytest.mark.parametrize(
    "other", [{"norm": "batch"}, {"init": "kaiming"}, {"learning_rate": 1e-2}, {"batch_size": 64}, {"depth": 6}]
)
def test_only_cells_by_the_published_recipe_speak_for_the_document(other: dict[str, Any]) -> None:
    good = results_of({"sigmoid": DOCUMENT["sigmoid"]})
    stray = [r.model_copy(update={"cell": r.cell.model_copy(update=other)}) for r in results_of({"sigmoid": Net([5])})]
    asked: dict[str, Any] = {"accept": BAND, "epoch": (1,), **SIGMOID}
    assert reading_of([*good, *stray], "accuracy", **asked) == reading_of(good, "accuracy", **asked)
    assert reading_of(stray, "accuracy", **asked).outcome == "not run"


@pytest.mark.parametrize("moment", ["init", "epoch 1", "last"])
def test_gradients_that_were_not_measured_then_are_missing(moment: str) -> None:
    untrained = [make_result(seed=seed, initial=None) for seed in SEEDS]
    asked: dict[str, Any] = {"quantity": "signal_l2", "moment": moment, **SIGMOID}
    assert reading_of(untrained, "factor", ANY, **asked).outcome == "not run"
    only_initial = [make_result(seed=seed) for seed in SEEDS]
    expected = "reproduced" if moment == "init" else "not run"
    assert reading_of(only_initial, "factor", ANY, **asked).outcome == expected
