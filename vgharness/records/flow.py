"""Gradients of one network's layers, and by what they change from layer to layer."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeVar

from pydantic import Field, ValidationInfo, model_validator

from vgharness.display.html import HtmlTable
from vgharness.display.shown import Shown
from vgharness.formatting import escaped
from vgharness.records.base import (
    FROM_FILE,
    Count,
    FiniteRecord,
    Name,
    NotNegative,
    Quantity,
    Record,
    Share,
    State,
    nan_if_none,
)
from vgharness.records.flow_tables import flow_chart, flow_line, flow_records, flows_html, layer_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from vgharness.records.theory import ModelTheory

# What is measured of a layer and can be compared, judged and shown; other quantities are a user's own.
LAYER_QUANTITIES: Final = ("signal_l2", "signal_rms", "weight_l2", "weight_mean_abs", "relative_update", "saturated")

_Value = TypeVar("_Value")


class LayerKey(NamedTuple):
    """Which row of a flow: a layer has several where it runs several times, or is gone back through several times."""

    name: str
    forward_pass: Count = 0
    backward_pass: Count = 0

    def __str__(self) -> str:
        forward = f"[{self.forward_pass}]" if self.forward_pass else ""
        backward = f" pass {self.backward_pass}" if self.backward_pass else ""
        return f"{self.name or 'model'}{forward}{backward}"


class ParameterGradient(FiniteRecord):
    """The gradient of one parameter of a layer. ``None``: it has none, or it is not finite.

    name: the parameter's name in ``model.named_parameters()``.
    frozen: whether it asks for no gradient.
    mean_abs: mean |∂L/∂p|.
    l2: ‖∂L/∂p‖₂.
    """

    name: Name
    frozen: bool = False
    mean_abs: NotNegative | None = None
    l2: NotNegative | None = None


class LayerGradient(FiniteRecord):
    """One layer's gradient quantities; ``vgharness.probe`` defines them. ``None``: not measured, or not finite.

    name: the layer's name in ``model.named_modules()``.
    forward_pass: the how-manieth run of the layer this row is of, from 0; a layer that runs several times has a row
        for each, and the weight's gradient, which sums over all of them, stands in each.
    backward_pass: the how-manieth backward pass through that run, from 0.
    aliases: other names of the layer's weight.
    state: ``ok``; ``zero``, gradients came and are exactly zero; ``frozen``, the weight asks for none; ``unused``, it
        asks and none came; ``nonfinite``, NaN or infinity came.
    weight_mean_abs: mean |∂L/∂W|.
    weight_l2: ‖∂L/∂W‖₂.
    signal_l2: ‖∂L/∂h‖₂ over the whole batch, h the layer's output.
    signal_rms: ‖∂L/∂h‖₂ ÷ √(number of elements).
    relative_update: ‖ΔW‖₂ ÷ ‖W‖₂ of the optimizer's last step.
    saturated: share of the layer's units, 0 to 1, that pass almost no gradient on any sample.
    feeds: the forward passes that this one's output goes into directly, on its way to the loss (none: it goes straight
        to the loss, or not to it); ``None``: that was not followed, and each row counts as feeding the next.
    without_gradient: names of the layer's parameters that ask for a gradient and got none.
    parameters: each parameter of its own, where that was asked for.
    output_rms: ‖h‖₂ ÷ √(number of elements) of the output h, where that was asked for.
    output_zeros: share of the output's elements, 0 to 1, that are exactly zero.
    """

    name: Name
    forward_pass: Count = 0
    backward_pass: Count = 0
    aliases: tuple[Name, ...] = ()
    state: State
    weight_mean_abs: NotNegative | None = None
    weight_l2: NotNegative | None = None
    signal_l2: NotNegative | None = None
    signal_rms: NotNegative | None = None
    relative_update: NotNegative | None = None
    saturated: Share | None = None
    feeds: tuple[LayerKey, ...] | None = None
    without_gradient: tuple[Name, ...] = ()
    parameters: tuple[ParameterGradient, ...] = ()
    output_rms: NotNegative | None = None
    output_zeros: Share | None = None

    def __repr__(self) -> str:
        return f"<LayerGradient {escaped(layer_line(self))}>"

    def __str__(self) -> str:
        return repr(self)

    @property
    def key(self) -> LayerKey:
        return LayerKey(self.name, self.forward_pass, self.backward_pass)

    @property
    def greatest_mean_abs(self) -> float | None:
        """The greatest mean |∂L/∂p| of the parameters that are trained; where those are not known, of the weight."""
        sizes = [x.mean_abs for x in self.parameters if not x.frozen] or [self.weight_mean_abs]
        return max((size for size in sizes if size is not None), default=None)

    @property
    def of_forward_pass(self) -> LayerKey:
        """The key of its forward pass, whichever backward pass this row is of."""
        return LayerKey(self.name, self.forward_pass)


class NonfiniteOrigin(Record):
    """What first made NaN or infinity of finite numbers.

    stage: the pass that it first came in; ``inputs``: the model was given NaN.
    module: the first module that put it out in the forward pass, in the order of execution (empty: the model itself),
        or whose operation made it in the backward pass; ``None``: no module did.
    operation: the first operation that made it there, as PyTorch calls it; empty: not known.
    """

    stage: Literal["inputs", "forward", "backward"]
    module: Name | None = None
    operation: str = ""


class TimePath(Record):
    """The error signal through time in one direction of one layer inside ``nn.RNN``, ``nn.LSTM`` or ``nn.GRU``.

    layer: the module's name.
    part: which layer inside it, and direction: ``layer 0``, ``layer 0 backward``.
    signals: ‖∂L/∂h_t‖₂ over the batch, step by step in the order in which the direction takes them; ``None``: not
        finite.
    direct: the greatest gradient that came to any step at once, not through time; ``None``: not finite.
    """

    layer: Name
    part: str
    signals: tuple[NotNegative | None, ...]
    direct: NotNegative | None

    @model_validator(mode="before")
    @classmethod
    def _without_nonfinite(cls, fields: Any, info: ValidationInfo) -> Any:
        if info.context is FROM_FILE or not isinstance(fields, Mapping):
            return fields
        signals = tuple(x if x is not None and math.isfinite(x) else None for x in fields.get("signals", ()))
        direct = fields.get("direct")
        return {**fields, "signals": signals, "direct": direct if direct is None or math.isfinite(direct) else None}


class GradientFlow(Shown[LayerGradient], Record):  # type: ignore[misc]  # rows, not pydantic's fields
    """A probe's record of one network.

    Its rows are its layers': ``for layer in flow``, ``len(flow)``, ``flow[0]``, ``flow["conv1"]``, and of one that runs
    several times ``flow["cell[1]"]``.

    layers: a row of quantities per layer and pass, from the input to the output.
    missed: names of the layers that no error signal reached.
    training: the model's own flag in the forward pass (a BatchNorm's backward pass differs); ``None``: there was none.
    unreached: by name of a layer, how many of its forward passes no gradient reached, where some were reached.
    origin: of what is not finite, where it was looked for.
    through_time: the signals inside recurrent modules, where they were asked for.
    not_judged_through_time: recurrent modules, or layers inside them, of which they could not be had.
    output_spread: how much the model's output differs from sample to sample: its standard deviation over the batch ÷
        its root mean square, of several outputs the greatest; ``None``: not measured, or a batch of one.
    """

    layers: tuple[LayerGradient, ...]
    missed: tuple[Name, ...] = ()
    training: bool | None = None
    unreached: dict[Name, Count] = Field(default_factory=dict)
    origin: NonfiniteOrigin | None = None
    through_time: tuple[TimePath, ...] = ()
    not_judged_through_time: tuple[Name, ...] = ()
    output_spread: NotNegative | None = None

    @model_validator(mode="after")
    def _every_row_once(self) -> GradientFlow:
        if len(set(self.row_keys)) < len(self.layers):
            raise ValueError("two rows are of the same pass of one layer")
        return self

    _noun = "layer"

    def _items(self) -> tuple[LayerGradient, ...]:
        return self.layers

    def _called(self, row: LayerGradient) -> str:
        return str(row.key)

    def _line(self) -> str:
        return flow_line(self)

    def _records(self) -> list[dict[str, Any]]:
        return flow_records(self)

    def _html(self) -> HtmlTable:
        return flows_html("gradient flow", [self])

    def __str__(self) -> str:
        return flow_chart(self)

    def plot(
        self,
        ax: Axes | None = None,
        *,
        quantity: str = "signal_l2",
        theory: ModelTheory | None = None,
        label: str = "",
    ) -> Figure:
        """Draws ``quantity`` layer by layer, on a logarithmic axis; gives matplotlib's figure.

        ax: to draw on; by default new ones. Several flows on the same axes are told apart by ``label``.
        quantity: which, by its name in a row.
        theory: what ``vgharness.theory.of`` gave of the model: its lines start from what is measured at the last layer.
        """
        from vgharness.records.plots import plot_flows  # matplotlib is slow to import

        return plot_flows([self], ax, quantity, theory, label, "gradient flow")

    @property
    def row_keys(self) -> list[LayerKey]:
        """Which rows there are, in order."""
        return [layer.key for layer in self.layers]

    def select(self, pattern: str) -> GradientFlow:
        """Only the layers whose name matches the glob ``pattern``, in the same order. One feeds another where it does
        so directly or through layers that are left out."""
        kept = [x for x in self.layers if fnmatchcase(x.name, pattern)]
        if any(x.feeds is not None for x in kept) and len(kept) < len(self.layers):
            feeds = _feeds_among({x.of_forward_pass for x in kept}, self.links())
            kept = [x if x.feeds is None else x.model_copy(update={"feeds": feeds[x.of_forward_pass]}) for x in kept]
        return GradientFlow(
            layers=tuple(kept),
            missed=tuple(x for x in self.missed if fnmatchcase(x, pattern)),
            training=self.training,
            unreached={name: count for name, count in self.unreached.items() if fnmatchcase(name, pattern)},
            origin=self.origin,
            through_time=tuple(x for x in self.through_time if fnmatchcase(x.layer, pattern)),
            not_judged_through_time=self.not_judged_through_time,
            output_spread=self.output_spread,
        )

    def last_passes(self) -> tuple[LayerGradient, ...]:
        """One row per forward pass: of several backward passes through it the last, which is the loss's own."""
        return tuple(last_passes({layer.key: layer for layer in self.layers}).values())

    def links(self) -> dict[LayerKey, tuple[LayerKey, ...]]:
        """By forward pass, those that it feeds: as far as that was followed, else the next one in forward order."""
        passes = {layer.of_forward_pass: layer.feeds for layer in self.layers}
        following: list[LayerKey | None] = [*list(passes)[1:], None][: len(passes)]
        return {
            key: feeds if feeds is not None else ((after,) if after is not None else ())
            for (key, feeds), after in zip(passes.items(), following, strict=True)
        }

    def factors(self, quantity: Quantity = "signal_l2") -> tuple[float, ...]:
        """The factors toward the input of ``quantity``, in forward order: one for each forward pass that feeds another,
        so n - 1 for a chain of n. As :func:`factors_toward_input` says where a value is missing or 0."""
        return tuple(self.factors_by_layer(quantity).values())

    def factors_by_layer(self, quantity: Quantity = "signal_l2") -> dict[LayerKey, float]:
        """The same factors by the layer nearer the input, in forward order."""
        values = {layer.key: nan_if_none(getattr(layer, quantity)) for layer in self.layers}
        return {low: factor for (low, _), factor in factors_toward_input(values, self.links()).items()}

    def factor(self, quantity: Quantity = "signal_l2") -> float:
        """Geometric mean of :meth:`factors`: below 1 the quantity shrinks toward the input. NaN where
        one of them is not finite.

        Raises ``ValueError`` with fewer than two layers.
        """
        factors = self.factors(quantity)
        if not factors:
            raise ValueError(f"a factor per layer needs two layers, this flow has {len(self.layers)}")
        if not all(map(math.isfinite, factors)):
            return math.nan
        return float(math.prod(factors) ** (1 / len(factors)))


def last_passes(rows: Mapping[LayerKey, _Value]) -> dict[LayerKey, _Value]:
    """Of several backward passes through one forward pass only the last, in the order of the forward passes."""
    last = {(key.name, key.forward_pass): key for key in rows}
    return {key: rows[key] for key in last.values()}


def factors_toward_input(
    values: Mapping[LayerKey, float], links: Mapping[LayerKey, tuple[LayerKey, ...]] | None = None
) -> dict[tuple[LayerKey, LayerKey], float]:
    """By what a quantity is multiplied from each layer to the one that feeds it.

    ``values`` are in forward order; of several backward passes the last counts. ``links``: by forward pass, those that
    it feeds; without them each feeds the next. Where a layer feeds several, the greatest of their values counts: what
    arrives is a sum, and one open way is enough. Returns, by (the layer nearer the input, the first one that it feeds),
    the ratio of their values: NaN where one was not measured or both are 0, infinity where only the one nearer the
    output is 0.
    """
    last = {key._replace(backward_pass=0): (key, value) for key, value in last_passes(values).items()}
    if links is None:
        links = {a: (b,) for a, b in pairwise(last)}
    found = {}
    for at, (key, value) in last.items():
        above = [last[fed] for fed in links.get(at, ()) if fed in last]
        if above:
            measured = [size for _, size in above if not math.isnan(size)]
            found[key, above[0][0]] = quotient(value, max(measured, default=math.nan))
    return found


def _feeds_among(
    kept: Collection[LayerKey], links: Mapping[LayerKey, tuple[LayerKey, ...]]
) -> dict[LayerKey, tuple[LayerKey, ...]]:
    """By forward pass in ``kept``, the nearest of ``kept`` that its output goes into."""
    nearest: dict[LayerKey, tuple[LayerKey, ...]] = {}
    for key in reversed(list(links)):  # those nearer the output first
        fed = [(after,) if after in kept else nearest.get(after, ()) for after in links[key]]
        nearest[key] = tuple(dict.fromkeys(each for group in fed for each in group))
    return {key: nearest[key] for key in kept}


def quotient(a: float, b: float) -> float:
    """Returns a ÷ b: NaN for 0 ÷ 0, infinity where only ``b`` is 0."""
    if b == 0:
        return math.inf if a > 0 else math.nan
    return a / b
