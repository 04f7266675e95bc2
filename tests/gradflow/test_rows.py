"""The rows of a sample's table: where branches begin, what shares a row, and what belongs to a layer."""

import math
from collections.abc import Sequence

import pytest

from vgharness.gradflow.rows import Row, table_rows
from vgharness.records import GradientFlow, LayerGradient, LayerKey, ParameterGradient, Sample, TimePath

pytestmark = pytest.mark.fast


def layer(
    name: str, signal: float | None = 1.0, feeds: Sequence[str | LayerKey] | None = None, forward_pass: int = 0
) -> LayerGradient:
    keys = None if feeds is None else tuple(LayerKey(x) if isinstance(x, str) else x for x in feeds)
    return LayerGradient(name=name, state="ok", signal_l2=signal, feeds=keys, forward_pass=forward_pass)


def sample(*layers: LayerGradient, missed: tuple[str, ...] = (), paths: tuple[TimePath, ...] = ()) -> Sample:
    return Sample(test="t", seeds=(1,), flows=(GradientFlow(layers=layers, missed=missed, through_time=paths),))


def marks(rows: Sequence[Row]) -> list[str]:
    """``[from A: ]label[ →]`` of each."""
    return [
        f"{f'from {row.origin}: ' if row.origin else ''}{row.label}{'' if row.feeds_below else ' →'}" for row in rows
    ]


# --- branches --------------------------------------------------------------------------------------------


def test_a_chain_has_no_marks_whether_or_not_it_was_followed() -> None:
    assert marks(table_rows(sample(layer("a"), layer("b"), layer("c")))) == ["a", "b", "c"]
    assert marks(table_rows(sample(layer("a", feeds=["b"]), layer("b", feeds=[])))) == ["a", "b"]


def test_a_skip_with_nothing_on_it_has_no_mark() -> None:
    unet = sample(layer("down", feeds=["out", "low"]), layer("low", feeds=["out"]), layer("out", feeds=[]))
    assert marks(table_rows(unet)) == ["down", "low", "out"]


def test_the_second_of_two_branches_says_what_feeds_it_and_the_first_that_it_goes_on_elsewhere() -> None:
    two = sample(
        layer("stem", feeds=["b1", "a1"]),
        layer("a1", feeds=["a2"]),
        layer("a2", feeds=["head"]),
        layer("b1", feeds=["head"]),
        layer("head", feeds=[]),
    )
    assert marks(table_rows(two)) == ["stem", "a1", "a2 →", "from stem: b1", "head"]


def test_of_several_that_feed_a_branch_the_last_is_named() -> None:
    downsample = sample(
        layer("stem", feeds=["block", "conv", "downsample"]),
        layer("block", feeds=["conv", "downsample"]),
        layer("conv", feeds=["fc"]),
        layer("downsample", feeds=["fc"]),
        layer("fc", feeds=[]),
    )
    assert marks(table_rows(downsample))[3] == "from block: downsample"


def test_an_input_of_its_own_and_a_second_run_begin_branches_too() -> None:
    again = LayerKey("tower", 1)
    towers = sample(layer("tower", feeds=["head"]), layer("tower", 1.0, ["head"], 1), layer("head", feeds=[]))
    assert marks(table_rows(towers)) == ["tower →", "from the input: tower[1]", "head"]
    chained = sample(layer("tower", feeds=[again]), layer("tower", 1.0, ["head"], 1), layer("head", feeds=[]))
    assert marks(table_rows(chained)) == ["tower", "tower[1]", "head"]


def test_what_no_signal_reached_begins_no_branch_and_parts_no_two_layers() -> None:
    cut = sample(layer("a", feeds=["c"]), layer("unused", None, []), layer("c", feeds=[]), missed=("unused",))
    assert marks(table_rows(cut)) == ["a", "unused", "c"]


def test_what_two_seeds_say_of_the_order_is_put_together() -> None:
    flows = [sample(layer("a", feeds=[x]), layer("b", feeds=["c"]), layer("c", feeds=[])).flows[0] for x in ("b", "c")]
    both = Sample(test="t", seeds=(1, 2), flows=tuple(flows))
    assert marks(table_rows(both)) == ["a", "b", "c"]
    assert table_rows(both)[0].layer is not None
    assert table_rows(both)[0].layer.feeds == (LayerKey("b"), LayerKey("c"))  # type: ignore[union-attr]


# --- passes ----------------------------------------------------------------------------------------------


def cell(steps: int, factor: float = 0.5) -> Sample:
    last = steps - 1
    passes = [layer("cell", factor ** (last - t), [LayerKey("cell", t + 1)], t) for t in range(last)]
    return sample(*passes, layer("cell", 1.0, ["head"], last), layer("head", 1.0, []))


def test_many_passes_share_a_row_with_the_geometric_mean() -> None:
    first, between, last, head = table_rows(cell(41))
    assert [row.label for row in (first, between, last, head)] == ["cell", "cell[1] to [39]", "cell[40]", "head"]
    assert first.value.value == pytest.approx(0.5**40)
    assert between.value.value == pytest.approx(0.5**20)  # from 0.5 ** 39 to 0.5
    assert between.factor is not None
    assert between.factor.value == pytest.approx(0.5)
    assert (between.layer, between.state) == (None, "ok")
    assert marks(table_rows(cell(41))) == ["cell", "cell[1] to [39]", "cell[40]", "head"]


def test_a_few_passes_do_not_share_a_row() -> None:
    assert len(table_rows(cell(4))) == 5
    assert len(table_rows(cell(5))) == 4


def test_a_pass_that_is_named_has_a_row_of_its_own() -> None:
    assert [row.label for row in table_rows(cell(9), named={"cell[3]"})] == [
        *("cell", "cell[1] to [2]", "cell[3]", "cell[4] to [7]", "cell[8]", "head")
    ]


def test_a_pass_without_a_value_is_said_of_those_that_share_its_row() -> None:
    rows = list(cell(9).flows[0].layers)
    rows[3] = rows[3].model_copy(update={"state": "nonfinite", "signal_l2": None})
    between = table_rows(sample(*rows))[1]
    assert math.isnan(between.value.value)
    assert between.state == "ok, nonfinite"


def test_two_layers_in_a_loop_keep_the_order_of_the_forward_pass() -> None:
    rows = []
    for t in range(6):
        after: list[str | LayerKey] = [LayerKey("h", t + 1)] if t < 5 else ["head"]
        rows += [layer("x", 1.0, after, t), layer("h", 1.0, after, t)]
    assert marks(table_rows(sample(*rows, layer("head", 1.0, [])))) == [
        *("x →", "from the input: h →", "x[1] to [4]", "h[1] to [4]", "x[5] →", "h[5]", "head")
    ]


# --- steps and parameters ----------------------------------------------------------------------------------


def test_steps_of_a_recurrent_module_follow_it_for_each_direction() -> None:
    signals = tuple(0.1 ** (9 - t) for t in range(10))
    paths = tuple(TimePath(layer="rnn", part=p, signals=signals, direct=1.0) for p in ("layer 0", "layer 0 backward"))
    rows = table_rows(sample(layer("rnn"), layer("head"), paths=paths))
    assert [row.label.strip() for row in rows] == [
        *("rnn", "layer 0, step 1", "steps 2 to 9", "step 10"),
        *("layer 0 backward, step 1", "steps 2 to 9", "step 10", "head"),
    ]
    assert [row.value.value for row in rows[1:4]] == pytest.approx([1e-9, 10**-4.5, 1.0])
    assert [row.factor.value if row.factor else None for row in rows[1:4]] == [
        pytest.approx(0.1), pytest.approx(0.1), None
    ]  # fmt: skip


def test_steps_are_means_over_seeds_whatever_their_number_and_one_step_is_no_path() -> None:
    def flow(signals: tuple[float | None, ...]) -> GradientFlow:
        return sample(layer("rnn"), paths=(TimePath(layer="rnn", part="layer 0", signals=signals, direct=1),)).flows[0]

    both = Sample(test="t", seeds=(1, 2), flows=(flow((1e-2,) * 6), flow((1e-4,) * 8)))
    rows = table_rows(both)[1:]
    assert [row.label.strip() for row in rows] == ["layer 0, step 1", "steps 2 to 7", "step 8"]
    assert [row.value.value for row in rows] == pytest.approx([1e-3] * 3)
    lost = table_rows(Sample(test="t", seeds=(1,), flows=(flow((None, 1.0)),)))[1]
    assert (lost.state, math.isnan(lost.value.value)) == ("nonfinite", True)
    assert len(table_rows(Sample(test="t", seeds=(1,), flows=(flow((1.0,)),)))) == 1


def test_each_run_of_a_recurrent_module_has_its_own_steps() -> None:
    paths = tuple(TimePath(layer="rnn", part="layer 0", signals=(x, x), direct=1.0) for x in (1.0, 2.0))
    rows = table_rows(sample(layer("rnn"), layer("rnn", forward_pass=1), paths=paths))
    assert [(row.label.strip(), row.value.value) for row in rows] == [
        *(("rnn", 1.0), ("layer 0, step 1", 1.0), ("step 2", 1.0)),
        *(("rnn[1]", 1.0), ("layer 0, step 1", 2.0), ("step 2", 2.0)),
    ]


def test_parameters_follow_their_layer_once_and_on_request() -> None:
    parameters = (
        ParameterGradient(name="a.weight", l2=2.0),
        ParameterGradient(name="a.bias"),
        ParameterGradient(name="a.scale", frozen=True),
        ParameterGradient(name="a.shift", l2=0.0),
        ParameterGradient(name="a.gain", l2=math.nan),
    )
    rows = [layer("a", forward_pass=i).model_copy(update={"parameters": parameters}) for i in range(2)]
    assert len(table_rows(sample(*rows))) == 2
    shown = table_rows(sample(*rows), parameters=True)
    assert [(row.label, row.state) for row in shown] == [
        *(("a", "ok"), (".weight", "ok"), (".bias", "no gradient"), (".scale", "frozen"), (".shift", "zero")),
        *((".gain", "nonfinite"), ("a[1]", "ok")),
    ]
    assert shown[1].value.value == 2.0
