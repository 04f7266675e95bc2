"""Verdicts and readings in words, and the terminal's table of them."""

from io import StringIO

import pytest
from factories import make_reading, make_verdict
from rich.console import Console

from vgharness.records import Bounds, Outcome, SeedValue, Verdict, tally_line
from vgharness.report import verdict_table
from vgharness.report.verdict_table import (
    expected,
    in_lines,
    interval,
    leading,
    marked,
    measured,
    reading_line,
    remarks,
    seed_value,
    standing_line,
    verdict_tables,
)

pytestmark = pytest.mark.fast


def printed(*verdicts: Verdict, width: int = 100) -> str:
    console = Console(file=StringIO(), width=width)
    console.print(*verdict_tables(verdicts))
    text = console.file.getvalue()
    assert max(map(len, text.splitlines())) <= width
    return text


# --- a reading -------------------------------------------------------------------------------------------


def test_a_value_has_its_interval_unit_and_number_of_seeds() -> None:
    reading = make_reading(value=52.9, low=51.8, high=54.0)
    assert (measured(reading), interval(reading)) == ("52.9 %", "95 % in 51.8 to 54, 2 seeds")


@pytest.mark.parametrize(
    ("ends", "value", "where"),
    [
        ({"low": 6.0}, "≥ 7 ×", "95 % above 6, 2 seeds"),
        ({"high": 6.0}, "≤ 7 ×", "95 % below 6, 2 seeds"),
        ({}, "7 ×", "2 seeds"),
        ({"low": 7.0, "high": 7.0, "method": "exact"}, "7 ×", "exact, 2 seeds"),
    ],
)
def test_an_interval_with_one_end_is_a_bound(ends: dict[str, object], value: str, where: str) -> None:
    reading = make_reading(unit="×", value=7.0, **ends)
    assert (measured(reading), interval(reading)) == (value, where)


def test_a_network_that_diverged_has_no_number() -> None:
    reading = make_reading("inconclusive", [1.0, None], value=None)
    assert (measured(reading), seed_value(reading.values[1])) == ("not finite", "43: diverged")


@pytest.mark.parametrize(
    ("bounds", "text"),
    [
        (None, "42: 7"),
        (Bounds(low=6, high=7), "42: 6 to 7"),
        (Bounds(low=20), "42: ≥ 20"),
        (Bounds(high=1), "42: ≤ 1"),
        (Bounds(), "42: not known"),
    ],
)
def test_a_seed_shows_between_what_its_value_lies(bounds: Bounds | None, text: str) -> None:
    assert seed_value(SeedValue(seed=42, value=7, bounds=bounds)) == text


def test_what_is_expected_has_a_unit_where_it_is_a_number() -> None:
    assert expected(make_reading(expected="45 ± 3")) == "45 ± 3 %"
    assert expected(make_reading(expected="no further than one of them is", unit="points")) == (
        "no further than one of them is"
    )


def test_a_printed_number_has_two_answers_of_which_one_may_be_no() -> None:
    further = {"further_low": 2.1, "further_high": 38.4}
    reading = make_reading("inconclusive", printed=(38.0,), mean_is_printed="no", could_be_one_run=True, **further)
    assert remarks(reading) == [
        "is our mean 38? no",
        "could 38 be one run of ours? yes (95 % of runs in 2.10 to 38.4 %)",
    ]


def test_a_printed_count_has_no_second_answer() -> None:
    reading = make_reading(printed=(261322.0,), method="exact", low=261322.0, high=261322.0, mean_is_printed="yes")
    assert remarks(reading) == []


def test_a_printed_range_is_named_with_both_ends() -> None:
    reading = make_reading(printed=(72.0, 74.0), mean_is_printed="yes", could_be_one_run=False, further_low=75.0)
    assert remarks(reading) == [
        "is our mean 72 to 74? yes",
        "could 72 to 74 be one run of ours? no (95 % of runs above 75 %)",
    ]


def test_a_published_curve_is_held_against_our_seeds_own() -> None:
    reading = make_reading(unit="points", value=9.0, low=1.0, high=3.0, could_be_one_run=False, further_high=4.0)
    assert (measured(reading), interval(reading)) == ("9 points", "our seeds' own: 95 % in 1 to 3, 2 seeds")
    assert remarks(reading) == ["could it be one run of ours? no (95 % of runs below 4 points)"]


def test_all_that_is_said_of_a_reading_stands_in_its_line() -> None:
    reading = make_reading("inconclusive", reason="it straddles 1", numerical_error=0.2, value=1.5)
    assert reading_line(reading) == (
        "? a value: 1.50 %, 2 seeds; expected ≥ 1 %; it straddles 1; numerical error up to 20 %"
    )
    assert reading_line(make_reading("not run", (), reason="needs x")) == "– a value: expected ≥ 1 %; needs x"


# --- a verdict -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        ((), [("so it is so", True)]),
        (("it is",), [("so ", False), ("it is", True), (" so", False)]),
        (("so",), [("so", True), (" it is so", False)]),  # the first of two
        (("so it", "it is"), [("so it is", True), (" so", False)]),  # they overlap
        (("missing",), [("so it is so", False)]),
    ],
)
def test_the_judged_words_are_marked(words: tuple[str, ...], parts: list[tuple[str, bool]]) -> None:
    assert marked("so it is so", words) == parts


def test_the_reading_that_came_out_as_the_claim_did_stands_for_it() -> None:
    none, good, bad = make_reading("not run", ()), make_reading(label="good"), make_reading("not reproduced")
    aside = make_reading("inconclusive", context=True)
    assert leading(make_verdict("not reproduced", aside, none, good, bad)) == bad
    assert leading(make_verdict("inconclusive", aside, none, good)) == good
    assert leading(make_verdict("not run", none)) == none


def test_a_verdict_as_text_has_the_sentence_the_outcome_and_every_reading() -> None:
    verdict = make_verdict(
        "mixed",
        make_reading(label="early"),
        make_reading("not reproduced", label="late"),
        make_reading(label="elsewhere", context=True),
        words=("It is so",),
        reason="only early",
    )
    lines = in_lines(verdict).splitlines()
    assert lines[:2] == ["«It is so», and more.", "mixed: only early"]
    assert [line.split(":")[0] for line in lines[2:]] == ["  ✓ early", "  ✗ late", "  beside it"]


def test_no_name_from_outside_is_obeyed() -> None:
    nasty = "\x1b]0;x\x07[red]y[/red]\n"
    reading = make_reading("inconclusive", label=nasty, reason=nasty, expected=nasty, unit=nasty)
    verdict = make_verdict("inconclusive", reading, sentence=nasty, variant=nasty, words=("y",), reason=nasty)
    for text in (in_lines(verdict), printed(verdict)):
        assert "\x1b" not in text
        assert "[red]" in text


# --- all of them -----------------------------------------------------------------------------------------


def test_the_tally_and_what_stands_when_all_are_taken_together(monkeypatch: pytest.MonkeyPatch) -> None:
    outcomes: list[Outcome] = ["reproduced", "not reproduced", "mixed", "inconclusive", "not run", "error"]
    verdicts = [make_verdict(outcome, claim=outcome.replace(" ", "-")) for outcome in outcomes]
    stands = {("reproduced", "script"), ("mixed", "script")}
    monkeypatch.setattr(verdict_table, "standing_after_holm", lambda verdicts: stands)
    assert tally_line(verdicts) == "1 reproduced, 1 mixed, 1 not reproduced, 1 inconclusive, 1 not run, 1 error"
    assert standing_line(verdicts) == (
        "of 3 that were decided, 2 stand after Holm's correction over the 4 claims that ran"
    )
    assert standing_line(verdicts[:1]) == (
        "of 1 that was decided, 1 stands after Holm's correction over the 1 claim that ran"
    )
    assert standing_line(verdicts[3:]) == ""


def test_the_table_shows_sentence_readings_and_reasons() -> None:
    straddles = make_reading("inconclusive", reason="it straddles", value=1.5)
    aside = make_reading(label="its plot", context=True)
    text = printed(
        make_verdict(words=("It is so",)),
        make_verdict("inconclusive", straddles, aside, claim="who-knows", reason="all of it open"),
        make_verdict("not run", make_reading("not run", ()), claim="later", reason="needs 20 epochs"),
        make_verdict(claim="elsewhere", variant="readme"),
    )
    for part in (
        "✓ reproduced", "«It is so», and more.", "? a value: 1.50 %", "it straddles", "all of it open",
        "beside it: ✓ its plot", "needs 20 epochs",
    ):  # fmt: skip
        assert part in text, part
    assert text.index("script") < text.index("who-knows") < text.index("readme") < text.index("elsewhere")


def test_of_many_readings_those_that_came_out_as_the_claim_did_are_shown_and_the_rest_counted() -> None:
    many = [make_reading("inconclusive", label=f"open {i}") for i in range(3)]
    gone = make_reading("not run", (), label="gone")
    bad = [make_reading("not reproduced", label=f"bad {i}") for i in range(3)]
    text = printed(make_verdict("not reproduced", *many, gone, *bad))
    assert [name for name in ("open 0", "open 1", "gone", "bad 0", "bad 2") if name in text] == [
        "open 0", "bad 0", "bad 2"
    ]  # fmt: skip
    assert "and 3 readings more: 2 inconclusive, 1 not run" in text


def test_of_a_mixed_claim_every_reading_is_named() -> None:
    many = [make_reading("not reproduced", label=f"no {i}", value=0.5) for i in range(6)]
    text = printed(make_verdict("mixed", *many, make_reading(label="yes"), make_reading("not run", (), label="gone")))
    for line in ("✓ yes: not finite", "✗ no 5: 0.500 %", "– gone: not run"):
        assert line in text, line


def test_the_table_fits_narrow_terminals() -> None:
    long = make_verdict(claim="a-very-long-name-of-a-claim-that-somebody-has-thought-of", sentence="word " * 60)
    for width in (60, 80, 100):
        assert "a-very-long-name" in printed(long, width=width)
