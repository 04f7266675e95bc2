"""What a training's page shows of each model: its problems over the steps, its layers' gradients, and lines."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Final, NamedTuple

from markupsafe import Markup

from vgharness.formatting import count, escaped, shorten
from vgharness.records import Birth, TrainingLog, TrainingProblem
from vgharness.report.study.charts import Table
from vgharness.report.svg.axis import Axis
from vgharness.report.svg.steps import StepMark, step_axis
from vgharness.report.svg.timeline import Span, Timeline, draw
from vgharness.report.training.answer import LONGEST_NAME, birth_in_words, in_words, spanned
from vgharness.report.training.charts import ChartPart, chart_parts
from vgharness.report.training.heat import HeatPart, heat_part
from vgharness.report.training.series import ModelSeries

MOST_MODELS: Final = 12  # shown in full
_MOST_NOTICES: Final = 6  # problems with what was measured and what helps
_MOST_SPANS: Final = 40
_MOST_LISTED: Final = 200
_LONGEST_TEXT: Final = 600
# Rows and columns of the maps of all models together.
_ROWS, _COLUMNS = 240, 640
_SIGNS: Final = {"problem": "✗", "warning": "!"}
_CLASSES: Final = {"problem": "not-reproduced", "warning": "mixed", "": "reproduced"}


class Notice(NamedTuple):
    """A problem in full.

    number: as at its marks.
    command: of the first value that was not finite, what shows it again; empty: nothing was kept.
    """

    number: int
    severity: str
    title: str
    evidence: str
    advice: str
    command: str = ""


class Model(NamedTuple):
    """One model's part of the page.

    name: empty where it is the only one, and has none.
    sign, colour, brief: what was found, for a tile.
    facts: its class, parameters and steps, in words.
    left_out: how many problems are only counted.
    """

    anchor: str
    name: str
    sign: str
    colour: str
    brief: str
    facts: str
    notices: tuple[Notice, ...]
    timeline: Markup | None
    problems: Table | None
    left_out: int
    heat: HeatPart | None
    charts: tuple[ChartPart, ...]


def models_of(log: TrainingLog) -> tuple[Model, ...]:
    """Of as many models as a page has room for; the more there are, the coarser they are drawn."""
    shown = log.models[:MOST_MODELS]
    most = (min(60, max(12, _ROWS // len(shown))), min(160, max(40, _COLUMNS // len(shown))))
    return tuple(_model(log, place, most) for place in range(len(shown)))


def _model(log: TrainingLog, place: int, most: tuple[int, int]) -> Model:
    model = log.models[place]
    series = ModelSeries(log, model.name)
    name = shorten(escaped(model.name), LONGEST_NAME)
    problems = _numbered(series.problems)
    ends = [*series.steps, series.last, *(x.ended or x.began for x in series.problems)]
    x = step_axis(series.first, max(ends))
    marks = [StepMark(each.began, number, f"c-{each.severity}") for number, each in problems]
    of = f"{name}: " if name else ""
    birth = next((birth for birth in log.births if birth.model in ("", model.name)), None)
    born = next((number for number, each in problems if birth and each.kind == "nonfinite"), None)
    sign, colour, brief = _found(series.problems)
    return Model(
        anchor=f"model-{place + 1}",
        name=name,
        sign=sign,
        colour=colour,
        brief=brief,
        facts=f"{shorten(model.architecture, LONGEST_NAME)}, {count(model.parameters, 'parameter')}, "
        f"{count(max(model.steps, series.last - series.first + 1), 'step')}, {count(len(series.steps), 'snapshot')}",
        notices=tuple(
            _born(*each, birth) if birth is not None and each[0] == born else _notice(*each)
            for each in problems
            if each[0] <= _MOST_NOTICES or each[0] == born
        ),
        timeline=_timeline(problems, x, of) if problems else None,
        problems=_table(problems, of) if problems else None,
        left_out=max(len(problems) - _MOST_LISTED, 0),
        heat=heat_part(series, x, marks, of, most),
        charts=chart_parts(series, x, marks, of, most[1]),
    )


def _found(problems: Sequence[TrainingProblem]) -> tuple[str, str, str]:
    """The sign, colour and words of a tile."""
    many = {word: sum(each.severity == word for each in problems) for word in _SIGNS}
    brief = ", ".join(count(each, word) for word, each in many.items() if each) or "no problem"
    worst = next((word for word, each in many.items() if each), "")
    return _SIGNS.get(worst, "✓"), _CLASSES[worst], brief


def _numbered(problems: Sequence[TrainingProblem]) -> list[tuple[int, TrainingProblem]]:
    """The most serious first, then in the order in which they began; numbered so, as wherever they are shown."""
    ordered = sorted(problems, key=lambda problem: (problem.severity != "problem", problem.began))
    return list(enumerate(ordered, 1))


def _born(number: int, problem: TrainingProblem, birth: Birth) -> Notice:
    later = f", noticed at step {birth.noticed:,}" if birth.noticed != birth.step else ""
    words = birth_in_words(birth)
    return Notice(
        number=number,
        severity=problem.severity,
        title=words[:1].upper() + words[1:],
        evidence=f"step {birth.step:,}, batch {birth.batch:,}{later}; {shorten(problem.evidence, _LONGEST_TEXT)}",
        advice=shorten(problem.advice, _LONGEST_TEXT),
        command=f"vgharness reproduce {shlex.quote(birth.reproducer)}" if birth.reproducer else "",
    )


def _notice(number: int, problem: TrainingProblem) -> Notice:
    return Notice(
        number=number,
        severity=problem.severity,
        title=f"{in_words(problem)} {spanned(problem)}",
        evidence=shorten(problem.evidence, _LONGEST_TEXT),
        advice=shorten(problem.advice, _LONGEST_TEXT),
    )


def _timeline(problems: Sequence[tuple[int, TrainingProblem]], x: Axis, of: str) -> Markup:
    shown = problems[:_MOST_SPANS]
    spans = [
        Span(
            text=f"{number} {_SIGNS[each.severity]} {in_words(each)}",
            began=each.began,
            ended=each.ended,
            colour=f"c-{each.severity}",
            says=f"{in_words(each)} {spanned(each)}",
        )
        for number, each in shown
    ]
    title = f"{of}when problems began and ended"
    return draw(Timeline(title, f"{count(len(shown), 'problem')} over the steps", spans, x))


def _table(problems: Sequence[tuple[int, TrainingProblem]], of: str) -> Table:
    headings = ("problem", "kind", "layer", "began", "ended", "times", "what was measured", "what usually helps")
    rows = tuple(
        (
            f"{number} {_SIGNS[each.severity]} {each.severity}",
            each.kind,
            shorten(each.layer, LONGEST_NAME) or "the model",
            f"{each.began:,}",
            "goes on" if each.ended is None else f"{each.ended:,}",
            str(each.times),
            shorten(each.evidence, _LONGEST_TEXT),
            shorten(each.advice, _LONGEST_TEXT),
        )
        for number, each in problems[:_MOST_LISTED]
    )
    return Table(f"{of}Problems and warnings, with the steps at which they began and ended", headings, rows)
