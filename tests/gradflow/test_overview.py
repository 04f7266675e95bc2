"""A measurement in a few values."""

import math

import pytest

from vgharness.gradflow.overview import overview_of
from vgharness.records import GradientFlow, LayerGradient, Sample

pytestmark = pytest.mark.fast


def sample(*seeds: dict[str, float]) -> Sample:
    """A chain for each seed."""
    flows = [
        GradientFlow(layers=tuple(LayerGradient(name=k, state="ok", signal_l2=v, weight_l2=1.0) for k, v in x.items()))
        for x in seeds
    ]
    return Sample(test="t", seeds=tuple(range(len(seeds))), flows=tuple(flows))


def test_means_over_seeds_are_geometric() -> None:
    found = overview_of(sample({"a": 1.0, "b": 1.0, "c": 4.0}, {"a": 1.0, "b": 4.0, "c": 16.0}))
    assert (found.first, found.last, found.total) == pytest.approx((1.0, 8.0, 0.125))
    assert (found.least, found.most) == pytest.approx((0.25, 0.5))
    assert found.factor == pytest.approx(math.sqrt(0.125))
    assert (found.text, found.severity) == ("healthy", None)


def test_what_is_wrong() -> None:
    found = overview_of(sample({"a": 1e-4, "b": 1.0}))
    assert found.text.startswith("warning: vanishing from a")
    assert found.severity == "warning"
    assert overview_of(sample({"a": 1e-7, "b": 1.0})).severity == "problem"


@pytest.mark.parametrize("signals", [{"a": 1.0}, {"a": 0.0, "b": 0.0}, {"a": 1.0, "b": 0.0}, {"a": math.nan, "b": 1.0}])
def test_what_has_no_value_is_nan_and_raises_nothing(signals: dict[str, float]) -> None:
    found = overview_of(sample(signals))
    assert math.isnan(found.total) or math.isinf(found.total)
    assert found.text
