"""Charts: every mark stands where its value belongs, and whatever stands in them is text."""

import itertools
import math
import re
from collections.abc import Sequence
from xml.etree import ElementTree

import pytest
from factories import make_reading
from hypothesis import given
from hypothesis import strategies as st

from vgharness.display.elements import element
from vgharness.records import Bounds, Reading
from vgharness.report.svg.axis import Axis, apart, axis_over
from vgharness.report.svg.curves import Band, Curve, Panel, Printed, draw, epoch_ticks
from vgharness.report.svg.scatter import Point, Scatter
from vgharness.report.svg.scatter import draw as draw_scatter
from vgharness.report.svg.strips import strip, strip_axis

pytestmark = pytest.mark.fast

POSITIVE = st.floats(1e-12, 1e12)
ANY = st.floats(-1e9, 1e9)


def tree(markup: object) -> ElementTree.Element:
    return ElementTree.fromstring(str(markup))


def of_class(chart: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    return [each for each in chart.iter() if name in each.get("class", "").split()]


def share(text: str | None) -> float:
    return float((text or "").removesuffix("%"))


# --- markup and axes -------------------------------------------------------------------------------------


def test_whatever_stands_in_markup_is_text() -> None:
    nasty = "</svg><script>alert(1)</script>\u202e\x00"
    made = tree(element("g", element("text", nasty), title=nasty + '"'))
    assert [each.tag for each in made.iter()] == ["g", "text"]
    assert "\u202e" not in str(made[0].text)


@given(st.lists(POSITIVE, min_size=1, max_size=8))
def test_all_values_have_a_place_in_their_order_on_a_logarithmic_axis(values: list[float]) -> None:
    check_axis(axis_over(values, logarithmic=True), values)


@given(st.lists(ANY, min_size=1, max_size=8))
def test_all_values_have_a_place_in_their_order_on_a_linear_axis(values: list[float]) -> None:
    check_axis(axis_over(values), values)


def check_axis(axis: Axis, values: Sequence[float]) -> None:
    places = [axis.at(value) for value in sorted(values)]
    assert places == sorted(places)
    assert places[0] > 0
    assert places[-1] < 100
    for most in (2, 4, 6):
        ticks = axis.ticks(most)
        assert len(ticks) <= most
        assert ticks == sorted(set(ticks))
        assert all(axis.low * (1 - 1e-6) - 1e-9 <= tick <= axis.high * (1 + 1e-6) + 1e-9 for tick in ticks if tick > 0)


def test_values_of_no_number_have_no_place_and_bounds_are_the_ends() -> None:
    axis = Axis(0.1, 10, True)
    assert [axis.at(value) for value in (0.0, 0.01, 1.0, 100.0, math.inf)] == pytest.approx([0, 0, 50, 100, 100])
    with pytest.raises(ValueError, match="NaN"):
        axis.at(math.nan)


@given(st.integers(0, 1), st.integers(1, 5_000))
def test_the_first_and_last_epoch_are_ticks(first: int, more: int) -> None:
    ticks = epoch_ticks(first, first + more)
    assert (ticks[0], ticks[-1]) == (first, first + more)
    assert ticks == sorted(ticks)
    assert len(ticks) <= 8


@given(st.lists(st.floats(0, 100), max_size=10), st.floats(0.1, 10))
def test_labels_stand_apart_in_their_order_and_none_above_the_top(places: list[float], least: float) -> None:
    moved = apart(places, least, 100.0)
    order = sorted(range(len(places)), key=lambda place: places[place])
    assert all(moved[after] - moved[before] >= least - 1e-9 for before, after in itertools.pairwise(order))
    assert max(moved, default=0) <= 100
    if all(after - before >= least for before, after in itertools.pairwise(sorted(places))):
        assert moved == places  # those that have room stay where they are


# --- strips ----------------------------------------------------------------------------------------------

READING = make_reading(
    "inconclusive", (20.0, 30.0, 60.0), value=35.0, low=15.0, high=65.0, further_low=5.0, further_high=90.0, method="t",
    printed=(45.0,), accepted=Bounds(low=42.0, high=48.0), activation="relu",
)  # fmt: skip


def drawn(reading: Reading) -> ElementTree.Element:
    return tree(strip(reading, strip_axis([reading]), "says"))


def reach(chart: ElementTree.Element, name: str) -> tuple[float, float]:
    (bar,) = of_class(chart, name)
    return share(bar.get("x")), share(bar.get("x")) + share(bar.get("width"))


def test_a_strip_shows_each_seed_the_mean_both_intervals_what_is_accepted_and_what_is_printed() -> None:
    chart = drawn(READING)
    assert [share(dot.get("cx")) for dot in of_class(chart, "dot")] == [20, 30, 60]
    assert reach(chart, "interval") == (15, 65)
    assert reach(chart, "further") == (5, 90)
    assert reach(chart, "accepted") == (42, 48)
    assert [share(x.get("x")) for x in of_class(chart, "mean")] == [35]
    assert [share(x.get("x")) for x in of_class(chart, "printed")] == [45]
    assert "c-relu" in chart.get("class", "")
    assert [each.text for each in chart if each.tag == "title"] == ["says"]


def test_open_ends_reach_to_the_end_of_the_axis() -> None:
    fields = {**dict(READING), "accepted": Bounds(low=50.0), "low": 30.0, "high": None}
    chart = drawn(Reading(**fields))
    assert reach(chart, "accepted") == (50, 100)
    assert reach(chart, "interval") == (30, 100)


def test_a_strip_shows_nothing_that_was_not_measured() -> None:
    reading = make_reading("inconclusive", (None, 20.0), unit="×", scale="log", expected="< 0.5 ×")
    chart = drawn(reading)
    assert len(of_class(chart, "dot")) == 1
    for name in ("mean", "interval", "further", "accepted", "printed"):
        assert of_class(chart, name) == [], name


def test_strips_of_a_group_share_an_axis_that_holds_every_seed_and_no_wide_interval() -> None:
    narrow = make_reading(numbers=(0.1, 0.2), unit="×", scale="log", value=0.14, accepted=Bounds(high=0.5))
    wide = make_reading(numbers=(1.0, 2.0), unit="×", scale="log", value=1.4, low=1e-9, high=1e9, method="t")
    axis = strip_axis([narrow, wide])
    assert axis.logarithmic
    assert axis.low < 0.1
    assert axis.high > 2
    assert axis.high / axis.low < 100


# --- curves ----------------------------------------------------------------------------------------------


def panel(*curves: Curve, **fields: object) -> ElementTree.Element:
    given = {"y": Axis(0, 100), "epochs": (0, 4), **fields}
    return tree(draw(Panel("title", "says", curves, **given)))  # type: ignore[arg-type]


def places(line: ElementTree.Element) -> list[tuple[float, float]]:
    return [tuple(map(float, point.split(","))) for point in line.get("points", "").split()]  # type: ignore[misc]


def test_a_curve_goes_through_its_values() -> None:
    chart = panel(Curve("c-relu", 0, [0, 50, 100, 50, 0], seeds=[[0, 0, 0, 0, 0]], low=[0] * 5, high=[100] * 5))
    (mean,) = of_class(chart, "mean-line")
    height = places(mean)[0][1]
    assert places(mean) == [(0, height), (25, height / 2), (50, 0), (75, height / 2), (100, height)]
    (seed,) = of_class(chart, "seed")
    assert {y for _, y in places(seed)} == {height}
    (area,) = of_class(chart, "interval-area")
    assert {y for _, y in places(area)} == {0, height}


def test_a_curve_breaks_where_a_value_is_not_finite() -> None:
    chart = panel(Curve("c-relu", 0, [10, math.nan, 30, 40, math.inf]))
    assert [len(places(line)) for line in of_class(chart, "mean-line")] == [1, 2]
    assert "nan" not in ElementTree.tostring(chart, encoding="unicode")


def test_ends_are_labelled_and_labels_do_not_lie_on_one_another() -> None:
    chart = panel(
        Curve("c-relu", 0, [10, 50], label="ReLU"),
        Curve("c-sigmoid", 0, [12, 51], label="Sigmoid"),
        Curve("c-relu", 1, [49], label="plot", dashed=True),
        unit=" %",
        epochs=(0, 1),
    )
    labels = of_class(chart, "value")
    assert {each.text for each in labels} == {"10 %", "12 %", "ReLU 50 %", "Sigmoid 51 %", "plot 49 %"}
    at_the_end = sorted(float(each.get("y", "")) for each in labels if each.get("x") == "100%")
    assert all(after - before >= 12 for before, after in itertools.pairwise(at_the_end))


def test_bands_and_printed_numbers_stand_at_their_values() -> None:
    chart = panel(
        Curve("c-relu", 0, [10.0]), bands=[Band(None, 50.0, "accepted: it")], printed=[Printed("c-relu", 4, 72.0, 74.0)]
    )
    (band,) = of_class(chart, "accepted")
    height = float(band.get("height", ""))
    assert float(band.get("y", "")) == pytest.approx(height)  # the lower half
    (said,) = of_class(chart, "said-bar")
    assert share(said.get("x1")) == 100
    assert any(each.text == "accepted: it" for each in chart.iter())


def test_one_epoch_alone_has_a_place() -> None:
    chart = panel(Curve("c-relu", 1, [10.0]), epochs=(1, 1))
    assert [share(dot.get("cx")) for dot in of_class(chart, "dot")] == [50]


# --- scatter ---------------------------------------------------------------------------------------------


def test_points_stand_where_both_values_say() -> None:
    axis = Axis(0.01, 100, True)
    points = [Point(1.0, 1.0, "c-relu", False, "one"), Point(0.1, 10.0, "c-tanh", True, "two")]
    chart = tree(draw_scatter(Scatter("title", "says", points, axis, axis, "x", diagonal=True)))
    first, second = of_class(chart, "dot")
    height = 2 * float(first.get("cy", ""))
    assert (share(first.get("cx")), share(second.get("cx"))) == (50, 25)
    assert float(second.get("cy", "")) == pytest.approx(height / 4)
    assert "hollow" in second.get("class", "")
    assert re.search("two", ElementTree.tostring(second, encoding="unicode"))
