"""Which results count for a reading: cells that did not finish, epochs that are not there, other recipes; sessions."""

from typing import Any

import pytest
from factories import CANONICAL, MACHINE, SYNTHETIC, failure, make_flow, make_result, make_run
from worlds import (
    ANY,
    BAND,
    CLAIMS,
    DOCUMENT,
    GAP,
    SEEDS,
    SIGMOID,
    Net,
    claim_of,
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
from vgharness.records import CellResult, GradientFlow, LayerGradient, Sample, Session

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


def test_seeds_of_different_kinds_of_network_are_not_put_together() -> None:
    """Though each seed has one kind only."""
    (claim,) = [claim for claim in CLAIMS if claim.id == "sigmoid-epoch-1"]
    open_recipe = claim.recipe.model_copy(update={"factors": {"depth": 4}})
    results = results_of({"sigmoid": DOCUMENT["sigmoid"]}, seeds=FIVE)
    mixed = [
        r.model_copy(update={"cell": r.cell.model_copy(update={"learning_rate": 0.01})}) if r.cell.seed > 43 else r
        for r in results
    ]
    (verdict,) = judged(make_run(mixed), [claim.model_copy(update={"recipe": open_recipe})])
    assert verdict.reason == "several kinds of network fit: say which learning_rate, for the subject or in [recipe]"


def test_of_one_network_trained_for_several_lengths_the_longest_counts_as_far_as_it_got() -> None:
    short = results_of({"sigmoid": Net([40.0] * 5)})
    long = results_of({"sigmoid": Net([50.0] * 20)})
    for results, value in (
        ([*short, *long], 50.0),
        ([*long, *short], 50.0),
        ([*short, *(cut(r, 3, "interrupted") for r in long)], 40.0),
    ):
        assert reading_of(results, "test_accuracy", ANY, at=5, **SIGMOID).value == pytest.approx(value, abs=0.01)


@pytest.mark.parametrize(
    ("factor", "values"), [("depth", ("2", "4")), ("norm", ("none", "batch")), ("learning_rate", ("0.001", "0.01"))]
)
def test_claims_can_be_judged_for_each_value_of_any_factor(factor: str, values: tuple[str, str]) -> None:
    changes: dict[str, Any] = {
        "depth": {"depth": 2},
        "norm": {"norm": "batch"},
        "learning_rate": {"learning_rate": 0.01},
    }
    plain, other = (results_of({"sigmoid": Net([level] * 20)}) for level in (30.0, 60.0))
    changed = [r.model_copy(update={"cell": r.cell.model_copy(update=changes[factor])}) for r in other]
    made = claim_of("test_accuracy", {"below": 45.0}, at="last", **SIGMOID)
    recipe = made.recipe.model_copy(update={"factors": {}})
    claim = made.model_copy(update={"recipe": recipe, "for_each": factor})
    found = {verdict.variant: verdict.outcome for verdict in judged(make_run([*plain, *changed]), [claim])}
    by_level = {values[0]: "reproduced", values[1]: "not reproduced"}
    assert found == (by_level if factor != "depth" else {"4": "reproduced", "2": "not reproduced"})
    (verdict,) = judged(make_run([*plain, *changed]), [claim.model_copy(update={"variant": "6"})])
    assert (verdict.outcome, verdict.variant) == ("not run", "6")
    assert verdict.reason == f"needs networks with {factor.replace('_', ' ')} 6"


def test_a_factor_that_no_study_has_leaves_nothing_to_judge() -> None:
    made = claim_of("test_accuracy", ANY, at="last", **SIGMOID).model_copy(update={"for_each": "skip"})
    (verdict,) = judged(make_run(results_of({"sigmoid": DOCUMENT["sigmoid"]})), [made])
    assert (verdict.outcome, verdict.reason) == ("not run", "needs networks with a skip, which no study's cell has")


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


@pytest.mark.parametrize("status", ["failed", "interrupted"])
def test_of_a_cell_in_two_runs_the_one_that_got_further_counts(status: str) -> None:
    whole = results_of({"sigmoid": DOCUMENT["sigmoid"]})
    part = [cut(result, 0 if status == "failed" else 3, status) for result in whole]
    (claim,) = [claim for claim in CLAIMS if claim.id == "sigmoid-final"]
    for runs in ([part, whole], [whole, part]):
        (verdict,) = judge([claim], Evidence.of(*map(make_run, runs)))
        assert verdict.outcome == "reproduced"


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
        made = claim_of(quantity, ANY, at="init", **asked).model_copy(update={"recipe": claim.recipe})
        (verdict,) = judge([made], Evidence.of(session))
        assert verdict.outcome == "reproduced", verdict.reason
        return numbers_of(verdict.readings[0])

    assert read("signal_l2", of=plain, **FACTOR)[43] == pytest.approx(0.4 * 1.01)
    assert read("signal_l2", of=norm, against=plain, by="ratio", **FACTOR) == dict.fromkeys(SEEDS, pytest.approx(2))
    assert read("custom:largest", of=norm, layer="conv3") == dict.fromkeys(SEEDS, 2)


def test_a_claim_about_tests_is_judged_once_whatever_the_studies_hold() -> None:
    made = claim_of("signal_l2", {"below": 0.5}, of=Subject(test="t.py::plain"), at="init", **FACTOR)
    about_images = made.model_copy(update={"recipe": made.recipe.model_copy(update={"data": "CIFAR-10"})})
    both = [*results_of(DOCUMENT, "readme"), *results_of(DOCUMENT, "script")]
    evidence = Evidence.of(make_run(both, data=SYNTHETIC), session_of(sample_of("t.py::plain", 0.4)))
    assert [(v.variant, v.outcome) for v in judge([about_images], evidence)] == [("", "reproduced")]


def test_of_several_sessions_the_last_counts() -> None:
    sessions = [session_of(sample_of("t.py::plain", factor)) for factor in (0.8, 0.4)]
    made = claim_of("signal_l2", {"below": 0.5}, of=Subject(test="t.py::plain"), at="init", **FACTOR)
    assert [v.outcome for v in judge([made], Evidence.of(*sessions))] == ["reproduced"]


@pytest.mark.parametrize(("quantity", "value"), [("output_rms", 3.0), ("output_zeros", 0.25), ("saturated", 0.5)])
def test_what_a_session_alone_measures_is_read(quantity: str, value: float) -> None:
    def flow(measured: float | None) -> GradientFlow:
        return GradientFlow(layers=(LayerGradient(name="0", state="ok", **{quantity: measured}),), output_spread=0.7)

    found, missing = (
        session_of(Sample(test="t.py::plain", seeds=SEEDS, flows=(flow(measured),) * 3)) for measured in (value, None)
    )
    made = claim_of(quantity, {"at_least": 0.0}, of=Subject(test="t.py::plain"), layer="0", at="init")
    (verdict,) = judge([made], Evidence.of(found))
    assert numbers_of(verdict.readings[0]) == dict.fromkeys(SEEDS, value)
    (verdict,) = judge([made], Evidence.of(missing))
    assert verdict.outcome == "not run"
    assert verdict.reason == f"t.py::plain has no {made.readings[0].what.words} of 0"
    spread = claim_of("output_spread", {"at_least": 0.0}, of=Subject(test="t.py::plain"), at="init")
    (verdict,) = judge([spread], Evidence.of(found))
    assert set(numbers_of(verdict.readings[0]).values()) == {0.7}


def test_a_quantity_of_a_users_own_that_a_session_lacks_is_named() -> None:
    made = claim_of("custom:largest", ANY, of=Subject(test="t.py::plain"), layer="conv1", at="init")
    (verdict,) = judge([made], Evidence.of(session_of(sample_of("t.py::plain", 0.4))))
    assert (verdict.outcome, verdict.reason) == ("not run", "t.py::plain has no quantity largest")


def test_a_test_that_no_session_holds_is_named() -> None:
    claim = claim_of("signal_l2", ANY, of=Subject(test="t.py::gone"), layer="conv1", at="init")
    (verdict,) = judge([claim], Evidence.of(session_of(sample_of("t.py::plain", 0.4))))
    assert (verdict.outcome, verdict.reason) == ("not run", "needs a session with t.py::gone")
