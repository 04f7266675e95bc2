"""What can be decided of a study that is only planned."""

import pytest
from factories import CANONICAL, SYNTHETIC

from vgharness.claims.loading import load_claims
from vgharness.claims.outlook import Outlook, outlooks
from vgharness.study.presets import plan

pytestmark = pytest.mark.fast


def of_claims(preset: str, data: object = CANONICAL, **options: object) -> dict[str, Outlook]:
    return {each.claim: each for each in outlooks(load_claims(), plan(preset, **options), data)}  # type: ignore[arg-type]


def test_a_claim_of_the_last_epoch_can_be_decided_in_part_by_a_shorter_training() -> None:
    found = of_claims("script", epochs=2)["relu-gradient-stable"]
    assert (found.deciding, found.possible) == (6, 4)
    assert found.moments == ("at initialisation", "over epoch 1")
    assert found.reason == "needs 20 epochs of relu, which is trained for 2"


def test_what_can_be_decided_whole_has_no_reason() -> None:
    found = of_claims("script")["sigmoid-final"]
    assert (found.possible, found.deciding, found.reason, found.moments) == (1, 1, "", ())


def test_other_images_decide_no_claim_about_cifar10() -> None:
    found = of_claims("quick", SYNTHETIC)
    assert (found["relu-final"].possible, found["relu-final"].reason) == (0, "needs all of CIFAR-10")
    assert found["architecture"].possible == 3


def test_two_seeds_decide_counts_only() -> None:
    found = of_claims("script", seeds=(42, 43))
    assert found["sigmoid-final"].reason == "2 seeds; a verdict needs 3"
    assert found["architecture"].possible == 3


def test_moments_do_not_tell_apart_what_other_networks_lack_too() -> None:
    claims = [claim for claim in load_claims() if claim.id == "tanh-squashes"]
    (found,) = outlooks(claims, plan("script", activations=("sigmoid", "identity")), CANONICAL)
    assert (found.possible, found.deciding, found.moments) == (1, 2, ())
    assert found.reason == "needs networks with activation tanh"
