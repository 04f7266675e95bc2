"""A study's figures, their tables and its verdicts are of the same numbers; networks that differ are never merged."""

import re

import pytest
from factories import CANONICAL, make_flow, make_result, make_run, paired

from vgharness.claims.loading import load_claims
from vgharness.formatting import number
from vgharness.gradflow.summary import SIGNAL
from vgharness.records import CellResult, OwnNetwork, Run
from vgharness.report.figures.accuracy import accuracy_sheet
from vgharness.report.figures.gradients import gradients_sheet
from vgharness.report.figures.maps import maps_sheet
from vgharness.report.figures.sheet import style
from vgharness.report.kinds import factor_series, kinds_of
from vgharness.report.past.values import key_values
from vgharness.report.study.charts import WEIGHTS, accuracy_charts, factor_charts, norm_charts
from vgharness.report.study.facts import networks_table, shape_rows, shapes_of
from vgharness.report.study.grid import depths_of
from vgharness.report.study.maps import maps_of
from vgharness.report.study_page import render
from vgharness.report.versus.settings import settings_of
from vgharness.study.judging import judged

pytestmark = pytest.mark.fast


@pytest.fixture(scope="module")
def run() -> Run:
    results = paired(
        (42, 43, 44),
        {
            "sigmoid": lambda seed: [10 + 3 * n + (seed - 43) / 10 for n in range(20)],
            "relu": lambda seed: [55 + 1.3 * n + (seed - 43) / 10 for n in range(20)],
        },
    )
    return judged(make_run(results, data=CANONICAL), load_claims())


def with_cell(result: CellResult, **changes: object) -> CellResult:
    return result.model_copy(update={"cell": result.cell.model_copy(update=changes)})


def test_a_figure_its_table_and_its_verdict_show_one_number(run: Run) -> None:
    (group,) = accuracy_charts(run)
    chart = group.charts[0]
    readings = {
        (reading.activation, reading.epoch): reading
        for verdict in run.verdicts
        for reading in verdict.readings
        if reading.quantity == "test_accuracy" and reading.epoch and reading.activation and not reading.context
    }
    columns = {name: place for place, name in enumerate(chart.table.headings)}
    for activation, name in {"sigmoid": "Sigmoid", "relu": "ReLU"}.items():
        for epoch in (1, 20):
            reading = readings[activation, epoch]
            (row,) = (row for row in chart.table.rows if row[0] == str(epoch))
            assert reading.value is not None
            shown = f"{number(reading.value)} ({number(reading.low)} to {number(reading.high)})"
            assert row[columns[name]].startswith(shown), (activation, epoch)
        assert f">{name} {number(readings[activation, 20].value)} %<" in chart.drawn


def test_factors_are_those_that_claims_are_judged_by(run: Run) -> None:
    for quantity in (SIGNAL, WEIGHTS):
        (group,) = factor_charts(run, quantity)
        for kind, chart in zip(kinds_of(run), group.charts, strict=True):
            series = factor_series(kind, quantity)
            judged_by = {
                reading.epoch: reading
                for verdict in run.verdicts
                for reading in verdict.readings
                if (reading.quantity, reading.activation, reading.layers) == (quantity, kind.activation, "factor")
                and verdict.claim != "tanh-squashes"
            }
            assert set(judged_by) == {0, 1, 20}
            for epoch, reading in judged_by.items():
                mean = series.at(int(epoch or 0))
                assert mean is not None
                assert (mean.value, mean.low, mean.high) == pytest.approx((reading.value, reading.low, reading.high))
                assert any(row[0] == str(epoch) and row[1].startswith(number(mean.value)) for row in chart.table.rows)


def test_what_a_claim_accepts_is_shaded_and_named(run: Run) -> None:
    (group,) = factor_charts(run, SIGNAL)
    sigmoid, relu = group.charts
    assert "accepted: sigmoid-gradient-shrinks" in sigmoid.drawn
    assert "accepted: relu-gradient-stable" in relu.drawn
    assert "accepted: relu" not in sigmoid.drawn


def test_what_the_document_prints_is_drawn_on_networks_that_it_is_about(run: Run) -> None:
    (group,) = accuracy_charts(run)
    assert group.charts[0].drawn.count("said-bar") == 4
    assert ">plot 81.7 %<" in group.charts[0].drawn
    other = judged(make_run([with_cell(x, norm="batch") for x in run.results]), load_claims())
    (group,) = accuracy_charts(other)
    assert "said-bar" not in group.charts[0].drawn
    assert "plot" not in group.charts[0].drawn


def test_networks_that_differ_in_anything_have_charts_and_rows_of_their_own(run: Run) -> None:
    one = run.results[0]
    changes: dict[str, object] = {
        "norm": "batch", "init": "kaiming", "depth": 6, "architecture": "readme", "learning_rate": 0.01,
        "batch_size": 64,
    }  # fmt: skip
    differ = [one, *(with_cell(one, **{name: value}) for name, value in changes.items())]
    many = make_run(differ)
    groups = [
        "script", "script, norm batch", "script, init kaiming", "script, depth 6", "readme",
        "script, learning rate 0.01", "script, batch size 64",
    ]  # fmt: skip
    for charts in (
        factor_charts(many, SIGNAL), accuracy_charts(many), norm_charts(many, SIGNAL, "x"),
        maps_of(make_run([x.model_copy(update={"heatmap": ((1.0,) * 32,) * 32}) for x in differ])),
    ):  # fmt: skip
        assert [group.settings for group in charts] == groups
    assert [row[0] for row in networks_table(many).rows] == [f"sigmoid ({each})" for each in groups]
    assert [each.settings for each in shapes_of(many)] == groups


KINDS: list[dict[str, object]] = [
    {}, {"depth": 2}, {"depth": 10}, {"width": 0.5}, {"norm": "batch"}, {"init": "xavier"}, {"init": "kaiming"},
    {"optimizer": "sgd", "momentum": 0.9}, {"optimizer": "sgd", "momentum": 0.0}, {"learning_rate": 0.1},
    {"schedule": "cosine"},
    {"depth": 10, "width": 0.5, "norm": "batch", "init": "xavier", "learning_rate": 0.1, "schedule": "cosine"},
]  # fmt: skip


def test_twelve_kinds_of_network_stand_each_under_its_own_name_everywhere() -> None:
    results = [
        with_cell(make_result(activation, seed, curve=[30.0]), **kind)
        for kind in KINDS
        for activation in ("mish", "relu")
        for seed in (42, 43)
    ]
    many = make_run(results)
    settings = [kind.settings for kind in kinds_of(many)][::2]
    assert len(set(settings)) == 12
    assert settings[-1] == "script, depth 10, width 0.5, norm batch, init xavier, schedule cosine, learning rate 0.1"
    page = render(many)
    charts = {"factors": 12, "weights' factors": 12, "signals": 12, "weights": 12, "accuracy": 12}
    for name in settings:
        # As the heading of each figure's group, and as a network's name in its tables.
        headings = page.count(f"<summary>{name}</summary>") + page.count(f"<h3>{name}</h3>")
        assert headings >= len(charts), name
        assert f'<th scope="row">mish ({name})</th>' in page, name
    depths = depths_of(many)
    assert depths is not None
    assert sum(len([cell for cell in row if cell.accuracy]) for grid in depths.grids for _, row in grid.rows) == 24
    assert [(grid.architecture, grid.depths) for grid in depths.grids] == [("script", (2, 4, 10))]
    assert "Mish, width 0.5, norm batch, init xavier, schedule cosine, learning rate 0.1" in dict(depths.grids[0].rows)
    with style():
        for make in (accuracy_sheet, gradients_sheet, maps_sheet):
            sheet = make(many)
            shown = {" ".join(text.get_text() for text in reversed(ax.texts)) for ax in sheet.axes.flat}
            assert all(any(name in text for text in shown) for name in settings)
            assert "not drawn" not in " ".join(sheet.notes)
    assert {value.of for value in key_values(many)} == {kind.name for kind in kinds_of(many)}
    (kinds,) = (each.after for each in settings_of(many, many) if each.name == "kinds of network")
    assert all(f"mish ({name})" in kinds for name in settings)


def test_an_activation_with_parameters_has_a_table_of_shapes_of_its_own() -> None:
    prelu = make_result("prelu").model_copy(update={"parameters": 261_326})
    found = shapes_of(make_run([make_result("relu"), prelu, make_result("mish")]))
    assert [(each.settings, each.parameters) for each in found] == [("script", 261_322), ("script, prelu", 261_326)]


def test_curves_of_activations_without_a_colour_of_their_own_are_dashed() -> None:
    page = render(make_run([make_result("mish", curve=[30.0]), make_result("relu", curve=[30.0])]))
    assert ".c-mish polyline.mean-line { stroke-dasharray: 1 2; }" in page
    assert ".c-relu polyline.mean-line" not in page


def test_a_seed_that_stopped_early_is_drawn_as_far_as_it_came() -> None:
    whole = make_result("relu", 42, curve=[50.0, 60.0, 70.0])
    short = make_result("relu", 43, curve=[50.0], epochs=3, status="diverged", reason="the loss is not finite")
    (group,) = accuracy_charts(make_run([whole, short]))
    rows = {row[0]: row[1] for row in group.charts[0].table.rows}
    assert rows["1"].startswith("50 (")
    assert "nan" not in group.charts[0].drawn
    assert set(rows) == {"1"}


def test_a_norm_that_is_zero_or_not_finite_breaks_no_chart() -> None:
    results = [make_result("relu", seed, curve=[10.0], factor=factor) for seed, factor in ((42, 0.0), (43, 1.0))]
    for group in (*factor_charts(make_run(results), SIGNAL), *norm_charts(make_run(results), SIGNAL, "x")):
        for chart in group.charts:
            assert not re.search(r"\b(nan|inf)\b", chart.drawn)


def test_the_title_of_maps_is_the_ratio_of_their_means() -> None:
    def mapped(activation: str, size: float) -> CellResult:
        return make_result(activation, curve=[10.0]).model_copy(update={"heatmap": ((size,) * 32,) * 32})  # type: ignore[arg-type]

    (maps,) = maps_of(make_run([mapped("sigmoid", 2e-6), mapped("relu", 5e-6)]))
    assert maps.title == "ReLU’s gradient at conv1 is 2.50 times Sigmoid’s"
    assert [each.mean for each in maps.maps] == pytest.approx([2e-6, 5e-6])
    assert maps_of(make_run([mapped("relu", 0.0)])) == ()  # nothing to show on a logarithmic scale


# --- depth, activation, norm -----------------------------------------------------------------------------


def deep(activation: str, depth: int, factor: float, accuracy: float, **changes: object) -> CellResult:
    result = make_result(activation, depth=depth, curve=[accuracy])  # type: ignore[arg-type]
    return with_cell(result.model_copy(update={"initial": make_flow(factor, layers=depth)}), **changes)


def test_decades_lost_and_collapse_stand_by_depth_activation_and_norm() -> None:
    found = depths_of(
        make_run(
            [
                deep("sigmoid", 2, 0.1, 60.0), deep("sigmoid", 5, 0.1, 10.0),
                deep("relu", 5, 10.0, 70.0), deep("relu", 5, 1.0, 75.0, norm="batch"),
            ]
        )
    )  # fmt: skip
    assert found is not None
    (grid,) = found.grids
    assert (grid.architecture, grid.depths) == ("script", (2, 5))
    assert [name for name, _ in grid.rows] == ["Sigmoid", "ReLU", "ReLU, norm batch"]
    cells = {(name, depth): cell for name, row in grid.rows for depth, cell in zip(grid.depths, row, strict=True)}
    assert cells["Sigmoid", 2].decades == pytest.approx(-1)
    assert cells["Sigmoid", 5].decades == pytest.approx(-4)
    assert cells["ReLU", 5].decades == pytest.approx(4)
    assert cells["ReLU", 2].decades is None
    assert [key for key, cell in cells.items() if cell.collapsed] == [("Sigmoid", 5)]
    assert str(found.drawn).count("<circle") == 4


def test_networks_of_a_users_own_have_rows_by_their_factors_and_no_depth_of_ours() -> None:
    results = [
        with_cell(
            make_result("relu", curve=[30.0]),
            architecture="net",
            own=OwnNetwork(network="net:make", factors=(("depth", 22), ("skip", skip))),
        )
        for skip in (True, False)
    ]
    found = depths_of(make_run(results))
    assert found is not None
    (grid,) = found.grids
    assert (grid.architecture, grid.depths) == ("net", (None,))
    assert [name for name, _ in grid.rows] == ["ReLU, depth 22, skip true", "ReLU, depth 22, skip false"]
    page = render(make_run(results))
    assert '<th scope="col">as made</th>' in page


def test_networks_that_differ_in_architecture_and_activation_alone_need_no_grid(run: Run) -> None:
    assert depths_of(run) is None
    assert depths_of(make_run([run.results[0], with_cell(run.results[0], architecture="readme")])) is None
    assert depths_of(make_run([run.results[0], with_cell(run.results[0], init="xavier")])) is not None


# --- the document's table of shapes ----------------------------------------------------------------------


def test_the_rows_that_differ_are_those_that_the_verdict_counts(run: Run) -> None:
    rows = shape_rows(run, shapes_of(run))["script"]
    (counted,) = (x for v in run.verdicts for x in v.readings if x.quantity == "rows_that_differ")
    assert sum(not row.agrees for row in rows) == counted.value == 2
    assert [row.layers for row in rows if not row.agrees] == ["*2", "*3"]
