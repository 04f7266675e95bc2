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
from vgharness.study.rounds import next_round
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
    run's status is then ``interrupted``. A study with :attr:`~vgharness.records.Study.rounds` goes on with more seeds
    until its claims are decided; the run then has the study with all its cells, and says at which look it ended.
    """
    started = time.perf_counter()
    device = torch.device(device)
    chosen = load_claims() if claims is None else tuple(claims)
    run = Run(
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
    following: Study | None = study
    while following is not None:
        begun = Run(**{**dict(run.so_far("running", run.results, run.seconds)), "study": following})
        trained = _trained(begun, device_images, callback, jobs, started)
        try:
            run = judged(trained, chosen)
        except KeyboardInterrupt:  # what was trained is not lost: judged once more, and no other round begins
            return judged(trained.so_far("interrupted", trained.results, trained.seconds), chosen)
        following = next_round(run)
    return run


def _trained(begun: Run, images: DeviceImages, callback: Callback | None, jobs: int | None, started: float) -> Run:
    """Trains the cells that ``begun`` has no result of. ``started``: when the study was, on the performance counter."""
    trained = {result.cell for result in begun.results}
    left = Study(**{**dict(begun.study), "cells": [cell for cell in begun.study.cells if cell not in trained]})
    execution = Execution(left.cells)
    try:
        if callback:
            callback.study_started(begun, expected_seconds(left, images, jobs))
        execution.run(images, left.precision, callback, jobs)
    except KeyboardInterrupt:
        pass  # what there is counts
    status: Literal["finished", "interrupted"] = "finished" if execution.complete else "interrupted"
    return begun.so_far(status, (*begun.results, *execution.results), time.perf_counter() - started)
