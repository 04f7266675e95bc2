"""Which command would run a claim that a run could not judge."""

from __future__ import annotations

import shlex
from typing import Final

from vgharness.claims.evidence import CIFAR10, epochs_needed, subjects_of
from vgharness.claims.outlook import outlooks
from vgharness.claims.spec import ANY_DATA, Claim
from vgharness.errors import UsageError
from vgharness.records import Provenance
from vgharness.study.presets import PRESETS, plan

_CANONICAL: Final = Provenance(
    kind="cifar10",
    description=CIFAR10,
    cifar10="canonical",
    sha256="",
    classes=tuple(map(str, range(10))),
    train_images=50_000,
    test_images=10_000,
)


def command_for(claim: Claim, variant: str) -> str:
    """What trains all that ``claim`` needs; empty where no study of ours does: the claim is of a test, or speaks of
    networks or images that ``vgharness.full`` has no option for."""
    if claim.recipe.data not in (ANY_DATA, CIFAR10):
        return ""
    preset = variant if variant in PRESETS else "full"
    options: dict[str, str] = {}
    for option, value in {"": "", "--depths": _depths(claim), "--epochs": _epochs(claim)}.items():
        options |= {option: value} if value else {}
        if _decides(claim, variant, preset, options):
            given = [part for pair in options.items() for part in pair]
            return shlex.join(["python", "-m", "vgharness.full", "--preset", preset, "--data", "cifar10", *given])
    return ""


def _decides(claim: Claim, variant: str, preset: str, options: dict[str, str]) -> bool:
    try:
        study = plan(
            preset,
            epochs=int(options["--epochs"]) if "--epochs" in options else None,
            depths=tuple(map(int, options["--depths"].split(","))) if "--depths" in options else (4,),
        )
    except UsageError:  # no study can be planned so
        return False
    found = [each for each in outlooks([claim], study, _CANONICAL) if each.variant == variant]
    return bool(found) and all(each.possible == each.deciding for each in found)


def _depths(claim: Claim) -> str:
    """All that it speaks of, where that is more than the presets' own."""
    said = [subject.factors.get("depth", 4) for spec in claim.readings for subject in subjects_of(spec)]
    depths = sorted({depth for depth in said if isinstance(depth, int)})
    return ",".join(map(str, depths)) if depths != [4] else ""


def _epochs(claim: Claim) -> str:
    needed = max(epochs_needed(spec, claim.recipe) for spec in claim.readings)
    return str(needed) if needed else ""
