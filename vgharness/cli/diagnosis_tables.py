"""How right diagnosis, comparisons and verdicts are, as ``vgharness bench trainability``, ``zoo``, ``gates`` and
``verdicts`` found it, as tables and lines."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from rich.console import Console

from vgharness.cli.bench_tables import new_table, print_machine
from vgharness.formatting import count, duration, escaped, listing, number, percent

if TYPE_CHECKING:
    from vgharness.benchmarks.gates import Gate, Gates
    from vgharness.benchmarks.rounds import RoundsRates
    from vgharness.benchmarks.trainability import Optimizers, Separation, Trainability
    from vgharness.benchmarks.verdicts import Verdicts
    from vgharness.benchmarks.zoo import Zoo

_NONE: Final = "–"
_DOES_NOT_TRAIN: Final[dict[Optimizers, str]] = {"SGD": "not SGD", "Adam": "not Adam", "either": "neither"}


def print_trainability(screen: Console, found: Trainability) -> None:
    """Prints confusion matrices of the grades, and how well each score separates."""
    from vgharness.benchmarks.grades import GRADES
    from vgharness.benchmarks.trainability import OPTIMIZERS, confusion

    print_machine(screen, found.machine)
    matrices = {optimizers: confusion(found.trials, optimizers) for optimizers in OPTIMIZERS}
    headings = [heading for x in OPTIMIZERS for heading in (f"trains: {x}", _DOES_NOT_TRAIN[x])]
    title = f"{count(len(found.trials), 'random network')}, seed {found.seed}"
    table = new_table(title, "grade", *headings)
    for grade in GRADES:
        counts = [matrices[optimizers].get(grade, (0, 0)) for optimizers in OPTIMIZERS]
        table.add_row(grade, *(str(many) for pair in counts for many in pair))
    screen.print(table)
    table = new_table("scores", "score", "does not train", "AUC", "cut", "sensitivity", "specificity")
    for x in found.separations:
        table.add_row(x.score, _DOES_NOT_TRAIN[x.optimizers].replace("not ", "with "), *_separation(x))
    screen.print(table)
    screen.print(
        f"Trained: a mean loss of ten steps under {number(found.trained_loss)} within {found.steps} steps, with Adam "
        "at 0.001, or with SGD with momentum at 0.1 or 0.01. Scores are decades from 1 of the path ratio, the first "
        "layer's ‖∂L/∂h‖₂ ÷ the last's, and of the standard deviation of the logits over samples ÷ their root mean "
        "square. Each cut is the least with 95 % specificity on these networks: judge it on others.",
        soft_wrap=True,
    )


def _separation(found: Separation) -> tuple[str, str, str, str]:
    if found.auc is None or found.cut is None or found.sensitivity is None or found.specificity is None:
        return number(found.auc, _NONE), _NONE, _NONE, _NONE
    return f"{found.auc:.3f}", f"{found.cut:.2f}", percent(found.sensitivity), percent(found.specificity)


def print_zoo(screen: Console, found: Zoo) -> None:
    """Prints what was said of each model, and lines that count it."""
    print_machine(screen, found.machine)
    table = new_table("known-good models", "model", "parameters", "seconds", "memory", "outcome")
    for model in found.models:
        table.add_row(
            escaped(model.model),
            number(None if model.parameters is None else model.parameters / 1e6, _NONE) + " M",
            f"{model.seconds:.1f}",
            _NONE if model.memory is None else f"{model.memory / 2**20:,.0f} MiB",
            model.outcome,
        )
    screen.print(table)
    for model in found.models:
        if model.outcome != "healthy":
            screen.print(f"{escaped(model.model)}: {model.outcome}: {escaped(model.text)}", soft_wrap=True)
    counts = Counter(model.outcome for model in found.models)
    judged = sum(counts[x] for x in ("healthy", "warning", "problem"))
    screen.print(
        f"false alarms on {counts['problem'] + counts['warning']} of {count(judged, 'model')} "
        f"({count(counts['problem'], 'problem')}, {count(counts['warning'], 'warning')}); "
        f"{counts['refused']} refused, {counts['skipped']} skipped; {duration(sum(x.seconds for x in found.models))}",
        soft_wrap=True,
    )
    largest = max(found.models, key=lambda model: model.memory or 0)
    if largest.memory is not None:
        screen.print(
            f"most memory of one process: {largest.memory / 2**30:.2f} GiB, {escaped(largest.model)}", soft_wrap=True
        )


def print_verdicts(screen: Console, found: Verdicts) -> None:
    """Prints coverage and false verdicts per law and number of seeds, and what comes of honest numbers."""
    print_machine(screen, found.machine)
    table = new_table(
        f"{found.studies:,} simulated studies for each row, seed {found.seed}",
        "seeds are",
        "n",
        "interval covers",
        "false “reproduced”",
        "false “not reproduced”",
    )
    for x in found.laws:
        rates = (x.coverage, x.worst_reproduced, x.worst_not_reproduced)
        table.add_row(x.law, str(x.seeds), *(f"{100 * rate:.1f} %" for rate in rates))
    screen.print(table)
    table = new_table(
        "a number printed from one honest run", "sd", "±", "n", "reproduced", "not reproduced", "one run?"
    )
    for y in found.honest:
        rates = (y.reproduced, y.not_reproduced, y.could_be_one_run)
        table.add_row(f"{y.spread:g} points", f"{y.within:g}", str(y.seeds), *(f"{100 * rate:.1f} %" for rate in rates))
    screen.print(table)
    for z in found.many:
        shares = listing(f"{outcome} {100 * share:.0f} %" for outcome, share in sorted(z.outcomes.items()))
        screen.print(
            f"{z.readings} readings, each true value the very end of what is accepted, {z.seeds} seeds: {shares}"
        )
    for w in found.needed:
        screen.print(f"{w.seeds} seeds, undecided: as many as were asked for decided in {100 * w.decided:.0f} %")
    screen.print(
        "False: what is accepted ends at the truth, or half a standard deviation to the wrong side of it; the worse of "
        "the two. Where some seeds stay at chance (10 %) and the others learn (35 ± 3 %), a few of them may all be of "
        "one kind: no rule sees a kind that none of them showed (of five, one that fewer than 45 % take).",
        soft_wrap=True,
    )


def print_rounds(screen: Console, found: RoundsRates) -> None:
    """Prints, for each law and each scheme, false verdicts, how often a true claim is reproduced, and seeds used."""
    from vgharness.benchmarks.rounds import EFFECTS, OFF

    print_machine(screen, found.machine)
    table = new_table(
        f"{found.studies:,} simulated studies for each row, seed {found.seed}; true claims by how far inside, in sd",
        "seeds are",
        "scheme",
        "false “reproduced”",
        "false “not reproduced”",
        *(f"reproduced at {effect:g}" for effect in EFFECTS),
        "seeds at the end, " + ", ".join(f"{effect:g}" for effect in EFFECTS),
    )
    for x in found.laws:
        rates = (x.false_reproduced, x.false_not_reproduced, *x.reproduced)
        seeds = ", ".join(f"{many:.1f}" for many in (x.seeds_at_end, *x.seeds))
        table.add_row(x.law, x.scheme, *(f"{100 * rate:.1f} %" for rate in rates), seeds)
    screen.print(table)
    table = new_table("could it be one run?", "scheme", "honest, refuted", f"{OFF:g} sd off, reproduced", "seeds")
    for y in found.printed:
        table.add_row(
            y.scheme, f"{100 * y.false_not_reproduced:.1f} %", f"{100 * y.false_reproduced:.1f} %", f"{y.seeds:.1f}"
        )
    screen.print(table)


def print_gates(screen: Console, found: Gates) -> None:
    """Prints the share of red builds of each kind, and whether the goals are met."""
    from vgharness.benchmarks.gates import ALWAYS_RED, MOST_FALSE, SEEDS, UNCHANGED

    print_machine(screen, found.machine)
    unchanged = {case.name for case in UNCHANGED}
    for title, shown in (
        ("nothing has changed", [gate for gate in found.gates if gate.case in unchanged]),
        ("something has changed", [gate for gate in found.gates if gate.case not in unchanged]),
    ):
        table = new_table(f"red builds where {title}, percent", "guarded", "what differs", "limits", *map(str, SEEDS))
        rows: dict[tuple[str, str, tuple[str, ...]], list[str]] = {}
        for gate in shown:
            rows.setdefault((gate.network, gate.case, gate.limits), []).append(f"{100 * gate.share:.1f}")
        for (network, case, limits), shares in rows.items():
            table.add_row(network, case, f"{len(limits)} at {limits[0].partition(':')[2]}", *shares)
        screen.print(table)
    screen.print(
        f"Of {found.gates[0].builds:,} builds each, by seeds on each side. One limit is on signal_l2, four are on "
        "weight_l2, weight_mean_abs and factor too. 6 × 8: six tests. Reordered: the same seeds, and random numbers "
        "drawn in another order. Threads: the same seeds on one thread and on all. What has changed are the last "
        "layer's weights, and with them the error signals before it.",
        soft_wrap=True,
    )
    for goal, missed in (
        (f"at most {percent(MOST_FALSE)} red where nothing has changed", found.false_alarms),
        (f"always red: {ALWAYS_RED.name}, {ALWAYS_RED.limits[0][0]}", found.missed),
    ):
        screen.print(f"goal: {goal}: {f'missed by {_named(missed)}' if missed else 'met'}", soft_wrap=True)


def _named(gates: Sequence[Gate]) -> str:
    return listing(f"{gate.network}, {gate.case}, {count(gate.seeds, 'seed')}" for gate in gates)
