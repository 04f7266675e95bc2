"""Study files with networks of one's own: what they plan, and what is wrong with them said in one line."""

from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from factories import CANONICAL

from vgharness.claims.loading import load_claims
from vgharness.claims.outlook import outlooks
from vgharness.errors import UsageError
from vgharness.records import Study
from vgharness.study.file import load_design, ready_file

pytestmark = pytest.mark.fast

HEAD = 'name = "mine"\nnetwork = "nets.py:make"\nseeds = 2\n'
# Document C: one deep sigmoid MLP and what makes it train.
REMEDIES = """
name = "deep-sigmoid-mlp"
data = "torchvision:FashionMNIST"
network = "nets.py:make"
architecture = "mlp 7 x 128"
epochs = 5
seeds = 3

[[grid]]
remedy = ["plain", "initialisation of sd 1", "initialisation of sd 10", "batch norm", "skip connections",
          "layer-wise training", "gradient normalisation"]
activation = "sigmoid"
optimizer = { name = "SGD", lr = 0.01 }

[[grid]]
remedy = "relu"
activation = "relu"
optimizer = { name = "SGD", lr = 0.01 }

[[grid]]
remedy = "adam"
activation = "sigmoid"
optimizer = "Adam"
"""


def planned(folder: Path, text: str) -> Study:
    path = folder / "study.toml"
    path.write_text(text, encoding="utf-8")
    return load_design(path).study()


def test_a_grid_is_every_combination_of_its_own_factors(tmp_path: Path) -> None:
    study = planned(tmp_path, HEAD + "[grid]\nskip = [true, false]\nbatch_size = [8, 128]\ndepth = [1, 20]\n")
    assert len(study.cells) == 16
    first = study.cells[0]
    assert first.own is not None
    assert (first.own.network, first.own.factors) == (f"{tmp_path / 'nets.py'}:make", (("skip", True), ("depth", 1)))
    assert len({cell.name for cell in study.cells}) == 16
    assert first.name == "make skip true depth 1 batch size 8 seed 42"


def test_a_recipe_of_one_grid_takes_the_place_of_the_files(tmp_path: Path) -> None:
    text = (
        HEAD
        + 'optimizer = { name = "SGD", lr = 0.1 }\n[[grid]]\nn = 1\n[[grid]]\nn = 2\noptimizer = "Adam"\nepochs = 3\n'
    )
    study = planned(tmp_path, text)
    own = [(cell.own.optimizer, cell.own.optimizer_settings, cell.epochs) for cell in study.cells if cell.own]
    assert own == [("SGD", (("lr", 0.1),), 20), ("Adam", (), 3)] * 2


def test_a_network_without_factors_needs_no_grid(tmp_path: Path) -> None:
    assert [cell.name for cell in planned(tmp_path, HEAD).cells] == ["make seed 42", "make seed 43"]


def test_a_documents_study_can_decide_its_claims(tmp_path: Path) -> None:
    study = planned(tmp_path, REMEDIES)
    claims = load_claims(Path(str(files("vgharness.claims") / "examples" / "deep-sigmoid-mlp.toml")))
    images = CANONICAL.model_copy(
        update={"kind": "torchvision", "description": "torchvision:FashionMNIST", "cifar10": "no"}
    )
    found = outlooks(claims, study, images)
    assert [(each.claim, each.reason) for each in found if each.possible < each.deciding] == []


@pytest.mark.parametrize("name", ["normalisation", "two-pipelines", "he-2015"])
def test_the_ready_made_ones_name_networks_that_are_there(name: str) -> None:
    from vgharness.training.own_network import check_own, make_network

    for cell in load_design(ready_file(name)).study().cells:
        check_own(cell)
        if cell.seed == 42:
            assert sum(parameter.numel() for parameter in make_network(cell, 10).parameters()) > 1000


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('network = 3\n[grid]\nn = 1\n', "network: it is no text"),
        ('network = "nets"\n[grid]\nn = 1\n', "name a callable as module:name or file.py:name"),
        ('loss = "mse_loss"\n[grid]\nn = 1\n', "network: it is missing"),
        (HEAD + "[grid]\nn = []\n", "n: it is empty; give at least one value"),
        (HEAD + "[grid]\nn = { a = 1 }\n", "n: give one value, or a list of them"),
        (HEAD + "[grid]\nbatch_size = 0\n", "batch_size: give a whole number, 1 or more"),
        (HEAD + 'optimizer = { lr = 0.1 }\n[grid]\nn = 1\n', "optimizer: give a name, or a table with one"),
        (HEAD + 'optimizer = { name = "SGD", lr = [1] }\n[grid]\nn = 1\n', "optimizer: lr: give a number"),
        (HEAD + '[grid]\nactivation = "swish"\n', "activation: 'swish' is not known"),
        (HEAD + "[grid]\nepochs = -1\nn = 1\n", "epochs: give a whole number"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line_with_file_and_key(tmp_path: Path, text: str, says: Any) -> None:
    with pytest.raises(UsageError) as raised:
        planned(tmp_path, text)
    assert says in str(raised.value)
    assert str(raised.value).startswith(f"{tmp_path / 'study.toml'}: ")
    assert "\n" not in str(raised.value)
