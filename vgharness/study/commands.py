"""Which command would run a claim that a run could not judge."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any, Final

from pydantic_core import PydanticUndefined

from vgharness.claims.evidence import CIFAR10, epochs_needed, subjects_of
from vgharness.claims.outlook import outlooks
from vgharness.claims.spec import ANY_DATA, Claim
from vgharness.errors import UsageError
from vgharness.records import Cell, Provenance
from vgharness.study.grid import NO_NORM, OPTIONS, as_options
from vgharness.study.presets import PRESETS, design_of

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
    said = {name: values for name in OPTIONS if (values := _values(claim, name))}
    trained = {name: values for name, values in said.items() if name != "activation"}
    epochs = max(epochs_needed(spec, claim.recipe) for spec in claim.readings) or None
    # The first that is enough: what the claim says, then how long, and the activations only where they must be trained.
    for factors, length in (({}, None), (trained, None), (trained, epochs), (said, epochs)):
        if _decides(claim, variant, preset, factors, length):
            asked = ["--epochs", str(length)] if length else []
            parts = ["--preset", preset, "--data", "cifar10", *as_options(factors), *asked]
            return shlex.join(["python", "-m", "vgharness.full", *parts])
    return ""


def _decides(claim: Claim, variant: str, preset: str, factors: Mapping[str, Sequence[Any]], epochs: int | None) -> bool:
    try:
        study = design_of(preset, factors).changed(epochs=epochs).study()
    except UsageError:  # no study can be planned so
        return False
    found = [each for each in outlooks([claim], study, _CANONICAL) if each.variant == variant]
    return bool(found) and all(each.possible == each.deciding for each in found)


def _values(claim: Claim, name: str) -> list[Any]:
    """All values of a factor that it speaks of, where those are more than the presets' own."""
    usual = Cell.model_fields[name].default
    own = claim.recipe.factors.get(name, usual)
    said = {subject.factors.get(name, own) for spec in claim.readings for subject in subjects_of(spec)}
    values = {None if name == "norm" and value == NO_NORM else value for value in said} - {PydanticUndefined}
    return sorted(values, key=lambda value: (value is not None, str(value).zfill(9))) if values != {usual} else []
