"""How what is said of a training is held against its label."""

import math
from types import SimpleNamespace, TracebackType
from typing import Any, Self

import pytest

import vgharness
from vgharness.benchmarks.trainings import HEALTHY, WRONG, Label
from vgharness.benchmarks.trainings.cases import ANYWHERE, BOTH
from vgharness.benchmarks.trainings.judging import (
    Report,
    birth_is_right,
    judge_trainings,
    outcome_of,
    rates,
    share_interval,
)
from vgharness.benchmarks.trainings.networks import Mixture
from vgharness.benchmarks.trainings.variants import draw_trainings
from vgharness.records import Birth, NonfiniteOrigin, TrainingProblem

pytestmark = pytest.mark.fast

LABEL = Label({"dead": frozenset({"fc1"}), "spike": ANYWHERE}, 60, 80)


def report(
    kind: Any = "dead", layer: str = "fc1", began: int = 65, told: int = 66, severity: Any = "problem"
) -> Report:
    return Report(kind=kind, model="", layer=layer, began=began, told=told, severity=severity, evidence="x")


WARNING = report("update too small", severity="warning", began=10)


@pytest.mark.parametrize(
    ("reports", "outcome"),
    [
        ([report()], "right"),
        ([report("spike", "head", 60, 60)], "right"),
        ([report("spike", "", 80, 80)], "right"),
        ([WARNING, report()], "right"),
        ([report(layer="fc1[14]")], "right"),
        ([report(), report("stopped")], "right"),
        ([report("stopped"), report()], "another kind"),
        ([report(layer="fc2")], "another place"),
        ([report(began=59)], "too early"),
        ([report(began=81, told=81)], "too late"),
        ([report(told=81)], "too late"),
        ([report(severity="warning")], "missed"),
        ([], "missed"),
    ],
)
def test_the_first_problem_decides(reports: list[Report], outcome: str) -> None:
    assert outcome_of(LABEL, reports) == outcome


def test_a_warning_is_an_answer_where_the_label_says_so() -> None:
    label = Label({"spike": ANYWHERE}, 60, 80, BOTH)
    assert outcome_of(label, [WARNING, report("spike", severity="warning"), report("dead")]) == "right"
    assert outcome_of(label, [report("dead"), report("spike", severity="warning")]) == "another kind"


def test_of_a_healthy_training_only_problems_are_alarms() -> None:
    assert outcome_of(None, [WARNING]) == "quiet"
    assert outcome_of(None, [WARNING, report()]) == "alarm"


def test_another_model_is_another_place() -> None:
    assert outcome_of(Label({"dead": ANYWHERE}, 0, 99, model="generator"), [report()]) == "another place"


def test_a_birth_is_right_at_its_step_place_and_pass() -> None:
    label = Label({"nonfinite": frozenset({"extra"})}, 60, 70, stage="forward")

    def birth(step: int = 60, stage: Any = "forward", module: str | None = "extra") -> Birth:
        return Birth(step=step, noticed=60, origin=NonfiniteOrigin(stage=stage, module=module))

    assert birth_is_right(label, birth()) is True
    wrong = [birth(61), birth(stage="backward"), birth(module=None), Birth(step=60, noticed=60), None]
    assert [birth_is_right(label, each) for each in wrong] == [False] * 5
    assert birth_is_right(LABEL, birth()) is None


class FakeWatch:
    """Says one thing at the seventieth step; gives up there where it watches a Mixture."""

    def __init__(self, model: Any, optimizer: Any = None, *, on_problem: Any, **options: Any) -> None:
        self.on_problem, self.steps, self.most = on_problem, 0, 70 if isinstance(model, Mixture) else math.inf

    @property
    def log(self) -> Any:
        model = SimpleNamespace(steps=min(self.steps, self.most))
        return SimpleNamespace(models=(model,), births=(), notes=("it gave up",))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def step(self, loss: Any = None) -> None:
        self.steps += 1
        if self.steps == 70 < self.most:
            self.on_problem(TrainingProblem(kind="dead", layer="fc1", began=61, evidence="all dead"))
            self.on_problem(TrainingProblem(kind="dead", layer="fc1", began=61, ended=69, evidence="all dead"))


def test_trainings_are_run_and_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    def watch(model: Any, optimizer: Any = None, **options: Any) -> FakeWatch:
        assert (options["every"], options["log"]) == (10, False)
        if isinstance(model, dict):
            raise RuntimeError("no two models")
        return FakeWatch(model, optimizer, **options)

    monkeypatch.setattr(vgharness, "watch", watch, raising=False)
    by_name = {training.name: training for training in (*WRONG, *HEALTHY)}
    names = [
        "layer that dies",
        "branch detached",
        "layer the optimizer lacks",
        "heavy-tailed batches",
        "GAN that works",
        "idle experts",
    ]
    dies, _, _, _, gan, idle = judged = list(judge_trainings(by_name[name] for name in names))
    assert [x.outcome for x in judged] == ["right", "another kind", "missed", "alarm", "crashed", "crashed"]
    assert dies.first is not None
    assert (len(dies.reports), dies.first.told, dies.first.text) == (1, 69, "dead (fc1), step 61")
    assert dies.expected is not None
    assert dies.expected.startswith("dead (fc1)")
    assert gan.error == "RuntimeError: no two models"
    assert idle.error == "it gave up"
    rate = rates(judged)
    assert (rate.wrong, rate.right, rate.seen, rate.healthy, rate.alarms, rate.warned) == (3, 1, 2, 3, 3, 0)


def test_the_interval_of_a_share_is_wilsons() -> None:
    low, high = share_interval(8, 10)
    assert (round(low, 3), round(high, 3)) == (0.490, 0.943)
    assert share_interval(0, 12)[0] == 0
    assert share_interval(12, 12)[1] == 1


def test_variants_are_drawn_in_turn_and_again_the_same() -> None:
    drawn = draw_trainings(30, 3)
    assert drawn == draw_trainings(30, 3)
    assert drawn != draw_trainings(30, 4)
    assert sum(training.expected is None for training in drawn) == 15
    assert len({training.variant for training in drawn}) == 30
