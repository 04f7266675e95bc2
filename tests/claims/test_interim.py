"""While networks train: what is settled is what the finished run will say, whatever is still to come."""

import random
from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from factories import make_errors, make_reading, make_result, make_run
from worlds import ANY, CLAIMS, DOCUMENT, GAP, PLOTS, RATIO, RELU, SIGMOID, claim_of, cut, judged, results_of, swap

from vgharness.claims.combination import combine
from vgharness.claims.interim import awaited, combined_so_far, is_awaited
from vgharness.claims.spec import Claim, Recipe
from vgharness.records import Cell, CellResult, Reading, Run

pytestmark = pytest.mark.fast

FACTOR: dict[str, Any] = {"layers": {"match": "conv*", "take": "factor"}}
ENDED = 1_000_000


def after(final: Run, epochs: Mapping[Cell, int]) -> Run:
    """The run while it trained: of each cell as many epochs, ``ENDED``: all; of those that are not in it nothing."""
    results = [so_far(result, epochs[result.cell]) for result in final.results if result.cell in epochs]
    return final.so_far("running", results, 1.0)


def so_far(result: CellResult, epochs: int) -> CellResult:
    if epochs == ENDED:
        return result
    return result.model_copy(
        update={
            "status": "running",
            "epochs": result.epochs[:epochs],
            "numerics": tuple(each for each in result.numerics if each.epoch <= epochs),
            "initial": result.initial if epochs else None,
            "heatmap": None,
        }
    )


def moments(final: Run, seed: int) -> Iterable[dict[Cell, int]]:
    """A training of all cells, two side by side, in an order that ``seed`` draws."""
    source = random.Random(seed)
    waiting = list(final.results)
    source.shuffle(waiting)
    begun: dict[Cell, int] = {}
    under_way: list[CellResult] = []
    while waiting or under_way:
        if waiting and len(under_way) < 2:
            under_way.append(waiting.pop())
            begun[under_way[-1].cell] = 0
        else:
            result = source.choice(under_way)
            begun[result.cell] += 1
            if begun[result.cell] > len(result.epochs):
                begun[result.cell] = ENDED
                under_way.remove(result)
        yield dict(begun)


def with_numerics(result: CellResult) -> CellResult:
    measured = [epoch for epoch in (0, 1, len(result.epochs)) if epoch <= len(result.epochs)]
    sizes = (0.3, 1e-3, 1e-3)
    return result.model_copy(
        update={
            "numerics": tuple(make_errors(e, size) for e, size in zip(dict.fromkeys(measured), sizes, strict=False))
        }
    )


def own_last(claim: Claim) -> Claim:
    """The same claim of a document that does not say how long its networks were trained."""
    recipe = Recipe(**{**dict(claim.recipe), "epochs": None})
    return claim.model_copy(update={"recipe": recipe})


CLAIMS_OF_ALL_KINDS = (
    *CLAIMS,
    claim_of("test_accuracy", {"at_least": 40}, at=1, **SIGMOID),
    claim_of("test_accuracy", {"at_least": 70}, at="last", **SIGMOID),
    own_last(claim_of("test_accuracy", {"at_least": 70}, at="last", **SIGMOID)),
    own_last(claim_of("test_accuracy", {"at_least": 50}, over={"epochs": (2, "last"), "take": "mean"}, **RELU)),
    claim_of("test_accuracy", ANY, over={"epochs": (1, 3), "take": "greatest"}, **GAP),
    claim_of("test_accuracy", {"at_least": 2}, **RATIO),
    claim_of("signal_l2", {"below": 0.5}, at="init", **FACTOR, **SIGMOID),
    claim_of("signal_l2", {"below": 0.5}, at=1, **FACTOR, **SIGMOID),
    claim_of("parameters", {"at_least": 1}, **RELU),
)
WORLDS = {
    "all is true": results_of(DOCUMENT),
    "as its plots": results_of(PLOTS),
    "numerics that decide": [
        with_numerics(result) for result in results_of({k: DOCUMENT[k] for k in ("sigmoid", "relu")})
    ],
    "two diverge": swap(results_of(DOCUMENT), lambda r: cut(r, 3, "diverged"), "sigmoid seed 43", "relu seed 44"),
}


@pytest.mark.parametrize("world", WORLDS)
def test_what_is_settled_is_what_the_finished_run_says(world: str) -> None:
    final = make_run(WORLDS[world])
    expected = judged(final, CLAIMS_OF_ALL_KINDS)
    settled_before_the_end = 0
    for moment in list(moments(final, seed=1))[::23]:
        found = judged(after(final, moment), CLAIMS_OF_ALL_KINDS)
        for now, then in zip(found, expected, strict=True):
            if is_awaited(now):
                continue
            settled_before_the_end += now.outcome != "not run"
            assert now.outcome == then.outcome, (now.claim, now.reason)
            for reading, last in zip(now.readings, then.readings, strict=True):
                if reading.outcome == "not run" and not is_awaited(reading):
                    assert last.outcome == "not run"
                elif reading.outcome != "not run":
                    assert reading == last
    assert settled_before_the_end > 10
    assert judged(after(final, {result.cell: ENDED for result in final.results}), CLAIMS_OF_ALL_KINDS) == expected


def test_a_claim_that_three_seeds_decide_is_not_settled_by_fewer() -> None:
    final = make_run(results_of({"sigmoid": DOCUMENT["sigmoid"]}, seeds=range(42, 47)))
    claim = claim_of("test_accuracy", {"at_least": 40}, at=1, **SIGMOID)
    cells = [result.cell for result in final.results]
    for ready in range(1, 5):  # three would be enough for a verdict, which the others could still change
        epochs = {**dict.fromkeys(cells[:ready], ENDED), cells[ready]: 0}
        (verdict,) = judged(after(final, epochs), [claim])
        assert (verdict.outcome, verdict.reason) == ("not run", f"still training: {ready} of 5 seeds")
        assert verdict.p is None
    (verdict,) = judged(after(final, dict.fromkeys(cells, 1)), [claim])  # none has ended, each has its first epoch
    assert verdict.outcome == "reproduced"


def test_what_is_known_before_the_first_step_is_settled_before_it() -> None:
    final = make_run(results_of({"relu": DOCUMENT["relu"]}))
    claims = [claim_of("parameters", {"at_least": 1}, **RELU), claim_of("test_accuracy", ANY, at=1, **RELU)]
    found = judged(after(final, dict.fromkeys((result.cell for result in final.results), 0)), claims)
    assert [verdict.outcome for verdict in found] == ["reproduced", "not run"]


def test_a_network_that_failed_is_no_longer_waited_for() -> None:
    results = results_of({"sigmoid": DOCUMENT["sigmoid"]}, seeds=range(42, 46))
    failed = CellResult(cell=results[3].cell, status="failed", reason="RuntimeError: x")
    final = make_run([*results[:3], failed])
    (verdict,) = judged(final.so_far("running", final.results, 1.0), [claim_of("test_accuracy", ANY, at=1, **SIGMOID)])
    assert (verdict.outcome, len(verdict.readings[0].values)) == ("reproduced", 3)


def test_what_the_plan_cannot_decide_is_not_waited_for() -> None:
    final = make_run(results_of({"sigmoid": DOCUMENT["sigmoid"]}))
    running = final.so_far("running", (), 1.0)
    (verdict,) = judged(running, [claim_of("test_accuracy", ANY, at=1, **RELU)])
    assert (verdict.outcome, verdict.reason) == ("not run", "needs networks with activation relu")
    assert not is_awaited(verdict)


def waiting(**fields: Any) -> Reading:
    return make_reading("not run", (), reason="still training: 1 of 3 seeds", **fields)


@pytest.mark.parametrize(
    ("readings", "outcome"),
    [
        ([make_reading("reproduced"), waiting()], "not run"),
        ([make_reading("not reproduced"), waiting()], "not run"),  # it could become mixed
        ([make_reading("inconclusive"), waiting()], "not run"),
        ([make_reading("not run", (), reason="needs all of CIFAR-10"), waiting()], "not run"),
        ([make_reading("reproduced"), make_reading("not reproduced"), waiting()], "mixed"),
        ([make_reading("error"), waiting()], "error"),
        ([make_reading("reproduced"), waiting(context=True)], "reproduced"),
        ([make_reading("not reproduced"), waiting(context=True)], "not reproduced"),
        ([make_reading("reproduced", either="a"), waiting(either="a")], "reproduced"),
        ([make_reading("not reproduced", either="a"), waiting(either="a")], "not run"),
    ],
)
def test_a_verdict_waits_for_readings_that_could_change_it(readings: list[Reading], outcome: str) -> None:
    combined = combined_so_far(combine(readings), readings)
    assert combined.outcome == outcome
    assert (combined.reason == "still training: 1 of 3 seeds") == (outcome == "not run")


def test_nothing_is_waited_for_in_a_run_that_has_ended() -> None:
    from vgharness.claims.evidence import Evidence

    run = make_run([make_result(curve=[50.0], epochs=20, status="interrupted")])
    claim = claim_of("test_accuracy", ANY, at=1, **SIGMOID)
    assert awaited(claim.readings[0], claim, "readme", Evidence.of(run)) == ""
