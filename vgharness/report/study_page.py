"""A run → one self-contained HTML page, its figures as PNG files, and its JSON."""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from vgharness.claims.verdicts import REENCODED_POINTS
from vgharness.gradflow.summary import FACTOR
from vgharness.records import CellResult, LayerPrediction, LayerShape, Run, nan_if_none
from vgharness.report.figures import FIGURES, Picture, draw, is_studied_readme
from vgharness.report.templates import environment
from vgharness.report.verdict_rows import FILTERS, figures_of_quantities, verdict_values
from vgharness.statistics import scale_of, summarise
from vgharness.storage.store import to_json
from vgharness.system.files import write_text, write_whole

# What a report consists of.
PAGE: Final = "index.html"
FILES: Final = (*FIGURES, "run.json", PAGE)
# In the head of a page that was made before its study was finished.
INTERIM_MARK: Final = '<meta name="vgharness" content="interim">'
_NETWORKS = "networks"


def write_report(run: Run, out: Path) -> Path:
    """Writes the figures, ``run.json`` and last ``index.html`` into ``out``; returns the page's path."""
    pictures = draw(run)
    out.mkdir(parents=True, exist_ok=True)
    for picture in pictures:
        write_whole(out / picture.name, picture.png)
    write_whole(out / "run.json", to_json(run))
    page = out / PAGE
    write_text(page, render(run, pictures))
    return page


class Interim(NamedTuple):
    """What is said on a page that was made before its study was finished, and so has no files beside it.

    notice: how far the study is.
    reload_seconds: after how long the page loads itself again; ``None``: it changes no more.
    earlier: file name of the page that was there before; empty: there was none.
    """

    notice: str
    reload_seconds: int | None = None
    earlier: str = ""


def render(run: Run, pictures: tuple[Picture, ...], interim: Interim | None = None) -> str:
    """The page as a string. Whatever the run holds is escaped. ``interim``: ``None`` of a page that stays."""
    pages = environment()
    pages.filters |= {**FILTERS, "data_uri": _data_uri}
    quantities = dict.fromkeys(reading.quantity for verdict in run.verdicts for reading in verdict.readings)
    # How many verdicts stand is not settled before all are.
    unsettled = {"standing": ""} if run.status == "running" else {}
    figures = figures_of_quantities() if pictures else {}
    judged = verdict_values(run.document, run.verdicts, dict.fromkeys(quantities, _NETWORKS) | figures)
    return pages.get_template("index.html.j2").render(
        run=run,
        interim=interim,
        interim_mark=INTERIM_MARK,
        pictures=pictures,
        networks=_networks(run),
        numerics=_numerics(run),
        moments=_moments(run),
        predictions=_predictions(run),
        networks_anchor=_NETWORKS,
        is_studied_readme=is_studied_readme(run),
        reencoded_points=REENCODED_POINTS,
        **judged | unsettled,
    )


def _data_uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _networks(run: Run) -> list[tuple[CellResult, list[LayerShape]]]:
    """One of each architecture and depth, for the table of shapes."""
    kinds: dict[tuple[str, int], CellResult] = {}
    for result in run.results:
        if result.layers:
            kinds.setdefault((result.cell.architecture, result.cell.depth), result)
    return [(result, list(result.layers)) for result in kinds.values()]


class _Errors(NamedTuple):
    """Of one layer's gradients at one moment, the worst over the seeds; ``None`` where one was not finite.

    weight: of its weight's gradient.
    signal: of its error signal.
    """

    weight: float | None
    signal: float | None


def _numerics(run: Run) -> list[tuple[str, dict[str, dict[int, _Errors]]]]:
    """By kind of network, by layer and by moment (the epoch after which it was), the errors."""
    kinds: dict[str, dict[str, dict[int, tuple[list[float], list[float]]]]] = {}
    for result in run.results:
        layers = kinds.setdefault(_kind(result), {})
        for moment in result.numerics:
            for error in moment.layers:
                weights, signals = layers.setdefault(error.name, {}).setdefault(moment.epoch, ([], []))
                weights.append(nan_if_none(error.weight_l2))
                signals.append(nan_if_none(error.signal_l2))
    return [
        (
            kind,
            {
                name: {epoch: _Errors(*map(_worst, errors)) for epoch, errors in moments.items()}
                for name, moments in layers.items()
            },
        )
        for kind, layers in kinds.items()
        if layers
    ]


def _moments(run: Run) -> dict[int, str]:
    """When numerical errors were measured, in words, by the epoch after which it was."""
    epochs = sorted({moment.epoch for result in run.results for moment in result.numerics})
    return {epoch: f"after epoch {epoch}" if epoch else "at initialisation" for epoch in epochs}


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
    first = seeds[0]

    def mean(of: Callable[[LayerPrediction], float | None]) -> float:
        return summarise([nan_if_none(of(seed)) for seed in seeds], scale_of(FACTOR)).value

    return LayerPrediction(
        name=first.name,
        above=first.above,
        measured=mean(lambda seed: seed.measured),
        predicted=None if first.predicted is None else mean(lambda seed: seed.predicted),
        bound=mean(lambda seed: seed.bound),
        twin_measured=mean(lambda seed: seed.twin_measured),
        twin_predicted=mean(lambda seed: seed.twin_predicted),
    )
