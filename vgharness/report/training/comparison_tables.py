"""Two trainings side by side for a terminal, for Markdown and for programs; and what of it fails."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, Literal

from vgharness.errors import UsageError
from vgharness.formatting import count, escaped, number, relative_change
from vgharness.gradflow.summary import FACTOR_HEADING
from vgharness.records import Name, Record, TrainingLog
from vgharness.report.tables import Sheet
from vgharness.report.training.comparison import (
    FACTOR,
    LOSS,
    TOTAL_NORM,
    WHOLE,
    ComparedProblem,
    ComparedValue,
    TrainingPair,
)
from vgharness.report.training.series import UPDATE
from vgharness.report.verdict_json import JudgedRun, judged_record

RULE: Final = "problems"
FINAL_LOSS: Final = "final loss"
_NOTABLE: Final = 0.2  # a change by less is of no layer worth a row among many
_FEW: Final = 12  # layers that are all shown
_NAME_WIDTH: Final = 26
_WORDS: Final = {
    FACTOR: FACTOR_HEADING,
    UPDATE: "update ratio",
    TOTAL_NORM: "total norm",
    LOSS: "loss",
    FINAL_LOSS: "final loss",
}
_MOVED: Final = ("new", "worse", "gone", "not reached", "earlier", "later")


class ComparedTrainings(Record):
    """What ``vgharness compare A B --json`` prints of two training logs.

    schema_version: of this format.
    before: the earlier training.
    after: the later one.
    problems: of both, with what became of each.
    values: at the same steps, over all of those, and at the end of each.
    notes: what could not be compared.
    failures: what fails by the rules that were given, a line each.
    """

    schema_version: Literal[1] = 1
    before: JudgedRun
    after: JudgedRun
    problems: tuple[ComparedProblem, ...]
    values: tuple[ComparedValue, ...]
    notes: tuple[Name, ...]
    failures: tuple[Name, ...]


def check_rules(texts: Sequence[str]) -> bool:
    """Whether new problems are to fail. Raises :class:`~vgharness.errors.UsageError` for a rule that is another's."""
    for text in texts:
        if text != RULE:
            raise UsageError(f"--fail {escaped(text)}: of two trainings give {RULE}")
    return bool(texts)


def as_json(found: TrainingPair, files: tuple[str, str], *, fail: bool) -> ComparedTrainings:
    """Everything that was compared; ``files``: the logs' names."""
    return ComparedTrainings(
        before=judged_record(files[0], found.before),
        after=judged_record(files[1], found.after),
        problems=found.problems,
        values=found.values,
        notes=found.notes,
        failures=tuple(map(_in_words, found.failures)) if fail else (),
    )


def comparison_rows(found: TrainingPair) -> tuple[tuple[str, ...], list[dict[str, Any]]]:
    """The columns and a row for each value, then one for each problem, whose steps are its values."""
    columns = ("model", "layer", "quantity", "at", "step_before", "step_after", "before", "after", "change")
    rows = [{**dict(value), "change": value.change} for value in found.values]
    of_problems = [
        {
            "model": problem.model,
            "layer": problem.layer,
            "quantity": f"{problem.severity}: {problem.kind}",
            "at": problem.presence,
            "step_before": problem.before,
            "step_after": problem.after,
        }
        for problem in found.problems
    ]
    return columns, [*rows, *of_problems]


def comparison_sheets(found: TrainingPair, *, fail: bool) -> tuple[Sheet, ...]:
    """A sheet of the problems where there are any, one of the values, and a last one with what it comes to."""
    sheets = [_problem_sheet(found)] if found.problems else []
    sheets += [_value_sheet(found)] if found.values else []
    return (*sheets, _conclusion(found, fail=fail))


def headline(found: TrainingPair) -> str:
    """``1 new problem, 2 gone; the final loss is 1.02, was 1.35``; ``No problem in both``."""
    counts = {presence: sum(each.presence == presence for each in found.problems) for presence in _MOVED}
    said = [f"{many} {presence}" for presence, many in counts.items() if many]
    same = sum(each.presence == "as before" for each in found.problems)
    said += [f"{same} as before"] if same else []
    problems = f"problems: {', '.join(said)}" if said else "no problem in either"
    losses = [f"the final loss is {number(x.after)}, was {number(x.before)}" for x in found.values if x.at == "end"]
    return "; ".join([problems, *losses[:1]])


def _problem_sheet(found: TrainingPair) -> Sheet:
    several = len(found.after.models) > 1
    rows = tuple(
        (
            escaped(each.layer or "the model") + (f" ({escaped(each.model)})" if several and each.model else ""),
            f"{each.severity}: {each.kind}",
            _span(each.before, each.ended_before),
            _span(each.after, each.ended_after),
            each.presence,
        )
        for each in found.problems
    )
    styles = tuple("bold red" if each.fails else "yellow" if each.presence in _MOVED else "" for each in found.problems)
    headings = ("layer", "what", "steps before", "steps after", "")
    return Sheet("problems", (_NAME_WIDTH, _NAME_WIDTH), headings, rows, styles, wrapped=True)


def _span(began: int | None, ended: int | None) -> str:
    return "–" if began is None else f"{began:,} on" if ended is None else f"{began:,} to {ended:,}"


def _value_sheet(found: TrainingPair) -> Sheet:
    """A row for each quantity and layer; of many layers only for those that changed. A loss at the end is one more."""
    groups: dict[tuple[str, str, str], dict[str, ComparedValue]] = {}
    for value in found.values:
        quantity = FINAL_LOSS if value.at == "end" else value.quantity
        groups.setdefault((value.model, quantity, value.layer), {})[value.at] = value
    several = len(found.after.models) > 1
    many_layers = sum(layer != WHOLE for _, _, layer in groups) > _FEW
    rows, styles, left_out = [], [], 0
    for (model, quantity, layer), own in groups.items():
        notable = any(map(_is_notable, own.values()))
        if many_layers and layer != WHOLE and not notable:
            left_out += 1
            continue
        where = "" if layer == WHOLE else f" of {escaped(layer)}"
        name = f"{escaped(model)}: " if several and model else ""
        cells = (own.get("first"), own.get("last", own.get("end")), own.get("whole"))
        rows.append((f"{name}{_WORDS[quantity]}{where}", *map(_cell, cells)))
        styles.append("yellow" if notable else "")
    steps = [value for value in found.values if value.at in ("first", "last")]
    ends = f" at steps {steps[0].step_before:,} and {steps[-1].step_before:,}, and as means," if steps else ""
    notes = [f"{count(left_out, 'layer')} not shown, changed by less than 20 %"] if left_out else []
    return Sheet(
        title=f"values{ends} before → after",
        names=(_NAME_WIDTH,),
        headings=("", "first", "last", "mean"),
        rows=tuple(rows),
        styles=tuple(styles),
        notes=tuple(notes),
        wrapped=True,
    )


def _is_notable(value: ComparedValue) -> bool:
    if value.change is None:
        return value.before != value.after
    return abs(value.change) >= _NOTABLE


def _cell(value: ComparedValue | None) -> str:
    return "" if value is None else f"{number(value.before)} → {number(value.after)}"


def _conclusion(found: TrainingPair, *, fail: bool) -> Sheet:
    return Sheet(title=headline(found), notes=tuple(map(escaped, _notes(found, fail=fail))))


def _notes(found: TrainingPair, *, fail: bool) -> Iterator[str]:
    for problem in found.failures if fail else ():
        yield f"FAIL {_in_words(problem)}"
    yield from found.notes
    changes = [value for value in found.values if value.at == "whole" and _is_notable(value)]
    if changes:
        most = max(changes, key=lambda value: abs(value.change or 0))
        of = "" if most.layer == WHOLE else f" of {most.layer}"
        changed = f" ({relative_change(most.change)})" if most.change is not None else ""
        many = count(len(changes), "value")
        yield f"{many} changed by 20 % or more over the whole, most the {_WORDS[most.quantity]}{of}{changed}"
    if reasons := list(_unfinished(found.before, found.after)):
        yield "; ".join(reasons)


def _unfinished(before: TrainingLog, after: TrainingLog) -> Iterator[str]:
    for when, log in (("before", before), ("after", after)):
        if log.status != "finished":
            last = max(log.last_step(model.name) for model in log.models)
            yield f"{when}: {log.status} at step {last:,}"


def _in_words(problem: ComparedProblem) -> str:
    where = problem.layer or "the model"
    of = f" of {problem.model}" if problem.model else ""
    return f"{problem.presence}: {problem.kind}, {where}{of}, step {problem.after:,}"
