"""A training's page: its headline, its problems, its map and lines, and how large it may become."""

import math
import re
from typing import Any

import pytest
from training_logs import NAMES, changed, make_log, make_problem, make_snapshot

from vgharness.records import Birth, NonfiniteOrigin, WatchedModel
from vgharness.report.training.answer import headline
from vgharness.report.training.names import short_names
from vgharness.report.training.series import ModelSeries, chosen
from vgharness.report.training_page import render_training

pytestmark = pytest.mark.fast

MARKUP = "</style></title></svg><script>alert(1)</script>\u202e\n{{7*7}}"
BACKWARD = NonfiniteOrigin(stage="backward", module="conv3", operation="MulBackward0")
GAN = tuple(WatchedModel(name=name, architecture="Net", parameters=9, steps=200) for name in ("generator", "critic"))


def problem(*args: Any, **fields: Any) -> dict[str, Any]:
    return {"problems": [make_problem(*args, **fields)]}


# --- the headline ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "No problem in 1,001 steps"),
        ({"steps": 1}, "No problem in 1 step"),
        ({"snapshots": (), "models": (WatchedModel(architecture="N", parameters=0),)}, "No step was watched"),
        ({"status": "running"}, "No problem in 1,001 steps so far; the training goes on or was killed"),
        ({"status": "failed"}, "No problem in 1,001 steps before it ended in an exception"),
        (problem("spike", "", 40, severity="warning"),
         "No problem in 1,001 steps; 1 warning: the gradient norm spikes at step 40"),
        (problem("stopped", "conv1", 1200), "conv1 stops moving at step 1,200"),
        (problem("vanishing", "conv1", 0), "Gradients vanish at conv1 at step 0"),
        (problem("dead", "2", 40), "Layer 2 is dead at step 40"),
        ({"births": [Birth(step=7, noticed=9, origin=BACKWARD)], **problem("nonfinite", "conv3", 9)},
         "First NaN at step 7 in the backward pass of conv3 (MulBackward0)"),
        ({"births": [Birth(step=7, noticed=9, loss=True)]},
         "First value that is not finite at step 7 in the loss or its gradient"),
    ],
)  # fmt: skip
def test_the_headline_is_made_from_the_log(fields: dict[str, Any], said: str) -> None:
    assert headline(make_log(**fields)) == said


def test_of_many_problems_the_first_are_named_in_order_and_never_without_the_first_nan() -> None:
    problems = [make_problem("dead", f"conv{place % 3 + 1}", 100 * place) for place in range(6, 0, -1)]
    log = make_log(
        problems=[*problems, make_problem("nonfinite", "conv3", 900)],
        births=[Birth(step=900, noticed=900, origin=BACKWARD)],
    )
    assert headline(log) == (
        "conv2 is dead at step 100; conv3 is dead at step 200; first NaN at step 900 in the backward pass of conv3 "
        "(MulBackward0); 4 more"
    )


def test_of_several_models_each_problem_is_told_with_its_own_and_a_common_one_once() -> None:
    snapshots = [make_snapshot(0, model=model.name) for model in GAN]
    assert headline(make_log(snapshots, models=GAN)) == "No problem in 200 steps"
    problems = [make_problem(model="critic", began=3), make_problem("loss scale", "", 5)]
    assert (
        headline(make_log(snapshots, problems, models=GAN))
        == "critic: conv1 stops moving at step 3; the loss scale falls at step 5"
    )


# --- what is shown ---------------------------------------------------------------------------------------


def test_the_page_is_one_file_without_script_and_whatever_the_log_holds_is_text() -> None:
    birth = Birth(step=3, noticed=3, origin=BACKWARD.model_copy(update={"module": MARKUP}), reproducer=MARKUP)
    log = make_log(
        names=[MARKUP + str(place) for place in range(4)],
        problems=[make_problem(layer=MARKUP, evidence=MARKUP, advice=MARKUP)],
        births=[birth],
        command=MARKUP,
        notes=(MARKUP,),
        extra={MARKUP: MARKUP},
        models=(WatchedModel(architecture=MARKUP, parameters=1),),
    )
    page = render_training(log)
    assert "<script" not in page
    assert "49}" not in page
    assert "\u202e" not in page
    assert not re.search(r'(src|href)="(?!#)', page)


def test_problems_are_a_timeline_and_a_number_at_their_step_in_every_chart() -> None:
    problems = [
        make_problem("spike", "", 100, ended=101, severity="warning"),
        make_problem("dead", "conv2", 500, ended=700, times=2),
    ]
    page = render_training(make_log(problems=problems))
    assert re.findall(r'class="span c-(\w+)" x="([\d.]+)%" width="([\d.]+)%"', page) == [
        ("problem", "50.00", "20.00"),
        ("warning", "10.00", "0.60"),
    ]
    charts = page.count('class="courses"') + page.count('class="heatmap"')
    assert charts == 7
    assert len(re.findall(r'class="began-name c-problem" x="50.00%"[^>]*>1<', page)) == charts
    assert len(re.findall(r'class="began-name c-warning" x="10.00%"[^>]*>2<', page)) == charts
    assert "from step 500 to 700, 2 times" in page


def test_the_first_nan_has_the_command_that_shows_it_again() -> None:
    birth = Birth(step=500, batch=501, noticed=503, origin=BACKWARD, reproducer=".gradflow/my nan")
    text = re.sub(r"<[^>]+>", "", render_training(make_log(births=[birth])))
    assert "1 First NaN in the backward pass of conv3 (MulBackward0): step 500, batch 501, noticed at step 503" in text
    assert "vgharness reproduce &#39;.gradflow/my nan&#39;" in text


def test_the_map_is_relative_to_the_last_layer_and_says_what_has_no_size() -> None:
    log = changed(
        make_log(steps=201),
        lambda each: {
            0: {"values": {"signal_l2": (1e-5, 1.0, 0.0, 100.0)}},
            100: {"values": {"signal_l2": (None, None, None, 100.0)}, "states": ("nonfinite", "frozen", "ok", "ok")},
            200: {"values": {"signal_l2": (1e9, 1.0, 1.0, 1.0)}},
        }[each.step],
    )
    page = render_training(log)
    cells = dict(re.findall(r'<path class="(lv-\w+)" d="([^"]+)"', page))
    assert cells == {
        "lv-m6": "M0 0h500v1h-500z",
        "lv-nonfinite": "M500 0h500v1h-500z",
        "lv-m2": "M0 1h500v1h-500z",
        "lv-zero": "M0 2h500v1h-500z",
        "lv-p0": "M0 3h1000v1h-1000z",
    }
    (table,) = re.findall(r"<caption>‖∂L/∂h‖₂ ÷.*?</table>", page, re.DOTALL)
    rows = [re.findall(r"<t[hd][^>]*>([^<]*)", row) for row in table.split("<tr>")[2:]]
    assert rows[0] == ["conv1", "1.00e-07", "not finite", "1e+09"]
    assert rows[1][:3] == ["conv2", "0.0100", "frozen"]


def test_a_layer_that_stopped_is_drawn_at_the_bottom_and_a_step_that_was_left_out_is_not() -> None:
    log = changed(
        make_log(steps=301),
        lambda each: {
            "values": {**each.values, "relative_update": (0.0, 1e-3, 1e-3, 1e-3)},
            "skipped": each.step == 100,
        },
    )
    assert ModelSeries(log, "").of_layers("relative_update")["conv1"] == pytest.approx(
        [0.0, math.nan, 0.0, 0.0], nan_ok=True
    )
    (chart,) = re.findall(r'class="courses"[^>]*><title>Update ratio(.*?)</figure>', render_training(log), re.DOTALL)
    assert "66.67,170.0 100.00,170.0" in chart


def test_between_layers_that_nothing_reached_there_is_no_factor_and_after_nan_none_at_all() -> None:
    signals = {
        0: (0.25, 0.5, 1.0, None),
        100: (0.0, 0.0, 0.5, 1.0),
        200: (0.0, 0.0, 0.0, 0.0),
        300: (1.0, 1.0, None, 1.0),
    }
    states = {0: "unused", 300: "nonfinite"}
    log = changed(
        make_log(steps=301),
        lambda each: {
            "values": {"signal_l2": signals[each.step]},
            "states": ("ok", "ok", states.get(each.step, "ok"), "ok"),
        },
    )
    assert ModelSeries(log, "").factors() == pytest.approx([0.5, 0.0, math.nan, math.nan], nan_ok=True)
    assert ">0 at 100</text>" in render_training(log)


def test_each_model_of_several_has_its_own_part_and_a_tile_that_says_what_was_found() -> None:
    snapshots = [make_snapshot(step, model=model.name) for step in (0, 100) for model in GAN]
    page = render_training(make_log(snapshots, [make_problem(model="critic", began=3)], models=GAN))
    assert re.findall(r"<h2><bdi>(\w+)</bdi></h2>", page) == ["generator", "critic"]
    tiles = re.findall(r'<a class="([\w-]+)" href="#model-\d"><b[^>]*>(.)</b> <bdi>(\w+)</bdi><br>([\w ]+)</a>', page)
    assert tiles == [("reproduced", "✓", "generator", "no problem"), ("not-reproduced", "✗", "critic", "1 problem")]
    assert page.count('class="heatmap"') == 2


def test_a_log_without_snapshots_has_a_page() -> None:
    page = render_training(make_log([], [make_problem(began=3)]))
    assert "No snapshot was taken of it." in page
    assert page.count('class="timeline"') == 1


# --- how much --------------------------------------------------------------------------------------------


def test_a_page_is_no_larger_than_can_be_opened_whatever_the_log_holds() -> None:
    """More snapshots, layers, problems and texts than it shows, and many models."""
    names = [f"encoder.layers.{place}.{'x' * 300}" for place in range(65)]
    snapshots = [make_snapshot(step, 0.9 + 0.1 * (step % 7) / 7, layers=65) for step in range(0, 16_500, 100)]
    problems = [make_problem("dead", names[at % 65], at, evidence="e" * 5000, advice="a" * 5000) for at in range(230)]
    texts = {"notes": ["n" * 9000] * 300, "extra": {str(place): "y" * 5000 for place in range(300)}}
    page = render_training(make_log(snapshots, problems, names=names, **texts))
    assert len(page.encode()) < 1_500_000
    assert "60 of 65 layers are drawn; 160 of 165 snapshots are drawn" in page
    assert "30 more are not listed" in page
    many = tuple(WatchedModel(name=f"model {place}", architecture="N", parameters=1) for place in range(14))
    page = render_training(make_log([make_snapshot(0, model=model.name) for model in many], models=many))
    assert "And 2 more models, which are not shown." in page


def test_those_that_are_drawn_are_the_ends_those_at_problems_and_others_between() -> None:
    steps = list(range(0, 100_000, 100))
    found = chosen(steps, [12_345, 40_000], 10)
    assert (found[0], found[-1], len(found)) == (0, 999, 10)
    assert {124, 400} <= set(found)
    assert chosen(steps[:5], [3], 10) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("names", "short"),
    [
        (NAMES, NAMES),
        (("encoder.layers.0.linear1", "encoder.layers.1.linear1"), ("enco.laye.0.linear1", "enco.laye.1.linear1")),
        (("a" * 30 + "b", "a" * 30 + "c"), ("aaaaaaaaa…aaaaaaaaab", "aaaaaaaaa…aaaaaaaaac")),
    ],
)
def test_short_names_differ_where_the_names_do(names: tuple[str, ...], short: tuple[str, ...]) -> None:
    assert tuple(short_names(names, 20).values()) == short
