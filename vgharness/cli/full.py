"""``full`` and ``run``: train a study, judge its claims, write the page.

    python -m vgharness.full --preset quick
    python -m vgharness.full --device cuda --watch
    python -m vgharness.full --preset script --plan
    python -m vgharness.full --depths 4,8 --norm none,batch
    vgharness run study.toml

However it is ended, the same command goes on where it was: each epoch is kept as it ends.

Exit status: 0 every claim that ran was reproduced, or --plan; 1 some was not, or none ran; 2 bad input; 3 a cell
failed or diverged; 4 the run could not be saved, or its page not written; 130 interrupted, by Ctrl-C, SIGTERM or
SIGHUP.
"""

from __future__ import annotations

import shlex
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple

import typer
from rich.console import Console

from vgharness.cli import full_options as given
from vgharness.cli.concluding import Conclusion
from vgharness.cli.errors import run as run_program
from vgharness.cli.errors import usage_errors
from vgharness.cli.full_options import Options, given_options, given_preset, given_study
from vgharness.cli.runs import check_report
from vgharness.cli.verdicts import NOT_REPRODUCED, REPRODUCED, chosen_claims, verdict_status
from vgharness.errors import UsageError
from vgharness.formatting import percent
from vgharness.records import Run, Study
from vgharness.storage.store import RunStore
from vgharness.study.design import AUTO, Design
from vgharness.study.file import READY, load_design
from vgharness.study.grid import OPTIONS, as_options
from vgharness.study.presets import PRESETS, design_of
from vgharness.system.files import check_folder, shown
from vgharness.system.process import configure_process, ended_as_by_ctrl_c, interruptions_held
from vgharness.system.terminal import complain, console

if TYPE_CHECKING:
    import torch

    from vgharness.claims.spec import Claim
    from vgharness.data.image_set import ImageSet

FAILED, NOT_SAVED, INTERRUPTED = 3, 4, 130
FULL, RUN = "vgharness.full", "vgharness run"
MOST_UNASKED: Final = 10_000  # cells


class _Task(NamedTuple):
    """What is to be done, once the device is known.

    study: to train.
    source: of the images.
    claims: to judge.
    device: to train on.
    """

    study: Study
    source: str
    claims: tuple[Claim, ...]
    device: torch.device


def full(
    device: given.Device = "auto",
    preset: given.Preset = None,
    data: given.Data = None,
    epochs: given.Epochs = None,
    seeds: given.Seeds = None,
    most_seeds: given.MostSeeds = None,
    seed: given.Seed = None,
    activations: given.Activations = None,
    depths: given.Depths = None,
    width: given.Width = None,
    norm: given.Norm = None,
    init: given.Init = None,
    optimizer: given.Optimizer = None,
    learning_rate: given.LearningRate = None,
    schedule: given.Schedule = None,
    jobs: given.Jobs = None,
    precision: given.PrecisionName = None,
    claims: given.Claims = None,
    out: given.Out = given.REPORTS,
    watch: given.Watch = False,
    fresh: given.Fresh = False,
    executor: given.Where = "local",
    address: given.Address = "auto",
    plan_only: given.Plan = False,
    exit_zero: given.ExitZero = False,
    yes: given.Yes = False,
) -> None:
    """Train the networks, measure their gradients, judge every claim, write the page. Networks are the grid of all the
    values that are given.

    However it is ended, the same command goes on where it was: each epoch is kept as it ends.

    Exit status: 0 every claim that ran was reproduced, 1 some claim was not, 2 bad input, 3 a cell
    failed or diverged, 4 the run could not be saved, or its page not written, 130 interrupted (Ctrl-C,
    SIGTERM, SIGHUP).
    """
    listed = (activations, depths, width, norm, init, optimizer, learning_rate, schedule)
    factors = dict(zip(OPTIONS, listed, strict=True))
    with usage_errors(FULL):
        options = given_options(
            FULL, given_preset(preset), factors, device, data, epochs, seeds, most_seeds, seed, jobs, precision, claims,
            out, watch, fresh, yes, executor, address,
        )  # fmt: skip
    carry_out(options, plan_only=plan_only, exit_zero=exit_zero)


def run(
    study: Annotated[
        str, typer.Argument(help=f"a study file (TOML), or a ready-made study: {', '.join(READY)}", show_default=False)
    ],
    device: given.Device = "auto",
    data: given.Data = None,
    epochs: given.Epochs = None,
    seeds: given.Seeds = None,
    most_seeds: given.MostSeeds = None,
    seed: given.Seed = None,
    jobs: given.Jobs = None,
    precision: given.PrecisionName = None,
    claims: given.Claims = None,
    out: given.Out = given.REPORTS,
    watch: given.Watch = False,
    fresh: given.Fresh = False,
    executor: given.Where = "local",
    address: given.Address = "auto",
    plan_only: given.Plan = False,
    exit_zero: given.ExitZero = False,
    yes: given.Yes = False,
) -> None:
    """Train the study that a file describes, judge its claims, write the page. What a file may say: README, "A study of
    your own".

    Exit status: as of full.
    """
    with usage_errors(RUN):
        options = given_options(
            RUN, given_study(study), {}, device, data, epochs, seeds, most_seeds, seed, jobs,
            precision, claims, out, watch, fresh, yes, executor, address,
        )  # fmt: skip
    carry_out(options, plan_only=plan_only, exit_zero=exit_zero)


def carry_out(options: Options, *, plan_only: bool, exit_zero: bool) -> None:
    """Plans or trains what was asked for, and ends the program with the exit status of what came of it."""
    conclusion = Conclusion(console(), RunStore(), options.out)
    with usage_errors(options.program):
        status = _done(options, plan_only, conclusion)
    raise typer.Exit(REPRODUCED if exit_zero and status == NOT_REPRODUCED else status)


def _done(options: Options, plan_only: bool, conclusion: Conclusion) -> int:
    """Does what was asked for; returns the exit status."""
    try:
        if plan_only:
            _plan(console(), options)
            return REPRODUCED
        with ended_as_by_ctrl_c():
            run = _run(console(), options, conclusion)
    except KeyboardInterrupt:
        complain(options.program, conclusion.interrupted())
        return INTERRUPTED
    return NOT_SAVED if conclusion.is_incomplete else exit_status(run)


def exit_status(run: Run) -> int:
    """As in the module's docstring."""
    if run.status == "interrupted":
        return INTERRUPTED
    if any(result.status in ("failed", "diverged") for result in run.results):
        return FAILED
    return verdict_status(run.verdicts)


def _plan(screen: Console, options: Options) -> None:
    """Says what the study can decide, and how long it takes; leaves nothing behind."""
    task = _task(screen, options, _claims(options), asks=False)
    from vgharness.claims.outlook import outlooks
    from vgharness.data.on_device import DeviceImages
    from vgharness.data.planned import planned_images
    from vgharness.report.outlook_table import table_of_outlooks
    from vgharness.report.rounds import planned_rounds_line
    from vgharness.study.progress import study_line
    from vgharness.training.estimate import expected_seconds

    study = task.study
    images = planned_images(task.source, train_images=study.train_images, test_images=study.test_images)
    screen.print(table_of_outlooks(outlooks(task.claims, study, images.provenance)))
    seconds = expected_seconds(study, DeviceImages(images, task.device), options.jobs)
    screen.print(study_line(study, seconds), soft_wrap=True)
    if study.rounds:
        screen.print(planned_rounds_line(study.rounds, seconds), soft_wrap=True)


def _run(screen: Console, options: Options, conclusion: Conclusion) -> Run:
    claims = _claims(options)
    check_folder(options.out, "--out")
    conclusion.store.check("the folder of saved runs")
    task = _task(screen, options, claims, asks=not options.yes)
    from vgharness.claims.outlook import outlooks
    from vgharness.cli.progress import decoding
    from vgharness.cli.watched_page import WatchedPage
    from vgharness.data.images import load_images
    from vgharness.report.outlook_table import outlook_lines
    from vgharness.study.progress import StudyProgress
    from vgharness.study.run import run_study
    from vgharness.training.callback import Callbacks

    check_report(options.out)
    study = task.study
    with decoding(screen) as progress:
        images = load_images(
            task.source, train_images=study.train_images, test_images=study.test_images, progress=progress
        )
    screen.print(*outlook_lines(outlooks(task.claims, study, images.provenance)), sep="\n", soft_wrap=True)
    if study.precision != "fp32":
        _warn_of_precision(screen, study, images, task.device)
    with ExitStack() as stack:
        shown_here = stack.enter_context(StudyProgress(screen))
        page = WatchedPage(options.out, task.claims, shown_here.seconds_left, screen.print) if options.watch else None
        with interruptions_held():  # but while it trains
            run = run_study(
                study,
                images,
                device=task.device,
                claims=task.claims,
                command=_command(task, options),
                callback=Callbacks(shown_here, stack.enter_context(page)) if page else shown_here,
                jobs=options.jobs,
                store=conclusion.store,
                fresh=options.fresh,
                cluster=options.cluster,
            )
            conclusion.save(run)
    conclusion.show(run, page)
    return run


def _task(screen: Console, options: Options, claims: tuple[Claim, ...], *, asks: bool) -> _Task:
    configure_process()
    # Slow to import, so only once the arguments are known to be good.
    from vgharness.precision import check_precision
    from vgharness.system.device import pick_device

    device = pick_device(options.device, all_gpus=True)
    name = options.study or ("full" if device.type == "cuda" else "quick")
    design = _design(name, options)
    check_precision(design.precision, device)
    if asks and design.size > MOST_UNASKED:
        _ask(design.size)
    study = design.study()
    _check_own_networks(study)
    what = "study" if isinstance(name, Path) else "preset"
    screen.print(
        f"{what} {shown(design.name)} on {device}, {study.precision}; images: {shown(design.source)}", soft_wrap=True
    )
    return _Task(study, design.source, claims, device)


def _check_own_networks(study: Study) -> None:
    """Raises what would go wrong with the user's own code before anything is trained."""
    from vgharness.training.own_network import check_own

    for cell in {cell.own: cell for cell in study.cells if cell.own is not None}.values():
        check_own(cell)


def _design(name: str | Path, options: Options) -> Design:
    """What the study is made from, with what was given in place of its own."""
    design = load_design(name) if isinstance(name, Path) else design_of(name, options.factors)
    changed = design.changed(
        epochs=options.epochs, seeds=options.seeds, most_seeds=options.most_seeds, precision=options.precision
    )
    return replace(changed, source=options.data or changed.source)


def _claims(options: Options) -> tuple[Claim, ...]:
    """Those that were given, else those that the study is for."""
    design = _design(options.study, options) if options.study is not None else None
    own = options.claims or (design.claims if design else None)
    # What the studied README says is not said of anybody else's networks.
    return () if own is None and design is not None and design.of_own_networks else chosen_claims(own)


def _ask(size: int) -> None:
    """Asks before ``size`` networks are trained; raises :class:`~vgharness.errors.UsageError` where nobody is there to
    answer, or says no."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError(f"{size:,} networks: to train more than {MOST_UNASKED:,} without being asked, give --yes")
    if not typer.confirm(f"{size:,} networks: train them all?"):
        raise UsageError("nothing was trained")


def _warn_of_precision(screen: Console, study: Study, images: ImageSet, device: torch.device) -> None:
    from vgharness.training.first_batch import worst_error

    worst = worst_error(study, images, device)
    if worst is None:
        return
    screen.print(
        f"warning: at {study.precision} gradients are off by up to {percent(worst.error)} from float64's "
        f"({worst.cell.name}, {worst.layer}, first batch); claims whose margin is smaller are inconclusive. fp32 is "
        "the reference.",
        soft_wrap=True,
    )


def _command(task: _Task, options: Options) -> str:
    """What gives this study again, whatever the defaults are where it is typed."""
    study, own = task.study, options.study or task.study.preset
    seeds = ["--seed", ",".join(dict.fromkeys(str(cell.seed) for cell in study.cells))]
    if study.rounds:
        seeds = ["--seeds", AUTO, "--most-seeds", str(study.rounds.looks[-1].seeds)]
    if options.program == RUN:
        program, parts = RUN, [str(own)]
    else:
        program, parts = f"python -m {FULL}", ["--preset", str(own)]
    parts += ["--device", str(task.device), "--data", task.source]
    if own in PRESETS or options.epochs is not None:  # a file's grids may each have their own
        parts += ["--epochs", str(max(cell.epochs for cell in study.cells))]
    parts += [*seeds, "--precision", study.precision, *as_options(options.factors)]
    if options.claims is not None:
        parts += ["--claims", str(options.claims)]
    return f"{program} {shlex.join(parts)}"


def main() -> None:
    """Entry point of ``python -m vgharness.full``."""
    run_program(lambda: typer.run(full))
