"""What a session's and a comparison's tables say beyond numbers: branches, parameters, and what Markdown folds."""

import io
from collections.abc import Sequence
from itertools import pairwise

import pytest
from rich.cells import cell_len
from rich.console import Console

from vgharness.gradflow.comparison import Change, Comparison
from vgharness.records import GradientFlow, LayerGradient, LayerKey, ParameterGradient, Sample
from vgharness.report.tables import Sheet, comparison_table, markdown, session_table

pytestmark = pytest.mark.fast

LONG = "features.denseblock4.denselayer16.relu_of_the_second_branch.conv2"


def two_branches() -> Sample:
    feeds = {"stem": ["a", LONG], "a": ["head"], LONG: ["head"], "head": []}
    parameters = (ParameterGradient(name="a.weight", l2=3.0), ParameterGradient(name="a.bias"))
    layers = tuple(
        LayerGradient(
            name=name, state="ok", signal_l2=0.5, feeds=tuple(map(LayerKey, to)), parameters=parameters * (name == "a")
        )
        for name, to in feeds.items()
    )
    return Sample(test="t", seeds=(1,), flows=(GradientFlow(layers=layers),))


def chain(signals: Sequence[float]) -> Sample:
    layers = tuple(LayerGradient(name=f"l{i}", state="ok", signal_l2=x) for i, x in enumerate(signals))
    return Sample(test="t", seeds=(1,), flows=(GradientFlow(layers=layers),))


def lines(sheet: Sheet) -> list[str]:
    console = Console(width=80, file=io.StringIO())
    console.print(sheet)
    found = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert all(cell_len(line) <= 80 for line in found)
    return [line.rstrip() for line in found]


def names(text: str) -> list[str]:
    return [line.split("|")[1].strip(" `") for line in text.splitlines() if line.startswith("| `")]


def test_a_branch_has_a_line_of_its_own_and_a_factor_against_another_row_an_arrow() -> None:
    sheet = session_table(two_branches())
    text = lines(sheet)
    at = next(i for i, line in enumerate(text) if line.strip() == "from stem")
    assert text[at - 1].split()[:5] == ["a", "0.500", "–", "→", "1"]
    assert text[at + 1].split()[0].startswith("features.dens…")
    assert sum("→" in line for line in text) == 2  # one row, and the note
    assert any("a branch begins" in line for line in text)
    assert sheet.names == (28,)


def test_without_a_branch_or_parameters_nothing_is_explained() -> None:
    assert session_table(chain([1.0])).notes == ()
    assert len(session_table(chain([1.0, 2.0])).notes) == 1  # the factor that is farthest from 1


def test_parameters_stand_below_their_layer_without_a_bar() -> None:
    sheet = session_table(two_branches(), parameters=True)
    shown = [row for row in sheet.rows if row[0].startswith("  .")]
    assert [(row[0], row[1], row[-1]) for row in shown] == [("  .weight", "3", ""), ("  .bias", "no gradient", "")]
    assert any("parameter" in note for note in sheet.notes)
    assert [row for row in sheet.rows if row not in shown] == list(session_table(two_branches()).rows)  # bars too
    assert len(sheet.rows) == len(sheet.styles) == len(sheet.folded) == 7


def test_markdown_folds_unremarkable_rows_and_each_row_stands_once() -> None:
    sample = chain([0.1, 1.0, 1.0, 1.0, 1.0, 1.0])
    text = markdown([session_table(sample)])
    shown, folded = text.split("<details>")
    assert names(shown) == ["l0"]
    assert names(folded) == [f"l{i}" for i in range(1, 6)]
    assert (
        "<summary>5 rows: state ok, factor from 0.5 to 2</summary>\n\n|" in folded
    )  # GitHub reads Markdown after an empty line
    assert folded.rstrip().endswith("|\n\n</details>")
    named = markdown([session_table(sample, named={"l3"})]).split("<details>")[0]
    assert names(named) == ["l0", "l3"]


def test_markdown_folds_no_few_rows() -> None:
    assert "<details>" not in markdown([session_table(chain([0.1, 1.0, 1.0, 1.0]))])


def test_markdown_folds_no_row_with_a_mark() -> None:
    tail = [f"l{i}" for i in range(6)]
    feeds = {"stem": ["a", "b"], "a": ["l0"], "b": ["l0"], **{x: [y] for x, y in pairwise(tail)}, tail[-1]: []}
    layers = (
        LayerGradient(name=name, state="ok", signal_l2=1.0, feeds=tuple(map(LayerKey, to)))
        for name, to in feeds.items()
    )
    text = markdown([session_table(Sample(test="t", seeds=(1,), flows=(GradientFlow(layers=tuple(layers)),)))])
    assert names(text.split("<details>")[0]) == [
        "stem",
        "a",
        "from stem",
        "b",
    ]  # the stem has the worst of equal factors
    assert names(text.split("<details>")[1]) == tail


def test_a_layer_and_its_parameters_are_folded_together() -> None:
    flow = chain([1.0] * 5).flows[0]
    layers = [
        x.model_copy(update={"parameters": (ParameterGradient(name=f"{x.name}.weight", l2=1.0, frozen=i == 2),)})
        for i, x in enumerate(flow.layers)
    ]
    sample = Sample(test="t", seeds=(1,), flows=(GradientFlow(layers=tuple(layers)),))
    text = markdown([session_table(sample, parameters=True)])
    assert names(text.split("<details>")[0]) == ["l0", ".weight", "l2", ".weight"]


def change(layer: str, outcome: str, limited: bool = True) -> Change:
    return Change.model_validate(
        {
            **{"sample": "t", "layer": LayerKey(layer), "quantity": "signal_l2", "before": 1.0, "after": 2.0},
            **{"outcome": outcome, "limited": limited, "seeds": (1, 1), "change": 1.0},
        }
    )


def test_markdown_of_a_comparison_folds_what_is_within_its_limits() -> None:
    changes = (*(change(f"ok{i}", "within") for i in range(4)), change("bad", "regression"))
    *sheets, _ = comparison_table(Comparison(notes=(), changes=changes, appearances=()))
    shown, folded = markdown(sheets).split("<details>")
    assert names(shown) == ["bad"]
    assert "**FAIL**" in shown
    assert names(folded) == ["ok0", "ok1", "ok2", "ok3"]
    assert "4 rows: within limits" in folded


def test_an_interval_that_prints_as_the_change_itself_is_left_out() -> None:
    same = change("a", "regression").model_copy(update={"change": -0.5, "low": -0.50002, "high": -0.49998})
    wide = same.model_copy(update={"layer": LayerKey("b"), "low": -0.52, "high": -0.48})
    sheet, _ = comparison_table(Comparison(notes=(), changes=(same, wide), appearances=()))
    assert [row[4] for row in sheet.rows] == ["-50.0%", "-50.0% (-52.0% to -48.0%)"]
