"""What ``vgharness check`` costs, beside plain forward and backward passes of the same models on the same batches.

Plain is what nobody can do without: making a model for each seed, its batch, a forward and a backward pass.
"""

from __future__ import annotations

import functools
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import torch
from torch import Tensor

from vgharness.benchmarks.isolated import isolated_process
from vgharness.benchmarks.scaling import peak_memory
from vgharness.benchmarks.timing import Arm, Ratio, ratio, take_turns
from vgharness.check.batch import Batch, choose_batch
from vgharness.check.model_source import Factory, load_factory
from vgharness.errors import UsageError
from vgharness.gradflow.arguments import loss_value
from vgharness.gradflow.measurement import measure
from vgharness.gradflow.sample import FlowSample
from vgharness.records import FIRST_SEED, Machine, Name, Record
from vgharness.system.process import original_environment

MODELS: Final = ("torchvision:resnet18", "torchvision:resnet50", "torchvision:vit_b_16")
MOST_TIME: Final = 1.2  # of a whole process, over the import of torch and the passes
MOST_MEMORY: Final = 1.3  # of all seeds over one
_CPU: Final = torch.device("cpu")  # where check makes models
_REFUSED: Final = 2  # the exit status of bad input
_IMPORT: Final = "import sys; from vgharness.check.model_source import load_factory; load_factory(sys.argv[1])"


class InProcess(Record):
    """What the parts of a check take where all is imported.

    batch: inputs and loss in words.
    passes: forward and backward passes that were made: one for each seed, and those of steps on copies.
    plain_seconds: of the plain passes of all seeds, median over the rounds.
    measuring: over the plain passes of all seeds.
    choosing: choosing the inputs and the loss, over one plain pass.
    both: measuring and choosing, over as many plain passes as were made.
    """

    batch: Name
    passes: int
    plain_seconds: float
    measuring: Ratio
    choosing: Ratio
    both: Ratio


class CheckCost(Record):
    """What checking one model costs.

    model: its name, as ``vgharness check`` takes it.
    seeds: how many models were measured.
    rounds: how often each way was timed.
    parts: of the time, within one process.
    import_seconds: of a process that imports torch and what makes the model, and ends; median over the rounds.
    process: all of ``vgharness check MODEL``, over that process and as many plain passes as check made.
    process_per_seed: over that process and the plain passes of all seeds, without those of steps on copies.
    memory_of_one: the most that a process had in use that checked one seed, bytes.
    memory: the most that a process had in use that checked all of them.
    """

    model: Name
    seeds: int
    rounds: int
    parts: InProcess
    import_seconds: float
    process: Ratio
    process_per_seed: Ratio
    memory_of_one: int
    memory: int

    @property
    def within_time(self) -> bool:
        """Whether check kept to :data:`MOST_TIME`."""
        return self.process.median <= MOST_TIME

    @property
    def within_memory(self) -> bool:
        """Whether check kept to :data:`MOST_MEMORY`."""
        return self.memory <= MOST_MEMORY * self.memory_of_one


class CheckCosts(Record):
    """What ``bench check --json`` writes.

    machine: where it was measured.
    costs: one per model.
    """

    machine: Machine
    costs: tuple[CheckCost, ...]


def check_costs(models: Sequence[str], seeds: int, rounds: int) -> Iterator[CheckCost]:
    """Measures what checking each of ``models`` with ``seeds`` costs, everything in processes of its own, started as a
    user starts them. Raises :class:`~vgharness.errors.UsageError` for a model that cannot be checked."""
    for model in models:
        # This process stays small all the while: one that it starts counts its memory as its own at first.
        parts = _isolated(time_parts, model, seeds, rounds)
        import_times, check_times = time_processes(model, seeds, rounds)
        pass_seconds = parts.plain_seconds / seeds
        yield CheckCost(
            model=model,
            seeds=seeds,
            rounds=rounds,
            parts=parts,
            import_seconds=statistics.median(import_times),
            process=ratio(check_times, [seconds + parts.passes * pass_seconds for seconds in import_times]),
            process_per_seed=ratio(check_times, [seconds + parts.plain_seconds for seconds in import_times]),
            memory_of_one=_isolated(memory_of_check, model, 1),
            memory=_isolated(memory_of_check, model, seeds),
        )


def _isolated(function: Callable[..., Any], *arguments: Any) -> Any:
    with isolated_process(configured=False) as process:
        return process.submit(function, *arguments).result()


def time_parts(model: str, seeds: int, rounds: int) -> InProcess:
    """Times plain passes, measuring and choosing in turn, in this process."""
    factory = load_factory(model)
    batch = choose_batch(factory)
    arms: dict[str, Arm] = {
        "plain": functools.partial(_plain_passes, factory, batch, seeds),
        "measuring": lambda: _discard(_measured(factory, batch, batch.loss.function, seeds)),
        "choosing": lambda: _discard(choose_batch(factory).loss),
    }
    times = take_turns(arms, rounds, _CPU)
    passes = _passes(factory, batch, seeds)
    whole = [sum(pair) for pair in zip(times["measuring"], times["choosing"], strict=True)]
    return InProcess(
        batch=batch.text,
        passes=passes,
        plain_seconds=statistics.median(times["plain"]),
        measuring=ratio(times["measuring"], times["plain"]),
        choosing=ratio(times["choosing"], [seconds / seeds for seconds in times["plain"]]),
        both=ratio(whole, [seconds * passes / seeds for seconds in times["plain"]]),
    )


def time_processes(model: str, seeds: int, rounds: int) -> tuple[list[float], list[float]]:
    """Times, in turn, processes that import torch and what makes the model, and processes that check it."""
    arms: dict[str, Arm] = {
        "import": lambda: _run([sys.executable, "-c", _IMPORT, model]),
        "check": lambda: _run([sys.executable, "-m", "vgharness", "check", model, "--seeds", str(seeds)]),
    }
    times = take_turns(arms, rounds, _CPU)
    return times["import"], times["check"]


def memory_of_check(model: str, seeds: int) -> int:
    """Checks a model in this process, and returns the most bytes that it had in use."""
    factory = load_factory(model)
    batch = choose_batch(factory)
    _measured(factory, batch, batch.loss.function, seeds)
    return peak_memory(_CPU)


def _measured(factory: Factory, batch: Batch, loss: Callable[..., Tensor], seeds: int) -> FlowSample:
    """As ``vgharness check`` does it."""
    return measure(factory, batch, loss, seeds=seeds, saturation=True)


def _plain_passes(factory: Factory, batch: Batch, seeds: int) -> None:
    loss = batch.loss.function
    for seed in range(FIRST_SEED, FIRST_SEED + seeds):
        torch.manual_seed(seed)
        model = factory()
        loss_value(loss, model, *batch(seed)).backward()  # type: ignore[no-untyped-call]
        del model  # before the next one is made


def _passes(factory: Factory, batch: Batch, seeds: int) -> int:
    """Counts the forward and backward passes of measuring: each calls the loss once."""
    calls = 0
    loss = batch.loss.function

    @functools.wraps(loss)  # what a loss takes is read off its signature
    def counting(*arguments: Any, **keywords: Any) -> Tensor:
        nonlocal calls
        calls += 1
        return loss(*arguments, **keywords)

    _measured(factory, batch, counting, seeds)
    return calls


def _discard(_: object) -> None: ...


def _run(command: Sequence[str]) -> None:
    with original_environment():
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode >= _REFUSED or done.returncode < 0:
        raise UsageError(f"{' '.join(command[1:])} ended with {done.returncode}: {done.stderr.strip()[-300:]}")
