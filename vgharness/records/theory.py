"""What theory says of a model's gradients, layer by layer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from vgharness.display.html import Column, HtmlTable
from vgharness.display.shown import Shown
from vgharness.display.text import FACTOR_HEADING
from vgharness.formatting import count, escaped, listing, number
from vgharness.records.base import Name, NotNegative, Record

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


_WHOLE: Final = "model"  # what a layer is called that is the model itself, as in a flow


class LayerTheory(Record):
    """What theory says of one layer with weights. ``None``: nothing.

    name: the layer's.
    above: the next layer with weights, nearer the output; empty: it is the last.
    factor: √χ, what mean field multiplies ‖∂L/∂h‖₂ by from ``above`` to this layer.
    bound: what the weights allow that factor at most.
    signal: ‖∂L/∂h‖₂ at this layer ÷ that at the last one, as mean field has it.
    greatest_signal: the same by the bounds, at most.
    reason: why mean field says nothing of the factor; empty: it does.
    no_bound: why no bound is known; empty: one is.
    """

    name: Name
    above: Name = ""
    factor: NotNegative | None = None
    bound: NotNegative | None = None
    signal: NotNegative | None = None
    greatest_signal: NotNegative | None = None
    reason: Name = ""
    no_bound: Name = ""


class ModelTheory(Shown[LayerTheory], Record):  # type: ignore[misc]  # rows, not pydantic's fields
    """What theory says of a model with the weights that it has.

    Its rows are its layers with weights, in forward order: ``for layer in theory``, ``theory["fc1"].factor``.

    layers: those rows.
    activation: of all its layers; empty: it has none, or several.
    """

    layers: tuple[LayerTheory, ...]
    activation: str = ""

    _noun = "layer"

    def plot(self, ax: Axes | None = None) -> Figure:
        """Draws the signal that is predicted relative to the last layer's, and how large it can be at the most."""
        from vgharness.records.plots import plot_theory  # matplotlib is slow to import

        return plot_theory(self, ax)

    def _items(self) -> tuple[LayerTheory, ...]:
        return self.layers

    def _called(self, row: LayerTheory) -> str:
        return row.name

    def _line(self) -> str:
        said = [layer.factor for layer in self.layers if layer.factor is not None]
        reasons = dict.fromkeys(layer.reason for layer in self.layers if layer.reason)
        layers = count(len(self.layers), "layer")
        if not said:
            return f"{layers}; {listing(reasons, most=2) or 'nothing to say of one layer'}"
        factors = f"{FACTOR_HEADING} √χ {number(min(said))} to {number(max(said))}"
        signal = self.layers[0].signal
        whole = f", over the whole path {number(signal)}" if signal is not None else ""
        return f"{layers}, {factors}{whole}{f'; {listing(reasons, most=2)}' if reasons else ''}"

    def _records(self) -> list[dict[str, Any]]:
        return [layer.model_dump(mode="json") for layer in self.layers]

    def _html(self) -> HtmlTable:
        rows = self.layers
        columns = [
            Column("layer", [x.name or _WHOLE for x in rows], "text"),
            Column(f"{FACTOR_HEADING}, mean field’s √χ", [x.factor for x in rows]),
            Column("at most, by its weights", [x.bound for x in rows]),
            Column("‖∂L/∂h‖₂ relative to the last layer", [x.signal for x in rows]),
            Column("", [x.signal for x in rows], "bar"),
        ]
        if any(x.reason or x.no_bound for x in rows):
            columns.append(Column("why not", [_why_not(x) for x in rows], "text"))
        what = f" ({self.activation})" if self.activation else ""
        return HtmlTable(f"what theory says of this model{what}", columns)

    def __str__(self) -> str:
        lines = []
        width = max((len(escaped(layer.name or _WHOLE)) for layer in self.layers), default=0)
        for layer in self.layers:
            factor = f"√χ {number(layer.factor)}" if layer.factor is not None else ""
            bound = f"at most {number(layer.bound)}" if layer.bound is not None else ""
            why = _why_not(layer) or ("" if layer.above else "the last one: from here it goes toward the input")
            lines.append(f"{escaped(layer.name or _WHOLE):{width}}  {factor:10}  {bound:15}  {escaped(why)}".rstrip())
        return "\n".join([f"what theory says of the {FACTOR_HEADING}", *lines])


def _why_not(layer: LayerTheory) -> str:
    return "; ".join(dict.fromkeys(each for each in (layer.reason, layer.no_bound) if each))
