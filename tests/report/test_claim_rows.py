"""How claims stand on a page: their groups, their strips, and by how much they miss."""

import pytest
from factories import make_reading, make_verdict

from vgharness.records import Bounds, Verdict
from vgharness.report.claim_rows import Row, claim_values, miss

pytestmark = pytest.mark.fast


def rows(*verdicts: Verdict) -> dict[str, list[Row]]:
    return {group.heading: group.rows for group in claim_values(None, verdicts)["groups"]}


@pytest.mark.parametrize(
    ("value", "accepted", "unit", "scale", "said"),
    [
        (65.7, (71.0, 75.0), "%", "logit", "5.30 points below"),
        (80.0, (71.0, 75.0), "%", "logit", "5 points above"),
        (73.0, (71.0, 75.0), "%", "logit", ""),
        (1.0, (None, 0.5), "×", "log", "×2 above"),
        (0.1, (0.5, 2.0), "×", "log", "×5.00 below"),
        (-3.0, (0.0, None), "points", "linear", "3 points below"),
        (0.0, (0.5, 2.0), "×", "log", "0.500 × below"),  # no factor leads from nothing to something
    ],
)
def test_by_how_much_a_value_misses(
    value: float, accepted: tuple[float | None, float | None], unit: str, scale: str, said: str
) -> None:
    bounds = Bounds(low=accepted[0], high=accepted[1])
    assert miss(make_reading(value=value, accepted=bounds, unit=unit, scale=scale)) == said


def test_nothing_misses_where_nothing_is_known() -> None:
    assert miss(make_reading(value=None, accepted=Bounds(low=1.0))) == ""
    assert miss(make_reading(value=1.0)) == ""


def test_claims_are_grouped_by_subject_and_those_that_did_not_run_come_last() -> None:
    verdicts = [
        make_verdict("not run", make_reading("not run", ()), claim="gone"),
        make_verdict(claim="a"),
        make_verdict("reproduced", make_reading(quantity="signal_l2", unit="×", scale="log"), claim="b"),
        make_verdict("reproduced", make_reading(quantity="parameters", unit="", method="exact"), claim="c"),
        make_verdict("reproduced", make_reading(quantity="custom:mine", unit=""), claim="d"),
        make_verdict("reproduced", make_reading(unit="points"), claim="e"),
    ]
    found = rows(*verdicts)
    assert {heading: [row.name for row in group] for heading, group in found.items()} == {
        "Accuracy and loss": ["a", "e"],
        "Gradients": ["b"],
        "Architecture": ["c"],
        "Other values": ["d"],
    }
    assert [row.name for row in claim_values(None, verdicts)["not_run"]] == ["gone"]


def test_strips_say_what_tells_readings_of_a_claim_apart() -> None:
    first = make_reading(label="sigmoid, factor per layer, at initialisation", value=0.1)
    second = make_reading("not reproduced", label="sigmoid, factor per layer, over epoch 1", value=1.0)
    (row,) = rows(make_verdict("mixed", first, second))["Accuracy and loss"]
    assert [strip.caption for strip in row.strips] == ["at initialisation", "over epoch 1"]


def test_only_readings_that_decide_have_strips() -> None:
    same, other = (
        make_reading(value=1.5, context=True),
        make_reading(numbers=(5.0,), value=5.0, context=True, label="other"),
    )
    (row,) = rows(make_verdict("reproduced", make_reading(value=1.5), same, other))["Accuracy and loss"]
    assert [strip.caption for strip in row.strips] == ["a value"]


def test_counts_have_no_strip() -> None:
    (row,) = rows(make_verdict("reproduced", make_reading(quantity="parameters", unit="", value=1.0, method="exact")))[
        "Architecture"
    ]
    assert row.strips == []
