"""From readings to a verdict, and which verdicts stand after Holm's correction."""

from collections.abc import Sequence
from typing import Any

import pytest

from vgharness.claims.combination import awaits_seeds, combine, lacks_more_than_seeds, standing_after_holm
from vgharness.records import Outcome, Reading, Verdict

pytestmark = pytest.mark.fast

SHORT: dict[str, Outcome] = {
    "+": "reproduced",
    "-": "not reproduced",
    "?": "inconclusive",
    ".": "not run",
    "!": "error",
}


def readings(signs: str, ps: Sequence[float | None] = (), **fields: Any) -> list[Reading]:
    levels = ps or [0.01] * len(signs)
    return [
        Reading(label="", quantity="", expected="", outcome=SHORT[sign], reason=f"because {sign}", p=p, **fields)
        for sign, p in zip(signs, levels, strict=True)
    ]


@pytest.mark.parametrize(
    ("signs", "outcome"),
    [
        ("+", "reproduced"),
        ("++", "reproduced"),
        ("+-", "mixed"),
        ("+-?.", "mixed"),
        ("--", "not reproduced"),
        ("-?", "not reproduced"),
        ("-.", "not reproduced"),
        ("+?", "inconclusive"),
        ("?", "inconclusive"),
        ("+.", "inconclusive"),
        ("?.", "inconclusive"),
        ("..", "not run"),
        ("+!", "error"),
        ("-!", "error"),
    ],
)
def test_the_verdict_of_readings_that_decide(signs: str, outcome: str) -> None:
    for order in (signs, signs[::-1]):
        assert combine(readings(order)).outcome == outcome


@pytest.mark.parametrize(
    ("signs", "awaits"),
    [("?", True), ("+?", True), ("-?", True), ("+-?", True), ("+", False), ("+-", False), ("-", False), (".", False),
     ("?.", False), ("-.", False), ("?!", False)],
)  # fmt: skip
def test_seeds_decide_what_is_open_where_nothing_else_is_lacking(signs: str, awaits: bool) -> None:
    for order in (signs, signs[::-1]):
        assert awaits_seeds(readings(order)) is awaits
        assert bool(lacks_more_than_seeds(readings(order))) is ("." in signs or "!" in signs)


def test_seeds_do_not_decide_what_is_open_for_good() -> None:
    stuck = readings("?", open_for_good=True)
    assert not awaits_seeds([*stuck, *readings("+?")])
    assert lacks_more_than_seeds([*readings("+?"), *stuck]) == "because ?"
    assert awaits_seeds([*readings("?"), *readings("?.", context=True)]), "context does not count"
    assert awaits_seeds(readings("?.-", either="a") + readings("+")), "of alternatives one may yet hold"
    assert not awaits_seeds(readings("+?.", either="a") + readings("+")), "one holds"
    assert not awaits_seeds(readings(".-", either="a") + readings("+"))


def test_context_does_not_decide() -> None:
    assert combine([*readings("+"), *readings("-!?.", context=True)]).outcome == "reproduced"


@pytest.mark.parametrize(
    ("groups", "outcome"),
    [(("+-", "-+"), "reproduced"), (("+-", "--"), "mixed"), (("--", "-."), "not reproduced"), (("-!", "+"), "error")],
)
def test_of_alternatives_the_best_counts(groups: Sequence[str], outcome: str) -> None:
    all_of_them = [one for name, signs in enumerate(groups) for one in readings(signs, either=f"way {name}")]
    assert combine(all_of_them).outcome == outcome


def test_what_is_open_or_missing_is_said_beside_what_holds() -> None:
    assert combine(readings("++.")).reason == "2 of 3 readings hold; 1 not run: because ."
    assert combine(readings("+?.")).reason == "1 of 3 readings hold; because ?; 1 not run: because ."
    assert combine(readings("+-")).reason == "1 of 2 readings hold"


def test_a_claims_level_is_that_of_what_has_to_be_true_of_its_readings() -> None:
    assert combine(readings("++", (0.01, 0.04))).p == 0.04, "all must hold"
    assert combine(readings("--", (0.01, 0.04))).p == pytest.approx(0.02), "one is enough, and two were tried"
    assert combine(readings("+-", (0.001, 0.01))).p == pytest.approx(0.02)
    assert combine(readings("+?")).p is None


def verdict(claim: str, outcome: Outcome, p: float | None) -> Verdict:
    return Verdict(claim=claim, sentence="It is so.", outcome=outcome, readings=tuple(readings("+")), p=p)


def test_holms_correction_by_hand() -> None:
    ps = {"a": 0.001, "b": 0.012, "c": 0.03, "d": 0.04}
    found = standing_after_holm(verdict(claim, "reproduced", p) for claim, p in ps.items())
    assert found == {
        ("a", ""),
        ("b", ""),
    }  # 4 × 0.001 and 3 × 0.012 are under 0.05; 2 × 0.03 is not, so d is not either


def test_what_stayed_open_counts_in_the_number_and_what_did_not_run_does_not() -> None:
    decided, still = verdict("a", "not reproduced", 0.02), [verdict(x, "inconclusive", None) for x in "bc"]
    assert standing_after_holm([decided]) == {("a", "")}
    assert standing_after_holm([decided, *still]) == frozenset()
    assert standing_after_holm([decided, verdict("d", "not run", None)]) == {("a", "")}
