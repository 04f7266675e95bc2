"""The fixture ``gradflow``: what a test calls to measure a model's gradients."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pytest

from vgharness.errors import UsageError

if TYPE_CHECKING:
    from torch import nn

    from vgharness.gradflow.measurement import GradientQuantity, InputsAndTargets, Loss
    from vgharness.gradflow.sample import FlowSample
    from vgharness.probe.layers import LayerChoice
    from vgharness.records import Sample

DEFAULT_SEEDS = 5


class GradFlow:
    """What the fixture ``gradflow`` is; annotate it with this type.

    >>> def test_gradients_flow(gradflow: GradFlow) -> None:
    ...     sample = gradflow(make_model, (images, labels), torch.nn.functional.cross_entropy)
    ...     sample.assert_flows(min_factor=0.1, max_factor=10)
    """

    def __init__(self, test: str, samples: list[Sample], marked: Mapping[str, Any]) -> None:
        """``samples``: where measurements are gathered; ``marked``: the values of the test's mark ``gradflow``."""
        self._test, self._samples, self._marked = test, samples, marked

    def __call__(
        self,
        model_factory: Callable[[], nn.Module],
        batch: InputsAndTargets | Callable[[int], InputsAndTargets],
        loss: Loss,
        *,
        seeds: int | Sequence[int] | None = None,
        name: str | None = None,
        layers: LayerChoice | None = None,
        quantities: Mapping[str, GradientQuantity] | None = None,
        extra_info: Mapping[str, Any] | None = None,
        check: bool = True,
    ) -> FlowSample:
        """Measures a model's gradient flow over seeds, keeps it with the session, and returns it.

        model_factory, batch, loss, layers, quantities, extra_info: as :func:`vgharness.measure` takes them.
        seeds: how many, from 42 on, or which; by default the mark's, or 5.
        name: needed where a test measures several times.
        check: fail the test at once where the diagnosis has a problem, as ``vgharness check`` does. The mark's limits
            are held against each measurement whatever this says.

        Where the mark ``gradflow`` expects a problem, the measurement must have that problem and is not checked else.
        Raises :class:`~vgharness.errors.UsageError` as :func:`vgharness.measure` does, and for a name used twice.
        """
        __tracebackhide__ = True
        from vgharness.gradflow.measurement import measure

        name = name or ""
        if name in [sample.name for sample in self._samples]:
            raise UsageError(f"this test has a measurement called {name!r} already: give each its own name=")
        sample = measure(
            model_factory,
            batch,
            loss,
            seeds=self._marked.get("seeds", DEFAULT_SEEDS) if seeds is None else seeds,
            layers=layers,
            quantities=quantities,
            saturation=True,
            test=self._test,
            name=name,
            extra_info=extra_info,
        )
        self._samples.append(sample.record)
        if "expect" in self._marked:
            _assert_problem(sample, self._marked["expect"])
        elif check or self._marked.keys() & {"min_factor", "max_factor"}:
            limits = {key: self._marked[key] for key in ("min_factor", "max_factor", "quantity") if key in self._marked}
            sample.assert_flows(**limits)
        return sample


def marked(item: pytest.Item) -> dict[str, Any]:
    """The values of a test's marks ``gradflow``; of several marks the closest wins."""
    values: dict[str, Any] = {}
    for mark in reversed(list(item.iter_markers("gradflow"))):
        values |= mark.kwargs
    return values


def _assert_problem(sample: FlowSample, expected: str) -> None:
    __tracebackhide__ = True
    from vgharness.gradflow.diagnosis import summary

    diagnosis = sample.diagnosis
    as_expected = diagnosis.healthy if expected == "healthy" else expected in [x.kind for x in diagnosis.problems[:1]]
    if not as_expected:
        raise AssertionError(f"{sample.record.label}: expected {expected}, found {summary(diagnosis)}")
