"""Runs a study: trains its grid of cells and judges claims on what was measured."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Literal

import torch

from vgharness.claims.loading import load_claims
from vgharness.claims.spec import Claim
from vgharness.data.image_set import ImageSet
from vgharness.data.on_device import DeviceImages
from vgharness.records import Run, Study
from vgharness.study.judging import judged
from vgharness.system.environment import commit, describe
from vgharness.training.callback import Callback
from vgharness.training.estimate import expected_seconds
from vgharness.training.executor import Execution


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
    """Trains every cell of ``study`` on ``images`` and gives the run with its verdicts.

    ``claims`` are those to judge, by default the studied README's. ``command`` is recorded as what reproduces the run.
    ``callback`` is called as training goes on. On a CPU ``jobs`` cells train at a time, by default one for each core;
    results do not depend on it.

    A cell that raises is recorded as ``failed`` and the others go on. Ctrl-C ends the study with what there is: the
    run's status is then ``interrupted``.
    """
    started = time.perf_counter()
    device = torch.device(device)
    begun = Run(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        status="running",
        command=command,
        commit=commit(),  # now: the files may change while the study runs
        machine=describe(device),
        data=images.provenance,
        study=study,
        results=(),
        seconds=0.0,
    )
    device_images = DeviceImages(images, device)
    execution = Execution(study.cells)
    try:
        if callback:
            callback.study_started(begun, expected_seconds(study, device_images, jobs))
        execution.run(device_images, study.precision, callback, jobs)
    except KeyboardInterrupt:
        pass  # what there is counts
    status: Literal["finished", "interrupted"] = "finished" if execution.complete else "interrupted"
    unjudged = begun.so_far(status, execution.results, time.perf_counter() - started)
    return judged(unjudged, load_claims() if claims is None else claims)
