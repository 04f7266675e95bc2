"""Verdicts: the worst of a claim's readings, the best of alternatives, and whole runs."""

from collections.abc import Sequence
from itertools import product
from typing import Any, NoReturn

import pytest
from factories import make_result, make_run
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import CLAIMS, DOCUMENT, PLOTS, SIGMOID, Net, few, reading_of, results_of, values_of

from vgharness.claims.evidence import Evidence, Measurement, NotRunError
from vgharness.claims.measures import MEASURES
from vgharness.claims.spec import Claim
from vgharness.claims.verdicts import judge
from vgharness.records import Outcome

pytestmark = pytest.mark.fast

# --- worst of the readings, either of alternatives ------------------------------------------------

WORST_FIRST: tuple[Outcome, ...] = ("error", "not reproduced", "not run", "inconclusive", "reproduced")


def by_label(evidence: Evidence) -> Measurement:
    """A measure that comes out as its reading's label says, accepting 0 to 1."""
    outcome = evidence.spec.label.partition(":")[0]
    if outcome == "error":
        raise RuntimeError("broken")
    if outcome == "not run":
        raise NotRunError("nothing there")
    return Measurement(values_of({"reproduced": [0.5] * 3, "not reproduced": [5.0] * 3}.get(outcome, [0.5])))


def judged_by_label(monkeypatch: pytest.MonkeyPatch, labels: Sequence[str], *either: str | None) -> Outcome:
    monkeypatch.setitem(MEASURES, "accuracy", MEASURES["accuracy"]._replace(read=by_label))
    common: dict[str, Any] = {"measure": "accuracy", "accept": {"at_least": 0, "at_most": 1}, "epoch": (1,), **SIGMOID}
    readings: Any = [
        {**common, "label": f"{label}: {i}", "either": group}
        for i, (label, group) in enumerate(zip(labels, either or [None] * len(labels), strict=True))
    ]
    claim = Claim(id="x", sentences=("s",), readings=readings, document_epochs=20)
    (verdict,) = judge([claim], make_run(results_of({"sigmoid": Net()})))
    assert [reading.outcome for reading in verdict.readings] == list(labels)
    return verdict.outcome


@pytest.mark.parametrize("labels", list(product(WORST_FIRST, WORST_FIRST)), ids=" + ".join)
def test_the_worst_of_a_claims_readings_counts(monkeypatch: pytest.MonkeyPatch, labels: Sequence[Outcome]) -> None:
    worst = min(labels, key=WORST_FIRST.index)
    assert judged_by_label(monkeypatch, labels) == worst
    assert judged_by_label(monkeypatch, ["reproduced", *labels, "reproduced"]) == worst


@pytest.mark.parametrize(
    ("labels", "outcome"),
    [
        *(((label, "reproduced"), "reproduced") for label in WORST_FIRST),
        (("not reproduced", "not reproduced"), "not reproduced"),
        (("not reproduced", "not run"), "not run"),
        (("not reproduced", "inconclusive"), "inconclusive"),
        (("not reproduced", "error"), "error"),
        (("not run", "not run"), "not run"),
        (("not run", "error"), "error"),
    ],
)
def test_of_alternatives_one_suffices_and_none_is_ruled_out_unmeasured(
    monkeypatch: pytest.MonkeyPatch, labels: Sequence[Outcome], outcome: Outcome
) -> None:
    assert judged_by_label(monkeypatch, labels, "a", "a") == outcome
    assert judged_by_label(monkeypatch, labels[::-1], "a", "a") == outcome


def test_every_group_of_alternatives_has_to_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    good, bad = "reproduced", "not reproduced"
    assert judged_by_label(monkeypatch, [good, bad, bad, good], "a", "a", "b", "b") == "reproduced"
    assert judged_by_label(monkeypatch, [good, good, bad, bad], "a", "a", "b", "b") == "not reproduced"
    assert judged_by_label(monkeypatch, [good, bad, bad], "a", "a", None) == "not reproduced"


def test_a_verdicts_reason_is_that_of_the_reading_that_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(MEASURES, "accuracy", MEASURES["accuracy"]._replace(read=by_label))
    common: dict[str, Any] = {"measure": "accuracy", "accept": {"at_least": 0}, "epoch": (1,), **SIGMOID}
    readings: Any = [{**common, "label": label} for label in ("inconclusive", "not run", "reproduced")]
    claim = Claim(id="x", sentences=("s", "t"), readings=readings, document_epochs=20)
    (verdict,) = judge([claim], make_run(results_of({"sigmoid": Net()})))
    assert (verdict.sentence, verdict.outcome, verdict.reason) == ("s … t", "not run", "nothing there")


@pytest.mark.parametrize("error", [ZeroDivisionError("division by zero"), KeyError("x"), AssertionError()], ids=repr)
def test_a_computation_that_raises_is_an_error_and_the_other_claims_are_judged(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def broken(evidence: Evidence) -> NoReturn:
        raise error

    run = make_run(results_of(DOCUMENT))
    before = judge(CLAIMS, run)
    monkeypatch.setitem(MEASURES, "accuracy_gap", MEASURES["accuracy_gap"]._replace(read=broken))
    after = judge(CLAIMS, run)
    hit = {claim.id for claim in CLAIMS if any(r.measure == "accuracy_gap" for r in claim.readings)}
    assert hit == {"sigmoid-slow-start", "sigmoid-learns-less", "shallow-is-fine"}
    assert {verdict.claim for verdict in after if verdict.outcome == "error"} == hit
    assert all(type(error).__name__ in verdict.reason for verdict in after if verdict.claim in hit)
    assert [v for v in after if v.claim not in hit] == [v for v in before if v.claim not in hit]


# --- whole runs -----------------------------------------------------------------------------------


def test_a_run_of_both_architectures_gets_one_verdict_for_each_in_the_claims_order() -> None:
    run = make_run([*results_of(DOCUMENT, "readme"), *results_of(PLOTS, "script")])
    found = [(verdict.claim, verdict.architecture) for verdict in judge(CLAIMS, run)]
    assert found == [
        (claim.id, architecture)
        for claim in CLAIMS
        for architecture in (("script",) if claim.id == "published-curves" else ("readme", "script"))
    ]


def test_an_architectures_verdict_looks_at_its_own_networks_only() -> None:
    readme, script = results_of(DOCUMENT, "readme"), results_of(PLOTS, "script")
    both = judge(CLAIMS, make_run([*readme, *script]))
    alone = [*judge(CLAIMS[:-1], make_run(readme)), *judge(CLAIMS, make_run(script))]
    assert sorted(both, key=repr) == sorted(alone, key=repr)


def test_an_architecture_that_was_planned_and_never_trained_is_not_run() -> None:
    planned = make_run([*results_of(DOCUMENT, "readme"), *results_of(DOCUMENT, "script")])
    run = planned.model_copy(update={"results": tuple(results_of(DOCUMENT, "readme"))})
    found = [verdict for verdict in judge(CLAIMS, run) if verdict.architecture == "script"]
    assert len(found) == len(CLAIMS)
    assert {verdict.outcome for verdict in found} == {"not run"}


@settings(max_examples=4)
@given(st.randoms())
def test_the_order_of_the_results_changes_no_verdict(random: Any) -> None:
    results = [*results_of(DOCUMENT, "readme"), *results_of(PLOTS, "script")]
    run = make_run(results)
    random.shuffle(results)
    assert judge(CLAIMS, run.model_copy(update={"results": tuple(results)})) == judge(CLAIMS, run)


@settings(max_examples=25)
@given(few, st.permutations(range(7)))
def test_which_seed_had_which_value_changes_no_outcome(numbers: list[float], order: list[int]) -> None:
    shuffled = [numbers[i] for i in order if i < len(numbers)]
    asked: dict[str, Any] = {"accept": {"at_least": -3, "below": 3}, "epoch": (1,), **SIGMOID}
    found = [
        reading_of([make_result(seed=seed, curve=[x]) for seed, x in enumerate(column)], "accuracy", **asked).outcome
        for column in (numbers, shuffled)
    ]
    assert found[0] == found[1]


def test_judging_no_claims_gives_no_verdicts() -> None:
    assert judge([], make_run(results_of(DOCUMENT))) == ()
