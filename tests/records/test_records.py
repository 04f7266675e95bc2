"""Records: what is not finite is flagged, what goes through JSON comes back, factors mean what they say."""

import json
import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from factories import make_flow, make_result, make_run
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from vgharness import records
from vgharness.records import (
    FROM_FILE,
    Cell,
    Epoch,
    FiniteRecord,
    GradientFlow,
    LayerGradient,
    LayerKey,
    Reading,
    Record,
    Run,
    Sample,
    SeedValue,
    Study,
    factors_toward_input,
)

pytestmark = pytest.mark.fast

FIXED: dict[type[FiniteRecord], dict[str, Any]] = {
    LayerGradient: {"name": "conv1", "state": "ok"},
    SeedValue: {"seed": 42},
    Epoch: {"epoch": 1, "seconds": 1.0, "flow": GradientFlow(layers=())},
    Reading: {"label": "x", "quantity": "accuracy", "expected": "≥ 2", "outcome": "reproduced"},
}
FINITE_FIELDS: dict[type[FiniteRecord], tuple[str, ...]] = {
    LayerGradient: ("weight_mean_abs", "weight_l2", "signal_l2", "signal_rms"),
    SeedValue: ("value",),
    Epoch: ("train_loss", "train_accuracy", "test_loss", "test_accuracy"),
    Reading: ("value", "low", "high"),
}
KINDS = pytest.mark.parametrize("kind", FINITE_FIELDS, ids=lambda kind: kind.__name__)
NOT_FINITE = (math.nan, math.inf, -math.inf)
FINITE = {LayerGradient: st.floats(min_value=0), Epoch: st.floats(0, 100)}  # any other record's: any number
positive = st.floats(min_value=1e-12, max_value=1e12)


def no_constants(token: str) -> None:
    raise AssertionError(f"{token} is no JSON")


def through_json(record: Record) -> Record:
    text = record.model_dump_json()
    json.loads(text, parse_constant=no_constants)
    return type(record).model_validate_json(text)


def flow_of(values: Sequence[float | None]) -> GradientFlow:
    return GradientFlow(
        layers=tuple(LayerGradient(name=f"conv{i}", state="ok", signal_l2=x) for i, x in enumerate(values, 1))
    )


# --- what is not finite ---------------------------------------------------------------------------


@KINDS
@given(data=st.data())
def test_any_values_are_flagged_and_come_back_equal_through_json(kind: type[FiniteRecord], data: st.DataObject) -> None:
    values = {
        name: data.draw(st.none() | FINITE.get(kind, st.floats()) | st.sampled_from(NOT_FINITE))
        for name in FINITE_FIELDS[kind]
    }
    record = kind(**FIXED[kind], **values)
    bad = {name for name, value in values.items() if value is not None and not math.isfinite(value)}
    assert set(record.nonfinite) == bad
    assert len(record.nonfinite) == len(bad)
    for name, value in values.items():
        assert getattr(record, name) == (None if name in bad else value)
    assert through_json(record) == record


@KINDS
@pytest.mark.parametrize("value", NOT_FINITE)
def test_one_value_that_is_not_finite_is_null_in_json_and_named(kind: type[FiniteRecord], value: float) -> None:
    name = FINITE_FIELDS[kind][-1]
    record = kind(**FIXED[kind], **{**dict.fromkeys(FINITE_FIELDS[kind], 1.0), name: value})
    stored = json.loads(record.model_dump_json(), parse_constant=no_constants)
    assert stored[name] is None
    assert stored["nonfinite"] == [name]


def test_a_value_that_was_never_measured_is_not_named_as_nonfinite() -> None:
    assert LayerGradient(name="fc", state="unused").nonfinite == ()


def test_names_flagged_before_are_kept_when_another_value_is_not_finite() -> None:
    record = LayerGradient(name="fc", state="nonfinite", nonfinite=("weight_l2",), signal_l2=math.nan)
    assert set(record.nonfinite) == {"weight_l2", "signal_l2"}


@pytest.mark.parametrize("value", NOT_FINITE)
def test_what_cannot_be_null_refuses_what_is_not_finite(value: float) -> None:
    with pytest.raises(ValidationError, match="seconds"):
        Epoch(**{**FIXED[Epoch], "seconds": value}, train_loss=1, train_accuracy=1, test_loss=1, test_accuracy=1)
    with pytest.raises(ValidationError, match="learning_rate"):
        Cell(architecture="script", activation="relu", seed=42, learning_rate=value)


# --- flows ----------------------------------------------------------------------------------------


@given(st.lists(positive, min_size=2, max_size=10))
def test_factor_is_the_geometric_mean_of_the_factors(values: list[float]) -> None:
    flow = flow_of(values)
    factors = flow.factors()
    assert factors == pytest.approx([a / b for a, b in pairwise(values)])
    assert flow.factor() == pytest.approx(math.exp(sum(map(math.log, factors)) / len(factors)))


@given(st.lists(positive, min_size=2, max_size=10), st.floats(min_value=1.1, max_value=1e6))
def test_factor_grows_with_the_gradient_at_the_input_and_falls_with_that_at_the_output(
    values: list[float], times: float
) -> None:
    factor = flow_of(values).factor()
    assert flow_of([values[0] * times, *values[1:]]).factor() > factor
    assert flow_of([*values[:-1], values[-1] * times]).factor() < factor


@given(st.lists(positive, min_size=2, max_size=10), st.sampled_from([2.0, 0.25, 1024.0]))
def test_factors_do_not_depend_on_the_gradients_unit(values: list[float], unit: float) -> None:
    flow, scaled = flow_of(values), flow_of([unit * x for x in values])
    assert scaled.factors() == flow.factors()
    assert scaled.factor() == flow.factor()


@pytest.mark.parametrize("factor", [0.01, 0.5, 1.0, 1.7, 30.0])
@pytest.mark.parametrize("quantity", ["weight_mean_abs", "weight_l2", "signal_l2", "signal_rms"])
def test_a_flow_with_one_ratio_has_that_factor(factor: float, quantity: Any) -> None:
    convolutions = make_flow(factor).select("conv*")
    assert convolutions.factor(quantity) == pytest.approx(factor)
    assert convolutions.factors(quantity) == pytest.approx([factor] * 3)


def test_factor_reads_the_quantity_asked_for_and_the_error_signal_by_default() -> None:
    quantities = {"weight_mean_abs": 2.0, "weight_l2": 3.0, "signal_l2": 5.0, "signal_rms": 7.0}
    rows = (
        LayerGradient(name="a", state="ok", **quantities),
        LayerGradient(name="b", state="ok", **dict.fromkeys(quantities, 1.0)),
    )
    flow = GradientFlow(layers=rows)
    assert {name: flow.factor(name) for name in quantities} == quantities
    assert (flow.factor(), flow.factors()) == (5.0, (5.0,))


@pytest.mark.parametrize(
    ("values", "factors"),
    [
        ((0.0, 1.0, 2.0), (0.0, 0.5)),
        ((1.0, 0.0), (math.inf,)),
        ((1.0, 2.0, 0.0), (0.5, math.inf)),
        ((0.0, 0.0), (math.nan,)),
        ((0.0, 0.0, 1.0), (math.nan, 0.0)),
        ((1.0, 0.0, 4.0), (math.inf, 0.0)),
        ((None, 1.0), (math.nan,)),
        ((1.0, None), (math.nan,)),
        ((1.0, None, 4.0), (math.nan, math.nan)),
        ((math.nan, 1.0), (math.nan,)),
        ((math.inf, 1.0), (math.nan,)),
        ((2.0, 1.0, None, 1.0), (2.0, math.nan, math.nan)),
    ],
)
def test_a_step_without_a_finite_factor_leaves_the_whole_flow_without_one(
    values: Sequence[float | None], factors: Sequence[float]
) -> None:
    flow = flow_of(values)
    assert flow.factors() == pytest.approx(factors, nan_ok=True)
    finite = all(map(math.isfinite, factors))
    expected = math.prod(factors) ** (1 / len(factors)) if finite else math.nan
    assert flow.factor() == pytest.approx(expected, nan_ok=True)


@pytest.mark.parametrize("layers", [0, 1])
def test_factor_needs_two_layers(layers: int) -> None:
    flow = flow_of([1.0] * layers)
    assert flow.factors() == ()
    with pytest.raises(ValueError, match=f"two layers, this flow has {layers}"):
        flow.factor()


@pytest.mark.parametrize(
    ("pattern", "layers", "missed"),
    [
        ("*", ["conv1", "conv2", "conv3", "fc"], ("conv2", "fc")),
        ("conv*", ["conv1", "conv2", "conv3"], ("conv2",)),
        ("conv[13]", ["conv1", "conv3"], ()),
        ("fc", ["fc"], ("fc",)),
        ("CONV*", [], ()),
        ("con", [], ()),
    ],
)
def test_select_keeps_what_the_glob_matches_in_order(pattern: str, layers: list[str], missed: tuple[str, ...]) -> None:
    flow = make_flow(layers=3).model_copy(update={"missed": ("conv2", "fc")})
    selected = flow.select(pattern)
    assert [layer.name for layer in selected.layers] == layers
    assert [layer for layer in flow.layers if layer.name in layers] == list(selected.layers)
    assert selected.missed == missed


# --- what is refused ------------------------------------------------------------------------------

RUN = make_run([make_result(curve=[10.0, 20.0])])
CELL = Cell(architecture="script", activation="relu", seed=42)
RECORDS = {
    type(record).__name__: record
    for record in (
        RUN,
        RUN.study,
        RUN.machine,
        RUN.data,
        RUN.results[0],
        RUN.results[0].cell,
        RUN.results[0].layers[0],
        RUN.results[0].epochs[0],
        RUN.results[0].epochs[0].flow,
        RUN.results[0].epochs[0].flow.layers[0],
        SeedValue(seed=42, value=1.0),
        Reading(**FIXED[Reading]),
    )
}


@pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)
def test_an_unknown_field_is_refused_and_a_known_record_comes_back_equal(record: Record) -> None:
    fields: Mapping[str, Any] = json.loads(record.model_dump_json())
    assert type(record).model_validate(fields) == record
    with pytest.raises(ValidationError, match="surprise"):
        type(record).model_validate({**fields, "surprise": 1})


@pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)
def test_a_record_cannot_be_changed(record: Record) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        setattr(record, next(iter(type(record).model_fields)), None)


@pytest.mark.parametrize(
    ("field", "accepted", "refused"),
    [
        ("seed", (0, 42, 2**63 - 1), (-1, 2**63)),
        ("epochs", (0, 1, 1_000_000), (-1, 1_000_001, 10**400)),
        ("depth", (2, 4, 10), (1, 11)),
        ("learning_rate", (1e-12, 0.1), (0, -0.1)),
        ("batch_size", (1, 128), (0, -1, 2**63)),
        ("architecture", ("readme", "script"), ("other", "", None)),
        ("activation", ("sigmoid", "tanh", "relu", "gelu", "silu", "identity"), ("ReLU", "swish", None)),
        ("norm", (None, "batch"), ("layer",)),
        ("init", ("default", "xavier", "kaiming"), ("zero",)),
        ("optimizer", ("adam",), ("lion",)),
        ("schedule", ("constant",), ("step",)),
    ],
)
def test_a_cells_fields_have_bounds(field: str, accepted: Sequence[Any], refused: Sequence[Any]) -> None:
    fields = {"architecture": "script", "activation": "relu", "seed": 42}
    for value in accepted:
        assert getattr(Cell(**{**fields, field: value}), field) == value
    for value in refused:
        with pytest.raises(ValidationError, match=field):
            Cell(**{**fields, field: value})


@pytest.mark.parametrize("field", ["train_images", "test_images"])
def test_a_study_takes_at_least_one_image(field: str) -> None:
    assert getattr(Study(preset="quick", cells=(CELL,), **{field: 1}), field) == 1
    with pytest.raises(ValidationError, match=field):
        Study(preset="quick", cells=(CELL,), **{field: 0})


# --- cells ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "same"),
    [
        ({}, True),
        ({"seed": 7}, True),
        ({"epochs": 0}, True),
        ({"seed": 7, "epochs": 3}, True),
        ({"architecture": "readme"}, False),
        ({"activation": "sigmoid"}, False),
        ({"depth": 6}, False),
        ({"norm": "batch"}, False),
        ({"init": "kaiming"}, False),
        ({"learning_rate": 2e-3}, False),
        ({"batch_size": 64}, False),
    ],
)
def test_same_network_looks_past_seed_and_epochs_only(changes: dict[str, Any], same: bool) -> None:
    other = CELL.model_copy(update=changes)
    assert CELL.same_network(other) is same
    assert other.same_network(CELL) is same


def test_a_cells_defaults_are_the_published_recipe() -> None:
    recipe = CELL.model_dump(exclude={"architecture", "activation", "seed"})
    assert recipe == {
        "epochs": 20,
        "depth": 4,
        "width": 1.0,
        "norm": None,
        "init": "default",
        "optimizer": "adam",
        "momentum": 0.0,
        "schedule": "constant",
        "learning_rate": 1e-3,
        "batch_size": 128,
        "own": None,
    }


def test_a_cells_name_tells_the_cells_of_a_study_apart() -> None:
    cells = [
        CELL.model_copy(update={"architecture": a, "activation": f, "depth": d, "seed": s})
        for a in ("readme", "script")
        for f in ("sigmoid", "relu")
        for d in (2, 4, 10)
        for s in (4, 42)
    ]
    assert len({cell.name for cell in cells}) == len(cells)


@given(
    st.lists(st.lists(st.sampled_from([0.0, 1.0, 1e-300, math.nan]), min_size=3, max_size=3), min_size=1, max_size=3)
)
def test_a_flow_and_a_sample_give_the_same_factors_for_the_same_rows(seeds: list[list[float]]) -> None:
    flows = [
        GradientFlow(layers=tuple(LayerGradient(name=f"l{i}", state="ok", signal_l2=x) for i, x in enumerate(values)))
        for values in seeds
    ]
    sample = Sample(test="t", seeds=tuple(range(len(flows))), flows=tuple(flows))
    of_sample = list(zip(*sample.factors().values(), strict=True))
    np.testing.assert_array_equal([flow.factors() for flow in flows], of_sample)


def test_a_factor_over_zero_is_infinite_and_of_two_zeros_is_none() -> None:
    a, b = LayerKey("a"), LayerKey("b")
    assert factors_toward_input({a: 1.0, b: 0.0}) == {(a, b): math.inf}
    assert math.isnan(factors_toward_input({a: 0.0, b: 0.0})[a, b])
    assert factors_toward_input({a: 0.0, b: 1.0}) == {(a, b): 0.0}
    later = LayerKey("a", 0, 1)
    assert factors_toward_input({a: 8.0, later: 2.0, b: 1.0}) == {(later, b): 2.0}  # the last backward pass counts


def test_names_that_json_cannot_hold_are_kept_as_their_escape() -> None:
    layer = LayerGradient(name="layer \udc80 σ", state="ok", aliases=("\ud800",))
    assert (layer.name, layer.aliases) == ("layer \\udc80 σ", ("\\ud800",))
    assert LayerGradient.model_validate_json(layer.model_dump_json()) == layer


def test_every_field_of_every_record_has_its_sentence() -> None:
    for name in records.__all__:
        kind = getattr(records, name)
        if isinstance(kind, type) and issubclass(kind, Record):
            for field in kind.model_fields:
                explained = any(f"\n    {field}: " in (base.__doc__ or "") for base in kind.__mro__)
                assert explained, f"{name}.{field}"


def test_a_cells_name_and_settings_hold_all_that_is_not_the_default() -> None:
    changes: list[dict[str, Any]] = [
        {},
        {"depth": 6},
        {"width": 0.5},
        {"norm": "batch"},
        {"init": "xavier"},
        {"optimizer": "sgd"},
        {"optimizer": "sgd", "momentum": 0.0},
        {"learning_rate": 0.1},
        {"schedule": "cosine"},
        {"batch_size": 64},
    ]
    cells = [Cell(architecture="script", activation="relu", seed=42, **each) for each in changes]
    assert len({cell.name for cell in cells}) == len({cell.settings for cell in cells}) == len(changes)
    assert cells[1].name == "script relu depth 6 seed 42"
    assert [cell.settings for cell in cells[5:7]] == ["script, optimizer sgd", "script, optimizer sgd, momentum 0.0"]
    assert [cell.momentum for cell in cells[4:7]] == [0.0, 0.9, 0.0]
    assert all(through_json(cell) == cell for cell in cells)


def test_a_cell_of_an_earlier_version_has_the_published_width_and_momentum() -> None:
    old = {"architecture": "script", "activation": "relu", "seed": 42, "optimizer": "adam", "schedule": "constant"}
    cell = Cell.model_validate_json(json.dumps(old))
    assert (cell.width, cell.momentum) == (1.0, 0.0)
    with pytest.raises(ValidationError, match="Adam has none to set"):
        Cell.model_validate({**old, "momentum": 0.9})


def test_an_activation_that_is_a_layer_itself_has_more_rows_than_others_of_its_shape() -> None:
    relu, prelu = make_result("relu"), make_result("prelu")
    assert prelu.initial is not None
    rows = prelu.initial.layers
    more = (rows[0], rows[0].model_copy(update={"name": "act1"}), *rows[1:])
    prelu = prelu.model_copy(update={"initial": GradientFlow(layers=more)})
    run = make_run([relu, prelu])
    assert Run.model_validate_json(run.model_dump_json(), context=FROM_FILE) == run
    wrong = make_run([relu, prelu.model_copy(update={"cell": relu.cell.model_copy(update={"activation": "mish"})})])
    with pytest.raises(ValidationError, match="not of the same layers"):
        Run.model_validate_json(wrong.model_dump_json(), context=FROM_FILE)
