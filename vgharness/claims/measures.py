"""Measures a reading: one value per seed, from a run, a session or training logs."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

import numpy as np

from vgharness.claims.evidence import Evidence, epochs_needed, lacking, subjects_of
from vgharness.claims.figures import (
    Figure,
    Setting,
    curve_of,
    difference,
    network_differences,
    of_cell,
    of_sample,
    ratio,
)
from vgharness.claims.measurement import Measurement, NotRunError
from vgharness.claims.spec import Claim, ReadingSpec
from vgharness.claims.training_figures import of_training
from vgharness.claims.trainings import Watched
from vgharness.records import Bounds, CellResult, Sample, SeedValue
from vgharness.statistics import Scale, grain_on, mean_of

# A network has left chance where it is right half as often again: 15 % of ten classes, the README's own threshold.
_PLATEAU: Final = 1.5
_COMPARE: Final[dict[str, Callable[[Figure, Figure], Figure]]] = {"ratio": ratio, "difference": difference}

Shifts = tuple[float, float]


def measure(
    spec: ReadingSpec, claim: Claim, variant: str, evidence: Evidence, shifts: Shifts = (0.0, 0.0)
) -> Measurement:
    """Measures one reading of ``claim``, for one of the variants that it is judged for.

    ``shifts``: points that are added to every accuracy of the networks, and of those that they are compared with.
    Seeds that lack what it needs are left out. Raises :class:`NotRunError` where that leaves none.
    """
    if missing := lacking(spec, claim, variant, evidence):
        raise NotRunError(missing)
    if spec.curve is not None:
        return _curve_distances(spec, claim, variant, evidence, shifts[0])
    figures = _per_seed(spec, claim, variant, evidence, shifts)
    exact = spec.what.kind == "count"
    return Measurement(
        values=[_seed_value(seed, figure, spec.scale) for seed, figure in figures.items()],
        scale=spec.scale,
        grain=_mean_grain(spec.scale, list(figures.values())),
        exact=exact,
        error=_worst_error(list(figures.values())),
        error_counts=spec.what.has_error and spec.of.holder == "study",
        plateau=_plateau(spec, evidence),
    )


def _per_seed(spec: ReadingSpec, claim: Claim, variant: str, evidence: Evidence, shifts: Shifts) -> dict[int, Figure]:
    epochs = epochs_needed(spec, claim.recipe)
    columns = [evidence.held(subject, claim, variant, epochs) for subject in subjects_of(spec)]
    missing = f"needs a seed with both {spec.of} and {spec.against}"
    figures: dict[int, Figure] = {}
    for seed in sorted(set.intersection(*map(set, columns))):
        try:
            if spec.quantity == "network_differences":
                pair = [column[seed] for column in columns]
                assert isinstance(pair[0], CellResult)
                assert isinstance(pair[1], CellResult)
                figures[seed] = network_differences(spec, pair[0], pair[1])
                continue
            of, *against = (
                _figure(spec, column[seed], seed, claim, evidence, shift)
                for column, shift in zip(columns, shifts, strict=False)
            )
        except NotRunError as error:
            missing = str(error)
            continue
        figures[seed] = _COMPARE[spec.by](of, against[0]) if spec.by else of
    if not figures:
        raise NotRunError(missing)
    return figures


def _figure(
    spec: ReadingSpec,
    held: CellResult | Sample | Watched | None,
    seed: int,
    claim: Claim,
    evidence: Evidence,
    shift: float,
) -> Figure:
    assert held is not None  # a cell that is only planned is never measured
    if isinstance(held, Sample):
        return of_sample(spec, held, seed)
    if isinstance(held, Watched):
        return of_training(spec, held)
    return of_cell(spec, held, _setting(claim, evidence, shift))


def _setting(claim: Claim, evidence: Evidence, shift: float) -> Setting:
    assert evidence.data is not None
    return Setting(claim.recipe, shift, evidence.data.train_images, evidence.data.test_images)


def _curve_distances(spec: ReadingSpec, claim: Claim, variant: str, evidence: Evidence, shift: float) -> Measurement:
    """Mean over the epochs of |curve − mean of the other seeds' curves|: of each seed, and of the published curve."""
    curves: dict[int, tuple[float, ...]] = {}
    setting = _setting(claim, evidence, shift)
    missing = ""
    for seed, result in evidence.cells_of(spec.of, claim, variant, epochs_needed(spec, claim.recipe)).items():
        try:
            assert result is not None
            curves[seed] = curve_of(result, spec, setting)
        except NotRunError as error:
            missing = str(error)
    if not curves:
        raise NotRunError(missing)
    seeds, rows = list(curves), np.array(list(curves.values()))
    kept = np.isfinite(rows).all(axis=1)
    values = []
    for place, seed in enumerate(seeds):
        others = rows[kept & (np.arange(len(seeds)) != place)]
        value = float(np.abs(rows[place] - others.mean(axis=0)).mean()) if kept[place] and len(others) else math.nan
        values.append(SeedValue(seed=seed, value=value))
    published = float(np.abs(np.array(spec.curve) - rows[kept].mean(axis=0)).mean()) if kept.any() else math.nan
    return Measurement(values=values, scale="log", published=published)


def _seed_value(seed: int, figure: Figure, scale: Scale) -> SeedValue:
    if figure.low == figure.high or not math.isfinite(figure.value):
        return SeedValue(seed=seed, value=figure.value)
    # On the logarithm's scale 0 is as far away as there is.
    low, high = (None if not math.isfinite(x) or (scale == "log" and x <= 0) else x for x in figure[1:3])
    return SeedValue(seed=seed, value=figure.value, bounds=Bounds(low=low, high=high))


def _mean_grain(scale: Scale, figures: list[Figure]) -> float:
    """The figures' grain, on the scale."""
    known = [figure for figure in figures if math.isfinite(figure.value) and figure.grain]
    if not known:
        return 0.0
    grains, values = [figure.grain for figure in known], [figure.value for figure in known]
    return grain_on(scale, mean_of(values), mean_of(grains))


def _worst_error(figures: list[Figure]) -> float | None:
    """The greatest over the seeds; ``None`` where it is not known of one."""
    errors = [figure.error for figure in figures if math.isfinite(figure.value)]
    known = [error for error in errors if error is not None]
    return max(known) if known and len(known) == len(errors) else None


def _plateau(spec: ReadingSpec, evidence: Evidence) -> float | None:
    if spec.unit != "%" or evidence.data is None:
        return None
    return _PLATEAU * 100 / len(evidence.data.classes)
