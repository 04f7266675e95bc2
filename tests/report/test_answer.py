"""The headline: what it says of made-up runs, and that it says no more than the seeds tell."""

import pytest
from factories import make_flow, make_reading, make_result, make_run, make_verdict

from vgharness.records import Activation, CellResult, Epoch, Run
from vgharness.report.kinds import factor_series, kinds_of
from vgharness.report.study.answer import answer_of, state_of, way
from vgharness.statistics import Summary

pytestmark = pytest.mark.fast


def trained(activation: Activation, *factors: float, seeds: int = 3, spread: float = 0.02) -> list[CellResult]:
    """Networks whose factor toward the input is at initialisation, then over each epoch, as given; seeds apart by a
    share of ``spread`` from one to the next."""
    results = []
    for place in range(seeds):
        scale = 1 + spread * (place - (seeds - 1) / 2)
        flows = [make_flow(factor * scale) for factor in factors]
        epochs = tuple(
            Epoch(
                epoch=number, train_loss=1.0, train_accuracy=50.0, test_loss=1.0, test_accuracy=50.0, seconds=1.0,
                flow=flow,
            )
            for number, flow in enumerate(flows[1:], 1)
        )  # fmt: skip
        result = make_result(activation, 42 + place, curve=[50.0] * len(epochs))
        results.append(result.model_copy(update={"initial": flows[0], "epochs": epochs}))
    return results


def about_gradients(*activations: Activation) -> list[object]:
    return [
        make_verdict("mixed", make_reading(quantity="signal_l2", unit="×", activation=each, value=1.0))
        for each in activations
    ]


def headline(*results: list[CellResult], verdicts: bool = True) -> str:
    of = about_gradients(*(each[0].cell.activation for each in results)) if verdicts else []
    return answer_of(make_run([x for each in results for x in each], verdicts=tuple(of))).headline


def test_the_state_is_where_the_interval_lies() -> None:
    table = {(0.1, 0.4): "shrink", (0.4, 0.6): "open", (0.5, 2.0): "steady", (2.1, 9.0): "grow", (1.5, 2.5): "open"}
    assert {ends: state_of(Summary(1.0, *ends)) for ends in table} == table
    assert state_of(Summary(0.1)) == "open"  # one seed has no interval


@pytest.mark.parametrize(
    ("factors", "said"),
    [
        ((0.1, 0.2, 0.1), "shrink toward the input throughout"),
        ((0.1, 0.2, 0.9, 1.0), "shrink toward the input at initialisation, no longer from epoch 2 on"),
        ((0.1, 1.0, 3.0, 4.0), "shrink toward the input at initialisation, grow from epoch 2 on"),
        ((0.1, 1.0, 0.1), "shrink toward the input at initialisation and over epoch 2, not always between"),
        ((0.1, 0.5), "shrink toward the input at initialisation; over epoch 1 that is open"),
        ((1.0, 1.1), "stay within ×0.5 to ×2 per layer toward the input throughout"),
        ((3.0, 3.0), "grow toward the input throughout"),
        ((0.5, 0.1), ""),  # nothing is known of the start
    ],
)
def test_how_it_went_is_said_from_the_first_moment_to_the_last(factors: tuple[float, ...], said: str) -> None:
    (kind,) = kinds_of(make_run(trained("relu", *factors)))
    assert way(factor_series(kind, "signal_l2")) == said


def test_activations_share_what_is_the_same() -> None:
    sigmoid, relu, tanh = (
        trained("sigmoid", 0.1, 0.1, 1.0),
        trained("relu", 0.4, 1.0, 1.0),
        trained("tanh", 0.4, 1.0, 1.0),
    )
    assert headline(sigmoid, relu) == (
        "Sigmoid’s gradients shrink toward the input at initialisation, no longer from epoch 2 on; "
        "ReLU’s no longer from epoch 1 on"
    )
    assert headline(relu, tanh) == (
        "ReLU’s and Tanh’s gradients shrink toward the input at initialisation, no longer from epoch 1 on"
    )


@pytest.mark.parametrize("seeds", [1, 2])
def test_too_few_seeds_tell_nothing(seeds: int) -> None:
    found = answer_of(make_run(trained("sigmoid", 0.1, 0.1, seeds=seeds), verdicts=tuple(about_gradients("sigmoid"))))
    assert found.headline == "Of 1 claim: 1 mixed"
    assert found.findings == ()
    assert any("a verdict needs 3" in part for part in found.sure)


def test_seeds_that_disagree_leave_it_open() -> None:
    assert headline(trained("sigmoid", 0.1, 0.4, spread=0.3)).startswith(
        "Sigmoid’s gradients shrink toward the input at initialisation; over epoch 1 that is open"
    )


def test_a_document_that_says_nothing_of_gradients_is_answered_by_its_verdicts() -> None:
    run = make_run(trained("relu", 0.4, 1.0), verdicts=(make_verdict("reproduced"), make_verdict("not run", claim="b")))
    assert answer_of(run).headline == "Of 2 claims: 1 reproduced, 1 not run"


def test_a_run_held_against_nothing_says_what_was_found() -> None:
    assert headline(trained("relu", 0.4, 1.0), verdicts=False).startswith("ReLU’s gradients shrink")


def test_networks_of_other_settings_are_not_mixed_in() -> None:
    deep = [
        each.model_copy(update={"cell": each.cell.model_copy(update={"norm": "batch"})})
        for each in trained("relu", 1.0, 1.0)
    ]
    found = answer_of(make_run([*trained("relu", 0.4, 0.4), *deep], verdicts=tuple(about_gradients("relu"))))
    assert found.headline == "ReLU’s gradients shrink toward the input throughout"
    assert found.settings == "script"


def test_its_figures_are_the_series_own() -> None:
    run: Run = make_run(trained("sigmoid", 0.1, 0.1, 1.0), verdicts=tuple(about_gradients("sigmoid")))
    (finding,) = answer_of(run).findings
    series = factor_series(kinds_of(run)[0], "signal_l2")
    assert (finding.first, finding.last, finding.epoch) == (series.means[0], series.means[2], 2)
