"""Judges claims, from a file or made in code, on saved runs, sessions and logs of trainings."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from vgharness.claims.evidence import Evidence
from vgharness.claims.loading import load_claims
from vgharness.claims.spec import Claim
from vgharness.claims.trainings import Training
from vgharness.claims.verdicts import judge as judge_evidence
from vgharness.errors import UsageError
from vgharness.records import Run, Session, TrainingLog, Verdict
from vgharness.storage.entries import place_of
from vgharness.storage.store import load
from vgharness.study.commands import command_for

Saved = Run | Session | TrainingLog | Training | Path | str


def judge(claims: Iterable[Claim] | Path | str | None, *runs: Saved) -> tuple[Verdict, ...]:
    """Judges ``claims`` by what ``runs`` measured, all of them together.

    claims: what :func:`~vgharness.load_claims` gives, the path of a claims file, or ``None``: the studied README's.
    runs: runs of studies, pytest sessions and logs of trainings, or paths of their files. Cells of several runs are put
        together, where their images and precision agree; a cell that several hold counts once. Each log is a value of
        its own. A log that is not given by its file has no name: ``training = "*"``, or a model's name, means it.

    Returns a verdict for each claim, and for each variant of the networks that it is judged for. Raises
    :class:`~vgharness.errors.UsageError`, one line, for a file that cannot be read or is not valid, without a run, and
    where runs cannot be put together.
    """
    if not runs:
        raise UsageError("judge: give at least one run, session or training log")
    loaded = [_loaded(Path(each)) if isinstance(each, str | Path) else each for each in runs]
    chosen = load_claims(claims) if claims is None or isinstance(claims, str | Path) else tuple(claims)
    return _judged(chosen, Evidence.of(*(Training("", x) if isinstance(x, TrainingLog) else x for x in loaded)))


def evidence_at(path: Path, saved: Run | Session | TrainingLog) -> Run | Session | Training:
    """What was loaded from ``path``; a log with the name that its file gives it."""
    if not isinstance(saved, TrainingLog):
        return saved
    place = place_of(path)
    return Training(place.name if place is not None else path.stem, saved)


def judged(run: Run, claims: Iterable[Claim]) -> Run:
    """The same run with the verdicts on ``claims``, in place of any that it had."""
    chosen = tuple(claims)
    document = chosen[0].document if chosen else None
    return run.changed(document=document, verdicts=_judged(chosen, Evidence.of(run)))


def _loaded(path: Path) -> Run | Session | Training:
    return evidence_at(path, load(path))


def _judged(claims: tuple[Claim, ...], evidence: Evidence) -> tuple[Verdict, ...]:
    """The verdicts; those of claims that did not run with the command that would run them."""
    return tuple(
        verdict.changed(command=command_for(claim, verdict.variant)) if verdict.outcome == "not run" else verdict
        for claim in claims
        for verdict in judge_evidence([claim], evidence)
    )
