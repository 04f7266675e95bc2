"""The studies that have a name, their presets.

===========  =============  ======  =====  ===================================================
preset       architectures  epochs  seeds  images
===========  =============  ======  =====  ===================================================
``quick``    script         2       3      synthetic, 2,560 to train on and 1,000 to test on
``script``   script         20      3      CIFAR-10
``readme``   readme         20      3      CIFAR-10
``full``     both           20      5      CIFAR-10
===========  =============  ======  =====  ===================================================

Each trains sigmoid and ReLU, and measures tanh at initialisation only.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vgharness.records import FIRST_SEED, Activation, Architecture, Cell, Precision, Study


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
    "script": Preset(("script",), epochs=20, seeds=3, source="cifar10"),
    "readme": Preset(("readme",), epochs=20, seeds=3, source="cifar10"),
    "full": Preset(("readme", "script"), epochs=20, seeds=5, source="cifar10"),
}


def plan(
    preset: str,
    *,
    epochs: int | None = None,
    seeds: Sequence[int] | None = None,
    activations: Sequence[Activation] | None = None,
    depths: Sequence[int] = (4,),
    precision: Precision = "fp32",
) -> Study:
    """Plans the study that ``preset`` stands for, a key of ``PRESETS``, with what is given in place of its own.

    Cells are a grid of ``seeds``, the preset's architectures, ``depths`` and ``activations``, each value taken once.
    Seeds are the outermost loop, so that a run that is cut short holds whole pairs of activations. Without
    ``activations``, sigmoid and ReLU are trained, and tanh is added with no epochs: a claim speaks of it at
    initialisation. ``precision`` is of the arithmetic.
    """
    chosen = PRESETS[preset]
    trained = dict.fromkeys(activations or ("sigmoid", "relu"))
    only_initial: tuple[Activation, ...] = () if activations else ("tanh",)
    numbers = seeds or range(FIRST_SEED, FIRST_SEED + chosen.seeds)
    length = epochs if epochs is not None else chosen.epochs
    cells = []
    for seed in dict.fromkeys(numbers):
        for architecture in chosen.architectures:
            for depth in dict.fromkeys(depths):
                for activation in trained:
                    cells.append(
                        Cell(architecture=architecture, activation=activation, depth=depth, seed=seed, epochs=length)
                    )
            for activation in only_initial:
                cells.append(Cell(architecture=architecture, activation=activation, seed=seed, epochs=0))
    return Study(
        preset=preset,
        cells=tuple(cells),
        precision=precision,
        train_images=chosen.train_images,
        test_images=chosen.test_images,
    )
