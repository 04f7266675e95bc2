"""How a watch begins and ends: what it refuses, who is told, and what the log says of a training that was cut short."""

import gc
import warnings
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from trainings import Training

import vgharness
from vgharness.errors import UsageError
from vgharness.records import LogRow, Snapshot, TrainingProblem
from vgharness.storage.training_log import load_training_log

pytestmark = pytest.mark.fast

Watching = Callable[..., vgharness.Watch]


def poison(training: Training) -> None:
    """From now on the loss is NaN."""
    training.loss = lambda: training.model(torch.ones(4, 6)).sum() * float("nan")  # type: ignore[method-assign]


# --- what is refused ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"every": 0}, "every=0: give a whole number"),
        ({"every": -5}, "every=-5"),
        ({"every": 2.5}, "every=2.5"),
        ({"every": True}, "every=True"),
        ({"start": -1}, "start=-1"),
        ({"start": 1.5}, "start=1.5"),
        ({"storage": 5}, "storage=5: give the path of a folder"),
        ({"storage": None}, "storage=None"),
        ({"parameters": "all"}, "parameters='all': give True or False"),
        ({"layers": 5}, "layers=5"),
        ({"layers": [5]}, r"layers=\[5\]"),
        ({"on_problem": 1}, "on_problem=1"),
        ({"on_problem": torch.ones(2)}, "on_problem=tensor"),
        ({"optimizer": [None]}, "not NoneType"),
        ({"model": None}, "not NoneType"),
        ({"model": [nn.Linear(2, 2)]}, "not list"),
        ({"model": {1: nn.Linear(2, 2)}}, "model 1"),
        ({"log": {"a": 1}}, "log={'a': 1}"),
        ({"log": "a/b"}, "run name 'a/b'"),
        ({"log": 3}, "log=3: give a name"),
        ({"log": ["a", "b"]}, "two names"),
        ({"on_problem": "stop"}, "on_problem='stop'"),
        ({"scaler": 1024.0}, "scaler: give a torch.amp.GradScaler, not float"),
        ({"optimizer": "adam"}, "not str"),
        ({"optimizer": torch.optim.SGD(nn.Linear(6, 8).parameters())}, "SGD has no parameter of the model"),
        ({"layers": "encoder.*"}, r"no layer named 'encoder\.\*'"),
        ({"model": nn.ReLU()}, "no module of this model has a parameter"),
        ({"model": nn.LazyLinear(3)}, "has no shape yet"),
        ({"model": nn.DataParallel(nn.Linear(2, 2))}, "DataParallel"),
        ({"model": {}}, "model: give an nn.Module"),
        ({"model": {"G": 3}}, "model 'G': give an nn.Module by its name, not int"),
        ({"model": torch.compile(nn.Linear(2, 2))}, "this model is compiled"),
        ({"model": nn.Sequential(torch.compile(nn.Linear(2, 2)))}, "0 is compiled"),
    ],
)
def test_what_cannot_be_watched_is_refused_in_a_line(
    training: Training, tmp_path: Path, settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said) as refused:
        vgharness.watch(**{"model": training.model, "storage": tmp_path, **settings})
    assert "\n" not in str(refused.value)
    assert not list(tmp_path.iterdir())  # nothing was begun


def test_a_second_watch_of_a_model_is_refused(training: Training, watch: Watching) -> None:
    watching = watch(training.model)
    with pytest.raises(UsageError, match=r"watched already: close that watch first, .*Watch\.of\(model\)\.close\(\)"):
        watch({"a": training.model})
    assert vgharness.Watch.of(training.model) is watching
    with pytest.warns(vgharness.WatchWarning, match="no step of the model was seen"):
        watching.close()
    assert vgharness.Watch.of(training.model) is None
    watch(training.model)


def test_of_several_models_the_one_that_is_never_trained_is_told(tmp_path: Path) -> None:
    """As where the generator's optimizer was made of the discriminator's parameters."""
    trained, left, teacher = nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2).requires_grad_(False)
    optimizer = torch.optim.SGD(trained.parameters(), lr=0.1)
    models = {"D": trained, "G": left, "teacher": teacher}
    watching = vgharness.watch(models, optimizer, storage=tmp_path)
    trained(left(torch.ones(2, 2))).sum().backward()
    optimizer.step()
    with pytest.warns(vgharness.WatchWarning) as told:
        watching.close()
    assert [str(each.message).partition(":")[0] for each in told] == ["no step of model G was seen"]


def test_a_model_given_under_two_names_is_refused(training: Training, watch: Watching) -> None:
    with pytest.raises(UsageError, match="under two names"):
        watch({"a": training.model, "b": training.model})


@pytest.mark.parametrize("steps", [0, 3, 4])  # the next step is measured, or is not
def test_a_watch_lives_as_long_as_its_model_and_no_longer(tmp_path: Path, steps: int) -> None:
    """As where a cell of a notebook is run again."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        training = Training()
        path = vgharness.watch(training.model, training.optimizer, every=2, storage=tmp_path).path
        gc.collect()
        training.run(steps)
        watching = weakref.ref(vgharness.Watch.of(training.model))  # type: ignore[arg-type]
        model, weight = weakref.ref(training.model), weakref.ref(next(training.model.parameters()))
        del training
        gc.collect()
    assert (watching(), model(), weight()) == (None, None, None)
    assert path is not None
    log = load_training_log(path)
    assert (log.status, log.models[0].steps) == ("finished", steps)


def test_after_its_end_nothing_is_taken(training: Training, watch: Watching) -> None:
    with watch(training.model, training.optimizer) as watching:
        training.run(1)
        assert repr(watching) == "<Watch of Sequential at step 1: 0 problems>"
    assert repr(watching).endswith("0 problems, closed>")
    with pytest.raises(UsageError, match="closed"):
        watching.step()
    with pytest.raises(UsageError, match="closed"), watching:
        pass
    training.run(1)
    assert watching.log.models[0].steps == 1
    watching.close()  # the second time does nothing


@pytest.mark.parametrize("loss", [torch.ones(3), "high"])
def test_a_loss_that_is_no_number_is_refused(training: Training, watch: Watching, loss: Any) -> None:
    with watch(training.model, training.optimizer) as watching:
        training.run(1)
        with pytest.raises(UsageError, match="loss: give"):
            watching.step(loss=loss)


# --- who is told ---------------------------------------------------------------------------------------


def test_a_warning_names_kind_layer_step_evidence_and_advice(training: Training, watch: Watching) -> None:
    with watch(training.model, training.optimizer) as watching:
        training.run(3)
        poison(training)
        with pytest.warns(vgharness.TrainingProblemWarning, match=r"^step 3: nonfinite.*: .+ at step 3.+\. .+") as said:
            training.run(3)
    assert len(said) == 1
    assert [problem.kind for problem in watching.problems] == ["nonfinite"]
    assert watching.log.births[0].step == 3


def test_raise_ends_the_training_before_its_weights_change(training: Training, watch: Watching, tmp_path: Path) -> None:
    watching = watch(training.model, training.optimizer, on_problem="raise", log="bad")
    training.run(3)
    poison(training)
    with pytest.raises(vgharness.TrainingProblemError, match="step 3: nonfinite") as raised:
        training.run(3)
    assert raised.value.problem.kind == "nonfinite"
    assert all(torch.isfinite(parameter).all() for parameter in training.model.parameters())
    assert load_training_log(watching.path).status == "failed"
    training.run(1)  # no hook is left


def test_a_callable_gets_the_problem_and_may_end_the_training(training: Training, watch: Watching) -> None:
    told: list[TrainingProblem] = []

    def end(problem: TrainingProblem) -> None:
        told.append(problem)
        raise vgharness.TrainingProblemError(problem)

    poison(training)
    with watch(training.model, training.optimizer, on_problem=end), pytest.raises(vgharness.TrainingProblemError):
        training.run(2)
    assert [problem.kind for problem in told] == ["nonfinite"]


def test_a_callable_that_breaks_ends_no_training(training: Training, watch: Watching) -> None:
    with watch(training.model, training.optimizer, on_problem=lambda problem: 1 / 0):
        poison(training)
        with pytest.warns(vgharness.WatchWarning, match="on_problem raised ZeroDivisionError.*goes on"):
            training.run(2)


class Broken:
    """A sink that cannot take snapshots."""

    def __init__(self) -> None:
        self.problems: list[TrainingProblem] = []
        self.closed = 0

    def snapshot(self, snapshot: Snapshot, rows: tuple[LogRow, ...]) -> None:
        raise ConnectionError("no such host")

    def problem(self, problem: TrainingProblem) -> None:
        self.problems.append(problem)

    def close(self) -> None:
        self.closed += 1


def test_a_sink_that_breaks_is_said_once_and_ends_no_training(training: Training, watch: Watching) -> None:
    sink = Broken()
    watching = watch(training.model, training.optimizer, every=2, log=sink, on_problem=None)
    with pytest.warns(vgharness.WatchWarning, match="Broken.snapshot raised ConnectionError: no such host") as said:
        training.run(5)
    assert len(said) == 1
    poison(training)
    training.run(1)
    watching.close()
    assert [problem.kind for problem in sink.problems] == ["nonfinite"]
    assert sink.closed == 1


def test_what_breaks_in_watching_is_said_and_ends_no_training(
    training: Training, watch: Watching, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vgharness.watching.measuring.snapshots import SnapshotReader

    monkeypatch.setattr(SnapshotReader, "read", lambda *args, **settings: 1 / 0)
    watching = watch(training.model, training.optimizer)
    with pytest.warns(vgharness.WatchWarning, match="watching has stopped, the training goes on: ZeroDivision"):
        training.run(3)
    watching.close()
    assert "ZeroDivisionError" in watching.log.notes[0]
    assert watching.log.status == "finished"


# --- the log -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("error", "status"), [(ValueError, "failed"), (KeyboardInterrupt, "interrupted")])
def test_the_log_says_how_a_training_ended(
    training: Training, watch: Watching, error: type[BaseException], status: str
) -> None:
    def train(watching: vgharness.Watch) -> None:
        with watching:
            training.run(2)
            raise error

    watching = watch(training.model, training.optimizer, log="short")
    with pytest.raises(error):
        train(watching)
    log = load_training_log(watching.path)
    assert (log.status, log.models[0].steps, len(log.snapshots)) == (status, 2, 1)


def test_a_log_that_cannot_be_written_is_said_and_kept(training: Training, watch: Watching, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.warns(vgharness.WatchWarning) as said:
        watching = watch(training.model, training.optimizer, log="training", storage=tmp_path / "file")
    training.run(2)
    watching.close()
    assert len(said) == 1
    assert watching.path is None
    assert len(watching.log.snapshots) == 1


def test_a_resumed_training_gets_a_log_of_its_own(training: Training, watch: Watching) -> None:
    paths = []
    for start in (0, 2):
        with watch(training.model, training.optimizer, log="long", start=start) as watching:
            training.run(2)
        paths.append(watching.path)
    assert [path.name[:9] for path in paths] == ["0001_long", "0002_long"]
    assert [load_training_log(path).first_step for path in paths] == [0, 2]
