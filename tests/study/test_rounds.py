"""Rounds of seeds: when a study goes on, with which networks, and what its run says of it."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from factories import make_result

from vgharness.claims.loading import load_claims
from vgharness.claims.spec import Claim
from vgharness.data.synthetic import synthetic_images
from vgharness.records import Cell, CellResult, Run
from vgharness.storage.store import RunStore, load_run
from vgharness.study.judging import judge, judged
from vgharness.study.presets import plan
from vgharness.study.run import run_study
from vgharness.training import executor as executors
from vgharness.training.callback import Callback

pytestmark = pytest.mark.fast

CLAIM = """
[[claim]]
id = "{id}"
sentences = ["It is so."]
[[claim.reading]]
quantity = "test_accuracy"
of = {{ activation = "{activation}" }}
at = {at}
accept = {{ {accept} }}
"""
NOISE = (3.0, -3.0, 1.0, -1.0, 0.0)
FEW = synthetic_images(40, 16)
# So many to test on that an accuracy is resolved far below the scatter of the seeds.
IMAGES = replace(FEW, provenance=FEW.provenance.model_copy(update={"test_images": 1_000_000}))
Trained = list[Cell]


@pytest.fixture
def claims(tmp_path: Path) -> Callable[..., tuple[Claim, ...]]:
    """Claims of one reading each, given as its activation, epoch and what is accepted."""

    def make(*readings: tuple[str, int, str]) -> tuple[Claim, ...]:
        path = tmp_path / "claims.toml"
        texts = [
            CLAIM.format(id=f"claim-{n}", activation=activation, at=at, accept=accept)
            for n, (activation, at, accept) in enumerate(readings)
        ]
        path.write_text("\n".join(['[document]\ntitle = "A paper"', *texts]))
        return load_claims(path)

    return make


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> Trained:
    """Nothing is trained: accuracies scatter about 60 %, sigmoid's seed 43 diverges. The cells that would be."""
    begun: Trained = []

    def train_pack(cells: Sequence[Cell], *_: object) -> tuple[CellResult, ...]:
        begun.extend(cells)
        return tuple(_result(cell) for cell in cells)

    monkeypatch.setattr(executors, "train_pack", train_pack)
    monkeypatch.setattr("vgharness.study.run.expected_seconds", lambda *_: None)
    return begun


def _result(cell: Cell) -> CellResult:
    if cell.activation == "sigmoid" and cell.seed == 43:
        return CellResult(cell=cell, status="diverged", reason="loss")
    return make_result(cell.activation, cell.seed, curve=[60 + NOISE[cell.seed % 5]] * cell.epochs)


def in_rounds(claims: Sequence[Claim], most: int = 10, callback: Callback | None = None) -> Run:
    study = plan("script", epochs=1, seeds="auto", most_seeds=most)
    return run_study(study, IMAGES, claims=claims, callback=callback, jobs=1)


def seeds_of(run: Run) -> list[int]:
    return sorted({result.cell.seed for result in run.results})


FAR, NEAR, NEVER = "at_least = 40", "at_least = 57", "at_least = 60"


@pytest.mark.parametrize(
    ("readings", "seeds", "outcomes"),
    [
        ([("relu", 1, FAR)], 5, ["reproduced"]),
        ([("relu", 1, FAR), ("relu", 1, NEAR)], 7, ["reproduced", "reproduced"]),
        ([("relu", 1, NEVER)], 10, ["inconclusive"]),
        ([("sigmoid", 1, FAR)], 5, ["inconclusive"]),  # one diverged
        ([("relu", 2, NEVER), ("relu", 1, FAR)], 5, ["not run", "reproduced"]),  # of one epoch more than there are
    ],
)
def test_it_goes_on_while_seeds_can_decide_a_claim(
    readings: list[tuple[str, int, str]],
    seeds: int,
    outcomes: list[str],
    claims: Callable[..., tuple[Claim, ...]],
    trained: Trained,
) -> None:
    run = in_rounds(claims(*readings))
    assert [verdict.outcome for verdict in run.verdicts] == outcomes
    assert seeds_of(run) == list(range(42, 42 + seeds))
    assert len(trained) == len(set(trained)) == len(run.results), "each once"
    assert run.study.rounds
    assert run.study.rounds.look.seeds == seeds
    assert run.study.cells == plan("script", epochs=1, seeds=seeds).cells
    assert run.status == "finished"


def test_a_saved_run_is_judged_again_at_the_level_of_its_look(
    claims: Callable[..., tuple[Claim, ...]], trained: Trained, tmp_path: Path
) -> None:
    chosen = claims(("relu", 1, NEAR))
    run = in_rounds(chosen)
    loaded = load_run(RunStore(tmp_path).save(run, "rounds"))
    assert loaded == run
    assert judge(chosen, loaded) == judged(loaded, chosen).verdicts == run.verdicts
    (reading,) = run.verdicts[0].readings
    assert reading.confidence == run.study.confidence == pytest.approx(1 - 0.05 * 2 / 10)
    once = loaded.changed(study=loaded.study.changed(rounds=None))
    (plain,) = judge(chosen, once)[0].readings
    assert plain.confidence == 0.95
    assert reading.low is not None
    assert plain.low is not None
    assert reading.low < plain.low, "a look of several has a wider interval"
    both = judge(chosen, once, loaded)[0].readings[0]
    assert both.confidence == reading.confidence, "together with another run the stricter counts"


class InterruptsRoundTwo(Callback):
    def __init__(self) -> None:
        self.rounds: list[int] = []

    def study_started(self, run: Run, expected_seconds: float | None) -> None:
        self.rounds.append(len(run.results))

    def cell_started(self, cell: Cell) -> None:
        if cell.seed == 48:
            raise KeyboardInterrupt


def test_ctrl_c_while_a_round_is_judged_keeps_what_there_is(
    claims: Callable[..., tuple[Claim, ...]], trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupts = iter((True, False))

    def interrupted(run: Run, chosen: tuple[Claim, ...]) -> Run:
        if next(interrupts):
            raise KeyboardInterrupt
        return judged(run, chosen)

    monkeypatch.setattr("vgharness.study.run.judged", interrupted)
    run = in_rounds(claims(("relu", 1, NEVER)))
    assert (run.status, len(run.results), len(run.verdicts)) == ("interrupted", len(trained), 1)
    assert seeds_of(run) == list(range(42, 47))


def test_ctrl_c_in_a_later_round_keeps_what_there_is(
    claims: Callable[..., tuple[Claim, ...]], trained: Trained
) -> None:
    callback = InterruptsRoundTwo()
    run = in_rounds(claims(("relu", 1, NEVER)), callback=callback)
    per_seed = len(plan("script", seeds=1).cells)
    assert callback.rounds == [0, 5 * per_seed]
    assert run.status == "interrupted"
    assert seeds_of(run) == list(range(42, 48))
    assert run.verdicts[0].readings[0].values[-1].seed == 47
    assert run.study.rounds
    assert run.study.rounds.at == 2, "it spends the error of the look that it was on the way to"
