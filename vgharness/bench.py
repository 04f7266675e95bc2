"""``python -m vgharness.bench probe``: speed on this machine, of which nothing is judged; ``… gallery``: of sight."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from vgharness.errors import UsageError
from vgharness.files import check_writable, write_whole
from vgharness.records import ARCHITECTURES
from vgharness.terminal import usage_errors

if TYPE_CHECKING:
    from vgharness.timing import ProbeCosts, Ratio

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
    """What measuring gradients costs a training step: without the probe, with it, and the usual way."""
    with usage_errors("vgharness bench"):
        for option, value, least in (("--rounds", rounds, 2), ("--steps", steps, 1), ("--batch-size", batch_size, 1)):
            if value < least:
                raise UsageError(f"{option} {value}: give {least} or more")
        if json is not None:
            check_writable(json.parent, "--json", "give a file in another folder with --json")
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as the main job does, and before torch is imported
        from vgharness.machine import describe, pick_device  # torch is slow to import
        from vgharness.timing import ProbeCosts, probe_cost

        where = pick_device(device)
        costs = tuple(
            probe_cost(architecture, "relu", where, batch_size=batch_size, rounds=rounds, steps=steps)
            for architecture in ARCHITECTURES
        )
        found = ProbeCosts(machine=describe(where), costs=costs)
        _print(Console(highlight=False), found)
        if json is not None:
            write_whole(json, found.model_dump_json(indent=1).encode())


@app.command()
def gallery() -> None:
    """Sick and healthy models of the tests' gallery, judged by this package and by its peers that are installed."""
    with usage_errors("vgharness bench"):
        from vgharness.peers import GOOD, Judged, installed, judge_gallery, load_gallery

        tools = installed()
        console = Console(highlight=False)
        console.print(", ".join(f"{name} {version}" for name, version in tools.items()), soft_wrap=True)
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        table.add_column("network", overflow="fold")
        for heading in ("illness", *tools):
            table.add_column(heading, no_wrap=True, min_width=max(9, len(heading)))
        judged: list[Judged] = []

        def done(found: Judged) -> None:
            judged.append(found)
            table.add_row(found.network, found.illness or "healthy", *found.judgements.values())

        judge_gallery(load_gallery(), tools, done)
        console.print(table)
        sick = [found for found in judged if found.illness]
        for tool in tools:
            named = sum(found.judgements[tool] == "named" for found in sick)
            seen = named + sum(found.judgements[tool] == "seen" for found in sick)
            alarms = sum(found.judgements[tool] not in GOOD for found in judged if not found.illness)
            console.print(
                f"{tool}: {named} of {len(sick)} illnesses named, {seen} seen; "
                f"{alarms} of {len(judged) - len(sick)} healthy models not left in peace",
                soft_wrap=True,
            )


def _print(console: Console, found: ProbeCosts) -> None:
    machine = found.machine
    console.print(
        f"{machine.processor}, {machine.threads} threads, {machine.device}; torch {machine.versions['torch']}",
        soft_wrap=True,
    )
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title="time of a training step", title_justify="left")
    for heading in ("network", "without", "probe", "+ saturated", "usual way"):
        table.add_column(heading, justify="left" if heading == "network" else "right")
    for cost in found.costs:
        table.add_row(
            f"{cost.architecture} {cost.activation}",
            f"{1000 * cost.step_seconds:.1f} ms",
            *(_text(ratio) for ratio in (cost.probe, cost.saturation, cost.usual)),
        )
    console.print(table)
    console.print(
        "Ratios to the step without: median and quartiles over rounds. The probe reads every quantity but `saturated`, "
        "the optimizer's updates included; the usual way takes two numbers per layer and waits for each.",
        soft_wrap=True,
    )


def _text(ratio: Ratio) -> str:
    return f"{ratio.median:.2f} ({ratio.low:.2f}–{ratio.high:.2f})"


if __name__ == "__main__":
    app()
