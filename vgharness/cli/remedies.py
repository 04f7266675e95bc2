"""What ``vgharness check --remedies`` prints: a table of what was tried, and the code of what did best."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from rich.console import Console

from vgharness.check.batch import Batch
from vgharness.check.model_source import Factory
from vgharness.check.remedy_trials import (
    OPTIMIZERS,
    STEPS,
    Descent,
    Trial,
    best,
    mended_in_forward,
    try_remedies,
)
from vgharness.errors import UsageError
from vgharness.formatting import count, escaped, in_one_line, number, relative_change
from vgharness.gradflow.diagnosis import Problem, summary
from vgharness.report.tables import Sheet, markdown, without_formatting
from vgharness.system.terminal import console


def tried_remedies(model: str, factory: Factory, batch: Batch, seeds: int) -> tuple[Trial, ...]:
    """Tries the remedies for the model named ``model``, and says on a terminal which is under way.

    Raises :class:`~vgharness.errors.UsageError` where the unchanged model fails.
    """
    with console(stderr=True).status("trying remedies") as status:
        try:
            return try_remedies(
                factory,
                batch,
                batch.loss.function,
                seeds=seeds,
                notify=lambda name: status.update(f"trying {name}"),
            )
        except UsageError:
            raise
        except Exception as error:  # whatever a stranger's code raises
            raise UsageError(f"{model}: trying remedies raised {in_one_line(error)}") from error


def remedy_table(trials: Sequence[Trial]) -> Sheet:
    """A row for each trial: what its gradients have, the loss before, and its change with each optimizer."""
    seeds = max((len(x.before) for trial in trials for x in trial.descents.values()), default=0)
    return Sheet(
        title=f"remedies ({count(seeds, 'seed')} each), the best first",
        names=(22, 24),
        headings=("remedy", "problem", "loss", *(name.split()[0] for name in OPTIMIZERS)),
        rows=tuple(_row(trial) for trial in trials),
        styles=tuple("green" if trial.healthy else "" for trial in trials),
        notes=(
            f"loss: at the start; then its change after {STEPS} steps on one batch by {' and '.join(OPTIMIZERS)}",
            *(escaped(note) for note in _failures(trials)),
        ),
    )


def print_remedies(screen: Console, trials: Sequence[Trial]) -> None:
    """Prints the table, and the code of the remedies that did best."""
    screen.print(remedy_table(trials))
    for line in _without_best(trials):
        screen.print(line, soft_wrap=True)
    for trial in best(trials):
        screen.print(f"\n# {_in_words(trial)}", style="bold", soft_wrap=True)
        screen.print(trial.remedy.code, soft_wrap=True)


def remedies_as_markdown(trials: Sequence[Trial]) -> Iterator[str]:
    """Yields the same in lines of Markdown."""
    yield markdown([remedy_table(trials)])
    yield from _without_best(trials)
    for trial in best(trials):
        yield from ("", without_formatting(_in_words(trial)), "", "```python", trial.remedy.code, "```")


def _without_best(trials: Sequence[Trial]) -> Iterator[str]:
    """Says why there is no code, where there is none."""
    if mended_in_forward(trials[0]):
        yield "no remedy was tried: what gets no gradient is cut off, or never used, in forward"
    elif not best(trials):
        yield "no remedy did better than the unchanged model"


def _in_words(trial: Trial) -> str:
    changes = [f"{_change(x)} with {name}" for name, x in trial.descents.items()]
    outcome = summary(trial.diagnosis) if trial.diagnosis else "failed"
    return escaped(f"{trial.remedy.name}: {outcome}; loss {', '.join(changes)}")


def _row(trial: Trial) -> tuple[str, ...]:
    if trial.diagnosis is None:
        return trial.remedy.name, "failed", "", *("" for _ in OPTIMIZERS)
    problems = ", ".join(map(_problem, trial.diagnosis.problems)) or "healthy"
    return trial.remedy.name, escaped(problems), number(trial.start), *(_change(trial.descents[x]) for x in OPTIMIZERS)


def _problem(problem: Problem) -> str:
    return f"{'warning: ' if problem.severity == 'warning' else ''}{problem.kind}: {problem.layer}"


def _change(descent: Descent) -> str:
    if descent.failure:
        return "failed"
    if not all(map(math.isfinite, descent.after)):
        return "diverges"
    return relative_change(descent.change) if math.isfinite(descent.change) else "–"


def _failures(trials: Sequence[Trial]) -> Iterator[str]:
    for trial in trials:
        if trial.failure:
            yield f"{trial.remedy.name} failed: {trial.failure}"
        for name, descent in trial.descents.items():
            if descent.failure:
                yield f"{trial.remedy.name}: {name} failed: {descent.failure}"
