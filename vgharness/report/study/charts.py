"""The figures of a study's page, each with its numbers as a table: gradients and accuracy, epoch by epoch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from markupsafe import Markup

from vgharness.formatting import count, listing, number, with_span
from vgharness.gradflow.summary import SIGNAL
from vgharness.records import Quantity, Run, nan_if_none
from vgharness.report.kinds import (
    Kind,
    Series,
    factor_series,
    layer_series,
    readings_of,
    series_of,
    trained_groups,
)
from vgharness.report.readme import printed_accuracies, published
from vgharness.report.study.answer import activation_name, way
from vgharness.report.svg.axis import Axis, axis_over
from vgharness.report.svg.curves import Band, Curve, Panel, Printed, draw, epoch_ticks

WEIGHTS: Final[Quantity] = "weight_mean_abs"
_FACTOR_LABEL: Final = "factor per layer toward the input"
_WORDS: Final[dict[Quantity, str]] = {SIGNAL: "error signal", WEIGHTS: "weights’ gradient, mean |∂L/∂W|"}
_LAYER_SHADES: Final = 10


class Table(NamedTuple):
    """A figure's numbers."""

    caption: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


class Chart(NamedTuple):
    """One chart as markup, with its title, what is drawn in words, and its numbers."""

    title: str
    caption: str
    drawn: Markup
    table: Table


class Group(NamedTuple):
    """The charts of networks of the same settings."""

    settings: str
    charts: tuple[Chart, ...]


def factor_charts(run: Run, quantity: Quantity) -> tuple[Group, ...]:
    """For each group of networks a chart per activation: the factor toward the input by epoch, on one axis."""
    groups = []
    for settings, kinds in trained_groups(run).items():
        series = [factor_series(kind, quantity) for kind in kinds]
        bands = [_bands(run, kind, quantity) for kind in kinds]
        ends = [end for found in bands for band in found for end in (band.low, band.high) if end is not None]
        y = axis_over([*_values(series), *ends, 1.0], logarithmic=True)
        groups.append(
            Group(settings, tuple(_factor_chart(run, *each, y, quantity) for each in zip(series, bands, strict=True)))
        )
    return tuple(groups)


def norm_charts(run: Run, quantity: Quantity, words: str) -> tuple[Group, ...]:
    """For each group of networks a chart per activation: the quantity of each layer by epoch, on one axis."""
    groups = []
    for settings, kinds in trained_groups(run).items():
        found = [layer_series(kind, quantity) for kind in kinds]
        y = axis_over([x for layers in found for x in _values(layers.values())], logarithmic=True)
        charts = (_norm_chart(kind, layers, y, words) for kind, layers in zip(kinds, found, strict=True))
        groups.append(Group(settings, tuple(charts)))
    return tuple(groups)


def accuracy_charts(run: Run) -> tuple[Group, ...]:
    """For each group of networks test accuracy and test loss by epoch, an activation a curve; with what the document
    prints of them and, of the studied README, its plots."""
    groups = []
    for settings, kinds in trained_groups(run).items():
        images = run.data.test_images
        accuracy = [series_of(kind, lambda epoch: epoch.test_accuracy, "logit", images) for kind in kinds]
        loss = [series_of(kind, lambda epoch: epoch.test_loss, "log") for kind in kinds]
        plots = [[published(run, kind, column) for kind in kinds] for column in ("test_accuracy_percent", "test_loss")]
        printed = [Printed(f"c-{kind.activation}", *each) for kind in kinds for each in printed_accuracies(run, kind)]
        charts = (
            _curves_chart("Test accuracy", accuracy, Axis(0, 100), " %", plots[0], printed),
            _curves_chart("Test loss", loss, axis_over([0.0, *_values(loss)]), "", plots[1], []),
        )
        groups.append(Group(settings, charts))
    return tuple(groups)


# --- one chart -------------------------------------------------------------------------------------------


def _factor_chart(run: Run, series: Series, bands: Sequence[Band], y: Axis, quantity: Quantity) -> Chart:
    name = activation_name(series.kind.activation)
    title = f"{name}’s gradients {went}" if (went := way(series)) and run.status != "running" else f"{name}’s gradients"
    words = f"{_FACTOR_LABEL} of the {_WORDS[quantity]}"
    seen = f"{words}; thin: one of {count(len(series.seeds), 'seed')}, thick: their geometric mean"
    panel = Panel(
        title, seen, [_curve(series)], y, (series.first, max(series.last, series.first)), bands=bands, at_one=True
    )
    return Chart(title, seen, draw(panel), _table(f"{series.kind.name}, {words}", [series]))


def _norm_chart(kind: Kind, layers: dict[str, Series], y: Axis, words: str) -> Chart:
    name = activation_name(kind.activation)
    curves = []
    for place, (layer, series) in enumerate(layers.items()):
        shade = round(place * (_LAYER_SHADES - 1) / max(len(layers) - 1, 1))
        curves.append(_curve(series, f"c-{kind.activation} shade-{shade}", layer)._replace(low=(), high=(), seeds=()))
    series = next(iter(layers.values()))
    title = f"{name}: {words} of each layer"
    seen = "geometric mean of the seeds; the paler, the nearer the output"
    panel = Panel(title, seen, curves, y, (series.first, max(series.last, series.first)))
    return Chart(
        title, seen, draw(panel), _table(f"{kind.name}, {words}", list(layers.values()), list(layers), with_seeds=False)
    )


def _curves_chart(
    title: str,
    series: Sequence[Series],
    y: Axis,
    unit: str,
    plots: Sequence[Sequence[float]],
    printed: Sequence[Printed],
) -> Chart:
    curves, seen = [], ["thin: one seed, thick: their mean with its 95 % interval"]
    for each, plotted in zip(series, plots, strict=True):
        activation = each.kind.activation
        curves.append(_curve(each, label=activation_name(activation)))
        if plotted:
            curves.append(Curve(f"c-{activation}", 1, plotted, label="plot", dashed=True))
    if any(curve.dashed for curve in curves):
        seen.append("dashed: as the README’s plots show it")
    if printed:
        seen.append("bars: what its table says")
    last = max((each.last for each in series), default=1)
    panel = Panel(title, "; ".join(seen), curves, y, (1, max(last, 1)), unit=unit, printed=printed)
    names = [activation_name(each.kind.activation) for each in series]
    return Chart(
        title,
        "; ".join(seen),
        draw(panel),
        _table(f"{title} ({series[0].kind.settings})" if series else title, series, names),
    )


def _curve(series: Series, colour: str = "", label: str = "") -> Curve:
    has_intervals = any(mean.low is not None for mean in series.means)
    return Curve(
        colour or f"c-{series.kind.activation}",
        series.first,
        [mean.value for mean in series.means],
        [nan_if_none(mean.low) for mean in series.means] if has_intervals else (),
        [nan_if_none(mean.high) for mean in series.means] if has_intervals else (),
        list(series.seeds.values()) if len(series.seeds) > 1 else (),
        label,
    )


def _table(caption: str, series: Sequence[Series], names: Sequence[str] = ("",), *, with_seeds: bool = True) -> Table:
    """At the epochs that the axis names, and the first, the mean with its interval; ``with_seeds``: and each seed's
    value."""
    first, last = min(each.first for each in series), max(each.last for each in series)
    epochs = sorted({*epoch_ticks(first, last), min(max(first, 1), last)})
    seeds = listing(dict.fromkeys(seed for each in series for seed in each.seeds))
    after = f"; after it seeds {seeds}" if with_seeds else f", {count(len(series[0].seeds), 'seed')}"
    return Table(
        f"{caption}: mean (95 % interval){after}",
        ("epoch", *(name or "value" for name in names)),
        tuple((str(epoch), *(_cell(each, epoch, with_seeds) for each in series)) for epoch in epochs),
    )


def _cell(series: Series, epoch: int, with_seeds: bool) -> str:
    mean = series.at(epoch)
    if mean is None:
        return "–"
    text = with_span(mean.value, mean.low, mean.high, missing="not finite")
    if not with_seeds or len(series.seeds) < 2:
        return text
    return f"{text}; {listing(number(x, missing='not finite') for x in series.values_at(epoch).values())}"


# --- what is drawn ---------------------------------------------------------------------------------------


def _values(series: Iterable[Series]) -> Iterable[float]:
    for each in series:
        for values in each.seeds.values():
            yield from values
        yield from (mean.value for mean in each.means)


def _bands(run: Run, kind: Kind, quantity: Quantity) -> list[Band]:
    """What claims accept of the factor of these networks."""
    found: dict[tuple[float | None, float | None], str] = {}
    for claim, reading in readings_of(run, kind):
        if reading.layers == "factor" and reading.quantity == quantity and reading.accepted is not None:
            found.setdefault((reading.accepted.low, reading.accepted.high), claim)
    return [Band(low, high, f"accepted: {claim}") for (low, high), claim in found.items()]
