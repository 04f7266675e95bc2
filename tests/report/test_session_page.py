"""The page of a session."""

import math
import re
from collections.abc import Sequence
from functools import cache
from html import unescape
from pathlib import Path

import pytest
from typer.testing import CliRunner

from vgharness.cli.main import app
from vgharness.formatting import number
from vgharness.gradflow.measurement import measure
from vgharness.gradflow.rows import table_rows
from vgharness.gradflow.session import as_session
from vgharness.records import (
    DescentRecord,
    GradientFlow,
    LayerGradient,
    LayerKey,
    MarkLimits,
    ParameterGradient,
    RemedyRecord,
    Sample,
    Session,
    TimePath,
)
from vgharness.report.session.answer import headline
from vgharness.report.session.models import models_of
from vgharness.report.session_page import render_session

pytestmark = pytest.mark.fast

HOSTILE = "<script>alert(1)</script>{{ 7*7 }}\u202etxet" + "x" * 10_000


def measured(test: str = "tests/test_it.py::test_it", **options: object) -> Session:
    import torch
    from torch import nn

    sample = measure(
        lambda: nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)),
        (torch.ones(2, 4), torch.tensor([0, 1])),
        nn.functional.cross_entropy,
        test=test,
        **options,  # type: ignore[arg-type]
    ).record
    return of([sample])


@cache
def empty() -> Session:
    return as_session([], command="pytest -q", folder=Path.cwd(), extra={})


def of(samples: list[Sample]) -> Session:
    return Session.model_validate({**empty().model_dump(), "samples": samples})


def chain(signals: Sequence[float | None], names: list[str] | None = None, **fields: object) -> GradientFlow:
    names = names or [f"layer{place}" for place in range(len(signals))]
    return GradientFlow(
        layers=tuple(
            LayerGradient.model_validate(
                {"name": name, "state": "zero" if size == 0 else "ok", "signal_l2": size, "weight_l2": size, **fields}
            )
            for name, size in zip(names, signals, strict=True)
        )
    )


def sample(test: str, signals: Sequence[float | None], **fields: object) -> Sample:
    """Of two seeds, the second's values twice the first's."""
    twice = [None if size is None else 2 * size for size in signals]
    flows = (chain(signals), chain(twice))
    return Sample.model_validate({"test": f"tests/test_a.py::{test}", "seeds": (1, 2), "flows": flows, **fields})


HEALTHY, VANISHING, DEAD = [0.5, 0.7, 1.0], [1e-12, 1e-6, 1.0], [0.0, 0.0, 1.0]


def text_of(markup: str) -> str:
    """What is read: without the style and tags."""
    return unescape(re.sub(r"<[^>]*>", "", re.sub(r"<style>.*?</style>", "", markup, flags=re.DOTALL)))


def h1(markup: str) -> str:
    found = re.search(r"<h1>(.*?)</h1>", markup, re.DOTALL)
    assert found is not None
    return text_of(found[1])


def row_of(markup: str, label: str) -> list[str]:
    """The cells of a row of the first table with numbers that has it."""
    for row in re.findall(r"<tr>(.*?)</tr>", markup, re.DOTALL):
        cells = [text_of(cell).strip() for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)]
        if cells and cells[0] == label:
            return cells
    raise LookupError(label)


# --- what comes first -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("samples", "said"),
    [
        ([], "No model was measured."),
        ([("a", HEALTHY, "passed")], "a is healthy."),
        ([("a", HEALTHY, "failed")], "a is healthy, but its test failed."),
        ([("a", VANISHING, "failed")], "a: vanishing from layer1."),
        ([("a", HEALTHY, "passed"), ("b", HEALTHY, None)], "All 2 models are healthy."),
        ([("a", HEALTHY, "passed"), ("b", HEALTHY, "error")], "All 2 models are healthy, but 1 test failed: b."),
        ([("a", VANISHING, "failed"), ("b", HEALTHY, None)], "1 of 2 models has a problem: vanishing in a."),
        (
            [("a", VANISHING, "failed"), ("b", DEAD, "failed"), ("c", HEALTHY, "passed")],
            "2 of 3 models have problems: vanishing in a, dead in b.",
        ),
        (
            [(name, DEAD, "failed") for name in "abcde"] + [("f", VANISHING, "failed")],
            "6 of 6 models have problems: dead in a, b, c and 2 more, vanishing in f.",
        ),
    ],
)
def test_the_headline_names_what_has_problems(
    samples: list[tuple[str, Sequence[float | None], str | None]], said: str
) -> None:
    models = models_of([sample(name, signals, outcome=outcome) for name, signals, outcome in samples])
    assert f"{headline([model.finding for model in (*models.remarkable, *models.healthy)])}." == said


def test_warnings_are_no_problems() -> None:
    mild = sample("mild", [1e-4, 1e-2, 1.0])
    mild = mild.model_copy(update={"flows": tuple(x.model_copy(update={"output_spread": 1.0}) for x in mild.flows)})
    page = render_session(of([mild, sample("good", HEALTHY)]))
    assert h1(page) == "None of 2 models has a problem; 1 has a warning: vanishing in mild."
    assert "warning: vanishing from layer0" in text_of(page)
    assert 'class="tint c-warning"' in page
    assert 'class="tint c-problem"' not in page
    page = render_session(of([mild, sample("bad", VANISHING)]))
    assert h1(page) == "1 of 2 models has a problem: vanishing in bad."
    assert "<title>1 of 2 models has a problem: vanishing in bad</title>" in page
    assert "1 has a warning: vanishing in mild." in text_of(page)


def test_two_tests_of_one_name_keep_their_files() -> None:
    others = sample("same", VANISHING).model_copy(update={"test": "tests/test_b.py::same"})
    assert "vanishing in tests/test_a.py::same and tests/test_b.py::same" in h1(
        render_session(of([sample("same", VANISHING), others]))
    )


def test_every_tile_leads_to_a_part_and_every_part_back() -> None:
    many = [sample(f"bad{i}", VANISHING) for i in range(9)] + [sample(f"good{i}", HEALTHY) for i in range(30)]
    page = render_session(of(many))
    anchors = re.findall(r'href="#([^"]+)"', page)
    ids = re.findall(r' id="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(anchors) <= set(ids)
    tiles = re.search(r'<ul class="tiles models".*?</ul>', page, re.DOTALL)
    assert tiles is not None
    assert len(re.findall("<li>", tiles[0])) == 10  # the healthy ones share one
    assert page.count('href="#top"') == len(many) + 1  # and of the healthy ones together
    assert '<details class="model" open>' not in page  # more than are read at once
    assert "30 healthy</h2>\n<details><summary>their names" in page


# --- one model --------------------------------------------------------------------------------------------


def test_text_table_and_figure_have_the_terminals_numbers() -> None:
    shown = sample("vanishes", [1e-12, 1e-6, 0.03])
    page = render_session(of([shown]))
    for row in table_rows(shown):
        cells = row_of(page, row.label)
        assert row.value.low is not None
        assert row.value.high is not None
        assert cells[2:4] == [number(row.value.value), f"{number(row.value.low)} to {number(row.value.high)}"]
        assert re.search(rf'<text class="value[^"]*"[^>]*>{re.escape(number(row.value.value))}</text>', page)
        if row.factor is not None:
            assert number(row.factor.value) in cells[4]
            assert f"× {number(row.factor.value)}</text>" in page


def test_no_norm_and_no_share_has_an_interval_below_zero() -> None:
    flows = (chain([1e-9, 1.0], saturated=0.0), chain([1e-3, 1.0], saturated=0.001), chain([1.0, 1.0], saturated=0.0))
    page = render_session(of([Sample(test="t", seeds=(1, 2, 3), flows=flows)]))
    assert not re.search(r"(?<!e)[-−]\d", text_of(page.partition("<main>")[2].partition('id="how"')[0]))


def test_a_factor_stands_between_its_two_bars_a_problem_below_where_it_starts() -> None:
    page = render_session(of([sample("vanishes", VANISHING)]))
    places = [float(y) for y in re.findall(r'<text class="layer[^"]*" x="0" y="([\d.]+)"', page)]
    factors = [float(y) for y in re.findall(r'<text class="factor[^"]*" x="100%" y="([\d.]+)"', page)]
    starts = re.search(r'<text class="remark c-problem" x="4" y="([\d.]+)">✗ vanishing from here', page)
    assert starts is not None
    assert len(places) == 3
    assert places[0] < factors[0] < places[1] < factors[1] < places[2]
    assert places[1] < float(starts[1]) < places[2]
    assert page.count('class="tint c-problem"') == 2


def test_what_a_mark_accepts_is_a_band_and_a_sentence() -> None:
    limits = MarkLimits(min_factor=0.5, max_factor=2, min_total=0.1, expect="healthy")
    page = render_session(of([sample("held", HEALTHY, outcome="passed", limits=limits)]))
    assert page.count('class="accepted"') == 2  # of the layers that feed another
    assert "factor toward the input from 0.5 to 2; over the whole path at least 0.1" in text_of(page)
    assert "test passed, expects healthy" in text_of(page)
    whole = render_session(of([sample("held", HEALTHY, limits=MarkLimits(max_total=2))]))
    assert whole.count('class="accepted"') == 1  # of the first layer
    other = MarkLimits(min_factor=0.5, quantity="weight_l2")
    page = render_session(of([sample("held", HEALTHY, limits=other)]))
    assert 'class="accepted"' not in page  # another quantity than is drawn
    assert "factor toward the input of weight_l2 at least 0.5" in text_of(page)


def test_a_failed_test_shows_what_it_raised() -> None:
    page = render_session(of([sample("fails", HEALTHY, outcome="failed", failure="AssertionError: <b>\nsecond")]))
    assert "AssertionError: &lt;b&gt;\nsecond" in page
    assert "test failed" in text_of(page)


def test_an_expected_problem_is_marked_so() -> None:
    found = sample("cut", DEAD, outcome="passed", limits=MarkLimits(expect="dead"))
    assert "dead from layer1, as expected" in text_of(render_session(of([found, sample("good", HEALTHY)])))


def of_records() -> Session:
    """Two branches, one of them recurrent."""
    feeds = {"stem": ("a", "rnn"), "a": ("head",), "rnn": ("head",), "head": ()}
    layers = tuple(
        LayerGradient(
            name=name,
            state="ok",
            signal_l2=1.0,
            weight_l2=0.25,
            feeds=tuple(map(LayerKey, to)),
            parameters=(ParameterGradient(name=f"{name}.weight", l2=0.125),),
            output_rms=7.0 if name == "a" else None,
            output_zeros=0.5 if name == "a" else None,
        )
        for name, to in feeds.items()
    )
    path = TimePath(layer="rnn", part="layer 0", signals=(0.75,) * 9, direct=1.0)
    flow = GradientFlow(layers=layers, through_time=(path,))
    return of([Sample(test="t", seeds=(1,), flows=(flow,))])


def test_branches_steps_and_the_outputs_scale_have_their_place() -> None:
    page = render_session(of_records())
    assert row_of(page, "a") == ["a", "→ head", "ok", "1", "–", "→ 1", "0.250", "7", "50 %"]
    assert row_of(page, "rnn")[1] == "from stem"
    assert row_of(page, "… steps 2 to 8")[2:6] == ["ok", "0.750", "–", "1"]
    assert row_of(page, "stem")[7:] == ["–", "–"]
    assert ">from stem</text>" in page
    assert "→ × 1</text>" in page
    assert "a branch begins" in page
    assert "through time, step by step" in page


def test_parameters_have_a_row_on_request_with_the_weights_gradients() -> None:
    assert ".weight<" not in render_session(of_records())
    page = render_session(of_records(), parameters=True)
    assert row_of(page, ".weight")[:7] == [".weight", "", "ok", "", "", "", "0.125"]
    assert page.count(">.weight<") == 4


def test_remedies_have_a_table_and_the_best_ones_code() -> None:
    def tried(remedy: str, *, healthy: bool, better: bool, code: str) -> RemedyRecord:
        loss = DescentRecord(optimizer="Adam 1e-3", steps=20, before=(1.0, 4.0), after=(0.5, 2.0), change=-0.5)
        return RemedyRecord(
            remedy=remedy, healthy=healthy, diagnosis="healthy" if healthy else "vanishing from x", better=better,
            losses=(loss,), failure="", code=code,
        )  # fmt: skip

    remedies = [
        tried("unchanged", healthy=False, better=False, code=""),
        tried("norms", healthy=True, better=True, code="add(<norm>)"),
        tried("half", healthy=False, better=True, code="half()"),
    ]
    page = render_session(of([sample("a", VANISHING)]), remedies=remedies)
    assert row_of(page, "norms") == ["norms", "healthy", "2", "-50.0%"]
    assert "add(&lt;norm&gt;)" in page
    assert "half()" not in page
    assert "None did better" in render_session(of([sample("a", VANISHING)]), remedies=remedies[:1])
    assert "Remedies" not in render_session(of([sample("a", VANISHING)]))


# --- a model nobody has seen ------------------------------------------------------------------------------


@pytest.mark.parametrize("signals", [[None, None], [0.0, 0.0], [5e-324, 1e308, 1.0], [math.nan, 1.0], [1.0], []])
def test_any_values_have_a_page(signals: Sequence[float | None]) -> None:
    flow = chain(signals)
    page = render_session(of([Sample(test="odd", seeds=(1,), flows=(flow,))]))
    assert "nan" not in re.sub(r"<style>.*?</style>", "", page, flags=re.DOTALL).lower().replace("unlearned", "")
    assert ("no layers" in page) == (not signals)


def test_what_came_from_outside_is_escaped_and_cut_where_it_is_a_heading() -> None:
    flow = chain([1e-12, 1e-6, 1.0], [HOSTILE, "middle", HOSTILE + "2"])
    hostile = Sample(
        test=HOSTILE, outcome="failed", failure=HOSTILE, seeds=(1,), flows=(flow,), extra_info={HOSTILE: HOSTILE},
        limits=MarkLimits(expect=HOSTILE, min_factor=1),
    )  # fmt: skip
    page = render_session(of([hostile, sample("other", HEALTHY)]))
    assert "<script" not in page
    assert "\u202e" not in page
    assert "49" not in h1(page)
    assert len(h1(page)) < 200
    assert all(len(text_of(x)) < 100 for x in re.findall(r"<text.*?</text>", re.sub("<title>.*?</title>", "", page)))
    assert 'class="notice warning clip" tabindex="0"' in page  # long evidence scrolls, by the keyboard too
    summaries = re.findall(r"<summary><b.*?</summary>", page, re.DOTALL)
    assert len(summaries) == 2


def test_of_500_layers_those_of_which_nothing_is_to_be_said_share_lines() -> None:
    names = [f"{'blocks.' * 40}{place}" for place in range(500)]
    signals: Sequence[float | None] = [0.9 ** (500 - place) for place in range(500)]
    page = render_session(of([Sample(test="deep", seeds=(1,), flows=(chain(signals, names),))]))
    assert len(re.findall('<text class="layer', page)) < 10
    assert "rows: state ok, factor from 0.5 to 2" in page
    assert page.count('<th scope="row">') == 500
    wild: list[float | None] = [10.0 ** -(place % 7) for place in range(500)]
    page = render_session(of([Sample(test="wild", seeds=(1,), flows=(chain(wild),))]))
    assert len(re.findall('<text class="layer', page)) <= 60
    assert "440 rows: their numbers are below" in page


def test_three_models_are_a_small_page() -> None:
    models = [sample(name, [0.5 ** (40 - i) for i in range(40)]) for name in "abc"]
    assert len(render_session(of(models)).encode()) < 150_000


def test_a_measured_model_has_a_row_for_each_layer_and_saturation_where_it_was_measured() -> None:
    plain, saturated = render_session(measured(seeds=1)), render_session(measured(seeds=1, saturation=True))
    assert plain.count('<th scope="row">') == 2
    assert "saturated</th>" not in plain
    assert "saturated</th>" in saturated


def test_the_page_of_a_saved_session_stands_beside_a_studys(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(measured().model_dump_json())
    result = CliRunner().invoke(app, ["report", str(tmp_path / "run.json"), "--out", str(tmp_path / "reports")])
    assert result.exit_code == 0, result.output
    assert (tmp_path / "reports/gradflow.html").exists()
    assert not (tmp_path / "reports/index.html").exists()
