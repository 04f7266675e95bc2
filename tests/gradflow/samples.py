"""Samples and sessions made up for comparing, and what of a comparison tests ask for."""

from collections.abc import Sequence

from factories import MACHINE

from vgharness.gradflow.comparison import Change, Comparison, compare
from vgharness.gradflow.limits import parse_failures
from vgharness.records import GradientFlow, LayerGradient, Sample, Session

SPREAD = (0.96, 1.04, 0.98, 1.02, 1.0, 1.01, 0.99, 1.03)


def sample(
    *layers: Sequence[float | None],
    names: Sequence[str] = ("a", "b", "c", "d", "e"),
    seeds: Sequence[int] = (),
    test: str = "t",
    quantity: str = "signal_l2",
    **more: object,
) -> Sample:
    """One argument per layer: of each seed its value."""
    count = len(layers[0])
    flows = tuple(
        GradientFlow(
            layers=tuple(
                LayerGradient(name=name, state="ok", **{quantity: values[seed]})
                for name, values in zip(names, layers, strict=False)
            )
        )
        for seed in range(count)
    )
    return Sample(test=test, seeds=tuple(seeds) or tuple(range(count)), flows=flows, **more)


def session(*samples: Sample, **changes: object) -> Session:
    made = Session(created="2026-01-01", command="pytest", commit=None, machine=MACHINE, samples=samples)
    return made.model_copy(update=changes)


def compared(before: Sample, after: Sample, *fail: str) -> Comparison:
    limits, fail_on = parse_failures(fail)
    return compare(session(before), session(after), limits, fail_on)


def change(found: Comparison, layer: str | None = "a", quantity: str = "signal_l2") -> Change:
    (only,) = (c for c in found.changes if c.quantity == quantity and (c.layer.name if c.layer else None) == layer)
    return only


def times(factor: float, count: int = 5) -> list[float]:
    return [factor * spread for spread in SPREAD[:count]]
