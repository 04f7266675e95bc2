"""A run → one self-contained HTML page, its figures as PNG files, and its JSON."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from vgharness.records import CellResult, LayerPrediction, LayerShape, Outcome, Run, nan_if_none
from vgharness.report.figures import Picture, draw
from vgharness.report.templates import environment
from vgharness.report.wording import deciding, interval, measured, number, percent, seed_value, tally
from vgharness.system.files import write_whole

_SYMBOLS: dict[Outcome, str] = {
    "reproduced": "✓",
    "not reproduced": "✗",
    "inconclusive": "?",
    "not run": "–",
    "error": "!",
}
# Where on the page to see what a measure measures.
_SHOWN_IN = {
    "accuracy": "loss_acc_comparison.png",
    "accuracy_gap": "loss_acc_comparison.png",
    "epochs_ratio": "loss_acc_comparison.png",
    "curve_distance": "loss_acc_comparison.png",
    "factor": "grad_norms_per_layer.png",
    "largest_factor": "grad_norms_per_layer.png",
}
_NETWORKS = "networks"


def write_report(run: Run, out: Path) -> Path:
    """Writes the figures, ``run.json`` and last ``index.html`` into ``out``; returns the page's path."""
    pictures = draw(run)
    out.mkdir(parents=True, exist_ok=True)
    for picture in pictures:
        write_whole(out / picture.name, picture.png)
    write_whole(out / "run.json", run.model_dump_json(indent=1).encode())
    page = out / "index.html"
    write_whole(page, render(run, pictures).encode())
    return page


def render(run: Run, pictures: tuple[Picture, ...]) -> str:
    """The page as a string. Whatever the run holds is escaped."""
    pages = environment()
    pages.filters |= {
        "number": number,
        "measured": measured,
        "interval": interval,
        "seed_value": seed_value,
        "data_uri": _data_uri,
        "percent": percent,
    }
    return pages.get_template("index.html.j2").render(
        run=run,
        pictures=pictures,
        counts=tally(run.verdicts),
        symbols=_SYMBOLS,
        rows=list(_rows(run)),
        networks=_networks(run),
        numerics=_numerics(run),
        predictions=_predictions(run),
        shown_in=_SHOWN_IN,
        networks_anchor=_NETWORKS,
    )


def _data_uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _rows(run: Run) -> Iterator[dict[str, Any]]:
    """A verdict, the anchor of its evidence, and the reading that stands for it in the first table."""
    several = len({verdict.architecture for verdict in run.verdicts}) > 1
    for verdict in run.verdicts:
        yield {
            "verdict": verdict,
            "anchor": f"claim-{verdict.claim}-{verdict.architecture}",
            "reading": deciding(verdict),
            "tally": tally(verdict.readings),
            "measured_something": any(reading.values for reading in verdict.readings),
            "architecture": verdict.architecture if several else None,
        }


def _networks(run: Run) -> list[tuple[CellResult, list[LayerShape]]]:
    """One of each architecture and depth, for the table of shapes."""
    kinds: dict[tuple[str, int], CellResult] = {}
    for result in run.results:
        if result.layers:
            kinds.setdefault((result.cell.architecture, result.cell.depth), result)
    return [(result, list(result.layers)) for result in kinds.values()]


def _numerics(run: Run) -> list[tuple[str, list[tuple[str, float | None, float | None]]]]:
    """By kind of network, each layer's name with the worst error over the seeds of its weight's gradient
    and of its error signal; ``None`` where one was not finite."""
    kinds: dict[str, dict[str, tuple[list[float], list[float]]]] = {}
    for result in run.results:
        layers = kinds.setdefault(_kind(result), {})
        for error in result.numerics:
            weights, signals = layers.setdefault(error.name, ([], []))
            weights.append(nan_if_none(error.weight_l2))
            signals.append(nan_if_none(error.signal_l2))
    return [
        (kind, [(name, _worst(weights), _worst(signals)) for name, (weights, signals) in layers.items()])
        for kind, layers in kinds.items()
        if layers
    ]


def _kind(result: CellResult) -> str:
    return f"{result.cell.architecture} {result.cell.activation} depth {result.cell.depth}"


def _worst(errors: list[float]) -> float | None:
    return max(errors) if all(map(math.isfinite, errors)) else None


def _predictions(run: Run) -> list[tuple[str, list[LayerPrediction]]]:
    """By kind of network, each layer's factors, as means over the seeds."""
    kinds: dict[str, list[CellResult]] = {}
    for result in run.results:
        if result.predictions:
            kinds.setdefault(_kind(result), []).append(result)
    return [
        (kind, [_mean_prediction(layers) for layers in zip(*(r.predictions for r in results), strict=True)])
        for kind, results in kinds.items()
    ]


def _mean_prediction(seeds: Sequence[LayerPrediction]) -> LayerPrediction:
    first = seeds[0].model_dump(exclude={"nonfinite"})
    numbers = {key for key, value in first.items() if isinstance(value, float)}
    means = {key: sum(nan_if_none(getattr(seed, key)) for seed in seeds) / len(seeds) for key in numbers}
    return LayerPrediction.model_validate({**first, **means})
