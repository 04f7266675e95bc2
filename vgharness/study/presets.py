"""The studies that have a name, their presets.

===========  =============  ======  =====  ===================================================
preset       architectures  epochs  seeds  images
===========  =============  ======  =====  ===================================================
``quick``    script         2       3      synthetic, 2,560 to train on and 1,000 to test on
``script``   script         20      5      CIFAR-10
``readme``   readme         20      5      CIFAR-10
``full``     both           20      5      CIFAR-10
===========  =============  ======  =====  ===================================================

Each trains sigmoid and ReLU. At initialisation only it measures tanh, the identity (the control without an activation),
GELU and SiLU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from pydantic import ValidationError

from vgharness.errors import UsageError
from vgharness.formatting import listing
from vgharness.records import FIRST_SEED, Activation, Architecture, Cell, Precision, Rounds, Study, first_of
from vgharness.study.looks import MOST_BY_DEFAULT, planned_looks

_TRAINED: Final[tuple[Activation, ...]] = ("sigmoid", "relu")
_ONLY_INITIAL: Final[tuple[Activation, ...]] = ("tanh", "identity", "gelu", "silu")


@dataclass(frozen=True)
class Preset:
    """What a preset stands for; the command line can change all but the architectures.

    architectures: of the networks.
    epochs: that the networks are trained for.
    seeds: how many there are, counted from ``FIRST_SEED``.
    source: of the images, as ``--data`` takes it.
    train_images: how many images are trained on; ``None``: all there are.
    test_images: how many images are tested on; ``None``: all there are.
    """

    architectures: tuple[Architecture, ...]
    epochs: int
    seeds: int
    source: str
    train_images: int | None = None
    test_images: int | None = None


PRESETS = {
    "quick": Preset(("script",), epochs=2, seeds=3, source="synthetic", train_images=2_560, test_images=1_000),
    "script": Preset(("script",), epochs=20, seeds=5, source="cifar10"),
    "readme": Preset(("readme",), epochs=20, seeds=5, source="cifar10"),
    "full": Preset(("readme", "script"), epochs=20, seeds=5, source="cifar10"),
}


def plan(
    preset: str,
    *,
    epochs: int | None = None,
    seeds: int | Sequence[int] | Literal["auto"] | None = None,
    most_seeds: int = MOST_BY_DEFAULT,
    activations: Sequence[Activation] | None = None,
    depths: Sequence[int] = (4,),
    precision: Precision = "fp32",
) -> Study:
    """Plans the study that ``preset`` stands for, a key of ``PRESETS``, with what is given in place of its own.

    Cells are a grid of seeds, the preset's architectures, ``depths`` and ``activations``, each value taken once. Seeds
    are the outermost loop, so that a run that is cut short holds whole pairs of activations. ``seeds``: the seeds
    themselves, or how many there are, counted from ``FIRST_SEED``; ``auto``: as many as decide, up to ``most_seeds``,
    of which the study has those of its first round (:mod:`~vgharness.study.looks`). Without ``activations``, sigmoid
    and ReLU are trained, and the others are added with no epochs: what is said of them is said of the initialisation.
    ``precision`` is of the arithmetic.

    >>> plan("quick", seeds=5)

    Raises :class:`~vgharness.errors.UsageError` for what no preset, cell or study can be.
    """
    if preset not in PRESETS:
        raise UsageError(f"preset {preset!r}: use {listing(PRESETS)}")
    chosen = PRESETS[preset]
    rounds = Rounds(looks=planned_looks(most_seeds)) if seeds == "auto" else None
    length = chosen.epochs if epochs is None else epochs
    trained = _several("activations", _TRAINED if activations is None else activations)
    rows = [(activation, depth, length) for depth in _several("depths", depths) for activation in trained]
    if activations is None:
        rows += [(activation, 4, 0) for activation in _ONLY_INITIAL]
    cells = [
        _cell(architecture=architecture, activation=activation, depth=depth, seed=seed, epochs=its_length)
        for seed in _seeds(rounds.look.seeds if rounds else chosen.seeds if seeds is None else seeds)
        for architecture in chosen.architectures
        for activation, depth, its_length in rows
    ]
    try:
        return Study(
            preset=preset,
            cells=tuple(dict.fromkeys(cells)),
            rounds=rounds,
            precision=precision,
            train_images=chosen.train_images,
            test_images=chosen.test_images,
        )
    except ValidationError as error:
        raise UsageError(first_of(error)) from error


def _seeds(seeds: int | Sequence[Any]) -> Sequence[Any]:
    if not isinstance(seeds, int):
        return _several("seeds", seeds)
    if seeds < 1:
        raise UsageError(f"seeds {seeds}: give how many, 1 or more, or a list of them")
    return range(FIRST_SEED, FIRST_SEED + seeds)


def _several(name: str, values: Sequence[Any]) -> Sequence[Any]:
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise UsageError(f"{name} {values!r}: give a list of them")
    if not values:
        raise UsageError(f"{name}: give at least one")
    return values


def _cell(**fields: Any) -> Cell:
    try:
        return Cell(**fields)
    except ValidationError as error:
        raise UsageError(first_of(error)) from error
