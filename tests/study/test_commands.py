"""The command that a page gives for a claim that did not run must run it."""

import shlex

import pytest
from factories import CANONICAL, make_result, make_run

from vgharness.claims.loading import load_claims
from vgharness.claims.outlook import outlooks
from vgharness.claims.spec import Claim
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
    paper = [
        Claim.model_validate({**dict(CLAIMS[1]), "recipe": {"data": "ImageNet"}}, strict=False),
        Claim.model_validate({**dict(CLAIMS[1]), "recipe": {"factors": {"norm": "batch"}}}, strict=False),
    ]
    assert [command_for(claim, "script") for claim in paper] == ["", ""]


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
