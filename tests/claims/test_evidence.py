"""Which results count for a reading: cells that did not finish, epochs that are not there, other recipes; sessions."""

from typing import Any

import pytest
from factories import CANONICAL, MACHINE, failure, make_flow, make_result, make_run
from worlds import (
    ANY,
    BAND,
    CLAIMS,
    DOCUMENT,
    GAP,
    SEEDS,
    SIGMOID,
    Net,
    climb,
    cut,
    judged,
    numbers_of,
    reading_of,
    results_of,
    swap,
)

from vgharness.claims.evidence import Evidence
from vgharness.claims.loading import load_claims
from vgharness.claims.subject import Subject
from vgharness.claims.verdicts import judge
from vgharness.records import CellResult, Sample, Session

pytestmark = pytest.mark.fast

FACTOR: dict[str, Any] = {"layers": {"match": "conv*", "take": "factor"}}
FIVE = range(42, 47)


def test_a_diverged_cell_has_no_value_after_its_last_epoch_and_decides_nothing() -> None:
    five = results_of({"sigmoid": DOCUMENT["sigmoid"]}, seeds=FIVE)
    results = swap(five, lambda r: cut(r, 3, "diverged"), "seed 44")
    for quantity, accept, asked in (
        ("test_accuracy", {"at_least": 71.0, "at_most": 75.0}, {}),
        ("signal_l2", {"below": 0.5}, FACTOR),
    ):
        last = reading_of(results, quantity, accept, at="last", **asked, **SIGMOID)
        assert (last.outcome, last.reason) == ("inconclusive", "1 of 5 seeds diverged")
        assert [seed for seed, value in numbers_of(last).items() if value is None] == [44]
    first = reading_of(results, "test_accuracy", BAND, at=1, **SIGMOID)
    assert (first.outcome, len(first.values)) == ("reproduced", 5)


def test_a_training_that_diverges_has_collapsed() -> None:
    deep = {name: DOCUMENT[name] for name in ("sigmoid 6", "sigmoid 8", "sigmoid 10", "sigmoid")}
    results = [cut(r, 3, "diverged") if r.cell.depth > 4 else r for r in results_of(deep)]
    found = {verdict.claim: verdict for verdict in judged(make_run(results))}["deep-collapses"]
    assert found.outcome == "reproduced"
    assert "3 of 3 seeds diverged, which the sentence covers" in found.readings[0].reason


def test_the_accuracy_of_an_epoch_whose_loss_was_not_finite_is_none() -> None:
    """A network of NaN still puts out a class: training records its 10 % beside a loss of null."""

    def diverge(result: CellResult) -> CellResult:
        broken = result.epochs[2].model_copy(
            update={"test_accuracy": 10.0, "test_loss": None, "train_loss": None, "nonfinite": ("test_loss",)}
        )
        return result.model_copy(update={"epochs": (*result.epochs[:2], broken), "status": "diverged"})

    level = {"sigmoid": Net(climb(58, 73)), "relu": Net(climb(60, 82.5))}
    results = swap(results_of(level), diverge, *(f"sigmoid seed {seed}" for seed in SEEDS))
    over = {"epochs": (1, 3), "take": "mean"}
    reading = reading_of(results, "test_accuracy", {"above": 10.0}, over=over, **GAP)
    assert (reading.outcome, reading.reason) == ("inconclusive", "3 of 3 seeds diverged")


def test_failed_cells_are_ignored() -> None:
    good = results_of({"sigmoid": DOCUMENT["sigmoid"]})
    failed = [r.model_copy(update={"status": "failed"}) for r in results_of({"sigmoid": Net(climb(0, 0))}, seeds=[45])]
    asked: dict[str, Any] = {"accept": BAND, "at": 1, **SIGMOID}
    assert reading_of([*good, *failed], "test_accuracy", **asked) == reading_of(good, "test_accuracy", **asked)
    assert reading_of([*good[:2], *failed], "test_accuracy", **asked).outcome == "inconclusive"
    assert reading_of(failed, "test_accuracy", **asked).outcome == "not run"


def test_an_interrupted_cell_counts_for_the_epochs_that_it_has() -> None:
    four = results_of({"sigmoid": DOCUMENT["sigmoid"]}, seeds=range(42, 46))
    results = swap(four, lambda r: cut(r, 3, "interrupted"), "seed 45")
    seeds = {
        when: list(numbers_of(reading_of(results, "test_accuracy", ANY, at=when, **SIGMOID)))
        for when in (1, 3, 4, "last")
    }
    assert seeds == {1: [42, 43, 44, 45], 3: [42, 43, 44, 45], 4: [42, 43, 44], "last": [42, 43, 44]}
    every = [cut(result, 3, "interrupted") for result in four]
    assert reading_of(every, "test_accuracy", ANY, at="last", **SIGMOID).outcome == "not run"


@pytest.mark.parametrize(
    "other", [{"norm": "batch"}, {"init": "kaiming"}, {"learning_rate": 1e-2}, {"batch_size": 64}, {"depth": 6}]
)
def test_only_cells_by_the_documents_recipe_speak_for_it(other: dict[str, Any]) -> None:
    good = results_of({"sigmoid": DOCUMENT["sigmoid"]})
    stray = [r.model_copy(update={"cell": r.cell.model_copy(update=other)}) for r in results_of({"sigmoid": Net([5])})]
    asked: dict[str, Any] = {"accept": BAND, "at": 1, **SIGMOID}
    assert reading_of([*good, *stray], "test_accuracy", **asked) == reading_of(good, "test_accuracy", **asked)
    missing = reading_of(stray, "test_accuracy", **asked)
    assert missing.outcome == "not run"
    assert next(iter(other)).replace("_", " ") in missing.reason


def test_several_kinds_of_network_that_fit_are_not_put_together() -> None:
    other = [
        r.model_copy(update={"cell": r.cell.model_copy(update={"batch_size": 64})})
        for r in results_of({"sigmoid": DOCUMENT["sigmoid"]})
    ]
    run = make_run([*results_of({"sigmoid": DOCUMENT["sigmoid"]}), *other])
    (claim,) = [claim for claim in CLAIMS if claim.id == "sigmoid-epoch-1"]
    open_recipe = claim.recipe.model_copy(
        update={"factors": {k: v for k, v in claim.recipe.factors.items() if k != "batch_size"}}
    )
    (verdict,) = judged(run, [claim.model_copy(update={"recipe": open_recipe})])
    assert verdict.outcome == "not run"
    assert "several kinds of network fit: say which batch_size" in verdict.reason


@pytest.mark.parametrize("moment", ["init", 1, "last"])
def test_gradients_that_were_not_measured_then_are_missing(moment: Any) -> None:
    untrained = [make_result(seed=seed, initial=None) for seed in SEEDS]
    asked: dict[str, Any] = {"at": moment, **FACTOR, **SIGMOID}
    assert reading_of(untrained, "signal_l2", ANY, **asked).outcome == "not run"
    only_initial = [make_result(seed=seed) for seed in SEEDS]
    expected = "reproduced" if moment == "init" else "not run"
    assert reading_of(only_initial, "signal_l2", ANY, **asked).outcome == expected


# --- runs together, and sessions ------------------------------------------------------------------


def test_cells_of_several_runs_count_together_and_a_cell_of_two_counts_once() -> None:
    results = results_of({"sigmoid": DOCUMENT["sigmoid"]}, seeds=FIVE)
    runs = [make_run(results[:3]), make_run(results[2:])]
    (claim,) = [claim for claim in CLAIMS if claim.id == "sigmoid-epoch-1"]
    (verdict,) = judge([claim], Evidence.of(*runs))
    assert list(numbers_of(verdict.readings[0])) == list(FIVE)


@pytest.mark.parametrize("change", ["images", "precision"])
def test_runs_that_differ_in_what_matters_are_not_put_together(change: str) -> None:
    run = make_run(results_of({"sigmoid": DOCUMENT["sigmoid"]}))
    other = (
        run.model_copy(update={"data": CANONICAL.model_copy(update={"sha256": "1" * 64})})
        if change == "images"
        else run.model_copy(update={"study": run.study.model_copy(update={"precision": "bf16"})})
    )
    assert failure(lambda: Evidence.of(run, other)) == f"the runs differ in their {change}: judge them one by one"


def session_of(*samples: Sample) -> Session:
    return Session(created="2026-01-01T00:00:00+00:00", command="pytest", commit=None, machine=MACHINE, samples=samples)


def sample_of(test: str, factor: float, **fields: Any) -> Sample:
    flows = tuple(make_flow(factor * (1 + 0.01 * i)) for i in range(3))
    return Sample(test=test, seeds=SEEDS, flows=flows, **fields)


def test_a_test_of_a_session_is_a_subject() -> None:
    session = session_of(
        sample_of("t.py::plain", 0.4),
        sample_of("t.py::norm", 0.8, custom={"largest": tuple(tuple(1.0 * i for i in range(5)) for _ in range(3))}),
    )
    plain, norm = (Subject(test=f"t.py::{name}") for name in ("plain", "norm"))
    (claim,) = load_claims()[:1]

    def read(quantity: str, **asked: Any) -> dict[int, float | None]:
        from worlds import claim_of

        made = claim_of(quantity, ANY, at="init", **asked).model_copy(update={"recipe": claim.recipe})
        (verdict,) = judge([made], Evidence.of(session))
        assert verdict.outcome == "reproduced", verdict.reason
        return numbers_of(verdict.readings[0])

    assert read("signal_l2", of=plain, **FACTOR)[43] == pytest.approx(0.4 * 1.01)
    assert read("signal_l2", of=norm, against=plain, by="ratio", **FACTOR) == dict.fromkeys(SEEDS, pytest.approx(2))
    assert read("custom:largest", of=norm, layer="conv3") == dict.fromkeys(SEEDS, 2)


def test_a_test_that_no_session_holds_is_named() -> None:
    from worlds import claim_of

    claim = claim_of("signal_l2", ANY, of=Subject(test="t.py::gone"), layer="conv1", at="init")
    (verdict,) = judge([claim], Evidence.of(session_of(sample_of("t.py::plain", 0.4))))
    assert (verdict.outcome, verdict.reason) == ("not run", "needs a session with t.py::gone")
