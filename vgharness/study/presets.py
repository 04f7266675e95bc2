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
GELU and SiLU. Beside the presets there are ready-made studies, whose files come with the package: ``READY``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from vgharness.errors import UsageError
from vgharness.formatting import listing
from vgharness.records import Activation, Architecture, Init, Norm, OptimizerName, Precision, Schedule, Study
from vgharness.study.design import Design, counted, several
from vgharness.study.file import READY, load_design, ready_file
from vgharness.study.grid import Grid
from vgharness.study.looks import MOST_BY_DEFAULT

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


# By the name of a factor, what ``plan`` calls its values.
_ASKED: Final = {
    "depth": "depths",
    "width": "widths",
    "norm": "norms",
    "init": "inits",
    "optimizer": "optimizers",
    "learning_rate": "learning_rates",
    "schedule": "schedules",
}


def plan(
    preset: str,
    *,
    epochs: int | None = None,
    seeds: int | Sequence[int] | Literal["auto"] | None = None,
    most_seeds: int = MOST_BY_DEFAULT,
    activations: Activation | Sequence[Activation] | None = None,
    depths: int | Sequence[int] | None = None,
    widths: float | Sequence[float] | None = None,
    norms: Norm | Sequence[Norm | None] | None = None,
    inits: Init | Sequence[Init] | None = None,
    optimizers: OptimizerName | Sequence[OptimizerName] | None = None,
    learning_rates: float | Sequence[float] | None = None,
    schedules: Schedule | Sequence[Schedule] | None = None,
    precision: Precision | None = None,
) -> Study:
    """Plans the study that ``preset`` stands for, with what is given in place of its own.

    preset: a key of ``PRESETS``, or one of ``READY``.
    epochs: of every network that is trained.
    seeds: the seeds themselves, or how many there are, counted from ``FIRST_SEED``; ``auto``: as many as decide, up to
        ``most_seeds``, of which the study has those of its first round (:mod:`~vgharness.study.looks`).
    activations: to train. Without them, a key of ``PRESETS`` trains sigmoid and ReLU, and the others are added with no
        epochs, depth 4 and the published recipe: what is said of them is said of the initialisation.
    depths, widths, norms, inits, optimizers, learning_rates, schedules: the values of those factors; one alone needs
        no list.
    precision: of the arithmetic.

    Cells are the grid of all these, each value taken once. Seeds are the outermost loop, so that a run that is cut
    short holds whole pairs of activations.

    >>> plan("quick", seeds=5, norms=[None, "batch"])

    Raises :class:`~vgharness.errors.UsageError` for what no preset, cell or study can be.
    """
    given = dict(zip(_ASKED, (depths, widths, norms, inits, optimizers, learning_rates, schedules), strict=True))
    factors = {name: several(_ASKED[name], _as_list(values)) for name, values in given.items() if values is not None}
    if activations is not None:
        factors["activation"] = several("activations", _as_list(activations))
    return (
        design_of(preset, factors)
        .changed(epochs=epochs, seeds=seeds, most_seeds=most_seeds, precision=precision)
        .study()
    )


def _as_list(values: Any) -> Any:
    return [values] if isinstance(values, str | int | float) else values


def design_of(preset: str, factors: Mapping[str, Sequence[Any]]) -> Design:
    """What the study ``preset`` is made from, with other values of ``factors`` in place of its own.

    Raises :class:`~vgharness.errors.UsageError` for a name that no study has.
    """
    if preset in READY:
        return load_design(ready_file(preset)).changed(factors=factors)
    if preset not in PRESETS:
        raise UsageError(f"preset {preset!r}: use {listing((*PRESETS, *READY))}")
    chosen = PRESETS[preset]
    grids = []
    for architecture in chosen.architectures:
        own = {"architecture": (architecture,), "activation": _TRAINED}
        grids.append(Grid({**own, **factors}, chosen.epochs))
        if "activation" not in factors:
            grids.append(Grid({**own, "activation": _ONLY_INITIAL}, 0))
    return Design(
        name=preset,
        grids=tuple(grids),
        seeds=counted(chosen.seeds),
        source=chosen.source,
        train_images=chosen.train_images,
        test_images=chosen.test_images,
    )
