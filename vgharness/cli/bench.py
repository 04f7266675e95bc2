"""Speed on this machine, of which nothing is judged; and whether diagnosis, comparisons and verdicts are right.

    python -m vgharness.bench train         # training, beside two scripts and the hardware's floor
    python -m vgharness.bench scale         # time and memory as a study grows
    python -m vgharness.bench probe         # what measuring gradients costs
    python -m vgharness.bench check         # what `vgharness check` costs
    python -m vgharness.bench watch         # what watching a training costs
    python -m vgharness.bench trainings     # trainings that go wrong and healthy ones, watched
    python -m vgharness.bench gallery       # sick and healthy models, judged
    python -m vgharness.bench trainability  # random networks, judged and then trained
    python -m vgharness.bench zoo           # known-good models, judged
    python -m vgharness.bench verdicts      # simulated studies, judged
    python -m vgharness.bench gates         # builds compared with a baseline: false alarms and true ones

Exit status: 0 done; 2 bad input.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from vgharness.cli import bench_watch
from vgharness.cli.bench_running import PROGRAM, Device, Json, check_least, run_bench
from vgharness.cli.bench_tables import print_check_costs, print_costs, print_growths, print_judged, print_speeds
from vgharness.cli.diagnosis_tables import print_gates, print_rounds, print_trainability, print_verdicts, print_zoo
from vgharness.cli.errors import named_precision, usage_errors
from vgharness.cli.errors import run as run_program
from vgharness.cli.progress import counted
from vgharness.errors import UsageError
from vgharness.formatting import escaped, listing
from vgharness.records import ARCHITECTURES, FIRST_SEED, Architecture
from vgharness.system.terminal import console

if TYPE_CHECKING:
    import torch

    from vgharness.benchmarks.check_overhead import CheckCosts
    from vgharness.benchmarks.gates import Gates
    from vgharness.benchmarks.probe_overhead import ProbeCosts
    from vgharness.benchmarks.rounds import RoundsRates
    from vgharness.benchmarks.scaling import Growths
    from vgharness.benchmarks.throughput import TrainSpeeds
    from vgharness.benchmarks.trainability import Trainability
    from vgharness.benchmarks.verdicts import Verdicts
    from vgharness.benchmarks.zoo import Zoo
    from vgharness.records import Machine

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    help="Measure speed on this machine, as ratios within one run, and how right diagnosis and verdicts are.",
)


@app.command()
def probe(
    device: Device = "auto",
    rounds: Annotated[int, typer.Option(help="how often each is timed, in turn")] = 11,
    steps: Annotated[int, typer.Option(help="training steps per timing")] = 5,
    batch_size: Annotated[int, typer.Option(help="images per step")] = 128,
    json: Json = None,
) -> None:
    """Time a training step without measuring gradients, with the probe, and the baseline way.

    Exit status: 0 done, 2 bad input.
    """

    def measure(where: torch.device, machine: Machine) -> ProbeCosts:
        from vgharness.benchmarks.probe_overhead import ProbeCosts, probe_cost  # torch is slow to import

        costs = [
            probe_cost(architecture, "relu", where, batch_size=batch_size, rounds=rounds, steps=steps)
            for architecture in ARCHITECTURES
        ]
        return ProbeCosts(machine=machine, costs=tuple(costs))

    with usage_errors(PROGRAM):
        check_least({"--rounds": (rounds, 2), "--steps": (steps, 1), "--batch-size": (batch_size, 1)})
        run_bench(device, json, measure, print_costs)


@app.command()
def check(
    models: Annotated[
        str | None,
        typer.Option(help="which: names or globs separated by commas; by default resnet18, resnet50 and vit_b_16"),
    ] = None,
    seeds: Annotated[int, typer.Option(help="how many models of each are measured")] = 5,
    rounds: Annotated[int, typer.Option(help="how often each way is timed, in turn")] = 3,
    json: Json = None,
) -> None:
    """Measure what `vgharness check` costs, beside plain forward and backward passes, and its memory.

    Some minutes; for vit_b_16 a quarter of an hour on two cores. Exit status: 0 done, 2 bad input.
    """

    def measure(where: torch.device, machine: Machine) -> CheckCosts:
        from vgharness.benchmarks.check_overhead import MODELS, CheckCosts, check_costs
        from vgharness.benchmarks.zoo import pick_models

        names = pick_models(models or ",".join(MODELS))
        costs = counted(console(), "timing", check_costs(names, seeds, rounds), len(names))
        return CheckCosts(machine=machine, costs=tuple(costs))

    with usage_errors(PROGRAM):
        check_least({"--seeds": (seeds, 1), "--rounds": (rounds, 2)})
        run_bench("cpu", json, measure, print_check_costs)


@app.command()
def train(
    device: Device = "auto",
    precision: Annotated[
        str, typer.Option(help="fp32, tf32 (a GPU only) or bf16, for vgharness and both scripts")
    ] = "fp32",
    rounds: Annotated[int, typer.Option(help="how often each is timed, in turn")] = 3,
    images: Annotated[int | None, typer.Option(help="per network and turn; by default 2560, on a GPU 12800")] = None,
    seeds: Annotated[
        int | None, typer.Option(help="how many, a sigmoid and a ReLU network for each; by default 1, on a GPU 5")
    ] = None,
    json: Json = None,
) -> None:
    """Count images per second: of the baseline script, of a careful one, of vgharness, and this hardware's floor.

    Exit status: 0 done, 2 bad input.
    """

    def measure(where: torch.device, machine: Machine) -> TrainSpeeds:
        from vgharness.benchmarks.throughput import TrainSpeeds, train_speed
        from vgharness.precision import check_precision

        check_precision(named, where)
        default_images, default_seeds = (12_800, 5) if where.type == "cuda" else (2_560, 1)
        rows = [
            train_speed(
                architecture,
                where,
                precision=named,
                rounds=rounds,
                images=images or default_images,
                seeds=seeds or default_seeds,
            )
            for architecture in ARCHITECTURES
        ]
        return TrainSpeeds(machine=machine, rows=tuple(rows))

    with usage_errors(PROGRAM):
        check_least({"--rounds": (rounds, 2), "--images": (images, 1280), "--seeds": (seeds, 1)})
        named = named_precision(precision)
        run_bench(device, json, measure, print_speeds)


@app.command()
def scale(
    device: Device = "auto",
    architecture: Annotated[str, typer.Option(help="script or readme")] = "script",
    images: Annotated[int | None, typer.Option(help="per epoch; by default 1024, on a GPU 12800")] = None,
    json: Json = None,
) -> None:
    """Measure time and memory of an epoch against seeds (1 to 16), depth (2 to 10) and batch, and how they grow.

    Exit status: 0 done, 2 bad input.
    """

    def measure(where: torch.device, machine: Machine) -> Growths:
        from vgharness.benchmarks.scaling import AXES, Growths, growth

        count = images or (12_800 if where.type == "cuda" else 1_024)
        axes = [growth(axis, named, where, count) for axis in AXES]
        return Growths(machine=machine, architecture=named, images=count, axes=tuple(axes))

    with usage_errors(PROGRAM):
        check_least({"--images": (images, 512)})
        named = _named_architecture(architecture)
        run_bench(device, json, measure, print_growths)


@app.command()
def gallery() -> None:
    """Judge the gallery of sick and healthy models, by this package and by its peers that are installed.

    Exit status: 0 done, 2 bad input.
    """
    with usage_errors(PROGRAM):
        from vgharness.benchmarks.gallery import HEALTHY, SICK
        from vgharness.benchmarks.gallery.peers import installed, judge_cases

        tools = installed()
        screen = console()
        screen.print(listing(f"{name} {escaped(version)}" for name, version in tools.items()), soft_wrap=True)
        print_judged(screen, list(judge_cases((*SICK, *HEALTHY), tools)), list(tools))


@app.command()
def trainability(
    networks: Annotated[int, typer.Option(help="how many")] = 300,
    seed: Annotated[int, typer.Option(help="from which they are drawn")] = 1,
    json: Json = None,
) -> None:
    """Judge random networks, train each with SGD and with Adam, and show how well the one foretells the other.

    Some five minutes on two cores. Exit status: 0 done, 2 bad input.
    """

    def measure(where: torch.device, machine: Machine) -> Trainability:
        from vgharness.benchmarks.trainability import as_trainability, try_networks

        trials = try_networks(networks, seed)
        return as_trainability(tuple(counted(console(), "training", trials, networks)), seed, machine)

    with usage_errors(PROGRAM):
        check_least({"--networks": (networks, 1), "--seed": (seed, 0)})
        run_bench("cpu", json, measure, print_trainability)


@app.command()
def zoo(
    models: Annotated[
        str | None,
        typer.Option(help="which: names or globs separated by commas, such as torchvision:resnet*; by default all"),
    ] = None,
    seed: Annotated[int, typer.Option(help="of the weights and the inputs")] = FIRST_SEED,
    json: Json = None,
) -> None:
    """Check the models of torchvision, timm and transformers that are installed: all are good, an alarm is a false one.

    Each in a process of its own, a few seconds. Exit status: 0 done, 2 bad input.
    """

    def measure(where: torch.device, machine: Machine) -> Zoo:
        from vgharness.benchmarks.zoo import Zoo, check_models, pick_models

        names = pick_models(models)
        checked = counted(console(), "checking", check_models(names, seed), len(names))
        return Zoo(machine=machine, seed=seed, models=tuple(checked))

    with usage_errors(PROGRAM):
        check_least({"--seed": (seed, 0)})
        run_bench("cpu", json, measure, print_zoo)


@app.command()
def verdicts(
    studies: Annotated[int, typer.Option(help="simulated for each row")] = 2000,
    seed: Annotated[int, typer.Option(help="of the simulation")] = 1,
    rounds: Annotated[bool, typer.Option("--rounds", help="of studies with --seeds auto beside fixed numbers")] = False,
    json: Json = None,
) -> None:
    """Judge simulated studies whose truth is known: how often verdicts are wrong, and intervals miss.

    Some two minutes; with --rounds twice as many. Exit status: 0 done, 2 bad input.
    """

    def measure(where: torch.device, machine: Machine) -> Verdicts:
        from vgharness.benchmarks.verdicts import ROWS, as_verdicts, simulate

        rows = counted(console(), "simulating", simulate(studies, seed), ROWS)
        return as_verdicts(tuple(rows), studies, seed, machine)

    def measure_rounds(where: torch.device, machine: Machine) -> RoundsRates:
        from vgharness.benchmarks.rounds import ROWS, as_rounds_rates, simulate_rounds

        rows = counted(console(), "simulating", simulate_rounds(studies, seed), ROWS)
        return as_rounds_rates(tuple(rows), studies, seed, machine)

    with usage_errors(PROGRAM):
        check_least({"--studies": (studies, 40), "--seed": (seed, 0)})
        if rounds:
            run_bench("cpu", json, measure_rounds, print_rounds)
        else:
            run_bench("cpu", json, measure, print_verdicts)


@app.command()
def gates(
    builds: Annotated[int, typer.Option(help="of each kind")] = 200,
    json: Json = None,
) -> None:
    """Compare builds with a baseline as the pytest plugin does: how many are red where nothing has changed, and where
    something has.

    Some three minutes on two cores. Exit status: 0 done, 2 bad input.
    """

    def measure(where: torch.device, machine: Machine) -> Gates:
        from vgharness.benchmarks.gates import Gates, number_of_gates, run_gates

        found = counted(console(), "building", run_gates(builds), number_of_gates())
        return Gates(machine=machine, gates=tuple(found))

    with usage_errors(PROGRAM):
        check_least({"--builds": (builds, 1)})
        run_bench("cpu", json, measure, print_gates)


app.command()(bench_watch.watch)
app.command()(bench_watch.trainings)


def _named_architecture(name: str) -> Architecture:
    for known in ARCHITECTURES:
        if name == known:
            return known
    raise UsageError(f"--architecture {name}: use {' or '.join(ARCHITECTURES)}")


def main() -> None:
    """Entry point of ``python -m vgharness.bench``."""
    run_program(app)
