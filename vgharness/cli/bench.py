"""Speed on this machine, of which nothing is judged, and the gallery.

python -m vgharness.bench train    # training, beside the baseline script and the hardware's floor
python -m vgharness.bench scale    # time and memory as a study grows
python -m vgharness.bench probe    # what measuring gradients costs
python -m vgharness.bench gallery  # sick and healthy models, judged
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.table import Table

from vgharness.cli.errors import named_precision, usage_errors
from vgharness.cli.errors import run as run_program
from vgharness.errors import UsageError
from vgharness.records import ARCHITECTURES
from vgharness.system.files import check_file, write_text
from vgharness.system.process import configure_process
from vgharness.system.terminal import console

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

    from vgharness.benchmarks.throughput import Growths, TrainSpeeds
    from vgharness.benchmarks.timing import ProbeCosts
    from vgharness.records import Machine, Record

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Speed on this machine, and a gallery of models judged."
)


@app.callback()
def bench() -> None:
    """Speed on this machine, as ratios within one run; and a gallery of models, judged."""


@app.command()
def probe(
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N")] = "auto",
    rounds: Annotated[int, typer.Option(help="how often each is timed, in turn")] = 11,
    steps: Annotated[int, typer.Option(help="training steps per timing")] = 5,
    batch_size: Annotated[int, typer.Option(help="images per step")] = 128,
    json: Annotated[Path | None, typer.Option(help="also write the figures, with hardware and versions")] = None,
) -> None:
    """What measuring gradients costs a training step: without the probe, with it, and the baseline way."""
    with usage_errors("vgharness bench"):
        _check({"--rounds": (rounds, 2), "--steps": (steps, 1), "--batch-size": (batch_size, 1)}, json)
        from vgharness.benchmarks.timing import ProbeCosts, probe_cost
        from vgharness.system.device import pick_device
        from vgharness.system.environment import describe  # torch is slow to import

        where = pick_device(device)
        costs = tuple(
            probe_cost(architecture, "relu", where, batch_size=batch_size, rounds=rounds, steps=steps)
            for architecture in ARCHITECTURES
        )
        found = ProbeCosts(machine=describe(where), costs=costs)
        _print_costs(console(), found)
        _keep(found, json)


@app.command()
def train(
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N")] = "auto",
    precision: Annotated[str, typer.Option(help="fp32, tf32 (a GPU only) or bf16, of ours and the baseline")] = "fp32",
    rounds: Annotated[int, typer.Option(help="how often each is timed, in turn")] = 3,
    images: Annotated[int | None, typer.Option(help="per network and turn; by default 2560, on a GPU 12800")] = None,
    seeds: Annotated[
        int | None, typer.Option(help="of ours, with sigmoid and ReLU for each; by default 1, on a GPU 5")
    ] = None,
    json: Annotated[Path | None, typer.Option(help="also write the figures, with hardware and versions")] = None,
) -> None:
    """Images per second: the baseline script, ours, and the floor that this hardware sets."""
    with usage_errors("vgharness bench"):
        _check({"--rounds": (rounds, 2), "--images": (images, 1280), "--seeds": (seeds, 1)}, json)
        named = named_precision(precision)
        from vgharness.benchmarks.throughput import TrainSpeeds, train_speed
        from vgharness.precision import check_precision
        from vgharness.system.device import pick_device
        from vgharness.system.environment import describe

        where = pick_device(device)
        check_precision(named, where)
        on_gpu = where.type == "cuda"
        rows = tuple(
            train_speed(
                architecture,
                where,
                precision=named,
                rounds=rounds,
                images=images or (12_800 if on_gpu else 2_560),
                seeds=seeds or (5 if on_gpu else 1),
            )
            for architecture in ARCHITECTURES
        )
        found = TrainSpeeds(machine=describe(where), rows=rows)
        _print_speeds(console(), found)
        _keep(found, json)


@app.command()
def scale(
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N")] = "auto",
    architecture: Annotated[str, typer.Option(help="script or readme")] = "script",
    images: Annotated[int | None, typer.Option(help="per epoch; by default 1024, on a GPU 12800")] = None,
    json: Annotated[Path | None, typer.Option(help="also write the figures, with hardware and versions")] = None,
) -> None:
    """Time and memory of an epoch against seeds (1 to 16), depth (2 to 10) and batch, and how they grow."""
    with usage_errors("vgharness bench"):
        _check({"--images": (images, 512)}, json)
        known = {name: name for name in ARCHITECTURES}
        if architecture not in known:
            raise UsageError(f"--architecture {architecture}: use {' or '.join(known)}")
        from vgharness.benchmarks.throughput import AXES, Growths, growth
        from vgharness.system.device import pick_device
        from vgharness.system.environment import describe

        where = pick_device(device)
        count = images or (12_800 if where.type == "cuda" else 1_024)
        axes = tuple(growth(axis, known[architecture], where, count) for axis in AXES)
        found = Growths(machine=describe(where), architecture=known[architecture], images=count, axes=axes)
        _print_growths(console(), found)
        _keep(found, json)


@app.command()
def gallery() -> None:
    """Sick and healthy models of the tests' gallery, judged by this package and by its peers that are installed."""
    with usage_errors("vgharness bench"):
        from vgharness.benchmarks.gallery.peers import GOOD, Judged, installed, judge_gallery

        tools = installed()
        screen = console()
        screen.print(", ".join(f"{name} {version}" for name, version in tools.items()), soft_wrap=True)
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        table.add_column("network", overflow="fold")
        for heading in ("problem", *tools):
            table.add_column(heading, no_wrap=True, min_width=max(9, len(heading)))
        judged: list[Judged] = []

        def done(found: Judged) -> None:
            judged.append(found)
            table.add_row(found.network, found.problem or "healthy", *found.judgements.values())

        judge_gallery(tools, done)
        screen.print(table)
        sick = [found for found in judged if found.problem]
        for tool in tools:
            named = sum(found.judgements[tool] == "named" for found in sick)
            seen = named + sum(found.judgements[tool] == "seen" for found in sick)
            alarms = sum(found.judgements[tool] not in GOOD for found in judged if not found.problem)
            screen.print(
                f"{tool}: {named} of {len(sick)} problems named, {seen} seen; "
                f"{alarms} of {len(judged) - len(sick)} healthy models not left in peace",
                soft_wrap=True,
            )


def _check(options: Mapping[str, tuple[int | None, int]], json: Path | None) -> None:
    """Each option's value against its least; and that ``--json`` can be written. Settles what must be set before
    torch is imported."""
    for option, (value, least) in options.items():
        if value is not None and value < least:
            raise UsageError(f"{option} {value}: give {least} or more")
    if json is not None:
        check_file(json, "--json")
    configure_process()  # as the main job does


def _keep(found: Record, json: Path | None) -> None:
    if json is not None:
        write_text(json, found.model_dump_json(indent=1))


def _print_speeds(screen: Console, found: TrainSpeeds) -> None:
    _print_machine(screen, found.machine)
    table = _table("images per second", "network", "precision", "baseline script", "vgharness", "ratio", "floor", "gap")
    for row in found.rows:
        table.add_row(
            row.architecture,
            row.precision,
            f"{row.baseline_images_per_s:,.0f}",
            f"{row.images_per_s:,.0f}",
            _spread(row.ratio, row.ratio_low, row.ratio_high),
            f"{row.floor_images_per_s:,.0f}",
            f"{row.floor_images_per_s / row.images_per_s:.2f}",
        )
    screen.print(table)
    for row in found.rows:
        screen.print(
            f"{row.architecture}: {row.flop_per_image / 1e6:.1f} MFLOP and {row.bytes_per_image / 1e6:.2f} MB an image;"
            f" here {row.ceilings.flop_per_s / 1e9:,.0f} GFLOP/s and {row.ceilings.bytes_per_s / 1e9:,.0f} GB/s",
            soft_wrap=True,
        )
    row = found.rows[0]
    screen.print(
        f"Training only, {row.images:,} synthetic images, medians of {row.rounds} rounds in turn, ratio with quartiles."
        " Baseline script: DataLoader with two workers, PIL transforms, one network after the other, .item() per layer"
        " and step; in a process of its own, with the settings that PyTorch comes with."
        f" vgharness: {row.cells} networks side by side, gradients measured.",
        soft_wrap=True,
    )


def _print_growths(screen: Console, found: Growths) -> None:
    _print_machine(screen, found.machine)
    for growth in found.axes:
        table = _table(f"{found.architecture} ReLU, {found.images:,} images", growth.axis, "epoch", "memory")
        for cost in growth.costs:
            table.add_row(str(cost.value), f"{cost.seconds:.2f} s", f"{cost.memory / 2**20:,.0f} MiB")
        screen.print(table)
        one = {"seeds": "network", "depth": "layer", "batch": "image of a batch"}[growth.axis]
        screen.print(
            f"time grows as {growth.axis}^{growth.exponent:.2f}; memory by {growth.memory_per_step / 2**20:.1f} MiB "
            f"for each {one} more",
            soft_wrap=True,
        )


def _print_machine(screen: Console, machine: Machine) -> None:
    screen.print(
        f"{machine.processor}, {machine.threads} threads, {machine.device}; torch {machine.versions['torch']}",
        soft_wrap=True,
    )


def _table(title: str, *headings: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=title, title_justify="left")
    for i, heading in enumerate(headings):
        table.add_column(heading, justify="right" if i else "left")
    return table


def _print_costs(screen: Console, found: ProbeCosts) -> None:
    _print_machine(screen, found.machine)
    table = _table("time of a training step", "network", "without", "probe", "+ saturated", "baseline way")
    for cost in found.costs:
        table.add_row(
            f"{cost.architecture} {cost.activation}",
            f"{1000 * cost.step_seconds:.1f} ms",
            *(_spread(ratio.median, ratio.low, ratio.high) for ratio in (cost.probe, cost.saturation, cost.baseline)),
        )
    screen.print(table)
    screen.print(
        "Ratios to the step without: median and quartiles over rounds. The probe reads every quantity but `saturated`, "
        "the optimizer's updates included; the baseline way takes two numbers per layer and waits for each.",
        soft_wrap=True,
    )


def _spread(median: float, low: float, high: float) -> str:
    return f"{median:.2f} ({low:.2f}–{high:.2f})"


def main() -> None:
    """Entry point of ``python -m vgharness.bench``."""
    run_program(app)
