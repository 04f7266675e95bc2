"""``full``: trains the study, judges the claims, writes the page.

    python -m vgharness.full --preset quick
    python -m vgharness.full --device cuda --watch
    python -m vgharness.full --preset script --plan

Exit status: 0 every claim that ran was reproduced, or --plan; 1 some was not, or none ran; 2 bad input; 3 a cell
failed or diverged; 130 interrupted, by Ctrl-C, SIGTERM or SIGHUP.
"""

from __future__ import annotations

import shlex
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal, NamedTuple

import typer
from rich.console import Console

from vgharness.cli.errors import named_precision, usage_errors
from vgharness.cli.errors import run as run_program
from vgharness.cli.full_options import (
    AUTO,
    given_activations,
    given_depths,
    given_most_seeds,
    given_positive,
    given_preset,
    given_seeds,
)
from vgharness.cli.runs import check_report, past_runs
from vgharness.cli.verdicts import (
    CLAIMS_HELP,
    NOT_REPRODUCED,
    REPRODUCED,
    chosen_claims,
    print_verdicts,
    verdict_status,
)
from vgharness.formatting import percent
from vgharness.records import ACTIVATIONS, FIRST_SEED, Activation, Precision, Run, Study
from vgharness.storage.store import RunStore
from vgharness.study.looks import MOST_BY_DEFAULT
from vgharness.study.presets import PRESETS, plan
from vgharness.system.files import check_folder, shown
from vgharness.system.process import configure_process, ended_as_by_ctrl_c
from vgharness.system.terminal import complain, console

if TYPE_CHECKING:
    import torch

    from vgharness.claims.spec import Claim
    from vgharness.cli.watch import WatchedPage
    from vgharness.data.image_set import ImageSet

FAILED, INTERRUPTED = 3, 130
_PROGRAM: Final = "vgharness.full"

Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N")]
Preset = Annotated[str | None, typer.Option(help=f"{', '.join(PRESETS)}; by default full on a GPU, quick without one")]
Data = Annotated[
    str | None,
    typer.Option(help="cifar10, synthetic, or a folder with train/<class>/ and test/<class>/ 32×32 RGB images"),
]
Activations = Annotated[str | None, typer.Option(help=f"which to train: {','.join(ACTIVATIONS)}")]
Jobs = Annotated[
    int | None, typer.Option(help="networks that train side by side on a CPU; by default one for each core")
]
Watch = Annotated[
    bool, typer.Option("--watch", help="rewrite the page while it trains, with what there is; it reloads itself")
]
Seeds = Annotated[
    str | None,
    typer.Option(
        help=f"how many seeds, counted from {FIRST_SEED}; auto: more of them until every claim is decided that these "
        "settings can decide, with intervals that allow for looking more than once"
    ),
]
MostSeeds = Annotated[
    int | None, typer.Option(help=f"with --seeds auto, the most that there may be; by default {MOST_BY_DEFAULT}")
]
Out = Annotated[Path, typer.Option(help="where the page, its figures and its files for programs go")]
Plan = Annotated[
    bool, typer.Option("--plan", help="print what can be decided and how long it takes, train and write nothing")
]


@dataclass(frozen=True)
class Options:
    """What was asked for on the command line, checked as far as that goes without PyTorch.

    ``None`` stands for what the preset says, for the preset of the device, and for the studied README's claims.
    """

    device: str
    preset: str | None
    data: str | None
    epochs: int | None
    seeds: tuple[int, ...] | Literal["auto"] | None
    most_seeds: int
    activations: tuple[Activation, ...] | None
    depths: tuple[int, ...]
    jobs: int | None
    precision: Precision
    claims: Path | None
    out: Path
    watch: bool


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
    device: Device = "auto",
    preset: Preset = None,
    data: Data = None,
    epochs: Annotated[int | None, typer.Option(help="epochs to train, in place of the preset's")] = None,
    seeds: Seeds = None,
    most_seeds: MostSeeds = None,
    seed: Annotated[str | None, typer.Option(help="which seeds, in place of --seeds: 42,43,44")] = None,
    activations: Activations = None,
    depths: Annotated[str, typer.Option(help="how many convolutions, 2 to 10; two claims need 2,4,6,8,10")] = "4",
    jobs: Jobs = None,
    precision: Annotated[str, typer.Option(help="fp32, tf32 (a GPU only) or bf16")] = "fp32",
    claims: Annotated[Path | None, typer.Option(help=CLAIMS_HELP)] = None,
    out: Out = Path("reports"),
    watch: Watch = False,
    plan_only: Plan = False,
    exit_zero: Annotated[bool, typer.Option("--exit-zero", help="exit 0 whatever the verdicts are")] = False,
) -> None:
    """Train the networks, measure their gradients, judge every claim, write the page.

    Exit status: 0 every claim that ran was reproduced, 1 some claim was not, 2 bad input, 3 a cell
    failed or diverged, 130 interrupted (Ctrl-C, SIGTERM, SIGHUP).
    """
    with usage_errors(_PROGRAM):
        options = Options(
            device=device,
            preset=given_preset(preset),
            data=data,
            epochs=given_positive("--epochs", epochs),
            seeds=given_seeds(seeds, seed),
            most_seeds=given_most_seeds(most_seeds, seeds),
            activations=given_activations(activations),
            depths=given_depths(depths),
            jobs=given_positive("--jobs", jobs),
            precision=named_precision(precision),
            claims=claims,
            out=out,
            watch=watch,
        )
        try:
            if plan_only:
                _plan(console(), options)
                return
            with ended_as_by_ctrl_c():
                run = _run(console(), options)
        except KeyboardInterrupt:
            complain(_PROGRAM, "interrupted before anything was trained")
            raise typer.Exit(INTERRUPTED) from None
    status = exit_status(run)
    raise typer.Exit(REPRODUCED if exit_zero and status == NOT_REPRODUCED else status)


def exit_status(run: Run) -> int:
    """As in the module's docstring."""
    if run.status == "interrupted":
        return INTERRUPTED
    if any(result.status in ("failed", "diverged") for result in run.results):
        return FAILED
    return verdict_status(run.verdicts)


def _plan(screen: Console, options: Options) -> None:
    """Says what the study can decide, and how long it takes; leaves nothing behind."""
    task = _task(screen, options, chosen_claims(options.claims))
    from vgharness.claims.outlook import outlooks
    from vgharness.cli.progress import study_line
    from vgharness.data.on_device import DeviceImages
    from vgharness.data.planned import planned_images
    from vgharness.report.outlook_table import table_of_outlooks
    from vgharness.report.rounds import planned_rounds_line
    from vgharness.training.estimate import expected_seconds

    study = task.study
    images = planned_images(task.source, train_images=study.train_images, test_images=study.test_images)
    screen.print(table_of_outlooks(outlooks(task.claims, study, images.provenance)))
    seconds = expected_seconds(study, DeviceImages(images, task.device), options.jobs)
    screen.print(study_line(study, seconds), soft_wrap=True)
    if study.rounds:
        screen.print(planned_rounds_line(study.rounds, seconds), soft_wrap=True)


def _run(screen: Console, options: Options) -> Run:
    claims = chosen_claims(options.claims)
    store = RunStore()
    check_folder(options.out, "--out")
    store.check("the folder of saved runs")
    task = _task(screen, options, claims)
    from vgharness.claims.outlook import outlooks
    from vgharness.cli.progress import StudyProgress, decoding
    from vgharness.cli.watch import WatchedPage
    from vgharness.data.images import load_images
    from vgharness.report.outlook_table import outlook_lines
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
        run = run_study(
            study,
            images,
            device=task.device,
            claims=task.claims,
            command=_command(task, options),
            callback=Callbacks(shown_here, stack.enter_context(page)) if page else shown_here,
            jobs=options.jobs,
        )
    _conclude(screen, store, run, options.out, page)
    return run


def _task(screen: Console, options: Options, claims: tuple[Claim, ...]) -> _Task:
    configure_process()
    # Slow to import, so only once the arguments are known to be good.
    from vgharness.precision import check_precision
    from vgharness.system.device import pick_device

    device = pick_device(options.device)
    check_precision(options.precision, device)
    preset = options.preset or ("full" if device.type == "cuda" else "quick")
    source = options.data or PRESETS[preset].source
    study = plan(
        preset,
        epochs=options.epochs,
        seeds=options.seeds,
        most_seeds=options.most_seeds,
        activations=options.activations,
        depths=options.depths,
        precision=options.precision,
    )
    screen.print(f"preset {preset} on {device}, {study.precision}; images: {shown(source)}", soft_wrap=True)
    return _Task(study, source, claims, device)


def _warn_of_precision(screen: Console, study: Study, images: ImageSet, device: torch.device) -> None:
    from vgharness.training.first_batch import worst_error

    worst = worst_error(study, images, device)
    screen.print(
        f"warning: at {study.precision} gradients are off by up to {percent(worst.error)} from float64's "
        f"({worst.cell.name}, {worst.layer}, first batch); claims whose margin is smaller are inconclusive. fp32 is "
        "the reference.",
        soft_wrap=True,
    )


def _conclude(screen: Console, store: RunStore, run: Run, out: Path, page: WatchedPage | None) -> None:
    """Saves the run, prints its verdicts and writes its page."""
    from vgharness.report.rounds import rounds_lines
    from vgharness.report.study_page import write_report

    print_verdicts(screen, run.verdicts)
    if run.study.rounds:
        screen.print(*rounds_lines(run), sep="\n", soft_wrap=True)
    left = f"{shown(out)}/ is left as it was"
    if page and run.status == "interrupted":
        left = page.interrupted(run)
    past = None
    try:
        saved = store.save(run, run.study.preset)
        screen.print(f"run saved as {shown(saved)}", soft_wrap=True)
        past = past_runs(saved, run, out)
    finally:  # what was trained is not to be lost where it cannot be saved: its page holds it too
        if run.status == "finished":
            screen.print(f"page written to {shown(write_report(run, out, past))}", soft_wrap=True)
            if page:
                page.replaced()
    if run.status == "interrupted":
        screen.print(
            f"interrupted: {len(run.results)} of {len(run.study.cells)} cells were begun; {left}. The page of what "
            f"there is, with its figures: vgharness report {shlex.quote(shown(saved))}",
            soft_wrap=True,
        )


def _command(task: _Task, options: Options) -> str:
    """What gives this study again, whatever the defaults are where it is typed."""
    study = task.study
    trained = [cell for cell in study.cells if cell.epochs]
    seeds = ["--seed", ",".join(dict.fromkeys(str(cell.seed) for cell in study.cells))]
    if study.rounds:
        seeds = ["--seeds", AUTO, "--most-seeds", str(study.rounds.looks[-1].seeds)]
    parts = ["--device", str(task.device), "--preset", study.preset, "--data", task.source]
    parts += ["--epochs", str(trained[0].epochs), *seeds, "--precision", study.precision]
    if all(cell.epochs for cell in study.cells):  # the plan has no cells of its own: --activations was given
        parts += ["--activations", ",".join(dict.fromkeys(cell.activation for cell in trained))]
    if options.depths != (4,):
        parts += ["--depths", ",".join(map(str, options.depths))]
    if options.claims is not None:
        parts += ["--claims", str(options.claims)]
    return f"python -m vgharness.full {shlex.join(parts)}"


def main() -> None:
    """Entry point of ``python -m vgharness.full``."""
    run_program(lambda: typer.run(full))
