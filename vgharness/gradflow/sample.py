"""What the fixture ``gradflow`` returns: a model's gradient flow over seeds, and assertions on it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from torch import nn

from vgharness.records.session import LayerKey, Sample, key_of
from vgharness.statistics import Interval, geometric_mean, interval
from vgharness.theory.mean_field import bound, mean_field

_BAR = 20
_DECADES = 6  # that a bar spans
_ROUNDING = 1e-3  # of float32 against the float64 in which bounds are taken


class FlowSample:
    """A model's gradient flow, measured once for each of its seeds.

    ``sample`` is the record that is saved. The assertions raise ``AssertionError`` with the layer, the value, the
    limit, the seeds and a bar per layer. Frozen layers are never held against a model.
    """

    def __init__(self, sample: Sample, models: Sequence[nn.Module] = (), inputs: Sequence[Any] = ()) -> None:
        self.sample, self._models, self._inputs = sample, models, inputs

    @property
    def seeds(self) -> tuple[int, ...]:
        return self.sample.seeds

    def intervals(self, quantity: str = "signal_l2") -> dict[LayerKey, Interval | None]:
        """Of each layer the mean over seeds with its 95 % interval; None where a seed's figure is missing or not
        finite, or there is one seed only."""
        return {key: _interval(values) for key, values in self.sample.values(quantity).items()}

    def factors(self, quantity: str = "signal_l2") -> dict[tuple[LayerKey, LayerKey], tuple[float, ...]]:
        """As :meth:`vgharness.records.session.Sample.factors`."""
        return self.sample.factors(quantity)

    # --- assertions ------------------------------------------------------------------------------------

    def assert_flows(
        self, *, min_factor: float | None = None, max_factor: float | None = None, quantity: str = "signal_l2"
    ) -> None:
        """Every gradient is there, finite and not zero; and from each layer to the one before it ``quantity`` is
        multiplied, in the geometric mean over seeds, by at least ``min_factor`` and at most ``max_factor``."""
        self.assert_no_missing()
        self.assert_finite()
        self._assert_states("zero", "gets a gradient that is exactly zero: is it dead, or the loss multiplied by zero?")
        frozen = {key_of(layer) for flow in self.sample.flows for layer in flow.layers if layer.state == "frozen"}
        least, most = -math.inf if min_factor is None else min_factor, math.inf if max_factor is None else max_factor
        found = {low: values for (low, high), values in self.factors(quantity).items() if not {low, high} & frozen}
        means = {key: geometric_mean(values) for key, values in found.items()}
        # Written so that NaN is outside: NaN > limit is false, and so is NaN < limit.
        outside = {key: mean for key, mean in means.items() if not least <= mean <= most}
        if (min_factor, max_factor) != (None, None) and outside:
            worst = max(outside, key=lambda key: _distance(outside[key]))
            limit = f"at least {min_factor:g}" if not means[worst] >= least else f"at most {max_factor:g}"
            raise AssertionError(
                self._message(
                    f"{quantity} is multiplied by {means[worst]:.3g} on its way down to {worst}, expected {limit}",
                    means,
                    marked=set(outside),
                    values=found[worst],
                )
            )

    def assert_no_missing(self) -> None:
        """A gradient reaches every layer that asks for one."""
        self._assert_states("unused", "asks for a gradient and gets none: is it used, or cut off by a detach?")
        for seed, flow in zip(self.seeds, self.sample.flows, strict=True):
            if flow.missed:
                raise AssertionError(
                    self._message(
                        f"no error signal was seen at {flow.missed[0]} (seed {seed}): is its forward called directly?"
                    )
                )

    def assert_finite(self) -> None:
        """No gradient is NaN or infinite."""
        self._assert_states("nonfinite", "has a gradient that is NaN or infinite")

    def assert_matches_theory(self, *, tolerance: float = 0.1) -> None:
        """From each layer to the one before it ‖∂L/∂h‖₂ changes, in the geometric mean over seeds, by mean field's √χ
        within the relative ``tolerance``: of a chain of linear and convolution layers at initialisation.

        Raises ``ValueError`` for a model of which mean field says nothing.
        """
        predicted: dict[str, list[float]] = {}
        for model, inputs in self._each_model():
            for name, factor in mean_field(model, inputs).items():
                predicted.setdefault(name, []).append(factor)
        means = {key: geometric_mean(values) for (key, _), values in self.factors().items()}
        expected = {key: geometric_mean(predicted[key.name]) for key in means if key.name in predicted}
        off = {key: means[key] / x - 1 for key, x in expected.items()}
        wrong = {key for key, x in off.items() if not abs(x) <= tolerance}
        if wrong:
            worst = max(wrong, key=lambda key: abs(off[key]))
            raise AssertionError(
                self._message(
                    f"signal_l2 is multiplied by {means[worst]:.3g} on its way down to {worst}, theory says "
                    f"{expected[worst]:.3g} ± {tolerance:.0%}",
                    means,
                    marked=wrong,
                )
            )

    def assert_within_bound(self) -> None:
        """No seed's ‖∂L/∂h‖₂ changes by more than its weights allow at all (:func:`vgharness.theory.mean_field.bound`).

        Raises ``ValueError`` for a model of which no bound is known.
        """
        limits = [{b.layer: b.factor for b in bound(model)} for model, _ in self._each_model()]
        for (key, _), values in self.factors().items():
            for seed, value, limit in zip(self.seeds, values, limits, strict=True):
                if key.name in limit and not value <= limit[key.name] * (1 + _ROUNDING):
                    means = {low: geometric_mean(x) for (low, _), x in self.factors().items()}
                    raise AssertionError(
                        self._message(
                            f"signal_l2 is multiplied by {value:.3g} on its way to {key} (seed {seed}), its weights "
                            f"allow at most {limit[key.name]:.3g}",
                            means,
                            marked={key},
                        )
                    )

    def _each_model(self) -> list[tuple[nn.Module, Any]]:
        if not self._models:
            raise ValueError("theory needs the models, which a saved sample has not: measure anew")
        return list(zip(self._models, self._inputs, strict=True))

    def _assert_states(self, state: str, complaint: str) -> None:
        for seed, flow in zip(self.seeds, self.sample.flows, strict=True):
            bad = [key_of(layer) for layer in flow.layers if layer.state == state]
            if bad:
                many = f" (and {len(bad) - 1} more)" if len(bad) > 1 else ""
                raise AssertionError(self._message(f"{bad[-1]} {complaint}{many} (seed {seed})", marked=set(bad)))

    def _message(
        self,
        complaint: str,
        means: Mapping[LayerKey, float] | None = None,
        *,
        marked: set[LayerKey] | None = None,
        values: Sequence[float] = (),
    ) -> str:
        lines = [f"{self.sample.label or 'gradient flow'}: {complaint}"]
        if values:
            each = ", ".join(f"{seed}: {value:.3g}" for seed, value in zip(self.seeds, values, strict=True))
            lines.append(f"seeds {each}")
        else:
            lines.append(f"seeds {', '.join(map(str, self.seeds))}")
        signals = {key: geometric_mean(x) for key, x in self.sample.values("signal_l2").items()}
        width = max(len(str(key)) for key in signals)
        lines.append(f"  {'layer':{width}}  ‖∂L/∂h‖₂   × to here")
        for key, signal in signals.items():
            factor = f"{means[key]:9.3g}" if means and key in means else " " * 9
            sign = ">" if marked and key in marked else " "
            lines.append(
                f"{sign} {key!s:{width}}  {_number(signal):>8}  {factor}  {_bar(signal, signals.values())}".rstrip()
            )
        return "\n".join(lines)


def _interval(values: Sequence[float]) -> Interval | None:
    return interval(values) if len(values) > 1 and all(map(math.isfinite, values)) else None


def _distance(factor: float) -> float:
    """From 1, by ratio; NaN is farthest."""
    return math.inf if math.isnan(factor) or factor == 0 else abs(math.log(factor))


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2e}"


def _bar(value: float, others: Iterable[float]) -> str:
    """As long as the logarithm of ``value`` between the greatest of ``others`` and six decades below it."""
    greatest = max((x for x in others if math.isfinite(x)), default=0.0)
    if not math.isfinite(value) or value <= 0 or greatest <= 0:
        return ""
    share = 1 + math.log10(value / greatest) / _DECADES
    return "█" * max(1, round(_BAR * share))
