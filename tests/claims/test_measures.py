"""What each measure finds in made-up curves and gradients."""

import math
from collections.abc import Sequence

import pytest
from factories import make_flow, make_result, make_run
from worlds import (
    ANY,
    BAND,
    CLAIMS,
    DOCUMENT,
    GAP,
    RATIO,
    RELU,
    SEEDS,
    SIGMOID,
    Net,
    climb,
    cut,
    numbers_of,
    reading_of,
    results_of,
    step,
)

from vgharness.claims.verdicts import judge
from vgharness.records import GradientFlow, LayerGradient, Outcome, SeedValue

pytestmark = pytest.mark.fast

# --- accuracies -----------------------------------------------------------------------------------


def test_accuracy_is_the_mean_over_the_epochs_asked_for() -> None:
    results = [make_result("sigmoid", seed, curve=range(10, 30)) for seed in SEEDS]
    found = [
        numbers_of(reading_of(results, "accuracy", ANY, epoch=when, **SIGMOID))[42] for when in ((1,), (2, 5), "last")
    ]
    assert found == [10, 12.5, 29]


def test_an_accuracy_that_was_not_finite_is_none() -> None:
    results = results_of({"sigmoid": DOCUMENT["sigmoid"]})
    epochs = results[1].epochs
    hole = epochs[1].model_copy(update={"test_accuracy": None, "nonfinite": ("test_accuracy",)})
    results[1] = results[1].model_copy(update={"epochs": (epochs[0], hole, *epochs[2:])})
    assert reading_of(results, "accuracy", BAND, epoch=(1, 2), **SIGMOID).outcome == "not reproduced"
    assert reading_of(results, "accuracy", BAND, epoch=(1, 3), **SIGMOID).outcome == "reproduced"


def test_a_gap_is_taken_within_each_seed_that_both_networks_have() -> None:
    sigmoid = [make_result("sigmoid", seed, curve=[float(seed)] * 20) for seed in (46, 43, 44, 45)]
    relu = [make_result("relu", seed, curve=[2.0 * seed] * 20) for seed in (44, 42, 45, 43)]
    for results in ([*sigmoid, *relu], [*relu, *sigmoid]):
        reading = reading_of(results, "accuracy_gap", ANY, epoch="last", **GAP)
        assert list(numbers_of(reading).items()) == [(43, 43), (44, 44), (45, 45)]
    assert reading_of([*sigmoid[:1], *relu], "accuracy_gap", ANY, epoch="last", **GAP).outcome == "not run"


# --- epochs until a threshold ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sigmoid", "relu", "value", "at_least", "outcome"),
    [
        (10, 5, 2.0, False, "reproduced"),
        (12, 5, 2.4, False, "reproduced"),
        (9, 5, 1.8, False, "not reproduced"),
        (1, 1, 1.0, False, "not reproduced"),
        (5, 10, 0.5, False, "not reproduced"),
        (None, 5, 21 / 5, True, "reproduced"),
        (None, 10, 21 / 10, True, "reproduced"),
        (None, 15, 21 / 15, True, "inconclusive"),
        (None, None, None, True, "inconclusive"),
        (20, None, 20 / 21, False, "not reproduced"),
    ],
)
def test_epochs_ratio_is_exact_or_a_lower_bound(
    sigmoid: int | None, relu: int | None, value: float | None, at_least: bool, outcome: Outcome
) -> None:
    results = results_of({"sigmoid": Net(step(sigmoid)), "relu": Net(step(relu))})
    reading = reading_of(results, "epochs_ratio", {"at_least": 2}, **RATIO)
    assert numbers_of(reading) == dict.fromkeys(SEEDS, value)
    assert {v.at_least for v in reading.values} == {at_least}
    assert reading.outcome == outcome


def test_epochs_ratio_is_taken_to_the_first_epoch_above_the_threshold() -> None:
    wavering = [10.0, 60.0, 10.0, 10.0, *[60.0] * 16]
    results = results_of({"sigmoid": Net(wavering), "relu": Net(step(1))})
    assert set(numbers_of(reading_of(results, "epochs_ratio", ANY, **RATIO)).values()) == {2}


def test_one_seed_in_which_no_network_got_there_leaves_the_ratio_open() -> None:
    results = [
        *results_of({"sigmoid": Net(step(10)), "relu": Net(step(2))}, seeds=range(42, 46)),
        *results_of({"sigmoid": Net(step(None)), "relu": Net(step(None))}, seeds=[46]),
    ]
    reading = reading_of(results, "epochs_ratio", {"at_least": 2}, **RATIO)
    assert reading.outcome == "inconclusive"
    assert "46" in reading.reason


@pytest.mark.parametrize(
    ("sigmoid", "relu"),
    [
        pytest.param(
            (15, 20, "finished"), (None, 2, "interrupted"), id="ReLU interrupted: the ratio is an upper bound"
        ),
        pytest.param((15, 20, "finished"), (None, 2, "diverged"), id="ReLU diverged: it will never get there"),
        pytest.param((None, 3, "diverged"), (1, 20, "finished"), id="sigmoid diverged: NaN is not slow"),
    ],
)
def test_a_network_cut_short_before_the_threshold_does_not_prove_the_other_faster(
    sigmoid: tuple[int | None, int, str], relu: tuple[int | None, int, str]
) -> None:
    results = [
        cut(result, epochs, status)
        for name, (reached, epochs, status) in (("sigmoid", sigmoid), ("relu", relu))
        for result in results_of({name: Net(step(reached))})
    ]
    assert reading_of(results, "epochs_ratio", {"at_least": 2}, **RATIO).outcome != "reproduced"


def test_a_network_that_diverged_only_after_the_threshold_had_got_there() -> None:
    slow = [cut(result, 15, "diverged") for result in results_of({"sigmoid": Net(step(10))})]
    quick = [cut(result, 6, "diverged") for result in results_of({"relu": Net(step(5))})]
    reading = reading_of([*slow, *quick], "epochs_ratio", {"at_least": 2}, **RATIO)
    assert numbers_of(reading) == dict.fromkeys(SEEDS, 2)
    assert reading.outcome == "reproduced"


def test_a_slow_network_that_was_interrupted_gives_a_bound_from_the_epochs_that_it_has() -> None:
    slow = [cut(result, 7, "interrupted") for result in results_of({"sigmoid": Net(step(None))})]
    reading = reading_of([*slow, *results_of({"relu": Net(step(2))})], "epochs_ratio", {"at_least": 2}, **RATIO)
    assert reading.values == tuple(SeedValue(seed=seed, value=4, at_least=True) for seed in SEEDS)
    assert reading.outcome == "reproduced"


def test_an_untrained_network_has_no_epochs_ratio() -> None:
    results = results_of({"sigmoid": Net(), "relu": Net(step(2))})
    assert reading_of(results, "epochs_ratio", {"at_least": 2}, **RATIO).outcome == "not run"


# --- factors of gradients -------------------------------------------------------------------------


def flow_of(signal: float, weight: float) -> GradientFlow:
    """Quantities with a factor each, and a last layer that is no convolution and far larger."""
    rows = [
        a.model_copy(update={"weight_mean_abs": b.weight_mean_abs, "weight_l2": None, "signal_rms": None})
        for a, b in zip(make_flow(signal).layers, make_flow(weight).layers, strict=True)
    ]
    return GradientFlow(layers=(*rows[:-1], rows[-1].model_copy(update={"signal_l2": 1e6, "weight_mean_abs": 1e6})))


@pytest.mark.parametrize("measure", ["factor", "largest_factor"])
@pytest.mark.parametrize(
    ("moment", "quantity", "value"),
    [
        ("init", "signal_l2", 0.11),
        ("init", "weight_mean_abs", 0.12),
        ("epoch 1", "signal_l2", 0.21),
        ("epoch 1", "weight_mean_abs", 0.22),
        ("last", "signal_l2", 0.41),
        ("last", "weight_mean_abs", 0.42),
    ],
)
def test_a_factor_is_of_its_own_moment_and_quantity_and_of_the_convolutions(
    measure: str, moment: str, quantity: str, value: float
) -> None:
    result = make_result(curve=climb(10, 60), initial=flow_of(0.11, 0.12))
    flows = [flow_of(0.21, 0.22), *[flow_of(0.31, 0.32)] * 18, flow_of(0.41, 0.42)]
    epochs = tuple(e.model_copy(update={"flow": flow}) for e, flow in zip(result.epochs, flows, strict=True))
    results = [result.model_copy(update={"epochs": epochs})]
    reading = reading_of(results, measure, ANY, quantity=quantity, moment=moment, **SIGMOID)
    assert numbers_of(reading) == {42: pytest.approx(value)}


def convolutions(*signals: float | None) -> GradientFlow:
    return GradientFlow(
        layers=tuple(LayerGradient(name=f"conv{i}", state="ok", signal_l2=x) for i, x in enumerate(signals, 1))
    )


@pytest.mark.parametrize(
    ("signals", "factor", "largest"),
    [
        ((1.0, 4.0, 2.0, 8.0), 0.5, 2.0),
        ((8.0, 4.0, 2.0, 1.0), 2.0, 2.0),
        ((1.0, 1.0, 1.0, 8.0), 0.5, 1.0),
        ((0.0, 2.0, 4.0, 8.0), 0.0, 0.5),
        ((1.0, 2.0, 4.0, 0.0), None, None),
        ((None, 2.0, 4.0, 8.0), None, None),
        ((1.0, 2.0, 4.0, None), None, None),
        ((1.0, None, 4.0, 8.0), None, None),
        ((1.0, math.inf, 4.0, 8.0), None, None),
    ],
)
@pytest.mark.parametrize("measure", ["factor", "largest_factor"])
def test_factor_is_the_mean_step_and_largest_factor_the_one_that_breaks_monotony(
    measure: str, signals: Sequence[float | None], factor: float | None, largest: float | None
) -> None:
    results = [make_result("relu", seed, initial=convolutions(*signals)) for seed in SEEDS]
    reading = reading_of(results, measure, ANY, quantity="signal_l2", moment="init", **RELU)
    value = factor if measure == "factor" else largest
    assert numbers_of(reading) == dict.fromkeys(SEEDS, value if value is None else pytest.approx(value))
    assert reading.outcome == ("not reproduced" if value is None else "reproduced")


def test_a_gradient_that_shrinks_on_the_whole_but_not_at_every_layer_does_not_shrink_layer_wise() -> None:
    nets = results_of(DOCUMENT)
    shrinks = next(claim for claim in CLAIMS if claim.id == "sigmoid-gradient-shrinks")
    bumpy = [r.model_copy(update={"initial": convolutions(0.001, 0.002, 0.001, 1.0)}) for r in nets]
    (verdict,) = judge([shrinks], make_run(bumpy))
    wrong = [reading.label for reading in verdict.readings if reading.outcome == "not reproduced"]
    assert verdict.outcome == "not reproduced"
    assert all("initialisation" in label for label in wrong)
    signal = [r for r in verdict.readings if "initialisation" in r.label and "signal" in r.label]
    assert [(r.measure, r.outcome) for r in signal] == [("factor", "reproduced"), ("largest_factor", "not reproduced")]
