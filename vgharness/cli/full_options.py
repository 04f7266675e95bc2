"""What ``full`` and ``run`` are given on the command line, checked as far as that goes without PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import typer

from vgharness.cli.errors import named_precision
from vgharness.cli.verdicts import CLAIMS_HELP
from vgharness.errors import UsageError
from vgharness.formatting import listing
from vgharness.records import ACTIVATIONS, FIRST_SEED, INITS, MOST_WIDTH, OPTIMIZERS, SCHEDULES, Precision
from vgharness.study.design import AUTO, MOST_SEEDS
from vgharness.study.file import READY
from vgharness.study.grid import NO_NORM
from vgharness.study.looks import FIRST_LOOK, MOST_BY_DEFAULT
from vgharness.study.presets import PRESETS

Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N")]
Preset = Annotated[
    str | None,
    typer.Option(
        help=f"{', '.join(PRESETS)}, by default full on a GPU, quick without one; or a ready-made study: "
        f"{', '.join(READY)}"
    ),
]
Data = Annotated[
    str | None,
    typer.Option(help="cifar10, synthetic, or a folder with train/<class>/ and test/<class>/ 32×32 RGB images"),
]
Epochs = Annotated[int | None, typer.Option(help="epochs to train, in place of the study's own")]
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
Seed = Annotated[str | None, typer.Option(help="which seeds, in place of --seeds: 42,43,44")]
Activations = Annotated[str | None, typer.Option(help=f"which to train, as sigmoid,mish: {', '.join(ACTIVATIONS)}")]
Depths = Annotated[
    str | None, typer.Option(help="how many convolutions, 2 to 10, by default 4; two claims need 2,4,6,8,10")
]
Width = Annotated[str | None, typer.Option(help="what the channels are multiplied by: 0.5,1,2")]
Norm = Annotated[str | None, typer.Option(help="what follows each convolution: none,batch")]
Init = Annotated[str | None, typer.Option(help=f"of the weights: {','.join(INITS)}")]
Optimizer = Annotated[str | None, typer.Option(help="adam,sgd, which has a momentum of 0.9")]
LearningRate = Annotated[str | None, typer.Option(help="of the optimizer: 0.001,0.1")]
Schedule = Annotated[str | None, typer.Option(help="of the learning rate, epoch by epoch: constant,cosine")]
Jobs = Annotated[
    int | None, typer.Option(help="networks that train side by side on a CPU; by default one for each core")
]
PrecisionName = Annotated[str | None, typer.Option(help="fp32 (the default), tf32 (a GPU only) or bf16")]
Claims = Annotated[Path | None, typer.Option(help=CLAIMS_HELP)]
Out = Annotated[Path, typer.Option(help="where the page, its figures and its files for programs go")]
Watch = Annotated[
    bool, typer.Option("--watch", help="rewrite the page while it trains, with what there is; it reloads itself")
]
Plan = Annotated[
    bool, typer.Option("--plan", help="print what can be decided and how long it takes, train and write nothing")
]
ExitZero = Annotated[bool, typer.Option("--exit-zero", help="exit 0 whatever the verdicts are")]
Fresh = Annotated[
    bool, typer.Option("--fresh", help="start over, and forget what an ended study has left to go on from")
]
Where = Annotated[
    str,
    typer.Option("--executor", help="local: on this machine, on all its GPUs if --device is cuda; ray: on a cluster"),
]
Address = Annotated[str, typer.Option(help="of the Ray cluster; auto: the one that this machine is a part of")]
Yes = Annotated[bool, typer.Option("--yes", help="train a study of more than 10,000 networks without asking")]
REPORTS: Final = Path("reports")


@dataclass(frozen=True)
class Options:
    """What was asked for on the command line.

    ``None`` stands for what the study says; of the study itself for the preset of the device.

    program: the command as its messages name it.
    study: the name of a preset or of a ready-made study, or a study file.
    factors: by name, values that take the place of the study's own.
    cluster: the address of the Ray cluster that trains; ``None``: this machine does.
    """

    program: str
    study: str | Path | None
    device: str
    data: str | None
    epochs: int | None
    seeds: tuple[int, ...] | Literal["auto"] | None
    most_seeds: int
    factors: Mapping[str, Sequence[Any]]
    jobs: int | None
    precision: Precision | None
    claims: Path | None
    out: Path
    watch: bool
    fresh: bool
    yes: bool
    cluster: str | None


def given_options(
    program: str,
    study: str | Path | None,
    factors: Mapping[str, str | None],
    device: str,
    data: str | None,
    epochs: int | None,
    seeds: str | None,
    most_seeds: int | None,
    seed: str | None,
    jobs: int | None,
    precision: str | None,
    claims: Path | None,
    out: Path,
    watch: bool,
    fresh: bool,
    yes: bool,
    executor: str,
    address: str,
) -> Options:
    """Makes the options from what was typed. Raises :class:`~vgharness.errors.UsageError` where it is wrong."""
    return Options(
        program=program,
        study=study,
        device=device,
        data=given_data(data),
        epochs=given_positive("--epochs", epochs),
        seeds=given_seeds(seeds, seed),
        most_seeds=given_most_seeds(most_seeds, seeds),
        factors={name: _FACTORS[name](listed) for name, listed in factors.items() if listed is not None},
        jobs=given_positive("--jobs", jobs),
        precision=None if precision is None else named_precision(precision),
        claims=claims,
        out=out,
        watch=watch,
        fresh=fresh,
        yes=yes,
        cluster=given_cluster(executor, address),
    )


def given_preset(name: str | None) -> str | None:
    """The name of a preset; raises :class:`~vgharness.errors.UsageError` for any other, as all of these do."""
    known = (*PRESETS, *READY)
    if name is not None and name not in known:
        raise UsageError(f"--preset {name}: use one of {', '.join(known)}")
    return name


def given_study(name: str) -> str | Path:
    """The name of a ready-made study, or a study file that is there."""
    if name in READY:
        return name
    if not Path(name).exists():
        raise UsageError(f"{name}: there is no such file, and no ready-made study of that name: {', '.join(READY)}")
    return Path(name)


def given_data(source: str | None) -> str | None:
    """A source of images, which is not empty."""
    if source is not None and not source.strip():
        raise UsageError("--data is empty: give cifar10, synthetic or a folder")
    return source


def given_positive(option: str, value: int | None) -> int | None:
    """A number of 1 or more."""
    if value is not None and value < 1:
        raise UsageError(f"{option} {value}: give 1 or more")
    return value


def given_seeds(count: str | None, listed: str | None) -> tuple[int, ...] | Literal["auto"] | None:
    """As many seeds as ``count`` says, or those that are listed; ``auto``: as many as decide; ``None``: neither was
    given."""
    if listed is None:
        return None if count is None else _counted_seeds(count)
    if count is not None:
        raise UsageError("--seeds and --seed: give one of them, a number of seeds or a list")
    seeds = _integers("--seed", listed, "seeds like 42,43,44")
    if not all(0 <= seed < 2**63 for seed in seeds):
        raise UsageError(f"--seed {listed}: a seed is 0 or more and below 2**63")
    return seeds


def given_most_seeds(most: int | None, count: str | None) -> int:
    """The most seeds that ``--seeds auto`` goes on to; ``count``: what ``--seeds`` was given."""
    if most is None:
        return MOST_BY_DEFAULT
    if count is None or not _is_auto(count):
        raise UsageError(f"--most-seeds {most}: it is of --seeds auto, which goes on until all is decided")
    if most < FIRST_LOOK:
        raise UsageError(f"--most-seeds {most}: give {FIRST_LOOK} or more, as many as the first round has")
    if most > MOST_SEEDS:
        raise UsageError(f"--most-seeds {most}: give {MOST_SEEDS:,} at most")
    return most


def _counted_seeds(count: str) -> tuple[int, ...] | Literal["auto"]:
    if _is_auto(count):
        return AUTO
    try:
        number = int(count)
    except ValueError:
        raise UsageError(f"--seeds {count}: give how many, or auto: until all is decided") from None
    given_positive("--seeds", number)
    if number > MOST_SEEDS:
        raise UsageError(f"--seeds {count}: give {MOST_SEEDS:,} at most")
    return tuple(range(FIRST_SEED, FIRST_SEED + number))


def _is_auto(count: str) -> bool:
    return count.strip().lower() == AUTO


def given_depths(listed: str) -> tuple[int, ...]:
    """Depths, 2 to 10."""
    depths = _integers("--depths", listed, "depths like 2,4,6")
    if not all(2 <= depth <= 10 for depth in depths):
        raise UsageError(f"--depths {listed}: a depth is 2 to 10")
    return depths


def given_cluster(executor: str, address: str) -> str | None:
    """The address of the Ray cluster to train on; ``None``: this machine trains."""
    if executor not in ("local", "ray"):
        raise UsageError(f"--executor {executor}: use local or ray")
    return address if executor == "ray" else None


def _integers(option: str, listed: str, example: str) -> tuple[int, ...]:
    try:
        return tuple(dict.fromkeys(int(part) for part in listed.split(",")))
    except ValueError:
        raise UsageError(f"{option} {listed}: give {example}") from None


def _numbers(option: str, most: float) -> Callable[[str], tuple[float, ...]]:
    def read(listed: str) -> tuple[float, ...]:
        try:
            numbers = tuple(dict.fromkeys(float(part) for part in listed.split(",")))
        except ValueError:
            raise UsageError(f"{option} {listed}: give numbers like 0.5,1") from None
        if not all(0 < number <= most for number in numbers):
            raise UsageError(f"{option} {listed}: each is above 0 and at most {most:g}")
        return numbers

    return read


def _words(option: str, known: Sequence[str]) -> Callable[[str], tuple[str, ...]]:
    def read(listed: str) -> tuple[str, ...]:
        chosen = tuple(dict.fromkeys(part.strip().lower() for part in listed.split(",")))
        for name in chosen:
            if name not in known:
                raise UsageError(f"{option}: {name!r} is not known; use {listing(known)}")
        return chosen

    return read


def _norms(listed: str) -> tuple[str | None, ...]:
    return tuple(None if name == NO_NORM else name for name in _words("--norm", (NO_NORM, "batch"))(listed))


_FACTORS: Final[dict[str, Callable[[str], Sequence[Any]]]] = {
    "activation": _words("--activations", ACTIVATIONS),
    "depth": given_depths,
    "width": _numbers("--width", MOST_WIDTH),
    "norm": _norms,
    "init": _words("--init", INITS),
    "optimizer": _words("--optimizer", OPTIMIZERS),
    "learning_rate": _numbers("--learning-rate", 1e6),
    "schedule": _words("--schedule", SCHEDULES),
}
