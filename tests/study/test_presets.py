"""Presets: the cells that each name stands for, and what can be asked for in their place."""

from collections.abc import Sequence
from typing import Any

import pytest
from factories import failure

from vgharness.formatting import listing
from vgharness.records import ACTIVATIONS, FIRST_SEED, Cell, Study
from vgharness.study.file import READY
from vgharness.study.presets import PRESETS, plan

pytestmark = pytest.mark.fast

Row = tuple[int, str, str, int, int]


def rows(study: Study) -> list[Row]:
    return [(cell.seed, cell.architecture, cell.activation, cell.depth, cell.epochs) for cell in study.cells]


def expected(
    architectures: Sequence[str],
    seeds: Sequence[int],
    epochs: int,
    trained: Sequence[str] = ("sigmoid", "relu"),
    only_initial: Sequence[str] = ("tanh", "identity", "gelu", "silu"),
    depths: Sequence[int] = (4,),
) -> list[Row]:
    return [
        row
        for seed in seeds
        for architecture in architectures
        for row in (
            *((seed, architecture, activation, depth, epochs) for depth in depths for activation in trained),
            *((seed, architecture, activation, 4, 0) for activation in only_initial),
        )
    ]


@pytest.mark.parametrize(
    ("preset", "architectures", "seeds", "epochs", "images", "source"),
    [
        ("quick", ["script"], range(42, 45), 2, (2_560, 1_000), "synthetic"),
        ("script", ["script"], range(42, 47), 20, (None, None), "cifar10"),
        ("readme", ["readme"], range(42, 47), 20, (None, None), "cifar10"),
        ("full", ["readme", "script"], range(42, 47), 20, (None, None), "cifar10"),
    ],
)
def test_a_preset_stands_for_these_cells(
    preset: str,
    architectures: Sequence[str],
    seeds: Sequence[int],
    epochs: int,
    images: tuple[int | None, int | None],
    source: str,
) -> None:
    study = plan(preset)
    assert rows(study) == expected(architectures, seeds, epochs)
    assert (study.preset, study.precision) == (preset, "fp32")
    assert (study.train_images, study.test_images) == images
    assert PRESETS[preset].source == source


def test_there_are_four_presets_and_the_published_seed_is_the_first() -> None:
    assert list(PRESETS) == ["quick", "script", "readme", "full"]
    assert FIRST_SEED == 42
    assert all(plan(preset).cells[0].seed == FIRST_SEED for preset in PRESETS)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_cell_is_there_once_and_but_for_its_axes_the_published_recipe(preset: str) -> None:
    cells = plan(preset, depths=(2, 4, 6)).cells
    assert len(set(cells)) == len(cells)
    assert len({cell.name for cell in cells}) == len(cells)
    for cell in cells:
        axes = {"architecture", "activation", "seed", "epochs", "depth"}
        assert cell == Cell(**cell.model_dump(include=axes))


@pytest.mark.parametrize("preset", PRESETS)
def test_a_study_cut_short_after_any_seed_holds_every_network_of_the_seeds_before(preset: str) -> None:
    seeds = [cell.seed for cell in plan(preset).cells]
    assert seeds == sorted(seeds)
    assert len({seeds.count(seed) for seed in seeds}) == 1


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"epochs": 7}, expected(["script"], range(42, 47), 7)),
        ({"epochs": 0}, expected(["script"], range(42, 47), 0)),
        ({"seeds": 2}, expected(["script"], [42, 43], 20)),
        ({"seeds": [9, 3]}, expected(["script"], [9, 3], 20)),
        ({"seeds": (0,)}, expected(["script"], [0], 20)),
        ({"seeds": [5, 6, 5]}, expected(["script"], [5, 6], 20)),
        ({"activations": ["relu"]}, expected(["script"], range(42, 47), 20, ["relu"], [])),
        ({"activations": ["sigmoid", "relu"]}, expected(["script"], range(42, 47), 20, ["sigmoid", "relu"], [])),
        ({"activations": ["gelu", "silu", "gelu"]}, expected(["script"], range(42, 47), 20, ["gelu", "silu"], [])),
        ({"activations": ["tanh"]}, expected(["script"], range(42, 47), 20, ["tanh"], [])),
        ({"depths": [2, 6]}, expected(["script"], range(42, 47), 20, depths=[2, 6])),
        ({"depths": [6, 4, 6]}, expected(["script"], range(42, 47), 20, depths=[6, 4])),
        (
            {"epochs": 1, "seeds": [1, 2], "activations": ["silu"], "depths": [2, 10]},
            expected(["script"], [1, 2], 1, ["silu"], [], [2, 10]),
        ),
    ],
    ids=str,
)
def test_what_is_asked_for_takes_the_place_of_the_presets_own(changes: dict[str, Any], found: list[Row]) -> None:
    assert rows(plan("script", **changes)) == found


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_the_precision_asked_for_is_recorded(precision: Any) -> None:
    assert plan("quick", precision=precision).precision == precision


def test_changing_the_cells_leaves_the_presets_images_alone() -> None:
    study = plan("quick", epochs=9, seeds=[1], activations=["gelu"], depths=[2])
    assert (study.train_images, study.test_images) == (2_560, 1_000)


def test_one_value_needs_no_list() -> None:
    one = plan("quick", seeds=1, activations="relu", depths=8, widths=0.5, norms="batch")
    assert one == plan("quick", seeds=[42], activations=["relu"], depths=[8], widths=[0.5], norms=["batch"])
    assert [(cell.depth, cell.width, cell.norm) for cell in one.cells] == [(8, 0.5, "batch")]


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        (
            {"preset": "quik"},
            f"preset 'quik': use {listing((*PRESETS, *READY))}",
        ),
        ({"seeds": 0}, "seeds 0: give how many, 1 or more, or a list of them"),
        ({"seeds": -3}, "seeds -3: give how many, 1 or more, or a list of them"),
        ({"seeds": []}, "seeds: give at least one"),
        ({"seeds": "42"}, "seeds '42': give a list of them"),
        ({"seeds": 4.5}, "seeds 4.5: give a list of them"),
        ({"seeds": [-1]}, "seed: Input should be greater than or equal to 0"),
        ({"seeds": [[42]]}, "seed: Input should be a valid integer"),
        ({"epochs": -1}, "epochs: Input should be greater than or equal to 0"),
        ({"epochs": 10**400}, "epochs: Input should be less than or equal to 1000000"),
        ({"depths": [1]}, "depth: Input should be greater than or equal to 2"),
        ({"depths": [4, 11]}, "depth: Input should be less than or equal to 10"),
        ({"depths": ()}, "depths: give at least one"),
        ({"depths": {4}}, "depths {4}: give a list of them"),
        ({"activations": []}, "activations: give at least one"),
        (
            {"activations": ["swish"]},
            f"activation: Input should be {', '.join(map(repr, ACTIVATIONS))} or 'own'",
        ),
        ({"widths": [0]}, "width: Input should be greater than 0"),
        ({"norms": ["layer"]}, "norm: Input should be 'batch'"),
        ({"learning_rates": []}, "learning_rates: give at least one"),
        ({"seeds": 10**20}, f"seeds {10**20}: give 100,000 at most"),
        (
            {"seeds": 90_000, "widths": [0.5, 1], "norms": [None, "batch"]},
            "a study of 1,080,000 cells: 1,000,000 are the most that one can hold",
        ),
        ({"precision": "fp16"}, "precision: Input should be 'fp32', 'tf32' or 'bf16'"),
    ],
    ids=str,
)
def test_what_no_study_can_be_is_refused_in_a_line_that_names_the_fix(changes: dict[str, Any], line: str) -> None:
    assert failure(lambda: plan(**{"preset": "quick"} | changes)) == line
