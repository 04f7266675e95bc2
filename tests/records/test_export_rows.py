"""A run as tables: which rows there are, that every setting is a column, and what is made of them for pandas."""

import math
import sys

import pytest
from factories import failure, make_reading, make_result, make_run, make_verdict

from vgharness.records import TABLES, Cell, CellResult, Epoch, LayerGradient, OwnNetwork, Reading, Run, table_of

pytestmark = pytest.mark.fast

SETTINGS = tuple(name for name in Cell.model_fields if name != "own")  # which only a network of ones own has


@pytest.fixture
def run() -> Run:
    verdict = make_verdict(
        "mixed",
        make_reading("reproduced", (1.0, None), networks="script", activation="relu", printed=(1.5,), label="one"),
        make_reading("not run", (), label="none were measured"),
    )
    trained = [make_result("relu", seed, curve=[50.0, 60.5]) for seed in (42, 43)]
    return make_run([*trained, make_result("tanh", depth=6)], verdicts=(verdict,))


def test_curves_have_a_row_for_each_epoch_with_all_settings(run: Run) -> None:
    rows = table_of(run, "curves").records()
    assert [(row["seed"], row["epoch"], row["test_accuracy"]) for row in rows] == [
        (seed, epoch, accuracy) for seed in (42, 43) for epoch, accuracy in ((1, 50.0), (2, 60.5))
    ]
    assert {name: rows[0][name] for name in SETTINGS} == run.results[0].cell.model_dump(exclude={"own"})
    assert rows[0]["status"] == "finished"


def test_gradients_have_a_row_for_each_layer_at_each_moment(run: Run) -> None:
    rows = table_of(run, "gradients").records()
    assert len(rows) == 5 * (3 + 3 + 1)
    assert [(row["moment"], row["epoch"]) for row in rows[:15:5]] == [
        ("initialisation", 0), ("epoch mean", 1), ("epoch mean", 2)
    ]  # fmt: skip
    last = rows[-5]
    layer = run.results[2].initial.layers[0]  # type: ignore[union-attr]
    assert (last["layer"], last["signal_l2"], last["state"]) == ("conv1", layer.signal_l2, "ok")
    assert {name: last[name] for name in SETTINGS} == run.results[2].cell.model_dump(exclude={"own"})


def test_verdicts_have_a_row_for_each_reading_with_what_its_networks_have_in_common(run: Run) -> None:
    one, none = table_of(run, "verdicts").records()
    assert (one["claim"], one["verdict"], one["outcome"], one["reading"]) == ("it-is-so", "mixed", "reproduced", "one")
    assert one["values"] == {"42": 1.0, "43": None}
    assert (one["architecture"], one["activation"], one["depth"], one["seed"]) == ("script", "relu", 4, None)
    assert (none["outcome"], none["architecture"], none["status"]) == ("not run", None, None)
    assert set(SETTINGS) <= one.keys()


def test_no_column_stands_for_two_things(run: Run) -> None:
    """A new setting, or a new field of what is measured, may have a name that is there already."""
    assert not {*SETTINGS, "status", "moment"} & {*Epoch.model_fields, *LayerGradient.model_fields}
    assert not {*SETTINGS, "status"} & {*Reading.model_fields} - {"activation"}
    for what in TABLES:
        columns = table_of(run, what).columns
        assert len(set(columns)) == len(columns)


def test_a_run_without_rows_has_the_columns_that_name_them(run: Run) -> None:
    nothing = run.model_copy(update={"results": (), "verdicts": ()})
    for what in TABLES:
        table = table_of(nothing, what)
        assert len(table.columns) > 2
        assert table.rows == table.flat().rows == ()
        assert list(nothing.to_frame(what).columns) == list(table.columns)


def test_another_table_is_refused_with_the_names(run: Run) -> None:
    assert failure(lambda: run.to_frame("loss")) == "'loss': there is no such table; use curves, gradients, verdicts"  # type: ignore[arg-type]


def test_a_frame_has_numbers_as_numbers_and_nan_for_what_is_missing(run: Run) -> None:
    result = run.results[0]
    epoch = Epoch(**{**dict(result.epochs[1]), "test_loss": math.nan})
    cut = result.model_copy(update={"epochs": (result.epochs[0], epoch)})
    frame = run.model_copy(update={"results": (cut, *run.results[1:])}).to_frame()
    assert frame.groupby("seed").test_accuracy.mean().to_dict() == {42: 55.25, 43: 55.25}
    assert math.isnan(frame.test_loss[1])
    assert frame.test_loss[0] == 2.0
    assert run.to_frame("verdicts")["values"][0] == '{"42": 1.0, "43": null}'


@pytest.mark.parametrize("what", TABLES)
def test_a_parquet_file_is_read_back(run: Run, what: str) -> None:
    import io

    import pandas

    table = table_of(run, what)  # type: ignore[arg-type]
    pandas.testing.assert_frame_equal(
        pandas.read_parquet(io.BytesIO(table.to_parquet())), table.to_frame(), check_dtype=False
    )


def test_without_pandas_or_pyarrow_it_is_said_what_to_install(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert failure(table_of(run, "curves").to_parquet) == "Parquet needs pyarrow: pip install 'vgharness[frame]'"
    monkeypatch.setitem(sys.modules, "pandas", None)
    assert failure(run.to_frame) == "a table of pandas needs pandas: pip install 'vgharness[frame]'"


def test_a_network_of_ones_own_has_its_factors_as_columns_and_no_settings_of_ours() -> None:
    own = OwnNetwork(network="nets.py:make", optimizer_settings={"lr": 0.1}, factors={"skip": True})
    result = make_result(curve=[50.0])
    other = CellResult(
        **{**result.fields(), "cell": Cell(architecture="mlp", activation="own", seed=42, epochs=1, own=own)}
    )
    table = table_of(make_run([result, other]), "curves")
    ours, theirs = (dict(zip(table.columns, row, strict=True)) for row in table.rows)
    assert (ours["depth"], ours["optimizer"], ours["own.factors.skip"]) == (4, "adam", None)
    assert (theirs["depth"], theirs["optimizer"], theirs["batch_size"]) == (None, None, 128)
    assert (theirs["own.factors.skip"], theirs["own.optimizer_settings.lr"], theirs["own.loss"]) == (
        True,
        0.1,
        "cross_entropy",
    )
