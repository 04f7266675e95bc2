"""What the commands that judge claims share: the claims they were given, the table, the exit status."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.console import Console

from vgharness.records import Run, Verdict, tally_line
from vgharness.system.terminal import say

if TYPE_CHECKING:
    from vgharness.claims.spec import Claim

REPRODUCED, NOT_REPRODUCED = 0, 1
README_CLAIMS: Final = "readme"
CLAIMS_HELP: Final = "judge this claims file, in place of the studied README's claims or the study's own"


def chosen_claims(file: Path | str | None) -> tuple[Claim, ...]:
    """Reads a claims file; ``None`` stands for the studied README's. Raises
    :class:`~vgharness.errors.UsageError`, one line, where it is not valid."""
    from vgharness.claims.loading import load_claims  # scipy is slow to import

    return load_claims(file)


def with_verdicts(run: Run, claims: tuple[Claim, ...] | None) -> Run:
    """The run, judged anew where ``claims`` are given or it holds no verdicts: then by the studied README's."""
    from vgharness.study.judging import judged

    if claims is not None:
        return judged(run, claims)
    if not run.verdicts:
        say("the run holds no verdicts: judged anew by the studied README's claims", stderr=True)
        return judged(run, chosen_claims(None))
    return run


def print_verdicts(screen: Console, verdicts: Sequence[Verdict]) -> None:
    """Prints the table, how many there are of each outcome, and how many stand when all are taken together."""
    from vgharness.report.verdict_table import standing_line, verdict_tables

    lines = [line for line in (tally_line(verdicts), standing_line(verdicts)) if line]
    screen.print(*verdict_tables(verdicts), *lines, sep="\n")


def verdict_status(verdicts: Iterable[Verdict]) -> int:
    """0 where every claim that ran was reproduced; 1 where some was not, or none ran: then nothing was reproduced."""
    ran = [verdict.outcome for verdict in verdicts if verdict.outcome != "not run"]
    return REPRODUCED if ran and all(outcome == "reproduced" for outcome in ran) else NOT_REPRODUCED
