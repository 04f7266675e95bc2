"""What was tried on copies of a model, as a page shows it: a row for each remedy, and the code of what did better."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from vgharness.formatting import count, number, relative_change
from vgharness.records import DescentRecord, RemedyRecord, nan_if_none
from vgharness.report.study.charts import Table
from vgharness.statistics import summarise

_MOST_SHOWN: Final = 2  # remedies with their code


class RemedyPart(NamedTuple):
    """table: a row for each trial. best: those whose code is shown, as the terminal does."""

    table: Table
    best: tuple[RemedyRecord, ...]


def remedy_part(remedies: Sequence[RemedyRecord]) -> RemedyPart | None:
    """``remedies`` as the page shows them, the best first; None: none was tried."""
    if not remedies:
        return None
    names = list(dict.fromkeys(loss.optimizer for each in remedies for loss in each.losses))
    seeds = max((len(loss.before) for each in remedies for loss in each.losses), default=0)
    steps = max((loss.steps for each in remedies for loss in each.losses), default=0)
    caption = (
        f"Remedies tried on copies, {count(seeds, 'seed')} each: the unchanged model, then the best first; the "
        f"loss at the start, then its change after {count(steps, 'step')} on one batch"
    )
    rows = tuple(
        (
            each.remedy,
            each.diagnosis or f"failed: {each.failure}",
            _start(each),
            *(_change(each, name) for name in names),
        )
        for each in remedies
    )
    better = [each for each in remedies if each.better]
    best = tuple(each for each in better if each.healthy == better[0].healthy)[:_MOST_SHOWN]
    return RemedyPart(Table(caption, ("remedy", "gradients", "loss", *names), rows), best)


def _start(remedy: RemedyRecord) -> str:
    before = next((loss.before for loss in remedy.losses if loss.before), ())
    return number(summarise([nan_if_none(value) for value in before], "log").value) if before else "–"


def _change(remedy: RemedyRecord, optimizer: str) -> str:
    loss: DescentRecord | None = next((x for x in remedy.losses if x.optimizer == optimizer), None)
    if loss is None:
        return ""
    if loss.failure:
        return f"failed: {loss.failure}"
    return "diverges" if None in loss.after else relative_change(loss.change)
