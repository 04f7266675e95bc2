"""Verdicts of whole runs: their order, their variants, and what raises."""

from typing import Any, NoReturn

import pytest
from factories import make_result, make_run
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import CLAIMS, DOCUMENT, PLOTS, SIGMOID, judged, reading_of, results_of

from vgharness.claims import measures
from vgharness.claims.spec import ReadingSpec

pytestmark = pytest.mark.fast


@pytest.mark.parametrize("error", [ZeroDivisionError("division by zero"), KeyError("x"), AssertionError()], ids=repr)
def test_a_computation_that_raises_is_an_error_and_the_other_claims_are_judged(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    run = make_run(results_of(DOCUMENT))
    before = judged(run)
    real = measures.of_cell

    def broken(spec: ReadingSpec, *rest: Any) -> Any:
        return fail() if spec.passes else real(spec, *rest)

    def fail() -> NoReturn:
        raise error

    monkeypatch.setattr(measures, "of_cell", broken)
    after = judged(run)
    hit = {claim.id for claim in CLAIMS if any(reading.passes for reading in claim.readings)}
    assert hit == {"convergence", "deep-collapses"}
    found = {verdict.claim: verdict for verdict in after}
    assert found["convergence"].outcome == "error"
    assert type(error).__name__ in found["convergence"].reason
    # Each depth collapses in one way or the other: that one of the two raised is in its reading, and decides nothing.
    assert found["deep-collapses"].outcome == "reproduced"
    assert "error" in {reading.outcome for reading in found["deep-collapses"].readings}
    assert [v for v in after if v.claim not in hit] == [v for v in before if v.claim not in hit]


def test_a_run_of_both_architectures_gets_one_verdict_for_each_in_the_claims_order() -> None:
    run = make_run([*results_of(DOCUMENT, "readme"), *results_of(PLOTS, "script")])
    found = [(verdict.claim, verdict.variant) for verdict in judged(run)]
    assert found == [
        (claim.id, variant)
        for claim in CLAIMS
        for variant in (("script",) if claim.id == "published-curves" else ("readme", "script"))
    ]


def test_a_variants_verdict_looks_at_its_own_networks_only() -> None:
    readme, script = results_of(DOCUMENT, "readme"), results_of(PLOTS, "script")
    both = judged(make_run([*readme, *script]))
    alone = [*judged(make_run(readme), CLAIMS[:-1]), *judged(make_run(script))]
    assert sorted(both, key=repr) == sorted(alone, key=repr)


@settings(max_examples=4)
@given(st.randoms())
def test_the_order_of_the_results_changes_no_verdict(random: Any) -> None:
    results = [*results_of(DOCUMENT, "readme"), *results_of(PLOTS, "script")]
    run = make_run(results)
    random.shuffle(results)
    assert judged(run.model_copy(update={"results": tuple(results)})) == judged(run)


@settings(max_examples=25)
@given(st.lists(st.floats(1, 99), min_size=3, max_size=7), st.permutations(range(7)))
def test_which_seed_had_which_value_changes_no_outcome(numbers: list[float], order: list[int]) -> None:
    shuffled = [numbers[i] for i in order if i < len(numbers)]
    accept = {"at_least": 30.0, "below": 60.0}
    found = [
        reading_of(
            [make_result(seed=seed, curve=[x]) for seed, x in enumerate(column)],
            "test_accuracy",
            accept,
            at=1,
            **SIGMOID,
        ).outcome
        for column in (numbers, shuffled)
    ]
    assert found[0] == found[1]


def test_judging_no_claims_gives_no_verdicts() -> None:
    assert judged(make_run(results_of(DOCUMENT)), []) == ()


def test_the_judged_words_come_with_the_verdict() -> None:
    found = {verdict.claim: verdict for verdict in judged(make_run(results_of(DOCUMENT)))}
    assert found["sigmoid-epoch-1"].words == ("Sigmoid", "Accuracy at Epoch 1 | ~45%")
    assert [r.words for r in found["tanh-squashes"].readings] == ["Sigmoid", "Tanh", "", "", ""]
    assert [r.context for r in found["tanh-squashes"].readings] == [False, False, True, True, True]
    for verdict in found.values():
        assert all(words in verdict.sentence for words in verdict.words)
