"""Runs a study: trains its grid of cells and judges claims on what was measured."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from typing import Literal, NamedTuple

import torch

from vgharness.claims.loading import load_claims
from vgharness.claims.spec import Claim
from vgharness.data.image_set import ImageSet
from vgharness.data.on_device import DeviceImages
from vgharness.records import CellResult, Run, Study
from vgharness.storage.store import RunStore
from vgharness.study.judging import judged
from vgharness.study.rounds import next_round
from vgharness.study.shown_here import Progress, progress_here
from vgharness.system.device import all_of
from vgharness.system.environment import commit, describe
from vgharness.system.process import interruptions_heard
from vgharness.training.callback import Callback, Callbacks
from vgharness.training.estimate import expected_seconds
from vgharness.training.executor import Execution, Executor, LocalExecutor
from vgharness.training.keeping import Keeper


def run_study(
    study: Study,
    images: ImageSet,
    *,
    device: torch.device | str = "cpu",
    claims: Iterable[Claim] | None = None,
    command: str = "",
    callback: Callback | None = None,
    progress: Progress = "auto",
    jobs: int | None = None,
    store: RunStore | None = None,
    fresh: bool = False,
    cluster: str | None = None,
) -> Run:
    """Trains every cell of ``study`` on ``images`` and gives the run with its verdicts.

    ``claims`` are those to judge, by default the studied README's. ``command`` is recorded as what reproduces the run.
    ``callback`` is called as training goes on. ``progress``: ``True`` shows how far it is, in a notebook's cell or on
    stderr; ``auto``: in a notebook or on a terminal, not in a test nor beside a ``callback``. On a CPU ``jobs`` cells
    train at a time, by default one for each core. The device ``cuda`` is all GPUs there are, ``cuda:N`` one.

    ``store``: where each epoch is kept as it ends, so that the same call goes on where an earlier one was ended,
    whatever ended it; None: nowhere. ``fresh``: forget what an earlier call has kept. Once the run is saved,
    :meth:`~vgharness.storage.store.RunStore.forget_work` removes all of it.

    ``cluster``: the address of a Ray cluster that this machine is a part of, on whose cores or, with a GPU as
    ``device``, on whose GPUs packs train; ``auto``: the one that runs here. None: they train in this process.

    A cell that raises is tried again twice, then recorded as ``failed``, and the others go on. Ctrl-C ends the study
    with what there is: the run's status is then ``interrupted``. Raises :class:`~vgharness.errors.UsageError` where
    nothing can be kept in the store, or another process trains one of the cells.
    A study with :attr:`~vgharness.records.Study.rounds` goes on with more seeds until its claims are decided.
    """
    started, where = time.perf_counter(), _Where(torch.device(device), jobs, cluster)
    chosen, following = load_claims() if claims is None else tuple(claims), study
    run = _begun(study, images, where, command)
    with ExitStack() as stack:
        callback = _heard(callback, progress, stack)
        while True:
            begun = run.so_far("running", run.results, run.seconds).changed(study=following)
            left = _left(begun)
            keeper = _keeper(left, store, fresh, callback, stack)
            trained = _trained(begun, left.study, images, where, callback, keeper, started)
            try:
                run = judged(trained, chosen)
            except KeyboardInterrupt:  # what was trained is not lost: judged once more, and no other round begins
                return judged(trained.so_far("interrupted", trained.results, trained.seconds), chosen)
            if (further := next_round(run)) is None:
                return run
            following = further


def _heard(callback: Callback | None, progress: Progress, stack: ExitStack) -> Callback:
    """The user's callback, and with it what shows the progress here."""
    shown = progress_here(False if callback and progress == "auto" else progress)
    if shown is None:
        return callback or Callback()
    stack.enter_context(shown)
    return Callbacks(callback, shown) if callback else shown


def _keeper(left: Run, store: RunStore | None, fresh: bool, callback: Callback, stack: ExitStack) -> Keeper:
    """What keeps the epochs of ``left``."""
    work = stack.enter_context(store.work(left, callback.warned)) if store else None
    if work and fresh:
        work.start_over()
    return Keeper(work)


class _Where(NamedTuple):
    """Where a study trains: the arguments of :func:`run_study`."""

    device: torch.device
    jobs: int | None
    cluster: str | None


def _begun(study: Study, images: ImageSet, where: _Where, command: str) -> Run:
    """The run as it is before anything is trained."""
    return Run(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        status="running",
        command=command,
        commit=commit(),  # now: the files may change while the study runs
        machine=describe(where.device),
        data=images.provenance,
        study=study,
        results=(),
        seconds=0.0,
    )


def _left(run: Run) -> Run:
    """The same run with those of its cells of which it has no result."""
    trained = {result.cell for result in run.results}
    cells = [cell for cell in run.study.cells if cell not in trained]
    return run.changed(results=(), study=run.study.changed(cells=cells))


def _trained(
    begun: Run, left: Study, images: ImageSet, where: _Where, callback: Callback, keeper: Keeper, started: float
) -> Run:
    """Trains the cells of ``left``, those that ``begun`` has no result of. ``started``: when the study was, on the
    performance counter."""
    execution = Execution(left.cells, keeper)
    with suppress(KeyboardInterrupt), interruptions_heard():  # what there is counts
        executor, seconds = _executor(left, images, where, execution.resumed)
        callback.study_started(begun, seconds() if seconds and type(callback) is not Callback else None)
        if execution.resumed:
            callback.study_resumed([_going_on(result) for result in execution.resumed])
        execution.run(executor, callback)
    status: Literal["finished", "interrupted"] = "finished" if execution.complete else "interrupted"
    return begun.so_far(status, (*begun.results, *execution.results), time.perf_counter() - started)


def _executor(
    study: Study, images: ImageSet, where: _Where, resumed: Sequence[CellResult]
) -> tuple[Executor, Callable[[], float | None] | None]:
    """Where the study trains, and what says how long that takes, where it can be known."""
    device, jobs, cluster = where
    if cluster is not None:
        from vgharness.training.ray_cluster import RayExecutor  # Ray is slow to import, and may not be there

        return RayExecutor(images, study.precision, device, cluster, jobs), None
    here = [DeviceImages(images, each) for each in all_of(device)]
    return LocalExecutor(here, study.precision, jobs), lambda: expected_seconds(study, here[0], jobs, resumed)


def _going_on(result: CellResult) -> CellResult:
    """What was interrupted as it is now: it trains."""
    return result.changed(status="running", reason="") if result.status == "interrupted" else result
