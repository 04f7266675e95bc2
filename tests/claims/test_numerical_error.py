"""What the numerical error of gradients does to verdicts."""

import math

import pytest
from factories import make_result, make_run
from worlds import spec_of, values_of

from vgharness.claims.evidence import Measurement
from vgharness.claims.spec import load_claims
from vgharness.claims.verdicts import decide, judge
from vgharness.records import LayerError

pytestmark = pytest.mark.fast


@pytest.mark.parametrize(
    ("numbers", "error", "outcome"),
    [
        ((0.40, 0.40, 0.40), 0.0, "reproduced"),
        ((0.40, 0.40, 0.40), 0.2, "reproduced"),
        ((0.40, 0.40, 0.40), 0.3, "inconclusive"),
        ((0.60, 0.60, 0.60), 0.1, "not reproduced"),
        ((0.60, 0.60, 0.60), 0.2, "inconclusive"),
        ((0.40, 0.40, 0.40), math.inf, "inconclusive"),
        ((0.60, 0.60, 0.60), math.inf, "inconclusive"),
        ((0.40, math.nan, 0.40), math.inf, "not reproduced"),
    ],
)
def test_a_margin_inside_the_error_decides_nothing(numbers: tuple[float, ...], error: float, outcome: str) -> None:
    reading = decide(spec_of("accuracy", {"below": 0.5}), Measurement(values_of(numbers), error=error))
    assert reading.outcome == outcome
    assert ("numerical error" in reading.reason) == (outcome == "inconclusive")


def errors(size: float) -> tuple[LayerError, ...]:
    return tuple(
        LayerError(name=name, weight_mean_abs=size, weight_l2=size, signal_l2=size, signal_rms=size)
        for name in ("conv1", "conv2", "conv3", "conv4", "fc")
    )


@pytest.mark.parametrize(("size", "outcome"), [(0.0, "reproduced"), (0.05, "reproduced"), (0.98, "inconclusive")])
def test_gradient_claims_of_a_run_know_its_numerics(size: float, outcome: str) -> None:
    results = [
        make_result(activation, seed, factor=0.3, epochs=0, numerics=errors(size))
        for seed in (42, 43, 44)
        for activation in ("sigmoid", "tanh")
    ]
    verdicts = {v.claim: v for v in judge(load_claims(), make_run(results))}
    assert verdicts["tanh-squashes"].outcome == outcome
    expected = ((1 + size) / (1 - size)) ** (1 / 3) - 1
    assert verdicts["tanh-squashes"].readings[0].numerical_error == pytest.approx(expected)
