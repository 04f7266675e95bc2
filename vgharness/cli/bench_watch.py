"""``vgharness bench watch`` and ``vgharness bench trainings``: what watching a training costs, and how right it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from vgharness.cli.bench_running import PROGRAM, Device, Json, check_least, run_bench
from vgharness.cli.errors import usage_errors
from vgharness.cli.progress import counted
from vgharness.cli.watch_tables import print_trainings, print_watch_costs
from vgharness.errors import UsageError
from vgharness.formatting import listing
from vgharness.system.terminal import console

if TYPE_CHECKING:
    import torch

    from vgharness.benchmarks.trainings.judging import JudgedTrainings
    from vgharness.benchmarks.watch_overhead import WatchCosts
    from vgharness.records import Machine


def watch(
    device: Device = "auto",
    networks: Annotated[
        str | None, typer.Option(help="which, separated by commas: readme, script, resnet18, Transformer; default all")
    ] = None,
    rounds: Annotated[int, typer.Option(help="how often 100 steps of each way are timed, in turn")] = 5,
    batch_size: Annotated[int, typer.Option(help="images per step")] = 128,
    json: Json = None,
) -> None:
    """Time a training step with `vgharness.watch` and without, a snapshot every 1, 10 and 100 steps; and its memory.

    Some ten minutes on two cores. Exit status: 0 done, 2 bad input.
    """

    def measure(where: torch.device, machine: Machine) -> WatchCosts:
        from vgharness.benchmarks.watch_overhead import NETWORKS, WatchCosts, watch_cost

        names = list(NETWORKS) if networks is None else [name.strip() for name in networks.split(",")]
        for name in names:
            if name not in NETWORKS:
                raise UsageError(f"--networks {name}: use {listing(NETWORKS)}")
        costs = (watch_cost(name, where, batch_size=batch_size, rounds=rounds) for name in names)
        return WatchCosts(machine=machine, costs=tuple(counted(console(), "timing", costs, len(names))))

    with usage_errors(PROGRAM):
        check_least({"--rounds": (rounds, 2), "--batch-size": (batch_size, 1)})
        run_bench(device, json, measure, print_watch_costs)


def trainings(
    variants: Annotated[
        int | None,
        typer.Option(help="how many, drawn from the same kinds with other seeds, steps and layers; default the 24"),
    ] = None,
    seed: Annotated[int, typer.Option(help="from which variants are drawn")] = 1,
    json: Json = None,
) -> None:
    """Watch small trainings that go wrong at a known step and place, and healthy ones: what is said first, and is it
    right? False alarms are counted.

    Half a minute. Exit status: 0 done, 2 bad input.
    """

    def measure(where: torch.device, machine: Machine) -> JudgedTrainings:
        from vgharness.benchmarks.trainings import EVERY, HEALTHY, WRONG
        from vgharness.benchmarks.trainings.judging import JudgedTrainings, judge_trainings
        from vgharness.benchmarks.trainings.variants import draw_trainings

        chosen = [*WRONG, *HEALTHY] if variants is None else draw_trainings(variants, seed)
        judged = counted(console(), "training", judge_trainings(chosen), len(chosen))
        return JudgedTrainings(machine=machine, every=EVERY, trainings=tuple(judged))

    with usage_errors(PROGRAM):
        check_least({"--variants": (variants, 1), "--seed": (seed, 0)})
        run_bench("cpu", json, measure, print_trainings)
