"""What is said of a study in rounds of seeds: what is planned, and how it ended."""

from __future__ import annotations

from collections.abc import Iterator

from vgharness.claims.combination import has_run, is_decided, lacks_more_than_seeds
from vgharness.formatting import duration, escaped, level, listing
from vgharness.records import Rounds, Run, Study
from vgharness.report.verdict_table import named
from vgharness.statistics import CONFIDENCE


def planned_rounds_line(rounds: Rounds, first_seconds: float | None) -> str:
    """The looks that are planned, each with the confidence of its intervals. ``first_seconds``: that the first round
    is expected to take; ``None``: not known."""
    looks = listing(f"{look.seeds} ({level(1 - look.error)})" for look in rounds.looks)
    first, last = rounds.looks[0].seeds, rounds.looks[-1].seeds
    longest = f"; with all of them {duration(first_seconds * last / first)}" if first_seconds is not None else ""
    return (
        f"seeds: {first} to {last}, until every claim that can be decided is; judged at {looks}, which together are "
        f"wrong as seldom as one look at {level(CONFIDENCE)}{longest}"
    )


def rounds_line(study: Study) -> str:
    """How its looks were corrected for: ``look 2 of up to 6, at 5 seeds: intervals at 99.5 %, so that …``; empty of a
    study whose seeds were what they are."""
    rounds = study.rounds
    if rounds is None:
        return ""
    return (
        f"look {rounds.at} of up to {len(rounds.looks)}, at {rounds.look.seeds} seeds: intervals are at "
        f"{level(study.confidence)}, so that all looks together are wrong as seldom as one at {level(CONFIDENCE)}"
    )


def rounds_lines(run: Run) -> Iterator[str]:
    """How a study in rounds ended, and what more seeds would not decide."""
    yield f"seeds until decided: {rounds_line(run.study)}"
    still_open = [verdict for verdict in run.verdicts if has_run(verdict) and not is_decided(verdict)]
    lacks = {named(verdict): lacks_more_than_seeds(verdict.readings) for verdict in still_open}
    for reason in dict.fromkeys(filter(None, lacks.values())):
        names = listing(name for name, lacking in lacks.items() if lacking == reason)
        yield f"seeds alone do not decide {escaped(names)}: {escaped(reason)}"
    if names := listing(name for name, lacking in lacks.items() if not lacking):
        yield f"more seeds could decide {escaped(names)}"
