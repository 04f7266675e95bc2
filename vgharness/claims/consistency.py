"""Whether the parts of a reading go together, and whether any run can hold what it asks for."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from vgharness.claims.quantities import RATIOS

if TYPE_CHECKING:
    from vgharness.claims.spec import ReadingSpec, Recipe

_NOTHING_HOLDS_IT: Final = "no run can hold it"


def check_reading(spec: ReadingSpec) -> None:
    """Raises ``ValueError``, whose message begins with the key, where something in a reading is wrong that its keys do
    not show one by one."""
    for check in (_check_keys, _check_comparison, _check_subjects, _check_layers, _check_moment, _check_values):
        check(spec)


def check_in_recipe(spec: ReadingSpec, recipe: Recipe) -> None:
    """Raises ``ValueError`` where a reading is of other epochs than those of the document's recipe."""
    last = recipe.epochs
    if spec.curve is not None and len(spec.curve) != last:
        has = "gives none" if last is None else f"has {last}"
        raise ValueError(f"curve: {len(spec.curve)} values; it needs one for each epoch of [recipe], which {has}")
    for key, ends in (("at", (spec.at,)), ("over", spec.over.epochs if spec.over else ())):
        late = [end for end in ends if isinstance(end, int) and last is not None and end > last]
        if late:
            raise ValueError(f"{key}: {_NOTHING_HOLDS_IT}: epoch {late[0]} is after the last of [recipe], {last}")


def _check_keys(spec: ReadingSpec) -> None:
    what = spec.what
    of_layers, of_epochs = what.kind in ("layer", "theory"), what.kind in ("epoch", "layer", "flow")
    goes = {
        "layer": of_layers,
        "layers": of_layers,
        "at": of_epochs or (what.kind == "theory" and spec.at == "init"),
        "over": of_epochs,
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
    if spec.against and bool(spec.of.test) != bool(spec.against.test):
        raise ValueError(f"against: {_NOTHING_HOLDS_IT}: one is a study's network, the other of a session")
    if spec.of.test and spec.what.held_by == "study":
        raise ValueError(f"of: {_NOTHING_HOLDS_IT}: a test of a session has no {spec.what.words}")
    if not spec.of.test and spec.what.held_by == "session":
        raise ValueError(f"of: {_NOTHING_HOLDS_IT}: {spec.quantity!r} is measured in a session: name its test")


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
    if spec.what.kind in ("epoch", "layer", "flow") and len(given) != 1:
        raise ValueError(f"at: {spec.quantity!r} needs one of at, over, passes, curve")
    if spec.of.test and spec.at != "init":
        raise ValueError("at: a test of a session is measured at init only")
    if spec.what.kind == "epoch" and spec.at == "init":
        raise ValueError(f"at: {spec.quantity!r} is measured after an epoch: give its number, or last")


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
    if accept.low == accept.high and spec.what.kind != "count":
        raise ValueError(f"accept: no mean over seeds is {accept}: give within, or printed alone")


def _possible(spec: ReadingSpec) -> tuple[float, float]:
    """The least and the most that one network's value can be."""
    if spec.over and spec.over.take == "rises":
        return 0.0, 1.0
    if spec.is_custom or (spec.layers and spec.layers.take == "slope"):
        return -math.inf, math.inf
    is_ratio = (spec.layers and spec.layers.take in RATIOS) or (spec.over and spec.over.take == "spread")
    return 0.0, math.inf if is_ratio else spec.what.most
