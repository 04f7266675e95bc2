"""A run → one self-contained HTML page, its figures as files, and what programs read: JSON, JUnit XML, Markdown.

Of a run that is saved in a store there is a page of its own besides."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from vgharness.claims.interim import is_awaited
from vgharness.claims.verdicts import REENCODED_POINTS
from vgharness.formatting import count, duration
from vgharness.gradflow.summary import SIGNAL
from vgharness.records import Run
from vgharness.report.claim_rows import FILTERS, claim_values, claims_of_figures
from vgharness.report.figures.pictures import DRAWINGS, FIGURES, Picture, draw
from vgharness.report.junit import junit_xml
from vgharness.report.past.runs import FOLDER, Past
from vgharness.report.past.section import PastSection, section_of
from vgharness.report.readme import is_studied_readme
from vgharness.report.study.answer import Answer, answer_of, interval_words
from vgharness.report.study.charts import WEIGHTS, accuracy_charts, factor_charts, norm_charts
from vgharness.report.study.facts import networks_table, numerics_finding, numerics_table, shape_rows, shapes_of
from vgharness.report.study.grid import depths_of
from vgharness.report.study.maps import maps_of
from vgharness.report.study.theory_part import theory_of
from vgharness.report.summary_file import study_summary
from vgharness.report.templates import environment
from vgharness.report.verdict_json import as_json
from vgharness.storage.store import to_json
from vgharness.system.files import write_text, write_whole
from vgharness.system.locks import turn_at
from vgharness.theory import FUNCTIONS

# What a report consists of.
PAGE: Final = "index.html"
FILES: Final = (*FIGURES, *DRAWINGS, "run.json", "report.json", "verdicts.xml", "summary.md", PAGE)
# In the head of a page that was made before its study was finished.
INTERIM_MARK: Final = '<meta name="vgharness" content="interim">'


class Interim(NamedTuple):
    """What is said on a page that was made before its study was finished, and so has no files beside it.

    notice: how far the study is.
    reload_seconds: after how long the page loads itself again; ``None``: it changes no more.
    earlier: file name of the page that was there before; empty: there was none.
    """

    notice: str
    reload_seconds: int | None = None
    earlier: str = ""


def write_report(run: Run, out: Path | str, past: Past | None = None) -> Path:
    """Writes what :data:`FILES` names into ``out``, the run's own page, and last ``index.html``; returns the last one's
    path. Processes that write into one folder take turns, so that what lies there in the end is of one run.

    past: the other runs of the store that the run is saved in, which ``index.html`` ends with; ``None``: it is saved in
        none, and there is no page of its own.
    """
    pictures, out = draw(run), Path(out)
    out.mkdir(parents=True, exist_ok=True)
    with turn_at(out):
        return _write(run, out, past, pictures)


def _write(run: Run, out: Path, past: Past | None, pictures: Sequence[Picture]) -> Path:
    for picture in pictures:
        write_whole(out / f"{picture.name}.png", picture.png)
        write_whole(out / f"{picture.name}.svg", picture.svg)
    write_whole(out / "run.json", to_json(run))
    write_text(out / "report.json", as_json(run.document, [("run.json", run)], run.verdicts).model_dump_json(indent=1))
    write_whole(out / "verdicts.xml", junit_xml(run.document, run.verdicts))
    write_text(out / "summary.md", study_summary(run, pictures))
    values = _values(run)
    if past is not None:
        own = out / FOLDER / past.this.page
        own.parent.mkdir(exist_ok=True)
        write_text(own, _rendered(values, file=past.this.place.path.name, is_own_page=True))
    page = out / PAGE
    write_text(page, _rendered(values, past=section_of(past) if past else None))
    return page


def render(run: Run, interim: Interim | None = None, past: Past | None = None) -> str:
    """The page as a string. Whatever the run holds is escaped.

    interim: ``None`` of a page that stays. past: other runs, which the page ends with; ``None``: it does not.
    """
    return _rendered(_values(run), interim=interim, past=section_of(past) if past else None)


def _rendered(
    values: dict[str, Any],
    *,
    interim: Interim | None = None,
    past: PastSection | None = None,
    file: str = "run.json",
    is_own_page: bool = False,
) -> str:
    """``file``: that holds the run. ``is_own_page``: whether the page is one of those in ``FOLDER``."""
    pages = environment()
    pages.filters |= {**FILTERS, "with_interval": interval_words, "duration": duration}
    return pages.get_template("index.html.j2").render(
        **values, interim=interim, interim_mark=INTERIM_MARK, past=past, file=file, is_own_page=is_own_page
    )


def _values(run: Run) -> dict[str, Any]:
    """What the template needs of a run."""
    values = {**_figures(run), **_facts(run)}
    shown = {name for name in ("accuracy", "theory") if values[name]} | ({"gradients"} if values["factors"] else set())
    return {
        **values,
        "run": run,
        "answer": _answer(run),
        "functions": {name: FUNCTIONS[name] for name in dict.fromkeys(cell.activation for cell in run.study.cells)},
        "is_studied_readme": is_studied_readme(run),
        "reencoded_points": REENCODED_POINTS,
        "claims_of": claims_of_figures(run.verdicts),
        **claim_values(run.document, run.verdicts, shown | {"networks"}),
        **_unsettled(run),
    }


def _answer(run: Run) -> Answer:
    """While the study trains there is none: what seeds to come could change is no headline."""
    answer = answer_of(run)
    if run.status != "running":
        return answer
    waiting = sum(map(is_awaited, run.verdicts))
    headline = f"Still training: {waiting} of {count(len(run.verdicts), 'claim')} not settled yet"
    return answer._replace(headline=headline, settings="", findings=())


def _unsettled(run: Run) -> dict[str, Any]:
    """In place of what is not settled before all verdicts are: how many of them stand."""
    return {"standing": ""} if run.status == "running" else {}


def _figures(run: Run) -> dict[str, Any]:
    return {
        "factors": factor_charts(run, SIGNAL),
        "weight_factors": factor_charts(run, WEIGHTS),
        "signals": norm_charts(run, SIGNAL, "error signal ‖∂L/∂h‖₂"),
        "weights": norm_charts(run, WEIGHTS, "mean |∂L/∂W|"),
        "accuracy": accuracy_charts(run),
        "maps": maps_of(run),
        "depths": depths_of(run),
        "theory": theory_of(run),
    }


def _facts(run: Run) -> dict[str, Any]:
    shapes = shapes_of(run)
    rows = shape_rows(run, shapes)
    return {
        "networks": networks_table(run),
        "shapes": shapes,
        "shape_rows": rows,
        "differing": sum(not row.agrees for row in next(iter(rows.values()), ())),
        "numerics": numerics_table(run),
        "numerics_finding": numerics_finding(run),
    }
