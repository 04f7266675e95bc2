"""The command that a page gives for a claim that did not run must run it."""

import shlex

import pytest
from factories import CANONICAL, make_result, make_run

from vgharness.claims.loading import load_claims
from vgharness.claims.outlook import outlooks
from vgharness.claims.spec import Claim
from vgharness.claims.subject import Subject
from vgharness.study.commands import command_for
from vgharness.study.judging import judged
from vgharness.study.presets import plan

pytestmark = pytest.mark.fast

CLAIMS = load_claims()


@pytest.mark.parametrize("variant", ["readme", "script"])
@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_it_plans_all_that_the_claim_needs(claim: Claim, variant: str) -> None:
    command = command_for(claim, variant)
    if claim.variant not in ("", variant):
        assert command == ""
        return
    parts = shlex.split(command)
    options = dict(zip(parts[3::2], parts[4::2], strict=True))
    assert parts[:3] == ["python", "-m", "vgharness.full"]
    study = plan(
        options["--preset"],
        epochs=int(options["--epochs"]) if "--epochs" in options else None,
        depths=[int(depth) for depth in options.get("--depths", "4").split(",")],
    )
    (outlook,) = (each for each in outlooks([claim], study, CANONICAL) if each.variant == variant)
    assert outlook.possible == outlook.deciding


def test_a_claim_that_no_study_of_ours_can_judge_has_no_command() -> None:
    assert [command_for(of_recipe(**recipe), "script") for recipe in ({"data": "ImageNet"}, {"batch_size": 8})] == [
        ""
    ] * 2


def of_recipe(data: str = "any", **factors: object) -> Claim:
    return Claim.model_validate({**dict(CLAIMS[1]), "recipe": {"data": data, "factors": factors}}, strict=False)


def test_it_has_an_option_for_every_factor_that_the_claim_speaks_of() -> None:
    recipe = {
        "depth": 6,
        "width": 0.5,
        "norm": "batch",
        "init": "xavier",
        "optimizer": "sgd",
        "learning_rate": 0.1,
        "schedule": "cosine",
    }
    assert command_for(of_recipe(**recipe), "script") == (
        "python -m vgharness.full --preset script --data cifar10 --depths 6 --width 0.5 --norm batch --init xavier "
        "--optimizer sgd --learning-rate 0.1 --schedule cosine"
    )
    against = CLAIMS[1].readings[0].model_copy(update={"of": Subject(factors={"activation": "mish", "norm": "batch"})})
    both = CLAIMS[1].model_copy(update={"readings": (*CLAIMS[1].readings, against)})
    assert "--activations mish,sigmoid --norm none,batch" in command_for(both, "script")


def test_it_stands_in_verdicts_that_did_not_run_only() -> None:
    run = judged(make_run([make_result(curve=[10.0])]), CLAIMS)
    for verdict in run.verdicts:
        assert bool(verdict.command) == (verdict.outcome == "not run"), verdict.claim


def test_claims_of_one_name_are_judged_each_by_itself() -> None:
    """A file cannot hold two of one name, code can."""
    shallow, epoch_1 = (
        next(claim for claim in CLAIMS if claim.id == name) for name in ("shallow-is-fine", "relu-epoch-1")
    )
    same = [shallow, epoch_1.model_copy(update={"id": shallow.id})]
    verdicts = judged(make_run([make_result(curve=[10.0])]), same).verdicts
    assert [verdict.sentence for verdict in verdicts] == [claim.sentence for claim in same]
    assert [verdict.command for verdict in verdicts] == [command_for(claim, "script") for claim in same]
    assert verdicts[0].command != verdicts[1].command
