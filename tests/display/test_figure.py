"""Figures in a notebook: shown by themselves or on given axes, names as they are."""

import pytest
from matplotlib.figure import Figure

from vgharness.display.figure import Line, axes_for, draw_line, finish, name_rows

pytestmark = pytest.mark.fast


def test_a_figure_is_shown_by_itself_and_names_are_no_formulas() -> None:
    figure, ax = axes_for(None)
    draw_line(ax, Line("a $x$", [1.0, 0.0], [[1.0, 0.0], [1.0, 0.0]], {1: "0"}))
    draw_line(ax, Line("b", [1.0, 2.0]))
    name_rows(ax, ["$\\bad{$", "x\ny"])
    finish(ax, "$\\worse{$", "y")
    assert figure._repr_png_().startswith(b"\x89PNG")  # type: ignore[attr-defined]
    assert [text.get_text() for text in ax.get_xticklabels()] == ["$\\bad{$", "x\\ny"]
    assert [line.get_marker() for line in ax.lines if line.get_linewidth() == 2] == ["o", "s"]
    assert ax.texts[0].get_text() == "0"


def test_given_axes_are_drawn_on() -> None:
    own = Figure().add_subplot()
    assert axes_for(own) == (own.figure, own)
