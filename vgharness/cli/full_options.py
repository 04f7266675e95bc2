"""What ``full`` is given as text on the command line, checked as far as that goes without PyTorch."""

from __future__ import annotations

from typing import Final, Literal

from vgharness.errors import UsageError
from vgharness.records import ACTIVATIONS, FIRST_SEED, Activation
from vgharness.study.looks import FIRST_LOOK, MOST_BY_DEFAULT
from vgharness.study.presets import PRESETS

AUTO: Final = "auto"


def given_preset(name: str | None) -> str | None:
    """The name of a preset; raises :class:`~vgharness.errors.UsageError` for any other, as all of these do."""
    if name is not None and name not in PRESETS:
        raise UsageError(f"--preset {name}: use one of {', '.join(PRESETS)}")
    return name


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
    return most


def _counted_seeds(count: str) -> tuple[int, ...] | Literal["auto"]:
    if _is_auto(count):
        return AUTO
    try:
        number = int(count)
    except ValueError:
        raise UsageError(f"--seeds {count}: give how many, or auto: until all is decided") from None
    given_positive("--seeds", number)
    return tuple(range(FIRST_SEED, FIRST_SEED + number))


def _is_auto(count: str) -> bool:
    return count.strip().lower() == AUTO


def given_depths(listed: str) -> tuple[int, ...]:
    """Depths, 2 to 10."""
    depths = _integers("--depths", listed, "depths like 2,4,6")
    if not all(2 <= depth <= 10 for depth in depths):
        raise UsageError(f"--depths {listed}: a depth is 2 to 10")
    return depths


def _integers(option: str, listed: str, example: str) -> tuple[int, ...]:
    try:
        return tuple(dict.fromkeys(int(part) for part in listed.split(",")))
    except ValueError:
        raise UsageError(f"{option} {listed}: give {example}") from None


def given_activations(listed: str | None) -> tuple[Activation, ...] | None:
    """Names of activations, each once, in the order given."""
    if listed is None:
        return None
    known = {name: name for name in ACTIVATIONS}
    chosen = []
    for name in dict.fromkeys(part.strip().lower() for part in listed.split(",")):
        if name not in known:
            raise UsageError(f"--activations: {name!r} is not known; use {', '.join(ACTIVATIONS)}")
        chosen.append(known[name])
    return tuple(chosen)
