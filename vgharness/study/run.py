"""A study: a grid of cells, trained into a run with its verdicts."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from datetime import UTC, datetime

import torch

from vgharness.claims.spec import Claim, load_claims
from vgharness.claims.verdicts import judge
from vgharness.data.image_set import ImageSet
from vgharness.data.on_device import DeviceImages
from vgharness.records import Cell, Run, Study
from vgharness.system.environment import commit, describe
from vgharness.training.callback import Callback
from vgharness.training.executor import Execution, single_threaded, worker_count
from vgharness.training.loop import first_batch, seconds_per_image
from vgharness.training.pack import shape


def run_study(
    study: Study,
    images: ImageSet,
    *,
    device: torch.device | str = "cpu",
    claims: Iterable[Claim] | None = None,
    command: str = "",
    callback: Callback | None = None,
    jobs: int | None = None,
) -> Run:
    """Trains every cell and judges the claims, by default the studied README's.

    On a CPU ``jobs`` cells train at a time, by default one for each core; results do not depend on it. A cell that
    raises is recorded as ``failed`` and the others go on. Ctrl-C ends the study with what there is: the run's status
    is then ``interrupted``. ``command`` is recorded as what reproduces it.
    """
    started, created = time.perf_counter(), datetime.now(UTC).isoformat(timespec="seconds")
    source = commit()  # now: the files may change while the study runs
    device = torch.device(device)
    resident = DeviceImages(images, device)
    execution = Execution(study.cells)
    try:
        if callback:
            callback.study_started(study, expected_seconds(study, resident, jobs))
        execution.run(resident, study.precision, callback, jobs)
    except KeyboardInterrupt:
        pass  # what there is counts
    run = Run(
        created=created,
        status="finished" if execution.complete else "interrupted",
        command=command,
        commit=source,
        machine=describe(device),
        data=images.provenance,
        study=study,
        results=execution.results,
        seconds=time.perf_counter() - started,
    )
    return run.model_copy(update={"verdicts": judge(load_claims() if claims is None else claims, run)})


def expected_seconds(study: Study, images: DeviceImages, jobs: int | None = None) -> float | None:
    """How long the study will take on this CPU, from a few steps of each kind of network in it; ``None`` on a GPU,
    where a pack of them takes less than this would."""
    if images.device.type != "cpu":
        return None
    total = 0.0
    speeds: dict[Cell, tuple[float, float]] = {}
    with single_threaded(images.device):
        for cell in study.cells:
            kind = shape(cell).model_copy(update={"epochs": 0})
            if kind not in speeds:
                speeds[kind] = seconds_per_image(cell, images, study.precision)
            train_speed, test_speed = speeds[kind]
            total += cell.epochs * (len(images.padded) * train_speed + len(images.test_images) * test_speed)
    return total / worker_count(images.device, len(study.cells), jobs)


def worst_error(study: Study, images: ImageSet, device: torch.device | str) -> tuple[float, Cell, str]:
    """The largest relative error of a weight's gradient at the study's precision against float64, on the
    first batch of the first seed's networks; and the cell and the layer where it is."""
    resident = DeviceImages(images, torch.device(device))
    return max(
        (
            (math.inf if error.weight_l2 is None else error.weight_l2, cell, error.name)
            for cell in study.cells
            if cell.seed == study.cells[0].seed
            for error in first_batch(cell, resident, study.precision)["numerics"]
        ),
        key=lambda found: found[0],
    )
