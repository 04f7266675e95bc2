"""Whether the parts of a reading go together, and whether any run can hold what it asks for."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from vgharness.claims.quantities import MOST_EPOCHS, RATIOS

if TYPE_CHECKING:
    from vgharness.claims.spec import ReadingSpec, Recipe

_NOTHING_HOLDS_IT: Final = "no run can hold it"
_OF_MOMENTS: Final = ("epoch", "layer", "flow", "step")  # kinds of quantity that have a value at each
_WHOSE: Final = {"study": "a study's network", "session": "a test of a session", "training": "a training log"}


def check_reading(spec: ReadingSpec) -> None:
    """Raises ``ValueError``, whose message begins with the key, where something in a reading is wrong that its keys do
    not show one by one."""
    for check in (_check_keys, _check_comparison, _check_subjects, _check_layers, _check_moment, _check_values):
        check(spec)


def check_in_recipe(spec: ReadingSpec, recipe: Recipe) -> None:
    """Raises ``ValueError`` where a reading is of other epochs than those of the document's recipe."""
    if spec.of.holder != "study":
        return
    last = recipe.epochs
    if spec.curve is not None and len(spec.curve) != last:
        has = "gives none" if last is None else f"has {last}"
        raise ValueError(f"curve: {len(spec.curve)} values; it needs one for each epoch of [recipe], which {has}")
    for key, ends in (("at", (spec.at,)), ("over", spec.over.ends if spec.over else ())):
        late = [end for end in ends if isinstance(end, int) and last is not None and end > last]
        if late:
            raise ValueError(f"{key}: {_NOTHING_HOLDS_IT}: epoch {late[0]} is after the last of [recipe], {last}")


def _check_keys(spec: ReadingSpec) -> None:
    what = spec.what
    of_layers, of_epochs = what.kind in ("layer", "theory"), what.kind in _OF_MOMENTS
    goes = {
        "layer": of_layers or what.kind == "problem",
        "layers": of_layers,
        "at": of_epochs or what.kind == "problem" or (what.kind == "theory" and spec.at == "init"),
        "over": of_epochs or what.kind == "problem",
        "passes": of_epochs,
        "curve": what.kind == "epoch",
        "rows": spec.quantity == "rows_that_differ",
        "ignoring": spec.quantity == "network_differences",
        "by": spec.quantity != "network_differences",
    }
    for name, fits in goes.items():
        if getattr(spec, name) is not None and not fits:
            raise ValueError(f"{name}: it does not go with {spec.quantity!r}")
    for name, quantity in (("against", "network_differences"), ("rows", "rows_that_differ")):
        if spec.quantity == quantity and getattr(spec, name) is None:
            raise ValueError(f"{name}: {spec.quantity!r} needs it")
    if (spec.accept is None) == (spec.curve is None):
        raise ValueError("accept: a reading needs what is accepted, or a published curve to be held against")


def _check_comparison(spec: ReadingSpec) -> None:
    if spec.quantity != "network_differences" and (spec.against is None) != (spec.by is None):
        raise ValueError('by: give against and by = "ratio" or "difference", or neither')
    if spec.against == spec.of:
        raise ValueError("against: it is the same as of")
    if spec.against and spec.curve is not None:
        raise ValueError("curve: a published curve is one of one network")
    if spec.by == "ratio" and spec.is_slope:
        raise ValueError("by: slopes are compared by difference")


def _check_subjects(spec: ReadingSpec) -> None:
    holder, held_by = spec.of.holder, spec.what.held_by
    if spec.against and holder != spec.against.holder:
        both = sorted((holder, spec.against.holder), key=list(_WHOSE).index)
        raise ValueError(f"against: {_NOTHING_HOLDS_IT}: one is {_WHOSE[both[0]]}, the other {_WHOSE[both[1]]}")
    if holder in held_by:
        return
    if holder != "study":
        raise ValueError(f"of: {_NOTHING_HOLDS_IT}: {_WHOSE[holder]} has no {spec.what.words}")
    where = "a session: name its test" if "session" in held_by else "a training: name its log, as training"
    raise ValueError(f"of: {_NOTHING_HOLDS_IT}: {spec.quantity!r} is measured in {where}")


def _check_layers(spec: ReadingSpec) -> None:
    if spec.what.kind in ("layer", "theory") and (spec.layer is None) == (spec.layers is None):
        raise ValueError(f"layers: {spec.quantity!r} needs layer, or layers = {{ match, take }}")
    if spec.layers is None:
        return
    if spec.what.kind == "theory" and "factor" in spec.layers.take:
        raise ValueError(f"layers.take: {spec.quantity!r} is a factor already; use mean, greatest, least or total")
    if spec.layers.take == "slope" and spec.over and spec.over.take == "spread":
        raise ValueError("over.take: a slope can be negative; use greatest, least or mean")


def _check_moment(spec: ReadingSpec) -> None:
    given = [name for name in ("at", "over", "passes", "curve") if getattr(spec, name) is not None]
    if spec.what.kind in _OF_MOMENTS and len(given) != 1:
        raise ValueError(f"at: {spec.quantity!r} needs one of at, over, passes, curve")
    if spec.over is not None and (spec.over.take == "sum") != (spec.what.kind == "problem"):
        raise ValueError('over.take: "sum" is of problems and warnings, and they have no other')
    if len(given) > 1:
        raise ValueError("at: give at or over, not both")
    if spec.of.training:
        _check_step(spec)
        return
    if spec.of.test and spec.at != "init":
        raise ValueError("at: a test of a session is measured at init only")
    if spec.at in ("first", 0) or (isinstance(spec.at, int) and spec.at > MOST_EPOCHS):
        raise ValueError(f"at: use init, the number of an epoch up to {MOST_EPOCHS:,}, or last")
    if spec.over is not None and spec.over.steps is not None:
        raise ValueError("over: only a training has steps: give epochs")
    if spec.what.kind == "epoch" and spec.at == "init":
        raise ValueError(f"at: {spec.quantity!r} is measured after an epoch: give its number, or last")


def _check_step(spec: ReadingSpec) -> None:
    if spec.at == "init":
        raise ValueError("at: a training log has steps: give the number of one, first or last")
    if spec.over is not None and spec.over.epochs is not None:
        raise ValueError("over: a training log has steps: give those, as { steps = [100, 'last'] }")


def _check_values(spec: ReadingSpec) -> None:
    """Nothing is accepted, printed or passed that no value can be."""
    low, high = _possible(spec)
    if spec.passes:
        if (spec.passes.above is not None and spec.passes.above >= high) or (
            spec.passes.below is not None and spec.passes.below <= low
        ):
            raise ValueError(f"passes: {_NOTHING_HOLDS_IT}: {spec.what.words} is never {spec.passes}")
        low, high = 0.0, math.inf  # epochs
    accept = spec.accept
    if accept is None:
        return
    if spec.by == "ratio":
        low, high = 0.0, math.inf
    elif spec.by == "difference":
        low, high = -math.inf, math.inf
    if accept.excludes(low, high) or any(not low <= printed <= high for printed in accept.printed):
        raise ValueError(f"accept: {_NOTHING_HOLDS_IT}: no value of it is {accept}")
    if accept.low == accept.high and spec.what.kind not in ("count", "problem"):
        raise ValueError(f"accept: no mean over seeds is {accept}: give within, or printed alone")


def _possible(spec: ReadingSpec) -> tuple[float, float]:
    """The least and the most that one network's value can be."""
    if spec.over and spec.over.take == "rises":
        return 0.0, 1.0
    if spec.is_custom or (spec.layers and spec.layers.take == "slope"):
        return -math.inf, math.inf
    is_ratio = (spec.layers and spec.layers.take in RATIOS) or (spec.over and spec.over.take == "spread")
    return (0.0, math.inf) if is_ratio else (spec.what.least, spec.what.most)
