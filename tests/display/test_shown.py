"""What a notebook shows: everything from outside is text in it, nothing needs colours, scripts or the network."""

import re
from html.parser import HTMLParser

import pytest

from vgharness.display.html import Column, HtmlTable, html_of
from vgharness.display.shown import Shown
from vgharness.display.text import chart, ends

pytestmark = pytest.mark.fast

EVIL = "<script>alert(1)</script>&\n\x1b[2J"


class _Parser(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_all_text_in_a_table_is_escaped_and_it_has_no_script_and_no_colour() -> None:
    table = HtmlTable(EVIL, [Column(EVIL, [EVIL], "text"), Column("n", [None]), Column("", [2.0], "bar")], [EVIL])
    found = html_of(HtmlTable("outer", (), (), [table]))
    parser = _Parser()
    parser.feed(found)
    assert parser.open == []
    assert parser.seen == {"div", "p", "strong", "table", "thead", "tbody", "tr", "th", "td", "span"}
    assert "\x1b" not in found
    assert found.count("&lt;script&gt;") == 4
    assert re.search(r"color|background|http|class=", found) is None


def test_of_many_rows_the_first_and_the_last_are_shown_and_the_rest_is_counted() -> None:
    found = html_of(HtmlTable("", [Column("row", [f"r{i}" for i in range(1000)], "text")]))
    assert all(f">r{i}<" in found for i in (0, 99, 900, 999))
    assert ">r100<" not in found
    assert "… 800 more" in found
    assert [*ends(5, 5)[0]] == [0, 1, 2, 3, 4]


def test_a_bar_is_of_letters_and_empty_where_there_is_no_value() -> None:
    found = html_of(HtmlTable("", [Column("x", ["a", "b", "c"], "text"), Column("", [1.0, 1e-6, None], "bar")]))
    assert re.findall(r'aria-hidden="true">([^<]*)<|aria-hidden="true"/>', found) == ["█" * 12, "█" + "░" * 11, ""]


def test_a_chart_names_layers_marks_and_cuts() -> None:
    lines = chart({f"l{i}": 10.0**-i for i in range(100)}, {"l0": 0.1}, marked={"l1"}, most=4)
    assert [line.split()[0] for line in lines] == ["layer", "l0", ">", "…", "l98", "l99"]
    assert lines[3] == "  … 96 more"


class _Words(Shown[str]):
    def _items(self) -> list[str]:
        return ["one", "two"]

    def _called(self, row: str) -> str:
        return row

    def _line(self) -> str:
        return EVIL


def test_rows_are_iterated_counted_and_asked_for() -> None:
    words = _Words()
    assert (list(words), len(words), words[-1], words["one"], list(words[:1])) == (
        ["one", "two"],
        2,
        "two",
        "one",
        ["one"],
    )
    assert "two" in words
    assert "three" not in words
    assert repr(words) == r"<_Words: <script>alert(1)</script>&\n\x1b[2J>"
    with pytest.raises(KeyError, match="no row 'three': there is one, two"):
        words["three"]
