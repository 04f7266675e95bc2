"""Verdicts as JSON, for other programs, with what those need to know of the runs that they were judged on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, Literal

from vgharness.claims.combination import standing_after_holm
from vgharness.records import (
    OUTCOMES,
    Document,
    Machine,
    Name,
    Outcome,
    Provenance,
    Record,
    Run,
    Session,
    TrainingLog,
    Verdict,
    tally,
)

VERDICTS_VERSION: Final = 2


class Standing(Record):
    """A verdict that stands when all claims that ran are taken together.

    claim: its id.
    variant: of the networks that it was judged for; empty: of all.
    """

    claim: str
    variant: Name


class JudgedRun(Record):
    """A study's run, a pytest session or a training's log that claims were judged on, without what it measured.

    file: where it is, as it was named; beside a page the name of the file there.
    kind: which of the three.
    created: when it began, ISO 8601, UTC.
    status: how it ended; ``finished`` where nothing is missing.
    command: what reproduces the run, or what was typed for the session or the training.
    commit: of this package for a run, else of the project; ``None``: not known.
    machine: where it was measured.
    data: a run's images; else ``None``.
    seeds: of its networks or models, in order; of a training, which is one, empty.
    seconds: a run's wall time; else ``None``.
    """

    file: Name
    kind: Literal["run", "session", "training"]
    created: str
    status: str
    command: Name
    commit: str | None
    machine: Machine
    data: Provenance | None
    seeds: tuple[int, ...]
    seconds: float | None


class Judged(Record):
    """What ``vgharness judge --json`` prints, and ``report.json`` holds.

    schema_version: of this format; in version 1 ``runs`` were names of files.
    document: whose claims were judged; ``None``: none were.
    runs: what they were judged on.
    verdicts: one for each claim and variant.
    counts: by outcome, how many verdicts there are.
    standing_after_holm: the verdicts that stand after Holm's correction over the claims that ran.
    """

    schema_version: Literal[2] = VERDICTS_VERSION
    document: Document | None
    runs: tuple[JudgedRun, ...]
    verdicts: tuple[Verdict, ...]
    counts: dict[Outcome, int]
    standing_after_holm: tuple[Standing, ...]


def as_json(
    document: Document | None, runs: Iterable[tuple[str, Run | Session | TrainingLog]], verdicts: Sequence[Verdict]
) -> Judged:
    """Puts together what was judged: ``runs`` are what it was judged on, each with its file as it was named."""
    standing = standing_after_holm(verdicts)
    return Judged(
        document=document,
        runs=tuple(judged_record(file, record) for file, record in runs),
        verdicts=tuple(verdicts),
        counts={**dict.fromkeys(OUTCOMES, 0), **dict(tally(verdicts))},
        standing_after_holm=tuple(
            Standing(claim=each.claim, variant=each.variant)
            for each in verdicts
            if (each.claim, each.variant) in standing
        ),
    )


def judged_record(file: str, record: Run | Session | TrainingLog) -> JudgedRun:
    """What is said of whatever was saved, whose file is ``file``."""
    return judged_run(file, record) if isinstance(record, Run) else _of_other(file, record)


def judged_run(file: str, run: Run) -> JudgedRun:
    """What is said of a study's run, whose file is ``file``."""
    return JudgedRun(
        file=file,
        kind="run",
        created=run.created,
        status=run.status,
        command=run.command,
        commit=run.commit,
        machine=run.machine,
        data=run.data,
        seeds=tuple(sorted({cell.seed for cell in run.study.cells})),
        seconds=run.seconds,
    )


def _of_other(file: str, saved: Session | TrainingLog) -> JudgedRun:
    samples = saved.samples if isinstance(saved, Session) else ()
    return JudgedRun(
        file=file,
        kind="session" if isinstance(saved, Session) else "training",
        created=saved.created,
        status=saved.status,
        command=saved.command,
        commit=saved.commit,
        machine=saved.machine,
        data=None,
        seeds=tuple(sorted({seed for sample in samples for seed in sample.seeds})),
        seconds=None,
    )
