"""Every number on a study's page is one of the run's JSON or follows from it; text, table and figure agree."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from opened_page import Opened
from pages import STUDIES
from run_numbers import claim, explained, numbers_in

from vgharness.formatting import number
from vgharness.records import Reading, Run
from vgharness.report.claim_rows import anchor_of

pytestmark = pytest.mark.browser

SHOWN = [name for name in STUDIES if name not in ("large", "running")]


def content(page: Opened) -> dict[str, Any]:
    assert isinstance(page.written.record, Run)
    return dict(json.loads(page.written.record.model_dump_json()))


@pytest.mark.parametrize("name", SHOWN)
def test_every_number_follows_from_the_runs_json(opened: Callable[..., Opened], name: str) -> None:
    page = opened(name)
    known = explained(content(page))
    unexplained = {}
    parts = page.rule("parts", "header, main > section", ".group > li, .brief")  # a claim's row is that of its own
    assert {"", "claims", "how"} <= {part["id"] for part in parts}
    for part in parts:
        if part["id"] != "earlier":  # of other runs: test_history_… of tests/report
            odd = [each for each in numbers_in(part["text"]) if each not in known[part["id"]]]
            if odd:
                unexplained[part["id"]] = odd
    assert unexplained == {}


@pytest.mark.parametrize("name", SHOWN)
def test_every_number_in_a_claims_row_is_that_claims(opened: Callable[..., Opened], name: str) -> None:
    page = opened(name)
    run = content(page)
    rows = {row["id"]: row["text"] for row in page.rule("parts", ".group > li, .brief")}
    unexplained = {}
    for verdict, record in zip(run["verdicts"], page.written.record.verdicts, strict=True):  # type: ignore[union-attr]
        known = {"95", *numbers_in(" ; ".join(claim(verdict)))}
        if odd := [each for each in numbers_in(rows[anchor_of(record)]) if each not in known]:
            unexplained[verdict["claim"]] = odd
    assert unexplained == {}


@pytest.mark.parametrize("name", SHOWN)
def test_the_table_of_a_claim_has_its_readings_numbers_in_their_places(
    opened: Callable[..., Opened], name: str
) -> None:
    page = opened(name)
    for verdict in page.written.record.verdicts:  # type: ignore[union-attr]
        table = page.rule("table", f"#{anchor_of(verdict)} table")
        if table is None:
            assert all(not reading.values for reading in verdict.readings)
            continue
        readings = sorted(verdict.readings, key=lambda reading: reading.context)
        for reading, (_, _, measured, seeds, outcome) in zip(readings, table[1:], strict=True):
            assert outcome.split(";")[0].endswith(reading.outcome)
            if reading.values and reading.value is not None:
                assert number(reading.value) in measured
                for end in (reading.low, reading.high):
                    assert end is None or number(end) in numbers_in(measured)
            for value in reading.values:
                assert f"{value.seed}: " in seeds
                if value.value is not None and value.bounds is None:
                    assert f"{value.seed}: {number(value.value)}" in seeds


class Scale:
    """Of an axis, from its ticks: places in pixels or percent to values."""

    def __init__(self, ticks: list[list[float]]) -> None:
        places, values = np.array(ticks).T
        self.fits = [np.polyfit(values, places, 1)]
        if values.min() > 0:
            self.fits.append(np.polyfit(np.log10(values), places, 1))
        off = [
            float(np.abs(np.polyval(fit, x) - places).max())
            for fit, x in zip(self.fits, self._scaled(values), strict=False)
        ]
        self.which = int(np.argmin(off))
        assert off[self.which] < 0.3, f"ticks that lie on no axis: {ticks}"

    def _scaled(self, values: Any) -> tuple[Any, Any]:
        return values, np.log10(np.maximum(values, 1e-300))

    def place(self, value: float) -> float:
        """Where a value is drawn."""
        return float(np.polyval(self.fits[self.which], self._scaled(np.float64(value))[self.which]))


@pytest.mark.parametrize("name", SHOWN)
def test_curves_are_drawn_where_their_tables_say(opened: Callable[..., Opened], name: str) -> None:
    page = opened(name)
    page.rule("openAll")
    charts = page.rule("curves")
    assert charts or name == "depths"
    compared = 0
    for chart in charts:
        scale = Scale(chart["ticks"])
        rows = {int(row[0]): row[1:] for row in chart["table"][1:]}
        for column, curve in enumerate(chart["curves"]):
            labels = " ".join(chart["labels"])
            known = {epoch: cells[column] for epoch, cells in rows.items() if cells[column] != "–"}
            first, last = min(known), max(known)
            assert numbers_in(known[last])[0] in numbers_in(labels), f"{chart['title']}: the label at the end"
            for epoch, cell in known.items():
                mean = float(numbers_in(cell)[0].replace(",", ""))
                share = 100 * (epoch - first) / (last - first) if last > first else 50.0
                drawn = [y for x, y in curve if abs(x - share) < 0.06]
                assert drawn, f"{chart['title']}: no point at epoch {epoch}"
                assert abs(drawn[0] - scale.place(mean)) < 1.5, f"{chart['title']}: epoch {epoch}, {mean}"
                compared += 1
    assert compared >= 2 * len(charts)


@pytest.mark.parametrize("name", SHOWN)
def test_dots_of_strips_are_where_the_seeds_are(opened: Callable[..., Opened], name: str) -> None:
    page = opened(name)
    page.rule("openAll")
    compared = 0
    for verdict in page.written.record.verdicts:  # type: ignore[union-attr]
        left = list(verdict.readings)
        for strip in page.rule("strips", f"#{anchor_of(verdict)}"):
            said = numbers_in(strip["title"])[0]  # the value; two readings may have the same
            alike = [reading for reading in left if reading.values and number(reading.value) == said]
            fitting = [reading for reading in alike if fits(strip, reading)]
            assert fitting, f"{verdict.claim}: {strip}"
            left.remove(fitting[0])
            compared += 1
    assert compared


def fits(strip: dict[str, Any], reading: Reading) -> bool:
    """Whether the strip's dots are at the reading's seeds, and its bar at their mean."""
    if len(strip["ticks"]) < 2:
        return True
    scale = Scale(strip["ticks"])
    values = [value.value for value in reading.values if value.value is not None]
    places = [*strip["dots"], *strip["mean"]]
    wanted = [min(max(scale.place(value), 0.0), 100.0) for value in (*values, reading.value) if value is not None]
    return len(places) == len(wanted) and max(abs(a - b) for a, b in zip(places, wanted, strict=True)) < 0.3
