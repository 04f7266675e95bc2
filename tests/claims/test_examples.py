"""The claims files of six public documents: each loads and says what a run must hold for each of its readings."""

from importlib.resources import as_file, files

import pytest
from factories import CANONICAL, make_result
from worlds import climb

from vgharness.claims.evidence import Evidence, lacking, subjects_of
from vgharness.claims.loading import load_claims
from vgharness.claims.outlook import outlooks
from vgharness.claims.spec import Claim
from vgharness.claims.subject import shown
from vgharness.claims.verdicts import judge
from vgharness.records import CellResult
from vgharness.study.file import READY
from vgharness.study.presets import plan

pytestmark = pytest.mark.fast

with as_file(files("vgharness")) as package:
    FILES = {path.stem: path for path in sorted((package / "claims" / "examples").iterdir())}
    # Those whose networks a ready-made study trains.
    FILES |= {name: package / "study" / "ready" / f"{name}-claims.toml" for name in READY[4:]}
    EXAMPLES = {name: load_claims(path) for name, path in FILES.items()}
# The numbers that the documents print.
PRINTED = {
    "deep-sigmoid-mlp": [],
    "glorot-bengio-2010": [1],
    "he-2015": [],
    "normalisation": [84, 91, 99],
    "sigmoid-chain": [0.25**8, 0.25**4, 0.25**2, 0.25],
    "two-pipelines": [1e-6, 1e-5, 1e-4, 1e-3, 1e-2],
}
DECLARED = {
    "deep-sigmoid-mlp": {"architecture", "remedy"},
    "glorot-bengio-2010": {"architecture", "init"},
    "he-2015": {"architecture", "depth"},
    "normalisation": {"architecture", "norm"},
    "sigmoid-chain": {"architecture"},
    "two-pipelines": {"architecture", "pipeline"},
}


@pytest.mark.parametrize("name", PRINTED)
def test_a_documents_numbers_are_in_its_claims(name: str) -> None:
    found = {
        number
        for claim in EXAMPLES[name]
        for reading in claim.readings
        if reading.accept and not reading.context
        for number in reading.accept.printed
    }
    assert sorted(found) == pytest.approx(PRINTED[name], rel=1e-4)


@pytest.mark.parametrize("name", PRINTED)
def test_every_reading_says_which_networks_and_images_it_needs(name: str) -> None:
    for claim in EXAMPLES[name]:
        for reading in claim.readings:
            needed = lacking(reading, claim, "", Evidence())
            assert needed.startswith("needs ")
            wanted = [{**claim.recipe.factors, **subject.factors} for subject in subjects_of(reading)]
            assert all(shown(value) in needed for factors in wanted for value in factors.values()), needed
            assert claim.recipe.data in needed or claim.recipe.data == "any"


@pytest.mark.parametrize("name", PRINTED)
def test_a_study_of_other_networks_can_decide_nothing_and_says_why(name: str) -> None:
    for each in outlooks(EXAMPLES[name], plan("script"), CANONICAL):
        assert each.possible == 0
        factors = {factor for claim in EXAMPLES[name] if claim.id == each.claim for factor in factors_of(claim)}
        assert DECLARED[name] <= factors
        assert any(f" {factor.replace('_', ' ')} " in each.reason for factor in DECLARED[name]), each.reason


def factors_of(claim: Claim) -> set[str]:
    subjects = [subject for reading in claim.readings for subject in subjects_of(reading)]
    return {*claim.recipe.factors, *(factor for subject in subjects for factor in subject.factors)}


def small_cnn(norm: str | None, final: float, train: float, batch_size: int = 128) -> list[CellResult]:
    found = []
    for seed in range(42, 47):
        result = make_result("relu", seed, curve=climb(40, final + 0.1 * (seed - 44)))
        epochs = [epoch.model_copy(update={"train_accuracy": train + 0.1 * (seed - 44)}) for epoch in result.epochs]
        factors = {"architecture": "small-cnn", "norm": norm, "batch_size": batch_size}
        cell = result.cell.model_copy(update=factors)  # what no study trains yet
        found.append(result.model_copy(update={"cell": cell, "epochs": tuple(epochs)}))
    return found


def test_an_accuracy_that_can_only_be_that_on_the_training_images_shows_as_such() -> None:
    nets = [*small_cnn(None, 84, 90), *small_cnn("batch", 86, 99), *small_cnn("layer", 85, 95)]
    evidence = Evidence(tuple((result.cell, result) for result in nets), CANONICAL)
    found = {verdict.claim: verdict for verdict in judge(EXAMPLES["normalisation"], evidence)}
    assert [r.outcome for r in found["accuracy-without"].readings] == ["reproduced", "not reproduced"]
    assert [r.outcome for r in found["accuracy-batch-norm"].readings] == ["not reproduced", "reproduced"]
    assert found["accuracy-batch-norm"].outcome == "reproduced"
    assert found["accuracy-layer-norm"].outcome == "not reproduced"
    assert found["small-batches"].readings[1].outcome == "not reproduced"
    assert found["small-batches"].readings[0].reason == "needs networks with batch size 8"
