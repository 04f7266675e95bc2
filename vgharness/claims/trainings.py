"""Logs of trainings that claims speak of: those of a name, each a value of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

from vgharness.claims.measurement import NotRunError
from vgharness.claims.subject import Subject
from vgharness.formatting import listing
from vgharness.records import TrainingLog


class Training(NamedTuple):
    """A training's log, and the name that it was saved under; empty: under none."""

    name: str
    log: TrainingLog


class Watched(NamedTuple):
    """One model of a training.

    label: what it is called in a message.
    model: its name in the log.
    """

    label: str
    log: TrainingLog
    model: str


def distinct(trainings: Iterable[Training]) -> tuple[Training, ...]:
    """Each once: a log that was given twice, or a training repeated with the same seed, is no further value."""
    found: list[Training] = []
    for each in trainings:
        if not any(_same(each.log, other.log) for other in found):
            found.append(each)
    return tuple(found)


def watched_as(subject: Subject, trainings: Sequence[Training]) -> dict[int, Watched]:
    """What is meant by the subject's training, by seed: that which its ``extra`` names where all have one of their own,
    else counted from 1 in the order of the logs.

    Raises :class:`~vgharness.claims.measurement.NotRunError` where there is none, and where a log is of several models
    and the subject does not say which.
    """
    wanted = str(subject.training)
    found = [watched for each in trainings if (watched := _watched(subject, wanted, each)) is not None]
    if not found:
        raise NotRunError(f"needs a training log of {subject.label}")
    seeds = [each.log.extra.get("seed") for each in found]
    named = [seed for seed in seeds if isinstance(seed, int) and not isinstance(seed, bool)]
    if len(set(named)) == len(found):
        return dict(zip(named, found, strict=True))
    return dict(enumerate(found, 1))


def _watched(subject: Subject, wanted: str, training: Training) -> Watched | None:
    models = [model.name for model in training.log.models]
    if training.name == wanted or fnmatchcase(training.name, wanted):
        label = training.name or wanted
        if subject.name is not None:
            return Watched(f"{label} {subject.name}", training.log, subject.name) if subject.name in models else None
        if len(models) > 1:
            raise NotRunError(f"{label} has the models {listing(models)}: say which, with name")
        return Watched(label, training.log, models[0])
    if subject.name is None and wanted in models:
        return Watched(f"{training.name} {wanted}".strip(), training.log, wanted)
    return None


def _same(a: TrainingLog, b: TrainingLog) -> bool:
    if a is b:
        return True
    return bool(a.snapshots) and (a.models, a.snapshots, a.problems) == (b.models, b.snapshots, b.problems)
