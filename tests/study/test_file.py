"""Study files: what they may say, what is refused in one line, and the ready-made ones."""

import itertools
import re
from pathlib import Path

import pytest
from factories import CANONICAL, failure

from vgharness.claims.loading import load_claims
from vgharness.claims.outlook import outlooks
from vgharness.records import ACTIVATIONS, Cell
from vgharness.study.file import READY, load_design, ready_file
from vgharness.study.grid import FACTORS
from vgharness.study.presets import plan

pytestmark = pytest.mark.fast

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
GRID = '[grid]\nactivation = "relu"\n'


def written(folder: Path, text: str) -> Path:
    path = folder / "my study.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_says_everything(tmp_path: Path) -> None:
    text = """
name = "norms"
data = "images"
epochs = 3
seeds = [7, 9, 7]
precision = "bf16"
train_images = 100
test_images = 50
claims = "claims.toml"

[grid]
architecture = ["readme", "script"]
activation = ["mish", "prelu"]
depth = [2, 10]
width = 2
norm = ["none", "batch"]
init = "xavier"
optimizer = ["adam", "sgd"]
momentum = [0.5, 0.9]
learning_rate = [0.1]
schedule = "cosine"
batch_size = 64
"""
    design = load_design(written(tmp_path, text))
    assert (design.source, design.claims) == (str(tmp_path / "images"), tmp_path / "claims.toml")
    study = design.study()
    assert (study.preset, study.precision, study.train_images, study.test_images) == ("norms", "bf16", 100, 50)
    optimizers = [("adam", 0.0), ("sgd", 0.5), ("sgd", 0.9)]
    expected = [
        Cell(
            architecture=architecture,
            activation=activation,
            seed=seed,
            epochs=3,
            depth=depth,
            width=2.0,
            norm=norm,
            init="xavier",
            optimizer=optimizer,
            momentum=momentum,
            learning_rate=0.1,
            schedule="cosine",
            batch_size=64,
        )
        for seed, architecture, depth, norm, (optimizer, momentum), activation in itertools.product(
            (7, 9), ("readme", "script"), (2, 10), (None, "batch"), optimizers, ("mish", "prelu")
        )
    ]
    assert list(study.cells) == expected
    assert len({cell.name for cell in study.cells}) == len(expected)


def test_what_a_file_leaves_out_is_the_published_recipe_of_the_script(tmp_path: Path) -> None:
    design = load_design(written(tmp_path, GRID))
    assert (design.name, design.source, design.claims) == ("my-study", "cifar10", None)
    assert design.study().cells == tuple(Cell(architecture="script", activation="relu", seed=s) for s in range(42, 47))


def test_grids_are_put_together_and_the_longest_training_of_a_network_counts(tmp_path: Path) -> None:
    text = """
epochs = 2
seeds = 1
[[grid]]
depth = [2, 4]
[[grid]]
activation = ["relu", "tanh"]
epochs = 5
[[grid]]
activation = ["relu", "gelu"]
epochs = 0
"""
    cells = load_design(written(tmp_path, text)).study().cells
    assert [(cell.activation, cell.depth, cell.epochs) for cell in cells] == [
        ("sigmoid", 2, 2), ("relu", 2, 2), ("sigmoid", 4, 2), ("relu", 4, 5), ("tanh", 4, 5), ("gelu", 4, 0)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "grid: there is none; it begins with [grid] and has lines such as"),
        ("grid = 3", "grid: it is no table"),
        ("grid = []", "grid: there is none"),
        ("[grid]", "grid: it is empty; give at least one factor"),
        ("[grid]\ndepth = []", "grid: depth: it is empty; give at least one value"),
        ("[grid]\ndepth = 11", "grid: depth: Input should be less than or equal to 10, not 11"),
        ('[grid]\ndepth = "4"', "grid: depth: Input should be a valid integer, not '4'"),
        ("[grid]\ndepth = true", "grid: depth: Input should be a valid integer, not True"),
        ("[grid]\ndepth = [[4]]", "grid: depth: give one value, or a list of them"),
        ("[grid]\nwidth = 0", "grid: width: Input should be greater than 0, not 0"),
        ("[grid]\nlearning_rate = inf", "grid: learning_rate: Input should be a finite number, not inf"),
        ('[grid]\nnorm = "layer"', "grid: norm: Input should be 'batch', not 'layer'"),
        ("[grid]\nmomentum = 0.5", 'grid: momentum: only SGD has one: optimizer = "sgd"'),
        ("[grid]\nseed = 4", "grid: seed: unknown key; known: architecture, depth, width, norm"),
        (GRID + "[[grid]]", "not valid TOML"),
        ("[[grid]]\ndepth = 4\n[[grid]]\nepochs = -1", "grid 2: epochs: give a whole number, 0 to 1,000,000, not -1"),
        ("epoch = 3\n" + GRID, "epoch: unknown key; known: name, data, epochs, seeds"),
        ("epochs = 1.5\n" + GRID, "epochs: give a whole number, 0 to 1,000,000, not 1.5"),
        ("seeds = 0\n" + GRID, "seeds: give a whole number, 1 to 100,000, not 0"),
        ("seeds = 1_000_000\n" + GRID, "seeds: give a whole number, 1 to 100,000, not 1000000"),
        ("seeds = []\n" + GRID, "seeds: it is empty"),
        ("seeds = [-1]\n" + GRID, "seeds: give a whole number, 0 to"),
        ("seeds = 100_000\n[grid]\ndepth = [2, 3, 4, 5, 6, 7]", "a study of 1,200,000 cells: 1,000,000 are the most"),
        ('data = ""\n' + GRID, "data: it is no text, or empty"),
        ("data = 3\n" + GRID, "data: it is no text, or empty"),
        ('name = "a/b"\n' + GRID, "name: run name 'a/b': use letters"),
        (f'name = "{"a" * 101}"\n' + GRID, "name: it has 101 letters; 100 are the most"),
        ('precision = "fp16"\n' + GRID, "precision: use fp32, tf32, bf16, not 'fp16'"),
        ("train_images = 0\n" + GRID, "train_images: give a whole number, 1 to"),
    ],
)
def test_a_wrong_file_is_one_line_with_the_key(tmp_path: Path, text: str, complaint: str) -> None:
    line = failure(lambda: load_design(written(tmp_path, text)))
    assert line.startswith(f"{tmp_path / 'my study.toml'}: {complaint}")


def test_a_file_that_is_not_there() -> None:
    assert failure(lambda: load_design("nowhere.toml")) == "nowhere.toml: cannot be read (No such file or directory)"


def test_the_readmes_example_is_a_study(tmp_path: Path) -> None:
    (text,) = re.findall(r"<!-- file: study.toml -->\n```toml\n(.*?)```", README, re.DOTALL)
    study = load_design(written(tmp_path, text)).study()
    assert (study.preset, len(study.cells)) == ("norm-against-depth", 3 * (18 + 2))
    described = re.findall(r"^\| `(\w+)`(?:, `(\w+)`)? \|", README.split("### A study of your own")[1], re.MULTILINE)
    assert {name for row in described for name in row} >= set(FACTORS)
    assert all(f"`{name}`" in README for name in ACTIVATIONS)
    assert all(f"`vgharness run {name}`" in README for name in READY)


@pytest.mark.parametrize("name", [name for name in READY if name != "reconcile"])  # which has no claims of its own
def test_a_ready_made_study_decides_all_its_claims(name: str) -> None:
    design = load_design(ready_file(name))
    study = design.study()
    assert (design.name, study) == (name, plan(name))
    found = outlooks(load_claims(design.claims), study, CANONICAL)
    assert len(found) >= 4
    assert [(each.claim, each.reason) for each in found if each.possible < each.deciding] == []


def test_what_is_asked_for_takes_the_place_of_a_ready_made_studys_own() -> None:
    cells = plan("theory", epochs=3, seeds=[1], depths=[2], widths=[0.5]).cells
    assert {(cell.seed, cell.depth, cell.width, cell.epochs) for cell in cells} == {(1, 2, 0.5, 0)}
    assert {cell.epochs for cell in plan("depth", epochs=3, seeds=1).cells} == {3}
