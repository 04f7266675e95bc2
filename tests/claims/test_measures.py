"""What each reading finds in made-up curves, gradients and networks."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from factories import CANONICAL, make_flow, make_result, make_run
from worlds import (
    ANY,
    CLAIMS,
    DOCUMENT,
    GAP,
    RATIO,
    RELU,
    SEEDS,
    SIGMOID,
    Net,
    bounds_of,
    claim_of,
    climb,
    cut,
    judged,
    numbers_of,
    reading_of,
    results_of,
    step,
    swap,
)

from vgharness.claims.evidence import Evidence
from vgharness.claims.figures import of_sample
from vgharness.claims.layers import error_of
from vgharness.claims.measures import measure
from vgharness.claims.spec import Layers
from vgharness.claims.subject import Subject
from vgharness.records import (
    CellResult,
    GradientFlow,
    LayerError,
    LayerGradient,
    LayerPrediction,
    LayerShape,
    MomentErrors,
    Outcome,
    Sample,
    nan_if_none,
)

pytestmark = pytest.mark.fast

# --- values of an epoch ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("when", "value"),
    [
        ({"at": 1}, 10.0),
        ({"at": "last"}, 29.0),
        ({"over": {"epochs": (2, 5), "take": "mean"}}, 12.5),
        ({"over": {"epochs": (2, "last"), "take": "greatest"}}, 29.0),
        ({"over": {"epochs": (2, 5), "take": "least"}}, 11.0),
        ({"over": {"epochs": (1, 5), "take": "spread"}}, 1.4),
        ({"over": {"epochs": (1, "last"), "take": "rises"}}, 1.0),
    ],
)
def test_an_accuracy_is_of_the_epochs_asked_for(when: dict[str, Any], value: float) -> None:
    results = [make_result("sigmoid", seed, curve=range(10, 30)) for seed in SEEDS]
    found = reading_of(results, "test_accuracy", ANY, **when, **SIGMOID)
    assert numbers_of(found) == dict.fromkeys(SEEDS, pytest.approx(value))


def with_losses(losses: Sequence[float]) -> list[CellResult]:
    result = make_result("sigmoid", curve=[50.0] * len(losses))
    epochs = [e.model_copy(update={"train_loss": loss}) for e, loss in zip(result.epochs, losses, strict=True)]
    return [result.model_copy(update={"epochs": tuple(epochs)})]


@pytest.mark.parametrize(
    ("losses", "share"), [((2.0, 1.0, 1.5, 1.5, 1.0), 0.25), ((1.0, 2.0), 1.0), ((2.0, 1.0, 1.0), 0.0)]
)
def test_an_unstable_loss_rises_in_a_share_of_the_epochs(losses: Sequence[float], share: float) -> None:
    rises = {"over": {"epochs": (1, len(losses)), "take": "rises"}}
    found = reading_of(with_losses(losses), "train_loss", {"at_least": 0.0}, **rises, **SIGMOID)
    assert numbers_of(found) == {42: share}
    assert (found.scale, found.unit) == ("linear", "")


@pytest.mark.parametrize("quantity", ["train_accuracy", "train_loss", "test_loss"])
def test_every_value_of_an_epoch_can_be_read(quantity: str) -> None:
    results = [make_result("sigmoid", seed, curve=[50.0] * 20) for seed in SEEDS]
    epoch = results[0].epochs[2].model_copy(update={quantity: 1.25})
    results[0] = results[0].model_copy(update={"epochs": (*results[0].epochs[:2], epoch, *results[0].epochs[3:])})
    found = reading_of(results, quantity, ANY, at=3, **SIGMOID)
    assert numbers_of(found)[42] == 1.25
    assert numbers_of(found)[43] == (50.0 if quantity == "train_accuracy" else 2.0)


def test_a_difference_is_taken_within_each_seed_that_both_networks_have() -> None:
    sigmoid = [make_result("sigmoid", seed, curve=[float(seed)] * 20) for seed in (46, 43, 44, 45)]
    relu = [make_result("relu", seed, curve=[1.5 * seed] * 20) for seed in (44, 42, 45, 43)]
    for results in ([*sigmoid, *relu], [*relu, *sigmoid]):
        reading = reading_of(results, "test_accuracy", ANY, at="last", **GAP)
        assert list(numbers_of(reading).items()) == [(43, 21.5), (44, 22), (45, 22.5)]
        ratio = reading_of(results, "test_accuracy", ANY, at="last", **{**GAP, "by": "ratio"})
        assert set(numbers_of(ratio).values()) == {1.5}
        assert (reading.scale, reading.unit, ratio.scale, ratio.unit) == ("linear", "points", "log", "×")
    assert reading_of([*sigmoid[:1], *relu], "test_accuracy", ANY, at="last", **GAP).outcome == "not run"


def test_an_accuracy_has_the_grain_of_its_images() -> None:
    """Equal accuracies of 1,000 images may be 1.4 points off: the interval of three is at least as wide."""
    few = CANONICAL.model_copy(update={"test_images": 1000})
    results = [make_result("sigmoid", seed, curve=[70.0] * 20) for seed in SEEDS]
    for data, least in ((few, 1.45), (CANONICAL, 0.458)):
        (verdict,) = judged(make_run(results, data=data), [x for x in CLAIMS if x.id == "sigmoid-final"])
        low, high = verdict.readings[0].low, verdict.readings[0].high
        assert low is not None
        assert high is not None
        assert high - low == pytest.approx(2 * 4.303 / math.sqrt(3) * least, rel=0.02)


def test_an_accuracy_on_the_training_images_has_their_grain() -> None:
    few = CANONICAL.model_copy(update={"train_images": 100, "test_images": 10_000})
    results = [make_result("sigmoid", seed, curve=[70.0] * 20) for seed in SEEDS]
    widths = []
    for quantity in ("train_accuracy", "test_accuracy"):
        claim = claim_of(quantity, {"above": 1.0}, at="last", **SIGMOID)
        (verdict,) = judged(make_run(results, data=few), [claim])
        low, high = verdict.readings[0].low, verdict.readings[0].high
        widths.append(nan_if_none(high) - nan_if_none(low))
    assert widths[0] == pytest.approx(10 * widths[1], rel=0.1)


def test_points_that_re_encoding_may_have_cost_are_added_to_every_accuracy() -> None:
    """To each of two networks on its own, before anything is made of it, and never beyond 100 %."""
    run = make_run(results_of({"sigmoid": Net([50.0] * 20, scatter=0), "relu": Net([98.0] * 20, scatter=0)}))
    for shifts, asked, value in (
        ((4.0, 0.0), {"at": 1, **SIGMOID}, 54),
        ((4.0, 0.0), {"at": 1, **RELU}, 100),
        ((4.0, 0.0), {"at": 1, **GAP}, 50),
        ((0.0, 4.0), {"at": 1, **GAP}, 44),
        ((4.0, 0.0), {"over": {"epochs": (1, 3), "take": "mean"}, **SIGMOID}, 54),
        ((4.0, 0.0), {"passes": {"above": 53.0}, **SIGMOID}, 1),
        ((0.0, 0.0), {"passes": {"above": 53.0}, **SIGMOID}, 20),
    ):
        claim = claim_of("test_accuracy", ANY, **asked)
        found = measure(claim.readings[0], claim, "readme", Evidence.of(run), shifts)
        assert [each.value for each in found.values] == [value] * 3
    claim = claim_of("test_loss", ANY, at=1, **SIGMOID)
    assert measure(claim.readings[0], claim, "readme", Evidence.of(run), (4.0, 0.0)).values[0].value == 2


def test_the_distance_of_a_curve_is_from_the_mean_of_the_others() -> None:
    results = [make_result("sigmoid", seed, curve=[50.0 + seed - 42] * 20) for seed in SEEDS]
    claim = claim_of("test_accuracy", None, curve=(53.0,) * 20, **SIGMOID)
    run = Evidence.of(make_run(results))
    for shift, published in ((0.0, 2.0), (4.0, 2.0), (1.0, 1.0)):
        found = measure(claim.readings[0], claim, "script", run, (shift, 0.0))
        assert [each.value for each in found.values] == [1.5, 0, 1.5]
        assert found.published == pytest.approx(published)
    losses = claim_of("test_loss", None, curve=(2.5,) * 20, **SIGMOID)
    assert measure(losses.readings[0], losses, "script", run).published == 0.5


# --- the epoch in which a threshold is passed -----------------------------------------------------


@pytest.mark.parametrize(
    ("sigmoid", "relu", "value", "bounds", "outcome"),
    [
        (10, 5, 2.0, (9 / 5, 10 / 4), "inconclusive"),
        (12, 5, 2.4, (11 / 5, 3), "reproduced"),
        (7, 1, 7.0, (6, None), "reproduced"),
        (2, 1, 2.0, (1, None), "inconclusive"),
        (1, 1, 1.0, (None, None), "inconclusive"),
        (6, 5, 1.2, (1, 1.5), "not reproduced"),
        (5, 10, 0.5, (0.4, 5 / 9), "not reproduced"),
        (None, 5, 4.0, (4, None), "reproduced"),
        (None, 15, 20 / 15, (20 / 15, None), "inconclusive"),
        (None, None, 1.0, (None, None), "inconclusive"),
        (20, None, 1.0, (None, 1.0), "not reproduced"),
    ],
)
def test_a_ratio_of_epochs_has_the_ends_that_whole_epochs_leave_open(
    sigmoid: int | None, relu: int | None, value: float, bounds: tuple[float | None, float | None], outcome: Outcome
) -> None:
    results = results_of({"sigmoid": Net(step(sigmoid)), "relu": Net(step(relu))})
    reading = reading_of(results, "test_accuracy", {"at_least": 2.0}, **RATIO)
    assert numbers_of(reading) == dict.fromkeys(SEEDS, pytest.approx(value))
    (found,) = bounds_of(reading)
    assert found == tuple(None if end is None else pytest.approx(end) for end in bounds)
    assert reading.outcome == outcome


@pytest.mark.parametrize(("threshold", "epoch"), [(50.0, 3), (40.0, 3), (39.0, 2), (60.0, None)])
def test_a_threshold_is_passed_by_what_is_beyond_it(threshold: float, epoch: int | None) -> None:
    results = [make_result("sigmoid", seed, curve=[10.0, 40.0, 60.0, *[10.0] * 17]) for seed in SEEDS]
    reading = reading_of(results, "test_accuracy", ANY, passes={"above": threshold}, **SIGMOID)
    assert bounds_of(reading) == {(20.0, None) if epoch is None else (epoch - 1.0, float(epoch))}
    assert reading.unit == "epochs"


def test_a_loss_passes_a_threshold_from_above() -> None:
    """What is on it has not passed it."""
    for threshold, epoch in ((0.5, 2), (0.4, 3), (0.3, None)):
        found = reading_of(with_losses((2.0, 0.4, 0.3)), "train_loss", ANY, passes={"below": threshold}, **SIGMOID)
        assert bounds_of(found) == {(3.0, None) if epoch is None else (epoch - 1.0, float(epoch))}


def test_a_difference_of_epochs_has_two_ends_too() -> None:
    """After 9 to 10 epochs and after 4 to 5: between 4 and 6 apart."""
    results = results_of({"sigmoid": Net(step(10)), "relu": Net(step(5))})
    found = reading_of(results, "test_accuracy", {"above": 3.0}, **{**RATIO, "by": "difference"})
    assert (bounds_of(found), found.unit, found.outcome) == ({(4.0, 6.0)}, "epochs", "reproduced")
    never = reading_of(
        results_of({"sigmoid": Net(step(None)), "relu": Net(step(5))}),
        "test_accuracy",
        {"above": 3.0},
        **{**RATIO, "by": "difference"},
    )
    assert bounds_of(never) == {(15.0, None)}


@pytest.mark.parametrize(
    ("sigmoid", "relu"),
    [
        pytest.param((15, 20, "finished"), (None, 2, "interrupted"), id="ReLU interrupted: an upper bound"),
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
    assert reading_of(results, "test_accuracy", {"at_least": 2.0}, **RATIO).outcome != "reproduced"


# --- gradients ------------------------------------------------------------------------------------


def flow_of(signal: float, weight: float) -> GradientFlow:
    """Quantities with a factor each, and a last layer that is no convolution and far larger."""
    rows = [
        a.model_copy(update={"weight_mean_abs": b.weight_mean_abs, "weight_l2": None, "signal_rms": None})
        for a, b in zip(make_flow(signal).layers, make_flow(weight).layers, strict=True)
    ]
    return GradientFlow(layers=(*rows[:-1], rows[-1].model_copy(update={"signal_l2": 1e6, "weight_mean_abs": 1e6})))


@pytest.mark.parametrize(
    ("moment", "quantity", "value"),
    [
        ("init", "signal_l2", 0.11),
        ("init", "weight_mean_abs", 0.12),
        (1, "signal_l2", 0.21),
        (1, "weight_mean_abs", 0.22),
        ("last", "signal_l2", 0.41),
        ("last", "weight_mean_abs", 0.42),
    ],
)
def test_a_factor_is_of_its_own_moment_and_quantity_and_of_the_layers_named(
    moment: Any, quantity: str, value: float
) -> None:
    result = make_result(curve=climb(10, 60), initial=flow_of(0.11, 0.12))
    flows = [flow_of(0.21, 0.22), *[flow_of(0.31, 0.32)] * 18, flow_of(0.41, 0.42)]
    epochs = tuple(e.model_copy(update={"flow": flow}) for e, flow in zip(result.epochs, flows, strict=True))
    results = [result.model_copy(update={"epochs": epochs})]
    reading = reading_of(results, quantity, ANY, layers={"match": "conv*", "take": "factor"}, at=moment, **SIGMOID)
    assert numbers_of(reading) == {42: pytest.approx(value)}


def convolutions(*signals: float | None) -> GradientFlow:
    return GradientFlow(
        layers=tuple(LayerGradient(name=f"conv{i}", state="ok", signal_l2=x) for i, x in enumerate(signals, 1))
    )


def taken(signals: Sequence[float | None], take: str) -> float | None:
    results = [make_result("relu", seed, initial=convolutions(*signals)) for seed in SEEDS]
    reading = reading_of(results, "signal_l2", ANY, layers={"match": "*", "take": take}, at="init", **RELU)
    return numbers_of(reading)[42]


@pytest.mark.parametrize(
    ("signals", "take", "value"),
    [
        ((1.0, 4.0, 2.0, 8.0), "factor", 0.5),
        ((1.0, 4.0, 2.0, 8.0), "largest_factor", 2.0),
        ((1.0, 4.0, 2.0, 8.0), "least_factor", 0.25),
        ((1.0, 4.0, 2.0, 8.0), "total", 0.125),
        ((1.0, 4.0, 2.0, 8.0), "spread", 8.0),
        ((1.0, 4.0, 2.0, 8.0), "greatest", 8.0),
        ((1.0, 4.0, 2.0, 8.0), "least", 1.0),
        ((1.0, 4.0, 2.0, 8.0), "mean", 64**0.25),
        ((1.0, 10.0, 100.0), "slope", -1.0),
        ((1000.0, 100.0, 10.0, 1.0), "slope", 1.0),
        ((0.0, 2.0, 4.0, 8.0), "factor", 0.0),
        ((0.0, 2.0, 4.0, 8.0), "largest_factor", 0.5),
        ((1.0, 2.0, 4.0, 0.0), "factor", None),
        ((0.0, 0.0, 4.0, 8.0), "factor", 0.0),
        ((0.0, 0.0, 4.0, 8.0), "largest_factor", 0.5),
        ((0.0, 0.0, 0.0, 0.0), "largest_factor", None),
        ((math.nan, 2.0, 4.0, 8.0), "factor", None),
        ((1.0, math.nan, 4.0, 8.0), "largest_factor", None),
        ((1.0, math.inf, 4.0, 8.0), "total", None),
        ((0.0, 2.0, 4.0, 8.0), "slope", None),
    ],
)
def test_what_is_made_of_the_layers(signals: Sequence[float | None], take: str, value: float | None) -> None:
    assert taken(signals, take) == (None if value is None else pytest.approx(value))


def test_one_layer_is_read_by_its_name() -> None:
    results = [make_result("relu", seed, initial=convolutions(1.0, 4.0, 2.0)) for seed in SEEDS]
    assert numbers_of(reading_of(results, "signal_l2", ANY, layer="conv2", at="init", **RELU))[42] == 4
    missing = reading_of(results, "signal_l2", ANY, layer="conv9", at="init", **RELU)
    assert (missing.outcome, missing.reason) == ("not run", "has no layer conv9")


def test_what_was_not_measured_is_not_run_and_what_is_not_finite_is() -> None:
    """A frozen layer has no gradient: no network diverged."""
    frozen = convolutions(1.0, None, 2.0)
    frozen = frozen.model_copy(
        update={
            "layers": tuple(
                x.model_copy(update={"state": "frozen"} if x.name == "conv2" else {}) for x in frozen.layers
            )
        }
    )
    results = [make_result("relu", seed, initial=frozen) for seed in SEEDS]
    for asked in ({"layers": {"match": "conv*", "take": "factor"}}, {"layer": "conv2"}):
        found = reading_of(results, "signal_l2", ANY, at="init", **asked, **RELU)
        assert (found.outcome, found.reason) == (
            "not run",
            "script relu seed 44 has no error signal ‖∂L/∂h‖₂ of conv2, which is frozen",
        )
    others = reading_of(results, "signal_l2", ANY, at="init", layers={"match": "conv[13]", "take": "total"}, **RELU)
    assert numbers_of(others) == dict.fromkeys(SEEDS, 0.5)
    wild = [make_result("relu", seed, initial=convolutions(1.0, math.nan)) for seed in SEEDS]
    found = reading_of(wild, "signal_l2", ANY, at="init", layer="conv2", **RELU)
    assert (found.outcome, numbers_of(found)) == ("inconclusive", dict.fromkeys(SEEDS))


def test_a_mean_over_layers_is_geometric_and_of_shares_arithmetic() -> None:
    assert taken((1.0, 100.0), "mean") == pytest.approx(10)
    rows = [LayerGradient(name=f"fc{i}", state="ok", saturated=x) for i, x in enumerate((0.0, 0.5, None), 1)]
    sample = Sample(test="t", seeds=(42,), flows=(GradientFlow(layers=tuple(rows)),))
    claim = claim_of(
        "saturated", {"at_most": 1.0}, of=Subject(test="t"), layers={"match": "*", "take": "mean"}, at="init"
    )
    # The last layer has no activation behind it, and no share.
    assert of_sample(claim.readings[0], sample, 42).value == 0.25


def test_a_ratio_of_two_networks_is_paired_by_seed() -> None:
    results = [make_result("sigmoid", seed, factor=0.1 * (seed - 40)) for seed in SEEDS]
    results += [make_result("identity", seed, factor=0.2 * (seed - 40)) for seed in reversed(SEEDS)]
    asked = {"of": {"activation": "sigmoid"}, "against": {"activation": "identity"}, "by": "ratio"}
    factor = {"layers": {"match": "conv*", "take": "factor"}, "at": "init"}
    found = reading_of(results, "signal_l2", {"below": 1.0}, **asked, **factor)
    assert numbers_of(found) == dict.fromkeys(SEEDS, pytest.approx(0.5))
    assert found.outcome == "reproduced"


# --- the numerical error, of its layers and its moment --------------------------------------------


def errors_at(epoch: int, *errors: float) -> MomentErrors:
    layers = tuple(
        LayerError(name=f"conv{i}", weight_mean_abs=x, weight_l2=x, signal_l2=x, signal_rms=x)
        for i, x in enumerate(errors, 1)
    )
    return MomentErrors(epoch=epoch, layers=layers)


NUMERICS = (errors_at(0, 0.1, 0.0, 0.0, 0.2), errors_at(1, 0.3, 0.0, 0.0, 0.0), errors_at(20, 0.0, 0.0, 0.4, 0.0))


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        ({"layers": {"match": "conv*", "take": "factor"}, "at": "init"}, (1.1 / 0.8) ** (1 / 3) - 1),
        ({"layers": {"match": "conv*", "take": "total"}, "at": "init"}, 1.1 / 0.8 - 1),
        ({"layers": {"match": "conv*", "take": "largest_factor"}, "at": "init"}, 1 / 0.8 - 1),
        ({"layers": {"match": "conv*", "take": "factor"}, "at": 1}, 1.3 ** (1 / 3) - 1),
        ({"layers": {"match": "conv*", "take": "factor"}, "at": "last"}, 0.0),
        ({"layers": {"match": "conv*", "take": "largest_factor"}, "at": "last"}, 1.0 / 0.6 - 1),
        ({"layer": "conv3", "at": "last"}, 1 / 0.6 - 1),
        ({"layer": "conv1", "at": "last"}, 0.0),
        ({"layer": "conv1", "at": 2}, None),
        ({"layers": {"match": "conv*", "take": "spread"}, "at": "init"}, 1.2 / 0.8 - 1),
    ],
)
def test_the_error_is_that_of_the_reading_s_layers_at_its_moment(asked: dict[str, Any], error: float | None) -> None:
    results = [make_result("sigmoid", seed, curve=climb(10, 60), numerics=NUMERICS) for seed in SEEDS]
    found = reading_of(results, "signal_l2", ANY, **asked, **SIGMOID)
    assert found.numerical_error == (None if error is None else pytest.approx(error))


@pytest.mark.parametrize("quantity", ["weight_mean_abs", "weight_l2", "signal_l2", "signal_rms"])
def test_the_error_is_that_of_the_quantity(quantity: str) -> None:
    sizes = dict(zip(("weight_mean_abs", "weight_l2", "signal_l2", "signal_rms"), (0.1, 0.2, 0.3, 0.4), strict=True))
    numerics = (MomentErrors(epoch=0, layers=(LayerError(name="conv1", **sizes),)),)
    results = [make_result("sigmoid", seed, numerics=numerics) for seed in SEEDS]
    found = reading_of(results, quantity, ANY, layer="conv1", at="init", **SIGMOID)
    assert found.numerical_error == pytest.approx(1 / (1 - sizes[quantity]) - 1)


def test_the_error_of_a_slope_is_that_of_its_logarithms() -> None:
    """Weights of three layers are ½, 0 and −½: with 10 % and 20 % wrong its logarithms are at most these off."""
    spec = Layers(match="*", take="slope")
    off = (math.log10(1 / 0.9) + math.log10(1 / 0.8)) / 2
    assert error_of([0.1, 0.5, 0.2], spec, -2.0) == pytest.approx(off / 2)
    assert error_of([0.1, 1.0, 0.2], spec, -2.0) == math.inf


def test_an_error_that_was_not_measured_of_every_layer_is_not_known() -> None:
    """A batch norm between the convolutions has a gradient, and no error."""
    normed = GradientFlow(
        layers=tuple(
            LayerGradient(name=name, state="ok", signal_l2=1.0)
            for name in ("conv1", "norm1", "conv2", "conv3", "conv4")
        )
    )
    results = [make_result("sigmoid", seed, initial=normed, numerics=NUMERICS[:1]) for seed in SEEDS]
    for match, error in (("conv*", (1.1 / 0.8) ** (1 / 3) - 1), ("*", None)):
        layers = {"match": match, "take": "factor"}
        found = reading_of(results, "signal_l2", ANY, layers=layers, at="init", **SIGMOID)
        assert found.numerical_error == (None if error is None else pytest.approx(error))


def test_errors_of_two_networks_add_up() -> None:
    results = [make_result(name, seed, numerics=NUMERICS[:1]) for seed in SEEDS for name in ("sigmoid", "relu")]
    of_first = 1 / 0.9 - 1  # conv1 is 10 % off
    for by, error in (("ratio", (1 + of_first) ** 2 - 1), ("difference", math.inf)):
        found = reading_of(results, "signal_l2", ANY, layer="conv1", at="init", **{**GAP, "by": by})
        assert found.numerical_error == (pytest.approx(error) if math.isfinite(error) else None)


@pytest.mark.parametrize(("precision", "outcome"), [("fp32", "reproduced"), ("bf16", "inconclusive")])
def test_below_float32_an_error_that_was_not_measured_decides_nothing(precision: str, outcome: Outcome) -> None:
    run = make_run([make_result("sigmoid", seed, curve=climb(10, 60), factor=0.3) for seed in SEEDS])
    run = run.model_copy(update={"study": run.study.model_copy(update={"precision": precision})})
    (claim,) = [claim for claim in CLAIMS if claim.id == "sigmoid-gradient-shrinks"]
    (verdict,) = judged(run, [claim])
    assert {reading.outcome for reading in verdict.readings} == {outcome}


# --- theory and counts ----------------------------------------------------------------------------


def test_theory_stands_beside_what_is_measured() -> None:
    layers = tuple(
        LayerPrediction(
            name=f"conv{i}",
            above="x",
            measured=0.14,
            predicted=p,
            bound=0.25 * i,
            twin_measured=0.13,
            twin_predicted=0.12,
        )
        for i, p in ((1, None), (2, 0.2))
    )
    results = [make_result("sigmoid", seed, predictions=layers) for seed in SEEDS]
    asked = {"at": "init", **SIGMOID}
    values = {
        quantity: numbers_of(reading_of(results, quantity, ANY, layer="conv2", **asked))[42]
        for quantity in (
            "mean_field_factor",
            "chi",
            "mean_field_ratio",
            "bound",
            "twin_factor",
            "twin_mean_field_factor",
            "twin_mean_field_ratio",
        )
    }
    assert values == {
        "mean_field_factor": 0.2,
        "chi": pytest.approx(0.04),
        "mean_field_ratio": pytest.approx(0.7),
        "bound": 0.5,
        "twin_factor": 0.13,
        "twin_mean_field_factor": 0.12,
        "twin_mean_field_ratio": pytest.approx(13 / 12),
    }
    every: dict[str, Any] = {"match": "*", "take": "total"}
    assert numbers_of(reading_of(results, "bound", ANY, layers=every, **asked))[42] == pytest.approx(0.125)
    none = reading_of(results, "bound", ANY, layers={"match": "fc*", "take": "total"}, **asked)
    assert (none.outcome, none.reason) == ("not run", "has no layer fc*")
    greatest = reading_of(results, "bound", ANY, layers={"match": "*", "take": "greatest"}, **asked)
    assert numbers_of(greatest)[42] == 0.5
    nothing = reading_of(results, "chi", ANY, layer="conv1", **asked)
    assert (nothing.outcome, "max-pool" in nothing.reason) == ("not run", True)


def change_layers(change: Callable[[list[LayerShape]], object]) -> Callable[[CellResult], CellResult]:
    def changed(result: CellResult) -> CellResult:
        layers = list(result.layers)
        change(layers)
        return result.model_copy(update={"layers": tuple(layers)})

    return changed


def update(**fields: Any) -> Callable[[CellResult], CellResult]:
    return lambda result: result.model_copy(update=fields)


EXTRA = LayerShape(name="norm1", kind="BatchNorm2d", shape=(32, 32, 32))


@pytest.mark.parametrize(
    ("activations", "change", "values"),
    [
        pytest.param(("relu", "sigmoid"), update(), [0, 261_322, 0], id="as it should be"),
        pytest.param(("relu", "sigmoid"), update(parameters=261_323), [0, 261_323, 0], id="a parameter more"),
        pytest.param(("sigmoid",), update(initial_weights_sha256="other"), [0, 261_322, 1], id="other weights"),
        pytest.param(("sigmoid",), change_layers(lambda x: x.insert(1, EXTRA)), [0, 261_322, 1], id="a layer more"),
        pytest.param(("sigmoid",), change_layers(lambda x: x.pop()), [0, 261_322, 1], id="a layer less"),
        pytest.param(
            ("relu", "sigmoid"),
            change_layers(lambda x: x.__setitem__(-1, x[-1].model_copy(update={"shape": (100,)}))),
            [1, 261_322, 0],
            id="a hundred classes",
        ),
        pytest.param(("relu", "sigmoid"), update(layers=()), [6, 261_322, 0], id="shapes never recorded"),
    ],
)
@pytest.mark.parametrize("seeds", [SEEDS, SEEDS[:1]], ids=["three seeds", "one seed"])
def test_the_architecture_is_judged_exactly_from_any_number_of_seeds(
    seeds: Sequence[int],
    activations: tuple[str, ...],
    change: Callable[[CellResult], CellResult],
    values: list[float],
) -> None:
    results = [
        change(r) if r.cell.activation in activations else r
        for r in results_of({name: DOCUMENT[name] for name in ("sigmoid", "relu")}, seeds=seeds)
    ]
    (verdict,) = judged(make_run(results), CLAIMS[:1])
    assert [numbers_of(reading) for reading in verdict.readings] == [dict.fromkeys(seeds, value) for value in values]
    assert {r.method for r in verdict.readings} == {"exact"}
    right = [value == expected for value, expected in zip(values, (0, 261_322, 0), strict=True)]
    assert [r.outcome for r in verdict.readings] == ["reproduced" if x else "not reproduced" for x in right]


def test_one_seed_with_other_weights_refutes_that_only_the_activation_changes() -> None:
    results = swap(results_of(DOCUMENT), update(initial_weights_sha256="other"), "readme sigmoid seed 43")
    (verdict,) = judged(make_run(results), CLAIMS[:1])
    assert verdict.readings[2].outcome == "not reproduced"
