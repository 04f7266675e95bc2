"""The pages that the browser opens: of the committed run, of made-up ones, hostile and large."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, NamedTuple
from unittest.mock import patch

from factories import MACHINE, SYNTHETIC, make_errors, make_reading, make_result, make_run, make_verdict
from training_logs import make_log, make_problem, make_snapshot
from typer.testing import CliRunner

from vgharness.claims.loading import load_claims
from vgharness.cli.main import app
from vgharness.records import (
    OUTCOMES,
    Birth,
    Bounds,
    Cell,
    CellResult,
    Document,
    GradientFlow,
    LayerGradient,
    LayerPrediction,
    NonfiniteOrigin,
    Run,
    Sample,
    Session,
    Study,
    TrainingLog,
    WatchedModel,
)
from vgharness.report.history import Saved, history_of
from vgharness.report.history_page import render_history
from vgharness.report.past.runs import FOLDER, past_of
from vgharness.report.session_page import render_session
from vgharness.report.study_page import Interim, render, write_report
from vgharness.report.training_page import render_training
from vgharness.report.versus.page import render_comparison
from vgharness.report.versus.pairs import versus
from vgharness.storage.store import RunStore, load_run
from vgharness.study.judging import judged
from vgharness.study.presets import plan

COMMITTED: Final = Path(__file__).parents[2] / "reports/committed/run.json"


class Written(NamedTuple):
    """A page on disk.

    record: what it shows; ``None``: several.
    seconds: of this process's time that making it took.
    """

    path: Path
    record: Run | Session | TrainingLog | None
    seconds: float


def committed_run() -> Run:
    """The run whose page the repository shows."""
    return load_run(COMMITTED)


# --- studies ---------------------------------------------------------------------------------------------


def predictions(cell: Cell) -> tuple[LayerPrediction, ...]:
    return tuple(
        LayerPrediction(
            name=f"conv{place}",
            above=f"conv{place + 1}" if place < 4 else "fc",
            measured=0.3 + 0.05 * place + 0.001 * cell.seed,
            predicted=None if place == 2 else 0.31 + 0.05 * place,
            bound=2.5 * place,
            twin_measured=0.4 + 0.05 * place,
            twin_predicted=0.41 + 0.05 * place,
        )
        for place in range(1, 5)
    )


def result_of(cell: Cell) -> CellResult:
    """What a network as the cell plans it may come to: a sigmoid late, the others early."""
    start, rise = (10.0, 2.9) if cell.activation == "sigmoid" else (50.0, 1.6)
    spread = (cell.seed % 5 - 2) / 7
    result = make_result(
        cell.activation,
        cell.seed,
        architecture=cell.architecture,
        depth=cell.depth,
        curve=[start + rise * n + spread for n in range(cell.epochs)],
        factor=(0.21 if cell.activation == "sigmoid" else 0.93) + 0.004 * (cell.seed % 5),
        numerics=tuple(make_errors(epoch) for epoch in sorted({0, min(1, cell.epochs), cell.epochs})),
    )
    return result.model_copy(update={"predictions": predictions(cell)})


def run_of(study: Study, **changes: object) -> Run:
    return make_run(map(result_of, study.cells), study=study, **changes)


def quick_run() -> Run:
    return judged(run_of(plan("quick"), data=SYNTHETIC), load_claims())


def full_run() -> Run:
    return judged(run_of(plan("full")), load_claims())


def depths_run() -> Run:
    study = plan("script", seeds=3, activations=("sigmoid", "relu", "tanh", "gelu"), depths=(2, 4, 6, 8))
    return judged(run_of(study), load_claims())


def changed_run() -> Run:
    """That of a later commit, where sigmoids learn as fast as the others."""
    run = quick_run()
    curve = [50.0, 52.0]
    results = [
        result.model_copy(update={"epochs": make_result(result.cell.activation, result.cell.seed, curve=curve).epochs})
        if result.epochs
        else result
        for result in run.results
    ]
    changed = {"commit": "def", "created": "2026-02-01T00:00:00+00:00", "results": tuple(results)}
    return judged(run.model_copy(update=changed), load_claims())


def running_run() -> Run:
    """Half of it is trained."""
    study = plan("quick")
    half = len(study.cells) // 2
    run = make_run(map(result_of, study.cells[:half]), study=study, data=SYNTHETIC, status="running")
    return judged(run, load_claims())


def large_run() -> Run:
    """200 networks and 1,000 claims of three readings each."""
    study = plan("full", activations=("sigmoid", "relu", "tanh", "gelu"), depths=(2, 4, 6, 8, 10))
    assert len(study.cells) == 200
    verdicts = []
    for place, outcome in zip(range(1000), itertools.cycle(OUTCOMES), strict=False):
        numbers = tuple(0.2 + 0.001 * place + 0.03 * seed for seed in range(5))
        ran = outcome not in ("not run", "error")
        readings = [
            make_reading(
                outcome,
                numbers if ran else (),
                label=f"sigmoid at depth {depth}, factor per layer toward the input",
                quantity="signal_l2",
                activation="sigmoid",
                expected="at most 0.9",
                accepted=Bounds(high=0.9),
                unit="",
                scale="log",
                method="t" if ran else None,
                value=numbers[2] if ran else None,
                low=numbers[0] if ran else None,
                high=numbers[4] if ran else None,
            )
            for depth in (4, 6, 8)
        ]
        sentence = f"Sentence {place} says that each further layer leaves less of what comes from the output."
        verdicts.append(
            make_verdict(
                outcome,
                *readings,
                claim=f"claim-{place}",
                variant="",
                sentence=sentence,
                reason="" if ran else "needs networks with depth 12",
                command="" if ran else "python -m vgharness.full --depths 12",
            )
        )
    return run_of(study, document=Document(title="A long paper", address="https://example.org"), verdicts=verdicts)


# --- what comes from outside and means harm --------------------------------------------------------------

MARKUP: Final = (
    "</style></title></svg><script>document.title='pwned';alert(1)</script><img src=x onerror=alert(1)>\"'&amp;{{7*7}}"
)
TURNED: Final = "\u202eslatot dna\u2066 \u202bsdrow"
LONG: Final = "x" * 10_000
HOSTILE: Final = (MARKUP, TURNED, LONG)


def hostile_run() -> Run:
    """Whatever a user, a document or a machine names holds markup, turns the direction of writing, or never ends."""
    verdicts = []
    for place, (bad, outcome) in enumerate(itertools.product(HOSTILE, OUTCOMES)):
        ran = outcome not in ("not run", "error")
        several = place % 2
        readings = [
            make_reading(
                outcome,
                (1.0, 2.0, 1.5) if ran else (),
                label=f"{bad}, {which}",
                quantity="custom:" + bad,
                words=bad,
                expected=f"at least {bad}",
                accepted=Bounds(low=1.2),
                reason=bad,
                unit=bad if place % 4 == 1 else "%",
                value=1.5 if ran else None,
                low=1.1 if ran else None,
                high=1.9 if ran else None,
                either=bad if several else None,
            )
            for which in (("first", "second") if several else ("only",))
        ]
        verdicts.append(
            make_verdict(
                outcome,
                *readings,
                claim=f"{bad}{place}",
                variant=bad,
                sentence=f"It is said that {bad} is so.",
                words=(bad,),
                reason=bad,
                command="" if ran else f"python -m vgharness.full --claims '{bad}'",
            )
        )
    study = plan("quick")
    results = [result_of(cell) for cell in study.cells]
    for place, bad in enumerate(HOSTILE):
        results[place] = results[place].model_copy(update={"status": "failed", "reason": f"RuntimeError: {bad}"})
    everything = MARKUP + TURNED + LONG
    results[5] = results[5].model_copy(
        update={
            "layers": tuple(x.model_copy(update={"name": everything, "kind": everything}) for x in results[5].layers)
        }
    )
    machine = MACHINE.model_copy(
        update={
            **dict.fromkeys(("system", "processor", "device", "python", "cuda", "cudnn", "driver"), everything),
            "versions": {bad: bad for bad in HOSTILE},
        }
    )
    data = SYNTHETIC.model_copy(update={"description": everything, "classes": HOSTILE, "sha256": LONG})
    return make_run(
        results,
        data=data,
        study=study,
        machine=machine,
        command=everything,
        commit=everything,
        document=Document(title=everything, address="javascript:alert(1)"),
        verdicts=tuple(verdicts),
    )


# --- sessions --------------------------------------------------------------------------------------------


def chain(factor: float, seed: int, name: str = "layers.{}", count: int = 6) -> GradientFlow:
    """Layers one after the other, whose error signal is multiplied by ``factor`` toward the input."""
    sizes = [(1 + 0.07 * (seed % 4)) * factor ** (count - place) for place in range(1, count + 1)]
    return GradientFlow(
        layers=tuple(
            LayerGradient(
                name=name.format(place),
                state="ok",
                weight_mean_abs=size / 9,
                weight_l2=size * 3,
                signal_l2=size,
                signal_rms=size / 2,
                saturated=0.125,
            )
            for place, size in enumerate(sizes)
        )
    )


def make_sample(test: str, factor: float, seeds: Iterable[int] = range(5), **fields: object) -> Sample:
    name = str(fields.pop("layer", "layers.{}"))
    seeds = tuple(seeds)
    return Sample(test=test, seeds=seeds, flows=tuple(chain(factor, seed, name) for seed in seeds), **fields)  # type: ignore[arg-type]


def make_session(*samples: Sample, **changes: object) -> Session:
    session = Session(
        created="2026-01-01T00:00:00+00:00", command="pytest -q", commit="abc", machine=MACHINE, samples=samples
    )
    return session.model_copy(update=changes)


def a_session(factor: float = 0.05) -> Session:
    return make_session(
        make_sample("tests/test_model.py::test_sigmoid", factor, outcome="failed"),
        make_sample("tests/test_model.py::test_relu", 0.8, outcome="passed", extra_info={"width": 64}),
        make_sample("tests/test_model.py::test_exploding", 40.0, outcome="failed"),
    )


def hostile_session() -> Session:
    everything = MARKUP + TURNED + LONG
    samples = []
    for bad, factor in zip(HOSTILE, (0.02, 0.9, 40.0), strict=True):
        layer = bad.replace("{", "").replace("}", "") + ".{}"
        samples.append(make_sample(f"tests/{bad}.py::{bad}", factor, name=bad, layer=layer, extra_info={bad: bad}))
    machine = MACHINE.model_copy(update={"processor": everything, "device": everything, "versions": {LONG: TURNED}})
    return make_session(*samples, command=everything, commit=everything, machine=machine)


# --- trainings -------------------------------------------------------------------------------------------


def a_training(
    names: Iterable[str] = tuple(f"layer{place // 3}.{place % 3}.conv" for place in range(12)),
) -> TrainingLog:
    """Whose first layer stops, whose signal vanishes, and which ends in a NaN; with all that a log can hold."""
    names = tuple(names)
    many = len(names)
    snapshots = [
        make_snapshot(
            step,
            layers=many,
            values={
                "signal_l2": tuple((0.95 - step / 9000) ** (many - place) for place in range(many)),
                "relative_update": (
                    0.0 if step > 2000 else 1e-3,
                    *(2e-4 * (place + step % 7) for place in range(1, many)),
                ),
                "dead_units": (*(min(0.9, step * place / 50_000) for place in range(1, many)), None),
            },
            total_norm=3.0 + step % 5,
            clipped_norm=1.0,
            greatest_norm=9.0 + step % 11,
            loss_scale=65536.0 / 2 ** (step // 1000),
        )
        for step in range(0, 4000, 100)
    ]
    problems = [
        make_problem("stopped", names[0], 2100, advice="Look whether its parameters are in the optimizer."),
        make_problem("vanishing", names[1], 2500, ended=3100, times=3),
        make_problem("spike", "", 700, ended=800, severity="warning"),
        make_problem("nonfinite", names[-1], 3999),
    ]
    origin = NonfiniteOrigin(stage="backward", module=names[-1], operation="MulBackward0")
    birth = Birth(
        step=3999, batch=3999, noticed=3999, origin=origin, reproducer=".gradflow/a-machine/0001_training.nan"
    )
    return make_log(snapshots, problems, names=names, steps=4000, births=[birth])


def two_trainings() -> TrainingLog:
    models = tuple(
        WatchedModel(name=name, architecture="Net", parameters=9, steps=500) for name in ("generator", "critic")
    )
    snapshots = [make_snapshot(step, model=model.name) for step in range(0, 500, 50) for model in models]
    return make_log(snapshots, [make_problem("exploding", "fc", 100, model="critic")], models=models, status="running")


def hostile_training() -> TrainingLog:
    everything = MARKUP + TURNED + LONG
    log = a_training([f"{bad}.{place}" for bad in HOSTILE for place in range(2)])
    problems = tuple(
        problem.model_copy(update={"evidence": bad, "advice": bad})
        for problem, bad in zip(log.problems, (*HOSTILE, everything), strict=True)
    )
    births = tuple(birth.model_copy(update={"reproducer": everything}) for birth in log.births)
    models = (WatchedModel(name=everything, architecture=everything, parameters=1),)
    snapshots = tuple(snapshot.model_copy(update={"model": everything}) for snapshot in log.snapshots)
    changes = {"problems": problems, "births": births, "models": models, "snapshots": snapshots, "notes": HOSTILE}
    return log.model_copy(update={**changes, "command": everything, "commit": everything, "extra": {MARKUP: TURNED}})


MODEL = """
import torch
from torch import nn


class Branched(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Linear(16, 32)
        self.blocks = nn.ModuleList(nn.Linear(32, 32) for _ in range(6))
        self.side = nn.Linear(32, 32)
        self.head = nn.Linear(32, 4)

    def forward(self, x):
        x = start = torch.sigmoid(self.stem(x))
        for block in self.blocks:
            x = torch.sigmoid(block(x))
        return self.head(x + 0.001 * self.side(start))
"""


# --- all of them -----------------------------------------------------------------------------------------


def _of_run(make: Callable[[], Run]) -> Callable[[Path], Written]:
    return lambda folder: _timed(folder, make(), render)


def _of_training(make: Callable[[], TrainingLog]) -> Callable[[Path], Written]:
    return lambda folder: _timed(folder, make(), render_training)


def _of_session(make: Callable[[], Session]) -> Callable[[Path], Written]:
    return lambda folder: _timed(folder, make(), render_session)


def _timed(folder: Path, record: Run | Session | TrainingLog, render_it: Callable[..., str]) -> Written:
    began = time.process_time()
    html = render_it(record)
    seconds = time.process_time() - began
    return Written(_write(folder, html), record, seconds)


def _write(folder: Path, html: str) -> Path:
    folder.mkdir()
    page = folder / "index.html"
    page.write_text(html, encoding="utf-8")
    return page


def _checked(folder: Path, *options: str) -> Written:
    folder.mkdir()
    (folder / "model.py").write_text(MODEL, encoding="utf-8")
    page = folder / "index.html"
    arguments = ["check", f"{folder / 'model.py'}:Branched", "--input", "8,16", "--html", str(page), *options]
    result = CliRunner().invoke(app, arguments)
    assert page.exists(), result.output
    return Written(page, None, 0.0)


def _remedied(folder: Path) -> Written:
    return _checked(folder, "--remedies")


def _running(folder: Path) -> Written:
    interim = Interim("9 of 18 networks are trained; about 8 min left.", reload_seconds=600)
    return _timed(folder, running_run(), lambda run: render(run, interim))


def _with_earlier(folder: Path) -> Written:
    """The newest of four runs of a store, with the others below it."""
    store = RunStore(folder.parent / f"{folder.name}-store")
    runs = [quick_run(), quick_run(), changed_run(), quick_run()]
    for month, run in enumerate(runs, 1):
        runs[month - 1] = run.model_copy(update={"created": f"2026-0{month}-01T00:00:00+00:00"})
    saved = [store.save(run, "quick") for run in runs]
    with patch("vgharness.report.study_page.draw", return_value=()):  # the files beside the page are not looked at
        for path, run in zip(saved[1:], runs[1:], strict=True):
            page = write_report(run, folder, past_of(path, run, folder))
    return Written(page, runs[-1], 0.0)


def _own(folder: Path) -> Written:
    """The newest run's own page."""
    newest = _with_earlier(folder)
    return newest._replace(path=max((folder / FOLDER).glob("*.html")))


def _compared(folder: Path) -> Written:
    found = versus(quick_run(), changed_run())
    return Written(_write(folder, render_comparison(found, "0001_quick.json", "0002_quick.json")), None, 0.0)


def _history(folder: Path) -> Written:
    saved = [Saved(place, f"session {place}", a_session(0.05 * place)) for place in range(1, 6)]
    return Written(_write(folder, render_history(history_of(saved))), None, 0.0)


PAGES: Final[dict[str, Callable[[Path], Written]]] = {
    "committed": _of_run(committed_run),
    "quick": _of_run(quick_run),
    "full": _of_run(full_run),
    "depths": _of_run(depths_run),
    "earlier": _with_earlier,
    "own": _own,
    "running": _running,
    "comparison": _compared,
    "session": _of_session(a_session),
    "check": _checked,
    "remedies": _remedied,
    "history": _history,
    "training": _of_training(a_training),
    "trainings": _of_training(two_trainings),
    "hostile": _of_run(hostile_run),
    "hostile-session": _of_session(hostile_session),
    "hostile-training": _of_training(hostile_training),
    "large": _of_run(large_run),
}
STUDIES: Final = ("committed", "quick", "full", "depths", "earlier", "own", "running", "large")
