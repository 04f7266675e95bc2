"""What all charts over a training's steps share: the axis of the steps, and the marks at which problems begin."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from markupsafe import Markup

from vgharness.display.elements import element
from vgharness.report.svg.axis import Axis

_LEAST_APART: Final = 13.0  # percent: closer marks share a label
_MOST_MARKS: Final = 60


class StepMark(NamedTuple):
    """A step at which a problem begins. number: of the problem, among those that the page lists."""

    step: int
    number: int
    colour: str


def step_axis(first: int, last: int) -> Axis:
    """From the first step to the last, which a training of a single step has too."""
    return Axis(first, max(last, first + 1))


def step_ticks(x: Axis, y: float) -> Iterator[Markup]:
    """Three numbers below a chart whose plot ends at ``y``: the first step, a round one about the middle, the last."""
    first, last = int(x.low), int(x.high)
    inner = [tick for tick in x.ticks(4) if 35 < x.at(tick) < 65][:1]
    for step, anchor in ((first, "start"), *((int(tick), "middle") for tick in inner), (last, "end")):
        yield element("text", f"{step:,}", class_="tick", x=f"{x.at(step):.1f}%", y=y + 15, text_anchor=anchor)
    yield element("text", "step", class_="tick", x="50%", y=y + 30, text_anchor="middle")


def draw_marks(marks: Sequence[StepMark], x: Axis, top: float, bottom: float) -> Iterator[Markup]:
    """A line at each, and above them the problems' numbers: of such as are close the first, and a + for the others."""
    shown = sorted(marks[:_MOST_MARKS], key=lambda mark: mark.step)
    for mark in shown:
        place = f"{x.at(mark.step):.2f}%"
        yield element("line", class_=f"began {mark.colour}", x1=place, x2=place, y1=top, y2=bottom)
    for group in _close(shown, x):
        more = "+" if len(group) > 1 else ""
        at = x.at(group[0].step)
        yield element(
            "text",
            f"{group[0].number}{more}",
            class_=f"began-name {group[0].colour}",
            x=f"{at:.2f}%",
            y=top - 3,
            text_anchor="start" if at < 4 else "end" if at > 96 else "middle",
        )


def _close(marks: Iterable[StepMark], x: Axis) -> list[list[StepMark]]:
    groups: list[list[StepMark]] = []
    for mark in marks:
        if groups and x.at(mark.step) - x.at(groups[-1][0].step) < _LEAST_APART:
            groups[-1].append(mark)
        else:
            groups.append([mark])
    return groups
