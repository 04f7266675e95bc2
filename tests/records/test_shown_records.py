"""Records in a notebook: short, iterated by rows, tables with pandas and without, plots of what was measured."""

import math
import sys
from typing import Any

import pytest
from factories import MACHINE, failure, make_flow, make_reading, make_result, make_run, make_verdict

from vgharness.records import (
    Birth,
    GradientFlow,
    LayerGradient,
    LayerTheory,
    LogRow,
    ModelTheory,
    NonfiniteOrigin,
    Record,
    Sample,
    Session,
    Snapshot,
    TrainingLog,
    TrainingProblem,
    WatchedModel,
)

pytestmark = pytest.mark.fast


def sample(test: str = "t", seeds: int = 3) -> Sample:
    flows = tuple(make_flow(factor=0.5, last=2.0 * (seed + 1)) for seed in range(seeds))
    return Sample(test=test, seeds=tuple(range(42, 42 + seeds)), flows=flows)


def session(*samples: Sample) -> Session:
    return Session(created="2026-01-01T00:00:00", commit=None, command="pytest", machine=MACHINE, samples=samples)


def log() -> TrainingLog:
    def snapshot(step: int, first: float | None) -> Snapshot:
        values: dict[Any, Any] = {"signal_l2": (first, 0.1), "relative_update": (1e-3, 1e-3)}
        return Snapshot(step=step, states=("ok", "ok"), values=values, loss=0.5)

    return TrainingLog(
        created="2026-01-01T00:00:00",
        status="finished",
        commit=None,
        command="x",
        machine=MACHINE,
        every=100,
        models=(WatchedModel(architecture="Net", parameters=10, steps=300),),
        rows=((LogRow(name="a"), LogRow(name="b")),),
        snapshots=(snapshot(0, 0.01), snapshot(100, 1e-9), snapshot(200, None)),
        problems=(
            TrainingProblem(
                kind="vanishing", layer="a", began=100, ended=200, evidence="1e-8 of b's", advice="use ReLU"
            ),
        ),
        births=(
            Birth(step=150, noticed=150, reproducer="my nan", origin=NonfiniteOrigin(stage="backward", module="a")),
        ),
    )


THEORY = ModelTheory(
    layers=(
        LayerTheory(name="conv1", above="conv2", factor=0.5, bound=1.0, signal=0.25, greatest_signal=1.0),
        LayerTheory(name="conv2", above="conv3", factor=0.5, bound=1.0, signal=0.5, greatest_signal=1.0),
        LayerTheory(name="conv3", signal=1.0, greatest_signal=1.0),
    )
)
RUN = make_run(
    [*(make_result("relu", seed, curve=[50.0, 60.0]) for seed in (42, 43)), make_result("tanh")],
    verdicts=(make_verdict("mixed", make_reading("reproduced", (1.0, None), label="one")),),
)
ALL: list[Any] = [make_flow(), sample(), session(sample()), log(), RUN, RUN.verdicts[0], THEORY]


@pytest.mark.parametrize("shown", ALL, ids=lambda shown: type(shown).__name__)
def test_each_is_short_iterated_by_its_rows_and_a_table(shown: Any) -> None:
    rows = list(shown)
    assert len(rows) == len(shown) > 0
    assert shown[0] is rows[0]
    assert isinstance(rows[0], Record)
    assert shown[shown._called(rows[0])] is rows[0]
    assert len(repr(shown)) < 250
    assert len(str(shown).splitlines()) < 10
    found = shown._repr_html_()
    assert found.count("<table") == found.count("</table>") >= 1
    records = shown.to_records()
    frame = pytest.importorskip("pandas") and shown.to_frame()
    assert list(frame.columns) == list(records[0])
    assert len(frame) == len(records)
    assert type(shown)(**shown.fields()) == shown.changed() == shown
    assert not {"model_dump", "json", "construct"} & set(dir(shown))


def test_a_flow_says_what_an_assertion_that_fails_does() -> None:
    lines = str(make_flow(factor=0.5, last=1.0)).splitlines()
    assert lines[0] == "  layer  ‖∂L/∂h‖₂  factor toward the input"
    assert lines[1].split() == ["conv1", "0.125", "0.500", "█░░░░░░░"]
    assert lines[-1].split() == ["fc", "1", "████████"]
    assert repr(make_flow(factor=0.5, last=1.0)) == (
        "<GradientFlow: 5 layers, conv1 to fc, ‖∂L/∂h‖₂ 0.125 → 1, factor toward the input 0.595>"
    )


def test_passes_have_names_of_their_own() -> None:
    layers = tuple(LayerGradient(name="cell", forward_pass=i, state="ok", signal_l2=1.0 + i) for i in range(3))
    flow = GradientFlow(layers=layers)
    assert (flow["cell"].signal_l2, flow["cell[2]"].signal_l2) == (1.0, 3.0)
    with pytest.raises(KeyError, match=r"no layer 'x': there is cell, cell\[1\], cell\[2\]"):
        flow["x"]


def test_what_is_not_finite_or_zero_is_seen_in_every_form() -> None:
    flow = GradientFlow(
        layers=(
            LayerGradient(name="a", state="zero", signal_l2=0.0),
            LayerGradient(name="b", state="nonfinite", signal_l2=math.nan),
            LayerGradient(name="c", state="ok", signal_l2=1.0),
        )
    )
    assert [line[0] for line in str(flow).splitlines()[1:]] == [">", ">", " "]
    assert "zero" in flow._repr_html_()
    assert "nonfinite" in flow._repr_html_()
    assert [text.get_text() for text in flow.plot().axes[0].texts] == ["0", "NaN"]


def test_a_plot_draws_seeds_their_geometric_mean_and_theory_from_the_last_layer() -> None:
    own = sample(seeds=2)  # the last layer's signals are 2 and 4
    ax = own.plot(theory=THEORY).axes[0]
    mean, first, second, theory, bound = ax.lines
    assert list(mean.get_ydata())[-1] == pytest.approx(8**0.5)
    assert [line.get_ydata()[-1] for line in (first, second)] == [2.0, 4.0]
    at_conv3 = mean.get_ydata()[2]
    assert list(theory.get_ydata()) == pytest.approx([at_conv3 / 4, at_conv3 / 2, at_conv3])
    assert list(bound.get_ydata()) == pytest.approx([at_conv3] * 3)
    assert ax.get_yscale() == "log"


def test_theory_is_broken_where_it_says_nothing() -> None:
    gap = ModelTheory(layers=(THEORY.layers[0].changed(signal=None, factor=None, reason="a pool"), *THEORY.layers[1:]))
    lines = {line.get_label(): list(line.get_ydata()) for line in sample().plot(theory=gap).axes[0].lines}
    assert len(lines["mean field"]) == 2
    assert "a pool" in gap._repr_html_()
    assert "a pool" in str(gap)


def test_a_run_is_drawn_by_epoch_and_its_print_has_verdicts_and_settings() -> None:
    lines = {line.get_label(): line.get_ydata() for line in RUN.plot().axes[0].lines}
    assert {name: len(values) for name, values in lines.items() if name in ("relu", "tanh")} == {"relu": 3, "tanh": 1}
    first, second, third = str(RUN).splitlines()
    assert first.endswith("3 networks; 1 mixed")
    assert "script; relu, tanh; 2 seeds (42, 43)" in second
    assert "CIFAR-10" in third


def test_a_log_shows_problems_in_print_in_html_and_in_its_plot() -> None:
    own = log()
    line, *problems = str(own).splitlines()
    assert line.endswith("; 2 problems; NaN or infinity came up")
    assert problems == [
        "step 100 to 200: vanishing at a: 1e-8 of b's",
        "step 150: nonfinite at a: the backward pass of a makes NaN or infinity",
    ]
    shown = own._repr_html_()
    assert ("1e-8 of b" in shown, "use ReLU" in shown, "vgharness reproduce &#39;my nan&#39;" in shown) == (True,) * 3
    ax = own.plot().axes[0]
    assert [text.get_text() for text in ax.texts] == ["vanishing", "NaN"]
    assert ax.get_xlabel() == "step; grey: nothing finite"
    assert list(ax.lines[0].get_xdata()) == [100, 200]
    row = own.to_records()[2]
    assert (row["step"], row["layer"], row["signal_l2"], own[1].step) == (100, "a", 1e-9, 100)


def test_without_pandas_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    assert failure(make_flow().to_frame) == "a table of pandas needs pandas: pip install 'vgharness[frame]'"
    assert make_flow().to_records()[0]["layer"] == "conv1"
