"""The real TensorBoard, Weights & Biases and MLflow: what is given to each is read back from its files."""

import pickle
from pathlib import Path
from typing import Any

import pytest
from wandb_file import read_run
from watched_steps import DEAD, LINES, METRICS, OTHERS, OVER, ROWS, snapshot

from vgharness.errors import UsageError
from vgharness.integrations.files import CsvSink, JsonlSink
from vgharness.integrations.mlflow import MLflowSink
from vgharness.integrations.tensorboard import TensorBoardSink
from vgharness.integrations.wandb import WandbSink
from vgharness.watching.sink import Sink

pytestmark = [pytest.mark.integrations, pytest.mark.filterwarnings("ignore")]
STEPS = (0, 3, 7)


def fill(sink: Sink) -> None:
    for step in STEPS:
        sink.snapshot(snapshot(step), ROWS)
    sink.problem(DEAD)
    sink.problem(OVER)
    sink.close()


def expected(name: str) -> list[tuple[int, float]]:
    return [(step, step + METRICS[name]) for step in STEPS]


def check(found: dict[str, list[tuple[int, float]]]) -> None:
    """Steps and values by name: all that was measured, and no other, at its step."""
    assert set(found) == {*METRICS, *OTHERS, "gradflow/problems_going_on"}
    for name in METRICS:
        assert found[name] == [(step, pytest.approx(value)) for step, value in expected(name)], name
    assert found["gradflow/problems_going_on"] == [(3, 1.0), (5, 0.0)]


# --- TensorBoard -----------------------------------------------------------------------------------------


def events(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0}).Reload()


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    read = events(folder)
    return {tag: [(each.step, each.value) for each in read.Scalars(tag)] for tag in read.Tags()["scalars"]}


def test_tensorboard_has_a_scalar_for_each_value_and_the_problems_as_text(tmp_path: Path) -> None:
    fill(TensorBoardSink(tmp_path))
    check(scalars(tmp_path))
    texts = events(tmp_path).Tensors("gradflow/problems/text_summary")
    assert [each.step for each in texts] == [3, 5]
    assert [each.tensor_proto.string_val[0].decode() for each in texts] == LINES


def test_a_writer_of_ones_own_stays_open(tmp_path: Path) -> None:
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(tmp_path)) as writer:
        fill(TensorBoardSink(writer))
        writer.add_scalar("loss", 1.0, 9)
    found = scalars(tmp_path)
    assert found.pop("loss") == [(9, 1.0)]
    check(found)


def test_nothing_is_made_before_the_first_snapshot(tmp_path: Path) -> None:
    """Of several processes that train one model, each makes its sinks or is sent them, and one uses them."""
    for sink in (
        TensorBoardSink(tmp_path / "board"),
        WandbSink(project="digits", folder=tmp_path),
        MLflowSink(folder=tmp_path / "tracking"),
        JsonlSink(tmp_path / "steps.jsonl"),
        CsvSink(tmp_path / "steps.csv"),
    ):
        pickle.loads(pickle.dumps(sink)).close()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


# --- Weights & Biases ------------------------------------------------------------------------------------


def by_step(rows: list[dict[str, Any]]) -> dict[str, list[tuple[int, float]]]:
    found: dict[str, list[tuple[int, float]]] = {}
    for row in rows:
        for name, value in row.items():
            if name.startswith("gradflow/") and name != "gradflow/step":
                found.setdefault(name, []).append((row["gradflow/step"], value))
    return found


def test_wandb_has_a_row_for_each_snapshot_and_the_problems_in_its_summary(tmp_path: Path) -> None:
    fill(WandbSink(project="digits", folder=tmp_path))
    rows, summary = read_run(tmp_path)
    check(by_step(rows))
    assert summary["gradflow/problems"] == LINES


@pytest.mark.parametrize("numbered", [False, True])
def test_what_the_user_logs_in_between_stays_whole(tmp_path: Path, numbered: bool) -> None:
    import wandb

    with wandb.init(project="digits", mode="offline", dir=tmp_path) as run:
        sink = WandbSink()
        for step in range(8):
            run.log({"loss": 1.0 / (1 + step)}, step=step if numbered else None)
            if step in STEPS:
                sink.snapshot(snapshot(step), ROWS)
            if step == 3:
                sink.problem(DEAD)
            if step == 5:
                sink.problem(OVER)
        sink.close()
        run.log({"last": 1.0}, step=9 if numbered else None)
    rows, _ = read_run(tmp_path)
    assert [row["loss"] for row in rows if "loss" in row] == [1.0 / (1 + step) for step in range(8)]
    assert rows[-1]["last"] == 1.0
    check(by_step(rows))


def test_without_a_run_wandb_says_what_to_do() -> None:
    with pytest.raises(UsageError, match=r"wandb\.init"):
        WandbSink().snapshot(snapshot(0), ROWS)
    with pytest.raises(UsageError, match="not both"):
        WandbSink(object(), project="digits")


# --- MLflow ----------------------------------------------------------------------------------------------


def tracked(client: Any, run_id: str) -> dict[str, list[tuple[int, float]]]:
    names = client.get_run(run_id).data.metrics
    return {name: [(each.step, each.value) for each in client.get_metric_history(run_id, name)] for name in names}


def test_mlflow_has_the_metrics_of_each_step_and_the_problems_as_tag_and_file(tmp_path: Path) -> None:
    import mlflow

    sink = MLflowSink(folder=tmp_path)
    fill(sink)
    client = mlflow.MlflowClient(tracking_uri=sink.uri)
    (run,) = client.search_runs([client.get_experiment_by_name("vgharness").experiment_id])
    check(tracked(client, run.info.run_id))
    assert run.info.status == "FINISHED"
    assert run.data.tags["gradflow.problems"] == "dead (down/conv)"
    (path,) = tmp_path.rglob("problems.txt")
    assert path.read_text().splitlines() == LINES


def test_mlflow_takes_the_active_run(tmp_path: Path) -> None:
    import mlflow

    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(MLflowSink(folder=tmp_path).uri)
    try:
        mlflow.set_experiment("digits")
        with mlflow.start_run() as run:
            fill(MLflowSink())
            mlflow.log_metric("loss", 1.0, step=9)
        found = tracked(mlflow.MlflowClient(), run.info.run_id)
    finally:
        mlflow.set_tracking_uri(before)
    assert found.pop("loss") == [(9, 1.0)]
    check(found)


def test_without_a_run_mlflow_says_what_to_do() -> None:
    with pytest.raises(UsageError, match=r"mlflow\.start_run"):
        MLflowSink().snapshot(snapshot(0), ROWS)
    with pytest.raises(UsageError, match="not both"):
        MLflowSink("a run", folder="a folder")
