"""Judges claims, from a file or made in code, on saved runs and sessions."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from vgharness.claims.evidence import Evidence
from vgharness.claims.loading import load_claims
from vgharness.claims.spec import Claim
from vgharness.claims.verdicts import judge as judge_evidence
from vgharness.errors import UsageError
from vgharness.records import Run, Session, Verdict
from vgharness.storage.store import load_measured
from vgharness.study.commands import command_for

Saved = Run | Session | Path | str


def judge(claims: Iterable[Claim] | Path | str | None, *runs: Saved) -> tuple[Verdict, ...]:
    """Judges ``claims`` by what ``runs`` measured, all of them together.

    claims: what :func:`~vgharness.load_claims` gives, the path of a claims file, or ``None``: the studied README's.
    runs: runs of studies and pytest sessions, or paths of their files. Cells of several runs are put together, where
        their images and precision agree; a cell that several hold counts once.

    Returns a verdict for each claim, and for each variant of the networks that it is judged for. Raises
    :class:`~vgharness.errors.UsageError`, one line, for a file that cannot be read or is not valid, without a run, and
    where runs cannot be put together.
    """
    if not runs:
        raise UsageError("judge: give at least one run or session")
    loaded = [load_measured(Path(each)) if isinstance(each, str | Path) else each for each in runs]
    chosen = load_claims(claims) if claims is None or isinstance(claims, str | Path) else tuple(claims)
    return _judged(chosen, Evidence.of(*loaded))


def judged(run: Run, claims: Iterable[Claim]) -> Run:
    """The same run with the verdicts on ``claims``, in place of any that it had."""
    chosen = tuple(claims)
    document = chosen[0].document if chosen else None
    return Run(**{**dict(run), "document": document, "verdicts": _judged(chosen, Evidence.of(run))})


def _judged(claims: tuple[Claim, ...], evidence: Evidence) -> tuple[Verdict, ...]:
    """The verdicts; those of claims that did not run with the command that would run them."""
    return tuple(
        Verdict(**{**dict(verdict), "command": command_for(claim, verdict.variant)})
        if verdict.outcome == "not run"
        else verdict
        for claim in claims
        for verdict in judge_evidence([claim], evidence)
    )
