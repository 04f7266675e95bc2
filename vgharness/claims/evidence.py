"""What claims are judged on: cells of runs, or of a study that is only planned, and tests of pytest sessions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from vgharness.claims.measurement import NotRunError
from vgharness.claims.spec import ANY_DATA, Claim, ReadingSpec, Recipe
from vgharness.claims.subject import Subject, pick
from vgharness.errors import UsageError
from vgharness.formatting import count
from vgharness.records import Cell, CellResult, Precision, Provenance, Run, Sample, Session, Study

CIFAR10: Final = "CIFAR-10"


@dataclass(frozen=True)
class Evidence:
    """What there is to judge claims on.

    cells: each with its result; without one where it is only planned.
    data: the images that they are trained on; ``None``: there are no cells.
    precision: of the arithmetic.
    planned: every cell that the runs' studies were to hold, trained or not.
    sessions: pytest sessions.
    """

    cells: tuple[tuple[Cell, CellResult | None], ...] = ()
    data: Provenance | None = None
    precision: Precision = "fp32"
    planned: tuple[Cell, ...] = ()
    sessions: tuple[Session, ...] = ()

    @classmethod
    def of(cls, *saved: Run | Session) -> Evidence:
        """Puts runs and sessions together; a cell that several runs hold counts once.

        Raises :class:`~vgharness.errors.UsageError` where runs were made of other images or at another precision.
        """
        runs = [each for each in saved if isinstance(each, Run)]
        cells: dict[Cell, CellResult] = {}
        for run in runs:
            for what, value, first in (
                ("images", run.data.sha256, runs[0].data.sha256),
                ("precision", run.study.precision, runs[0].study.precision),
            ):
                if value != first:
                    raise UsageError(f"the runs differ in their {what}: judge them one by one")
            for result in run.results:
                cells.setdefault(result.cell, result)
        return cls(
            cells=tuple(cells.items()),
            data=runs[0].data if runs else None,
            precision=runs[0].study.precision if runs else "fp32",
            planned=tuple(cell for run in runs for cell in run.study.cells),
            sessions=tuple(each for each in saved if isinstance(each, Session)),
        )

    @classmethod
    def of_plan(cls, study: Study, data: Provenance) -> Evidence:
        """What ``study`` will hold once it is trained on ``data``."""
        cells = tuple((cell, None) for cell in study.cells)
        return cls(cells=cells, data=data, precision=study.precision, planned=study.cells)

    def variants(self, claim: Claim) -> tuple[str, ...]:
        """The values of the factor for each of which ``claim`` is judged by itself: its own, or all that there are."""
        if claim.variant or not claim.for_each:
            return (claim.variant,)
        return tuple(dict.fromkeys(str(getattr(cell, claim.for_each, "")) for cell in self.planned)) or ("",)

    def check_data(self, claim: Claim) -> None:
        """Raises :class:`NotRunError` where the claim speaks of other images than there are."""
        wanted = claim.recipe.data
        if wanted == ANY_DATA or self.data is None:
            return
        fits = self.data.is_cifar10 if wanted == CIFAR10 else wanted in (self.data.kind, self.data.description)
        if not fits:
            raise NotRunError(f"needs all of {wanted}" if wanted == CIFAR10 else f"needs the images of {wanted}")

    def cells_of(
        self, subject: Subject, claim: Claim, variant: str, epochs: int
    ) -> dict[int, tuple[Cell, CellResult | None]]:
        """Finds, by seed, the cells of ``subject`` that are trained for ``epochs`` or longer.

        Cells that ended in an exception do not count. Raises :class:`NotRunError` where there are no others.
        """
        own = {**({claim.for_each: variant} if variant else {}), **subject.factors}
        wanted = {**{name: value for name, value in claim.recipe.factors.items() if name not in own}, **own}
        usable = [(cell, (cell, result)) for cell, result in self.cells if result is None or result.status != "failed"]
        found, missing = pick(usable, wanted)
        if missing:
            raise NotRunError(missing)
        enough = {seed: each for seed, each in found.items() if each[0].epochs >= epochs}
        if not enough:
            longest = max(cell.epochs for cell, _ in found.values())
            trained = f"trained for {longest}" if longest else "measured at initialisation only"
            raise NotRunError(f"needs {count(epochs, 'epoch')} of {subject}, which is {trained}")
        return enough

    def sample_of(self, subject: Subject) -> Sample:
        """Finds the measurement of a test; of several sessions' the last. Raises :class:`NotRunError` where there is
        none."""
        found = [sample for session in self.sessions if (sample := session.sample(subject.label))]
        if not found:
            raise NotRunError(f"needs a session with {subject.label}")
        return found[-1]


def epochs_needed(spec: ReadingSpec, recipe: Recipe) -> int:
    """How long a network must be trained for a reading: 0, at initialisation, where that is enough."""
    last = recipe.epochs or 1
    if spec.curve is not None:
        return last
    if spec.passes:
        return 1
    if spec.over:
        return last if spec.over.epochs[1] == "last" else spec.over.epochs[1]
    if spec.at == "last":
        return last
    return spec.at if isinstance(spec.at, int) else 0


def lacking(spec: ReadingSpec, claim: Claim, variant: str, evidence: Evidence) -> str:
    """Says what ``evidence`` lacks for a reading; empty where it lacks nothing."""
    try:
        evidence.check_data(claim)
        for subject in _subjects(spec):
            if subject.test:
                evidence.sample_of(subject)
            else:
                evidence.cells_of(subject, claim, variant, epochs_needed(spec, claim.recipe))
    except NotRunError as missing:
        return str(missing)
    return ""


def seeds_of(spec: ReadingSpec, claim: Claim, variant: str, evidence: Evidence) -> int:
    """Counts the seeds that a reading will have, where nothing is lacking."""
    columns: list[Iterable[int]] = []
    for subject in _subjects(spec):
        if subject.test:
            columns.append(evidence.sample_of(subject).seeds)
        else:
            columns.append(evidence.cells_of(subject, claim, variant, epochs_needed(spec, claim.recipe)))
    return len(set.intersection(*map(set, columns)))


def _subjects(spec: ReadingSpec) -> Sequence[Subject]:
    return [spec.of] if spec.against is None else [spec.of, spec.against]
