"""A study: a grid of cells, trained one after the other into a run with its verdicts."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from datetime import UTC, datetime

import torch

from vgharness.claims import Claim, load_claims
from vgharness.data import ImageSet
from vgharness.machine import commit, describe
from vgharness.records import Cell, CellResult, Run, Study
from vgharness.train import Resident, Watcher, first_batch, seconds_per_image, train
from vgharness.verdicts import judge


def run_study(
    study: Study,
    images: ImageSet,
    *,
    device: torch.device | str = "cpu",
    claims: Iterable[Claim] | None = None,
    command: str = "",
    watcher: Watcher | None = None,
) -> Run:
    """Trains every cell and judges the claims, by default the studied README's.

    A cell that raises is recorded as ``failed`` and the others go on. Ctrl-C ends the study with what
    there is: the run's status is then ``interrupted``. ``command`` is recorded as what reproduces it.
    """
    started, created = time.perf_counter(), datetime.now(UTC).isoformat(timespec="seconds")
    source = commit()  # now: the files may change while the study runs
    device = torch.device(device)
    resident = Resident(images, device)
    results: list[CellResult] = []
    try:
        if watcher:
            watcher.study_started(study, expected_seconds(study, resident))
        for cell in study.cells:
            if watcher:
                watcher.cell_started(cell)
            results.append(_train(cell, resident, study, watcher))
            if watcher:
                watcher.cell_done(results[-1])
            if results[-1].status == "interrupted":
                break
    except KeyboardInterrupt:
        pass  # between two cells; what is finished counts
    complete = len(results) == len(study.cells) and all(r.status != "interrupted" for r in results)
    run = Run(
        created=created,
        status="finished" if complete else "interrupted",
        command=command,
        commit=source,
        machine=describe(device),
        data=images.provenance,
        study=study,
        results=tuple(results),
        seconds=time.perf_counter() - started,
    )
    return run.model_copy(update={"verdicts": judge(load_claims() if claims is None else claims, run)})


def expected_seconds(study: Study, images: Resident) -> float:
    """How long the study will take here, from a few steps of each kind of network in it."""
    total = 0.0
    speeds: dict[tuple[str, int], tuple[float, float]] = {}
    for cell in study.cells:
        kind = (cell.architecture, cell.depth)
        if kind not in speeds:
            speeds[kind] = seconds_per_image(cell, images, study.precision)
        train_speed, test_speed = speeds[kind]
        total += cell.epochs * (len(images.padded) * train_speed + len(images.test_images) * test_speed)
    return total


def worst_error(study: Study, images: ImageSet, device: torch.device | str) -> tuple[float, Cell, str]:
    """The largest relative error of a weight's gradient at the study's precision against float64, on the
    first batch of the first seed's networks; and the cell and the layer where it is."""
    resident = Resident(images, torch.device(device))
    return max(
        (
            (math.inf if error.weight_l2 is None else error.weight_l2, cell, error.name)
            for cell in study.cells
            if cell.seed == study.cells[0].seed
            for error in first_batch(cell, resident, study.precision)["numerics"]
        ),
        key=lambda found: found[0],
    )


def _train(cell: Cell, images: Resident, study: Study, watcher: Watcher | None) -> CellResult:
    try:
        return train(cell, images, study.precision, watcher)
    except Exception as error:  # whatever it was, it is this cell's: the others go on
        reason = f"{type(error).__name__}: {error}".partition("\n")[0]
        return CellResult(cell=cell, status="failed", reason=reason)
