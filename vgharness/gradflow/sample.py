"""What the fixture ``gradflow`` returns: a model's gradient flow over seeds, and assertions on it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from torch import nn

from vgharness.display.html import HtmlTable
from vgharness.display.shown import Shown
from vgharness.display.text import FACTOR_HEADING, chart
from vgharness.errors import UsageError
from vgharness.formatting import escaped, listing, number, percent
from vgharness.gradflow.diagnosis import Diagnosis, diagnose, summary
from vgharness.gradflow.path import totals_toward_input
from vgharness.gradflow.summary import FACTOR, SIGNAL, distance_from_one, factor_summaries
from vgharness.gradflow.symptoms import ProblemKind
from vgharness.records import LAYER_QUANTITIES, GradientFlow, LayerKey, ModelTheory, Sample, flows_html
from vgharness.statistics import Summary, scale_of, summarise
from vgharness.theory import bound, mean_field_factors
from vgharness.theory import of as theory_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__tracebackhide__ = True  # pytest shows a failing assertion where it was made

_ROUNDING = 1e-3  # of float32 against the float64 in which bounds are taken


class FlowSample(Shown[GradientFlow]):
    """A model's gradient flow, measured once for each of its seeds.

    Its rows are its flows, one for each seed: ``for flow in sample``, ``len(sample)``, ``sample[0]``, and that of seed
    42 ``sample["42"]``. ``str(sample)`` is a chart of the layers, :meth:`to_frame` has a row for each seed and layer.

    ``record`` is what is saved. The assertions raise ``AssertionError`` with the layer, the value, the limit, the seeds
    and a bar per layer. Frozen layers are never held against a model.
    """

    def __init__(self, record: Sample, remake: Callable[[int], tuple[nn.Module, Any]] | None = None) -> None:
        """``remake``: makes the model and the inputs of a seed again, for what theory says of them."""
        self.record, self._remake = record, remake

    @property
    def seeds(self) -> tuple[int, ...]:
        return self.record.seeds

    @property
    def flows(self) -> tuple[GradientFlow, ...]:
        """One per seed."""
        return self.record.flows

    @cached_property
    def diagnosis(self) -> Diagnosis:
        """What is wrong with the gradients, if anything."""
        return diagnose(self.flows, self.record.later)

    def intervals(self, quantity: str = SIGNAL) -> dict[LayerKey, Summary]:
        """The summary over seeds of each layer's ``quantity``: mean and 95 % interval, on a logarithmic scale but for
        shares. Its value is NaN where a seed's value is missing or not finite."""
        return {key: summarise(values, scale_of(quantity)) for key, values in self.record.values(quantity).items()}

    def factors(self, quantity: str = SIGNAL) -> dict[tuple[LayerKey, LayerKey], tuple[float, ...]]:
        """As :meth:`vgharness.records.Sample.factors`."""
        return self.record.factors(quantity)

    def plot(
        self,
        ax: Axes | None = None,
        *,
        quantity: str = SIGNAL,
        theory: ModelTheory | bool = False,
        label: str = "",
    ) -> Figure:
        """As :meth:`vgharness.records.Sample.plot`; ``theory=True``: with what it says of the first seed's model."""
        if theory is True:
            theory = theory_of(*next(self._each_model()))
        return self.record.plot(ax, quantity=quantity, theory=theory or None, label=label)

    def _items(self) -> tuple[GradientFlow, ...]:
        return self.flows

    def _called(self, row: GradientFlow) -> str:
        return self.record._called(row)

    def _line(self) -> str:
        return f"{self.record._line()}; {summary(self.diagnosis)}"

    def _records(self) -> list[dict[str, Any]]:
        return self.record._records()

    def _html(self) -> HtmlTable:
        return flows_html(self._name, self.flows, self.seeds, [summary(self.diagnosis)])

    def __str__(self) -> str:
        means = {key: mean.value for key, mean in factor_summaries(self.record).items()}
        return self._message(summary(self.diagnosis), means)

    _noun = "seed"

    # --- assertions ------------------------------------------------------------------------------------

    def assert_flows(
        self,
        *,
        min_factor: float | None = None,
        max_factor: float | None = None,
        min_total: float | None = None,
        max_total: float | None = None,
        quantity: str = SIGNAL,
    ) -> None:
        """The diagnosis has no problem, and the factors toward the input are within the limits, as
        :meth:`assert_factors` holds them."""
        self.assert_healthy()
        self.assert_factors(
            min_factor=min_factor, max_factor=max_factor, min_total=min_total, max_total=max_total, quantity=quantity
        )

    def assert_factors(
        self,
        *,
        min_factor: float | None = None,
        max_factor: float | None = None,
        min_total: float | None = None,
        max_total: float | None = None,
        quantity: str = SIGNAL,
    ) -> None:
        """The factor toward the input of ``quantity``, in the geometric mean over seeds, is at least ``min_factor`` and
        at most ``max_factor`` at every layer; and over the whole path, from the last layer that a way leads to to the
        first, at least ``min_total`` and at most ``max_total``.

        Raises :class:`~vgharness.errors.UsageError` for a quantity that is not measured.
        """
        known = (*LAYER_QUANTITIES, *self.record.custom)
        if quantity not in known:
            raise UsageError(f"quantity {quantity!r} is not measured: use {listing(known)}")
        frozen = {layer.key for flow in self.flows for layer in flow.layers if layer.state == "frozen"}
        steps = {low: x for (low, high), x in self.factors(quantity).items() if not {low, high} & frozen}
        self._assert_within(steps, min_factor, max_factor, f"{FACTOR_HEADING} of {quantity}")
        totals = totals_toward_input(self.record, quantity)
        self._assert_within(totals, min_total, max_total, f"{FACTOR_HEADING} of {quantity} over the whole path")

    def _assert_within(
        self, found: Mapping[LayerKey, Sequence[float]], least: float | None, most: float | None, what: str
    ) -> None:
        """The geometric mean over seeds of each of ``found`` is from ``least`` to ``most``."""
        if least is None and most is None:
            return
        # A factor of exactly zero in one seed counts: it must not disappear in a mean.
        means = {key: 0.0 if 0.0 in x else summarise(x, scale_of(FACTOR)).value for key, x in found.items()}
        low, high = -math.inf if least is None else least, math.inf if most is None else most
        # Written so that NaN is outside: NaN > limit is false, and so is NaN < limit.
        outside = {key: mean for key, mean in means.items() if not low <= mean <= high}
        if outside:
            worst = max(outside, key=lambda key: distance_from_one(outside[key]))
            limit = f"at least {least:g}" if not means[worst] >= low else f"at most {most:g}"
            raise AssertionError(
                self._message(
                    f"the {what} is {_text(means[worst])} at {worst}, expected {limit}",
                    means,
                    marked=set(outside),
                    values=found[worst],
                )
            )

    def assert_problem(self, kind: ProblemKind) -> None:
        """The most serious problem, or warning, of the diagnosis is of that ``kind``."""
        if kind not in [problem.kind for problem in self.diagnosis.problems[:1]]:
            raise AssertionError(self._message(f"expected {kind}, found {summary(self.diagnosis)}"))

    def assert_healthy(self, *, strict: bool = False) -> None:
        """The diagnosis has no problem; with ``strict`` no warning either. As ``vgharness check`` judges it."""
        for problem in self.diagnosis.problems:
            if strict or problem.severity == "problem":
                at = {layer.key for flow in self.flows for layer in flow.layers if str(layer.key) == problem.layer}
                raise AssertionError(
                    self._message(f"{problem.kind} from {problem.layer}: {problem.evidence}", marked=at)
                )

    def assert_no_missing(self) -> None:
        """Every parameter that asks for a gradient gets one."""
        for seed, flow in zip(self.seeds, self.flows, strict=True):
            lacking = [name for layer in flow.layers for name in layer.without_gradient]
            if lacking:
                raise AssertionError(
                    self._message(f"no gradient came to {listing(lacking, most=3)} (seed {seed}): cut off by a detach?")
                )
        self._assert_states("unused", "asks for a gradient and gets none: is it used, or cut off by a detach?")

    def assert_finite(self) -> None:
        """No gradient is NaN or infinite."""
        self._assert_states("nonfinite", "has a gradient that is NaN or infinite")

    def assert_matches_theory(self, *, tolerance: float = 0.1) -> None:
        """The factor toward the input of ‖∂L/∂h‖₂ is, in the geometric mean over seeds, mean field's √χ within the
        relative ``tolerance`` at every layer: of a chain of linear and convolution layers at initialisation.

        Raises ``ValueError`` for a model of which mean field says nothing.
        """
        predicted: dict[str, list[float]] = {}
        for model, inputs in self._each_model():
            for name, factor in mean_field_factors(model, inputs).items():
                predicted.setdefault(name, []).append(factor)
        means = {key: mean.value for key, mean in factor_summaries(self.record).items()}
        expected = {key: summarise(predicted[key.name], "log").value for key in means if key.name in predicted}
        off = {key: means[key] / x - 1 for key, x in expected.items()}
        wrong = {key for key, x in off.items() if not abs(x) <= tolerance}
        if wrong:
            worst = max(wrong, key=lambda key: abs(off[key]))
            raise AssertionError(
                self._message(
                    f"the {FACTOR_HEADING} of signal_l2 is {_text(means[worst])} at {worst}, theory says "
                    f"{number(expected[worst])} ± {percent(tolerance)}",
                    means,
                    marked=wrong,
                )
            )

    def assert_within_bound(self) -> None:
        """No seed's factor toward the input of ‖∂L/∂h‖₂ is larger than its weights allow at all
        (:func:`vgharness.theory.bound`).

        Raises ``ValueError`` for a model of which no bound is known.
        """
        limits = [{b.layer: b.factor for b in bound(model)} for model, _ in self._each_model()]
        for (key, _), values in self.factors().items():
            for seed, value, limit in zip(self.seeds, values, limits, strict=True):
                if key.name in limit and not value <= limit[key.name] * (1 + _ROUNDING):
                    means = {low: mean.value for low, mean in factor_summaries(self.record).items()}
                    raise AssertionError(
                        self._message(
                            f"the {FACTOR_HEADING} of signal_l2 is {_text(value)} at {key} (seed {seed}), its weights "
                            f"allow at most {number(limit[key.name])}",
                            means,
                            marked={key},
                        )
                    )

    def _each_model(self) -> Iterator[tuple[nn.Module, Any]]:
        if self._remake is None:
            raise ValueError("theory needs the models, which a saved sample has not: measure anew")
        for seed in self.seeds:
            yield self._remake(seed)

    def _assert_states(self, state: str, complaint: str) -> None:
        for seed, flow in zip(self.seeds, self.flows, strict=True):
            bad = [layer.key for layer in flow.layers if layer.state == state]
            if bad:
                many = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
                raise AssertionError(self._message(f"{bad[-1]} {complaint}{many} (seed {seed})", marked=set(bad)))

    def _message(
        self,
        complaint: str,
        factors: Mapping[LayerKey, float] | None = None,
        *,
        marked: set[LayerKey] | None = None,
        values: Sequence[float] = (),
    ) -> str:
        """The complaint, the seeds (with ``values``, one per seed), and a line per layer."""
        seeds = [f"{seed}: {_text(value)}" for seed, value in zip(self.seeds, values, strict=True)] if values else ()
        means = {key: mean.value for key, mean in self.intervals().items()}
        return "\n".join(
            [
                f"{escaped(self._name)}: {escaped(complaint)}",
                f"{'per seed' if seeds else 'seeds'} {listing(seeds or self.seeds)}",
                *chart(means, factors, marked or ()),
            ]
        )

    @property
    def _name(self) -> str:
        return self.record.label or "gradient flow"


def _text(factor: float) -> str:
    return number(factor, missing="NaN")
