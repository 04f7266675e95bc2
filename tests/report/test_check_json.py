"""What ``vgharness check --json`` prints."""

import json

import pytest

from vgharness.gradflow.sample import FlowSample
from vgharness.records import (
    DescentRecord,
    GradientFlow,
    LayerGradient,
    LayerKey,
    ParameterGradient,
    RemedyRecord,
    Sample,
    TimePath,
)
from vgharness.report.check_json import Checked, checked

pytestmark = pytest.mark.fast


def flow(size: float, spread: float | None, unreached: int) -> GradientFlow:
    weight = ParameterGradient(name="rnn.weight_hh_l0", l2=3 * size)
    rnn = LayerGradient(
        name="rnn", state="ok", signal_l2=size, weight_l2=size, feeds=(LayerKey("head"),),
        parameters=(weight, ParameterGradient(name="rnn.bias")), output_rms=2 * size, output_zeros=size / 4,
    )  # fmt: skip
    return GradientFlow(
        layers=(rnn, LayerGradient(name="head", state="ok", signal_l2=1.0)),
        through_time=(TimePath(layer="rnn", part="layer 0", signals=(None, size), direct=size),),
        output_spread=spread,
        unreached={"rnn": unreached},
    )


def sample(spread: float | None = 0.5) -> FlowSample:
    return FlowSample(Sample(test="t", seeds=(1, 2), flows=(flow(1.0, 0.5, 3), flow(4.0, spread, 1))))


def test_a_layer_has_what_it_feeds_its_scale_and_its_parameters() -> None:
    rnn, head = checked("m", sample(), inputs="i", loss="l").layers
    assert rnn.feeds == ("head",)
    assert head.feeds is None  # not followed
    assert (rnn.output_rms.value, rnn.output_zeros.value) == (pytest.approx(4.0), pytest.approx(0.625))
    assert [(x.name, x.state) for x in rnn.parameters] == [("rnn.weight_hh_l0", "ok"), ("rnn.bias", "unused")]
    assert rnn.parameters[0].l2.value == pytest.approx(6.0)
    assert (head.parameters, head.output_rms.value) == ((), None)


def test_through_time_has_every_step_of_every_seed() -> None:
    (path,) = checked("m", sample(), inputs="i", loss="l").through_time
    assert (path.layer, path.part) == ("rnn", "layer 0")
    assert path.signals == ((None, 1.0), (None, 4.0))
    assert path.direct == (1.0, 4.0)


def test_the_models_spread_and_its_passes_without_a_gradient() -> None:
    found = checked("m", sample(), inputs="i", loss="l")
    assert found.output_spread.value == pytest.approx(0.5)
    assert found.unreached == {"rnn": 3}
    assert checked("m", sample(None), inputs="i", loss="l").output_spread.value is None


def test_remedies_are_there_where_they_were_asked_for_and_every_number_is_json() -> None:
    plain = checked("m", sample(), inputs="i", loss="l").model_dump(mode="json")
    assert "remedies" not in plain
    assert set(plain) == set(Checked.model_fields)
    descent = DescentRecord(optimizer="SGD 0.01", steps=20, before=(1.0,), after=(None,), change=None)
    remedy = RemedyRecord(
        remedy="He init", healthy=True, diagnosis="healthy", better=True, losses=(descent,), failure="", code="pass"
    )
    asked = checked("m", sample(), inputs="i", loss="l", remedies=[remedy]).model_dump(mode="json")
    assert asked == {**plain, "remedies": [remedy.model_dump(mode="json")]}
    json.dumps(asked, allow_nan=False)
    assert checked("m", sample(), inputs="i", loss="l", remedies=[]).model_dump()["remedies"] == ()
