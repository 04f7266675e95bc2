"""What claims are judged on: cells of runs, or of a study that is only planned, tests of pytest sessions,
and logs of trainings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from vgharness.claims.measurement import NotRunError
from vgharness.claims.spec import ANY_DATA, Claim, ReadingSpec, Recipe
from vgharness.claims.subject import KNOWN_FACTORS, Factors, Subject, factor_of, pick, shown
from vgharness.claims.trainings import Training, Watched, distinct, watched_as
from vgharness.errors import UsageError
from vgharness.formatting import count
from vgharness.records import Cell, CellResult, Precision, Provenance, Run, Sample, Session, Study
from vgharness.statistics import CONFIDENCE

CIFAR10: Final = "CIFAR-10"


@dataclass(frozen=True)
class Evidence:
    """What there is to judge claims on.

    cells: each with its result; without one where it is only planned.
    data: the images that they are trained on; ``None``: there are no cells.
    precision: of the arithmetic.
    confidence: of the intervals that decide; of several runs' the greatest.
    planned: every cell that the runs' studies were to hold, trained or not.
    sessions: pytest sessions.
    trainings: logs of trainings, each with the name that it was saved under.
    training: those of ``planned`` that still train, or are yet to.
    """

    cells: tuple[tuple[Cell, CellResult | None], ...] = ()
    data: Provenance | None = None
    precision: Precision = "fp32"
    confidence: float = CONFIDENCE
    planned: tuple[Cell, ...] = ()
    sessions: tuple[Session, ...] = ()
    trainings: tuple[Training, ...] = ()
    training: frozenset[Cell] = frozenset()

    @classmethod
    def of(cls, *saved: Run | Session | Training) -> Evidence:
        """Puts runs, sessions and logs of trainings together; a cell that several runs hold counts once, as the one
        that got furthest, and so do logs that hold the very same values.

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
                known = cells.get(result.cell)
                cells[result.cell] = result if known is None or _use(result) > _use(known) else known
        return cls(
            cells=tuple(cells.items()),
            data=runs[0].data if runs else None,
            precision=runs[0].study.precision if runs else "fp32",
            confidence=max((run.study.confidence for run in runs), default=CONFIDENCE),
            planned=tuple(cell for run in runs for cell in run.study.cells),
            sessions=tuple(each for each in saved if isinstance(each, Session)),
            trainings=distinct(each for each in saved if isinstance(each, Training)),
            training=frozenset().union(*map(_in_training, runs)),
        )

    @classmethod
    def of_plan(cls, study: Study, data: Provenance) -> Evidence:
        """What ``study`` will hold once it is trained on ``data``."""
        cells = tuple((cell, None) for cell in study.cells)
        return cls(cells=cells, data=data, precision=study.precision, planned=study.cells)

    def variants(self, claim: Claim) -> tuple[str, ...]:
        """The values of the factor for each of which ``claim`` is judged by itself: its own, or all that there are.

        One empty text where there is none, and for a claim about tests of a session or trainings: they have none.
        """
        of_cells = any(subject.holder == "study" for spec in claim.readings for subject in subjects_of(spec))
        if claim.variant or not claim.for_each or not of_cells:
            return (claim.variant,)
        values = [factor_of(cell, claim.for_each) for cell in self.planned]
        return tuple(dict.fromkeys(shown(value) for value in values if value is not None)) or ("",)

    def check_data(self, spec: ReadingSpec, claim: Claim) -> None:
        """Raises :class:`NotRunError` where the claim speaks of other images than there are; a session's tests and
        watched trainings have inputs of their own."""
        wanted, data = claim.recipe.data, self.data
        if wanted == ANY_DATA or spec.of.holder != "study":
            return
        fits = data is not None and (data.is_cifar10 if wanted == CIFAR10 else wanted in (data.kind, data.description))
        if not fits:
            raise NotRunError(f"needs all of {wanted}" if wanted == CIFAR10 else f"needs the images of {wanted}")

    def cells_of(self, subject: Subject, claim: Claim, variant: str, epochs: int) -> dict[int, CellResult | None]:
        """Finds, by seed, the results of the cells of ``subject`` that are trained for ``epochs`` or longer; ``None``
        of those that are only planned.

        Cells that ended in an exception do not count. Raises :class:`NotRunError` where there are no others.
        """
        usable = [
            (cell, _epochs(cell, result), (cell, result))
            for cell, result in self.cells
            if result is None or result.status != "failed"
        ]
        found, missing = pick(usable, self.wanted(subject, claim, variant))
        if missing:
            raise NotRunError(missing)
        enough = {seed: result for seed, (cell, result) in found.items() if _epochs(cell, result) >= epochs}
        if not enough:
            longest = max(_epochs(*each) for each in found.values())
            trained = f"trained for {longest}" if longest else "measured at initialisation only"
            raise NotRunError(f"needs {count(epochs, 'epoch')} of {subject}, which is {trained}")
        return enough

    def wanted(self, subject: Subject, claim: Claim, variant: str) -> Factors:
        """Returns the factors that the cells of ``subject`` have: its own and, where it has none, the variant's and the
        recipe's, in the order in which a missing one is worth naming. Raises :class:`NotRunError` for one that no cell
        has."""
        own = dict(subject.factors)
        if variant:
            values = (factor_of(cell, claim.for_each) for cell in self.planned)
            value = next((x for x in values if x is not None and shown(x) == variant), variant)
            own = {claim.for_each: value, **own}
        elif claim.for_each and claim.for_each not in KNOWN_FACTORS:
            raise NotRunError(f"needs networks with a {claim.for_each.replace('_', ' ')}, which no study's cell has")
        return {**{name: value for name, value in claim.recipe.factors.items() if name not in own}, **own}

    def held(
        self, subject: Subject, claim: Claim, variant: str, epochs: int
    ) -> Mapping[int, CellResult | Sample | Watched | None]:
        """What there is of a subject, by seed: the results of its cells that are trained for ``epochs`` or longer,
        ``None`` of those that are only planned; of a test its measurement, the same for each of its seeds; of a
        training its logs. Raises :class:`NotRunError` where there is nothing."""
        if subject.training:
            return watched_as(subject, self.trainings)
        if subject.test:
            sample = self.sample_of(subject)
            return dict.fromkeys(sample.seeds, sample)
        return self.cells_of(subject, claim, variant, epochs)

    def sample_of(self, subject: Subject) -> Sample:
        """Finds the measurement of a test; of several sessions' the last. Raises :class:`NotRunError` where there is
        none."""
        found = [sample for session in self.sessions if (sample := session.sample(subject.label))]
        if not found:
            raise NotRunError(f"needs a session with {subject.label}")
        return found[-1]


def epochs_needed(spec: ReadingSpec, recipe: Recipe) -> int:
    """How long a network must be trained for a reading: 0, at initialisation, where that is enough."""
    if spec.of.holder != "study":
        return 0
    last = recipe.epochs or 1
    if spec.curve is not None:
        return last
    if spec.passes:
        return 1
    if spec.over:
        first, end = spec.over.ends
        return max(first, last) if end == "last" else end
    if spec.at == "last":
        return last
    return spec.at if isinstance(spec.at, int) else 0


def lacking(spec: ReadingSpec, claim: Claim, variant: str, evidence: Evidence) -> str:
    """Says what ``evidence`` lacks for a reading: the images, the networks, and where all are there the epochs; empty
    where it lacks nothing."""
    reasons: list[str] = []
    try:
        evidence.check_data(spec, claim)
    except NotRunError as missing:
        reasons.append(str(missing))
    # Other images are no reason to train longer: then only networks that are not there at all are worth naming too.
    epochs = 0 if reasons else epochs_needed(spec, claim.recipe)
    for subject in subjects_of(spec):
        try:
            evidence.held(subject, claim, variant, epochs)
        except NotRunError as missing:
            reasons.append(str(missing))
    first, *others = dict.fromkeys(reasons) or [""]
    return " and ".join([first, *(reason.removeprefix("needs ") for reason in others)])


def seeds_of(spec: ReadingSpec, claim: Claim, variant: str, evidence: Evidence) -> int:
    """Counts the seeds that a reading will have, where nothing is lacking."""
    epochs = epochs_needed(spec, claim.recipe)
    columns = [evidence.held(subject, claim, variant, epochs) for subject in subjects_of(spec)]
    return len(set.intersection(*map(set, columns)))


def subjects_of(spec: ReadingSpec) -> Sequence[Subject]:
    """The networks of a reading: its own and, where it compares, those that they are compared with."""
    return [spec.of] if spec.against is None else [spec.of, spec.against]


def _epochs(cell: Cell, result: CellResult | None) -> int:
    """How many epochs a cell is trained for, as far as it is known; one that diverged would have gone on."""
    return len(result.epochs) if result is not None and result.status == "interrupted" else cell.epochs


def _in_training(run: Run) -> set[Cell]:
    if run.status != "running":
        return set()
    return set(run.study.cells) - {result.cell for result in run.results if result.status != "running"}


def _use(result: CellResult) -> tuple[bool, bool, int]:
    """Of two results of one cell the greater is of more use."""
    return result.status != "failed", result.status not in ("interrupted", "running"), len(result.epochs)
