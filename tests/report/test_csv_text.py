"""CSV that a spreadsheet takes for no formula, and that is read back as it was."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vgharness.report.csv_text import as_csv, text_of_cell

pytestmark = pytest.mark.fast

FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", '=HYPERLINK("x")']


def read(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


@pytest.mark.parametrize("text", FORMULAS)
def test_no_text_begins_as_a_formula(text: str) -> None:
    (heading,), (cell,) = read(as_csv([text], [[text]]))
    assert cell == heading == f"'{text}"


def test_numbers_keep_their_sign_and_digits_and_nothing_is_an_empty_cell() -> None:
    assert as_csv(("a", "b", "c", "d"), [(-0.1, None, True, 1e-300)]) == "a,b,c,d\n-0.1,,True,1e-300\n"


def test_rows_may_be_by_name() -> None:
    assert as_csv(("a", "b"), [{"b": 1, "other": 2}]) == "a,b\n,1\n"


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1, max_size=3), st.floats(allow_nan=False))
def test_every_text_and_number_is_read_back(texts: list[str], number: float) -> None:
    _, (*cells, last) = read(as_csv([str(i) for i in range(len(texts) + 1)], [[*texts, number]]))
    assert [text_of_cell(cell) for cell in cells] == texts
    assert float(last) == number
