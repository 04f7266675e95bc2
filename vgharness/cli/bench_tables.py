"""What the commands of ``vgharness bench`` found, as tables and lines of text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from rich import box
from rich.console import Console
from rich.table import Table

from vgharness.formatting import escaped, listing, number

if TYPE_CHECKING:
    from vgharness.benchmarks.check_overhead import CheckCosts
    from vgharness.benchmarks.gallery.peers import Judged
    from vgharness.benchmarks.probe_overhead import ProbeCosts
    from vgharness.benchmarks.scaling import Growths
    from vgharness.benchmarks.throughput import TrainSpeeds
    from vgharness.benchmarks.timing import Ratio
    from vgharness.records import Machine

_ONE_MORE: Final = {"seeds": "network", "depth": "layer", "batch": "image of a batch"}  # by axis


def print_costs(screen: Console, found: ProbeCosts) -> None:
    """Prints what measuring costs a step of each network."""
    print_machine(screen, found.machine)
    table = new_table("time of a training step", "network", "without", "probe", "+ saturated", "baseline way")
    for cost in found.costs:
        table.add_row(
            f"{cost.architecture} {cost.activation}",
            f"{1000 * cost.step_seconds:.1f} ms",
            *(ratio_text(ratio) for ratio in (cost.probe, cost.saturation, cost.baseline)),
        )
    screen.print(table)
    screen.print(
        "Ratios to the step without: median and quartiles over rounds. The probe reads every quantity but those on "
        "request, `saturated` and `relative_update`; the baseline way takes two numbers per layer and waits for each.",
        soft_wrap=True,
    )


def print_check_costs(screen: Console, found: CheckCosts) -> None:
    """Prints what checking each model costs, and which of the goals are missed."""
    from vgharness.benchmarks.check_overhead import MOST_MEMORY, MOST_TIME

    print_machine(screen, found.machine)
    command = f"`vgharness check --seeds {found.costs[0].seeds}`"
    table = new_table(f"{command}, all imported", "model", "plain", "measuring", "choosing", "both")
    whole = new_table(f"{command}, as a process", "model", "passes", "import", "process", "per seed", "memory")
    for cost in found.costs:
        model, parts = escaped(cost.model), cost.parts
        plain, choosing = f"{parts.plain_seconds:.2f} s", f"{parts.choosing.median:.2f}"
        table.add_row(model, plain, ratio_text(parts.measuring), choosing, ratio_text(parts.both))
        passes, imported = f"{parts.passes}", f"{cost.import_seconds:.2f} s"
        memory = f"{cost.memory / cost.memory_of_one:.2f}"
        whole.add_row(model, passes, imported, ratio_text(cost.process), f"{cost.process_per_seed.median:.2f}", memory)
    screen.print(table, whole)
    for cost in found.costs:
        memory = f"{cost.memory_of_one / 2**20:,.0f} MiB with one seed"
        screen.print(f"{escaped(cost.model)}: {escaped(cost.parts.batch)}; {memory}", soft_wrap=True)
    screen.print(
        "Medians of rounds in turn, with quartiles. Plain: for each seed a model is made, with a forward and backward "
        "pass. Over all of these is measuring, over one is choosing inputs and loss, and over as many as check makes, "
        "steps on copies among them, are both. Process: all of the command, over importing torch and what makes the "
        "model and as many plain passes as check makes; per seed: over one for each seed, without those of steps. "
        "Memory: the most with all seeds over the most with one, each in a process of its own.",
        soft_wrap=True,
    )
    slow = [cost.model for cost in found.costs if not cost.within_time]
    large = [cost.model for cost in found.costs if not cost.within_memory]
    for what, most, missed in (("process", MOST_TIME, slow), ("memory", MOST_MEMORY, large)):
        outcome = f"missed by {escaped(listing(missed))}" if missed else "met"
        screen.print(f"goal: {what} at most {number(most)}: {outcome}", soft_wrap=True)


def print_speeds(screen: Console, found: TrainSpeeds) -> None:
    """Prints images per second, beside both scripts and the floor."""
    print_machine(screen, found.machine)
    speeds = new_table("images per second", "network", "precision", "baseline", "careful", "vgharness", "floor")
    ratios = new_table("times as many", "network", "as baseline", "as careful", "floor as vgharness")
    for row in found.rows:
        counts = row.baseline_images_per_s, row.careful_images_per_s, row.images_per_s, row.floor_images_per_s
        speeds.add_row(row.architecture, row.precision, *(f"{count:,.0f}" for count in counts))
        ratios.add_row(
            row.architecture,
            _spread(row.ratio, row.ratio_low, row.ratio_high),
            ratio_text(row.careful_ratio),
            f"{row.floor_images_per_s / row.images_per_s:.2f}",
        )
    screen.print(speeds, ratios)
    for row in found.rows:
        screen.print(
            f"{row.architecture}: {row.flop_per_image / 1e6:.1f} MFLOP and {row.bytes_per_image / 1e6:.2f} MB an image;"
            f" here {row.ceilings.flop_per_s / 1e9:,.0f} GFLOP/s and {row.ceilings.bytes_per_s / 1e9:,.0f} GB/s",
            soft_wrap=True,
        )
    row = found.rows[0]
    screen.print(
        f"Training only, {row.images:,} synthetic images, medians of {row.rounds} rounds in turn, ratios with quartiles"
        ". Baseline script: DataLoader with two workers, PIL transforms, one network after the other, .item() per layer"
        " and step. Careful script: images on the device and augmented there, one network after the other, no .item()."
        " Both run in a process of its own, with the settings that PyTorch comes with, but for"
        f" float32, which is computed as --precision says. vgharness: {row.cells} networks side by side, gradients"
        " measured.",
        soft_wrap=True,
    )


def print_growths(screen: Console, found: Growths) -> None:
    """Prints what an epoch costs along each axis, and how that grows."""
    print_machine(screen, found.machine)
    for growth in found.axes:
        table = new_table(f"{found.architecture} ReLU, {found.images:,} images", growth.axis, "epoch", "memory")
        for cost in growth.costs:
            table.add_row(str(cost.value), f"{cost.seconds:.2f} s", f"{cost.memory / 2**20:,.0f} MiB")
        screen.print(table)
        screen.print(
            f"time grows as {growth.axis}^{growth.exponent:.2f}; memory by {growth.memory_per_step / 2**20:.1f} MiB "
            f"for each {_ONE_MORE[growth.axis]} more",
            soft_wrap=True,
        )


def print_judged(screen: Console, judged: Sequence[Judged], tools: Sequence[str]) -> None:
    """Prints what each of ``tools`` made of each network, and a line that counts it for each tool."""
    from vgharness.benchmarks.gallery.peers import tally

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("network", overflow="fold")
    for heading in ("problem", *tools):
        table.add_column(heading, no_wrap=True, min_width=max(9, len(heading)))
    for found in judged:
        table.add_row(found.network, found.problem or "healthy", *(found.judgements[tool] for tool in tools))
    screen.print(table)
    for tool in tools:
        count = tally(judged, tool)
        screen.print(
            f"{tool}: {count.named} of {count.sick} problems named, {count.seen} seen; "
            f"false alarms on {count.alarms} of {count.healthy} healthy models",
            soft_wrap=True,
        )


def print_machine(screen: Console, machine: Machine) -> None:
    """Prints where it was measured, in a line."""
    screen.print(
        f"{escaped(machine.processor)}, {machine.threads} threads, {escaped(machine.device)}; "
        f"torch {machine.versions['torch']}",
        soft_wrap=True,
    )


def new_table(title: str, *headings: str) -> Table:
    """Makes a table without rows, the first column to the left and the others to the right."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=title, title_justify="left")
    for i, heading in enumerate(headings):
        table.add_column(heading, justify="right" if i else "left")
    return table


def ratio_text(ratio: Ratio) -> str:
    """Median and quartiles."""
    return _spread(ratio.median, ratio.low, ratio.high)


def _spread(median: float, low: float, high: float) -> str:
    return f"{median:.2f} ({low:.2f}–{high:.2f})"
