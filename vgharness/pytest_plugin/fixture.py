"""The fixture ``gradflow``: what a test calls to measure a model's gradients."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

import pytest

from vgharness.errors import UsageError
from vgharness.formatting import escaped
from vgharness.pytest_plugin.marks import LIMITS
from vgharness.pytest_plugin.options import AUTO, Seeds

if TYPE_CHECKING:
    from torch import nn

    from vgharness.gradflow.measurement import GradientQuantity, Loss, MoreSeeds
    from vgharness.gradflow.sample import FlowSample
    from vgharness.probe.layers import LayerChoice
    from vgharness.records import MarkLimits, Sample

_PREFIX: Final = "gradflow_"  # of the names of a test's properties


class GradFlowWarning(pytest.PytestWarning):
    """A fixture ``gradflow`` or a mark of a test that guards nothing."""


class GradFlow:
    """What the fixture ``gradflow`` is; annotate it with this type.

    >>> def test_gradients_flow(gradflow: GradFlow) -> None:
    ...     gradflow(make_model, (images, labels), torch.nn.functional.cross_entropy)
    """

    def __init__(
        self,
        test: str,
        samples: list[Sample],
        marked: Mapping[str, Any],
        seeds: Seeds,
        *,
        disabled: bool = False,
        properties: list[tuple[str, object]] | None = None,
        more: MoreSeeds | None = None,
    ) -> None:
        """Of one test.

        samples: where measurements are gathered. marked: the values of the test's mark ``gradflow``. seeds: the
        session's. disabled: one seed is enough. properties: of the test, for reports such as JUnit's. more: which seeds
        ``auto`` adds, as :func:`vgharness.measure` takes it.
        """
        self._test, self._samples, self._marked, self._seeds = test, samples, marked, seeds
        self._disabled, self._more = disabled, more
        self._properties = [] if properties is None else properties

    def __call__(
        self,
        model_factory: Callable[[], nn.Module],
        batch: Any,
        loss: Loss | None = None,
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
        seeds: how many, from 42 on, or which; by default the mark's, or 5. ``--gradflow-seeds`` wins over a number.
        name: needed where a test measures several times.
        check: fail the test at once where the diagnosis has a problem, as ``vgharness check`` does; a warning is noted
            in the session's summary. False: measure only, but for what the mark says.

        The mark's limits and what it expects hold of each measurement, both; a problem that it expects is not checked
        for else. Raises :class:`~vgharness.errors.UsageError` as :func:`vgharness.measure` does, and for a name used
        twice.
        """
        __tracebackhide__ = True
        try:
            sample = self._measured(
                model_factory,
                batch,
                loss,
                seeds=seeds,
                name=name,
                layers=layers,
                quantities=quantities,
                extra_info=extra_info,
            )
        except Exception as error:
            _hide_own_frames(error)
            raise
        self._judge(sample, check)
        return sample

    def _measured(
        self,
        model_factory: Callable[[], nn.Module],
        batch: Any,
        loss: Loss | None,
        *,
        seeds: int | Sequence[int] | None,
        name: str | None,
        **of_measure: Any,
    ) -> FlowSample:
        from vgharness.gradflow.measurement import measure

        label = "" if name is None else str(name).strip()
        if label in [sample.name for sample in self._samples]:
            raise UsageError(f"this test has a measurement called {label!r} already: give each its own name=")
        number, more = self._how_many(seeds)
        sample = measure(
            model_factory,
            batch,
            loss,
            seeds=number,
            more=more,
            saturation=True,
            test=self._test,
            name=label,
            **of_measure,
        )
        record = sample.record.model_copy(update={"limits": limits_of(self._marked)})
        self._samples.append(record)
        self._properties += properties(record)
        return sample

    def _how_many(
        self, own: int | Sequence[int] | None
    ) -> tuple[int | Sequence[int], Callable[[Sample, int], Sequence[int]] | None]:
        """The seeds, or their number, and what says which ones to add, where that is asked."""
        from vgharness.gradflow.measurement import DEFAULT_SEEDS

        given: Any = self._marked.get("seeds") if own is None else own
        if isinstance(given, Sequence):
            return (given[:1] if self._disabled else given), None
        if self._disabled:
            return 1, None
        asked = (self._seeds.always, given, self._seeds.usual, DEFAULT_SEEDS)
        number: Any = next(each for each in asked if each is not None)
        return (DEFAULT_SEEDS if given is None else given, self._more) if number == AUTO else (number, None)

    def _judge(self, sample: FlowSample, check: bool) -> None:
        __tracebackhide__ = True
        expected = self._marked.get("expect")
        if expected not in (None, "healthy"):
            sample.assert_problem(expected)
        elif expected is not None or check:
            sample.assert_healthy()
        limits = {key: self._marked[key] for key in LIMITS if key in self._marked}
        if limits:
            sample.assert_factors(**limits, **{k: v for k, v in self._marked.items() if k == "quantity"})


def limits_of(marked: Mapping[str, Any]) -> MarkLimits | None:
    """What a test's mark asks for, as it is kept with the session: None where it asks for nothing. An end at infinity
    is none."""
    from vgharness.records import MarkLimits

    ends = {key: float(marked[key]) for key in LIMITS if key in marked and math.isfinite(marked[key])}
    asked = ends | ({"expect": marked["expect"]} if "expect" in marked else {})
    if ends and "quantity" in marked:
        asked["quantity"] = marked["quantity"]
    return MarkLimits.model_validate(asked) if asked else None


def properties(sample: Sample) -> list[tuple[str, object]]:
    """What a report of a test, passed ones too, shows of a measurement: ``gradflow_factor``, per layer;
    ``gradflow_total``, the first layer's signal ÷ the last one's; and ``gradflow_diagnosis``. With the measurement's
    name in brackets where it has one."""
    from vgharness.gradflow.overview import overview_of

    found = overview_of(sample)
    name = f"[{escaped(sample.name)}]" if sample.name else ""
    values: dict[str, object] = {"factor": _short(found.factor), "total": _short(found.total)}
    return [(f"{_PREFIX}{key}{name}", value) for key, value in (*values.items(), ("diagnosis", escaped(found.text)))]


def is_ours(named: tuple[str, object]) -> bool:
    """Whether one of a test's properties is of a measurement."""
    return named[0].startswith(_PREFIX)


def _short(value: float) -> float | str:
    """Six digits; as a word where it is no number, which JSON has not."""
    return float(f"{value:.6g}") if math.isfinite(value) else str(value)


# --- tracebacks ----------------------------------------------------------------------------------------


def _hide_own_frames(error: Exception) -> None:
    """Leaves the frames of vgharness out of an exception's traceback, and of those that led to it, so that pytest shows
    the user's lines. What was raised in vgharness itself keeps its frames, unless it says what the user can mend."""
    chain: list[BaseException] = []
    each: BaseException | None = error
    while each is not None and each not in chain:
        chain.append(each)
        each = each.__cause__ or each.__context__
    for one in chain:
        if isinstance(one, UsageError | AssertionError) or not _raised_by_us(one.__traceback__):
            one.__traceback__ = _users(one.__traceback__)


def _users(traceback: TracebackType | None) -> TracebackType | None:
    """The same without frames of vgharness."""
    kept: list[TracebackType] = []
    while traceback is not None:
        if not _is_ours(traceback):
            kept.append(traceback)
        traceback = traceback.tb_next
    for index, one in enumerate(kept):
        one.tb_next = kept[index + 1] if index + 1 < len(kept) else None
    return kept[0] if kept else None


def _raised_by_us(traceback: TracebackType | None) -> bool:
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    return traceback is not None and _is_ours(traceback)


def _is_ours(traceback: TracebackType) -> bool:
    return str(traceback.tb_frame.f_globals.get("__name__", "")).startswith("vgharness.")
