"""What ``vgharness bench watch`` and ``vgharness bench trainings`` found, as tables and lines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich import box
from rich.console import Console
from rich.table import Table

from vgharness.cli.bench_tables import new_table, print_machine, ratio_text
from vgharness.formatting import count, duration, escaped, listing, number, percent

if TYPE_CHECKING:
    from vgharness.benchmarks.trainings.judging import JudgedTraining, JudgedTrainings
    from vgharness.benchmarks.watch_overhead import WatchCosts

_NONE: Final = "–"


def print_watch_costs(screen: Console, found: WatchCosts) -> None:
    """Prints what watching costs a step of each network, and which goals are missed."""
    from vgharness.benchmarks.watch_overhead import EVERY, MOST

    print_machine(screen, found.machine)
    table = new_table("time of a watched training step", "network", "without", *(f"every {every}" for every in EVERY))
    for cost in found.costs:
        ratios = (ratio_text(cost.ratios[every]) for every in EVERY)
        table.add_row(cost.network, f"{number(1000 * cost.step_seconds)} ms", *ratios)
    screen.print(table)
    screen.print("Ratios to the step without: median and quartiles over rounds of 100 steps.", soft_wrap=True)
    for cost in found.costs:
        screen.print(
            f"{cost.network}: {cost.memory / 2**20:,.0f} MiB in use at most without a watch, "
            f"{cost.watched_memory / 2**20:,.0f} MiB with a snapshot at every step",
            soft_wrap=True,
        )
    for every, most in MOST.items():
        missed = [cost.network for cost in found.costs if not cost.within(every)]
        what = f"missed by {listing(missed)}" if missed else "reached"
        screen.print(f"goal: every {every} at most {most:.2f}: {what}", soft_wrap=True)


def print_trainings(screen: Console, found: JudgedTrainings) -> None:
    """Prints what was said of each training, and lines that count it."""
    from vgharness.benchmarks.trainings.judging import rates, share_interval

    print_machine(screen, found.machine)
    table = Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        title=f"trainings, a snapshot every {found.every} steps",
        title_justify="left",
    )
    for heading in ("training", "expected", "first report", "outcome"):
        table.add_column(heading, overflow="fold")
    table.add_column("warnings", justify="right")
    for judged in found.trainings:
        table.add_row(
            escaped(judged.training),
            escaped(judged.expected or "healthy"),
            _first(judged),
            judged.outcome,
            str(judged.warnings),
        )
    screen.print(table)
    for judged in found.trainings:
        if judged.outcome not in ("right", "quiet"):
            told = judged.error or (judged.first.evidence if judged.first else "nothing was said")
            screen.print(f"{escaped(judged.training)}: {judged.outcome}: {escaped(told)}", soft_wrap=True)
    rate = rates(found.trainings)
    shares = [(rate.right, rate.wrong, "first reports are right"), (rate.alarms, rate.healthy, "false alarms")]
    for part, whole, what in shares:
        if whole:
            low, high = share_interval(part, whole)
            screen.print(
                f"{what}: {part} of {whole}, {percent(part / whole)} (95 %: {percent(low)} to {percent(high)})",
                soft_wrap=True,
            )
    births = [x.birth_right for x in found.trainings if x.birth_right is not None]
    screen.print(
        f"a problem was told in {rate.seen} of {rate.wrong}; "
        f"warnings in {rate.warned} of {count(rate.healthy, 'healthy training')}; "
        f"the birth of NaN is right in {births.count(True)} of {len(births)}; "
        f"{duration(sum(x.seconds for x in found.trainings))}",
        soft_wrap=True,
    )


def _first(judged: JudgedTraining) -> str:
    if judged.first is None:
        return _NONE
    told = judged.first
    severity = "" if told.severity == "problem" else " (warning)"
    return escaped(f"{told.text}{severity}, told at {told.told}")
