"""What is watched as metrics of MLflow."""

from __future__ import annotations

import os
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from vgharness.errors import UsageError
from vgharness.formatting import listing
from vgharness.integrations.metrics import GOING_ON, PREFIX, Problems, metrics_of
from vgharness.integrations.packages import required
from vgharness.records import LogRow, Snapshot, TrainingProblem
from vgharness.system.files import check_folder

_ARTIFACT: Final = f"{PREFIX}/problems.txt"
_TAG: Final = f"{PREFIX}.problems"
_MOST_IN_TAG: Final = 10
_TAG_LENGTH: Final = 5000  # of which older versions keep no more


class MLflowSink:
    """Gives a run of MLflow what ``watch`` measures: a metric for each quantity and layer by step, and the problems as
    the tag ``gradflow.problems`` and the file ``gradflow/problems.txt`` among its artifacts.

    >>> watch(model, optimizer, log=["training", MLflowSink(folder="tracking")])
    """

    def __init__(
        self,
        run: Any = None,
        *,
        folder: Path | str | None = None,
        experiment: str = "vgharness",
        uri: str | None = None,
    ) -> None:
        """``run``: what ``mlflow.start_run`` gave, or its id; by default the one that is active. ``folder``: begins a
        run of its own in this ``experiment`` in a folder of this machine. ``uri``: where the run is tracked, where
        that is not ``mlflow.get_tracking_uri()``.

        Raises :class:`~vgharness.errors.UsageError` where MLflow is not installed, run and folder are both given, or
        the folder cannot be written.
        """
        _mlflow()
        if run is not None and folder is not None:
            raise UsageError("MLflowSink: give a run or a folder, not both")
        if folder is not None:
            check_folder(Path(folder), "MLflowSink")
            uri = _uri_of(Path(folder).absolute())
        self.uri = uri  # where it tracks; None: where `mlflow` itself does
        self._folder, self._own, self._experiment = folder, folder is not None, experiment
        self._run_id: str | None = run if run is None or isinstance(run, str) else run.info.run_id
        self._client: Any = None
        self._problems = Problems()

    def snapshot(self, snapshot: Snapshot, rows: tuple[LogRow, ...]) -> None:
        self._log(snapshot.step, metrics_of(snapshot, rows))

    def problem(self, problem: TrainingProblem) -> None:
        self._problems.add(problem)
        self._log(problem.began if problem.ended is None else problem.ended, {GOING_ON: self._problems.going_on})
        self._client.set_tag(self._run_id, _TAG, listing(self._problems.kinds, most=_MOST_IN_TAG)[:_TAG_LENGTH])
        self._client.log_text(self._run_id, "".join(f"{line}\n" for line in self._problems.lines), _ARTIFACT)

    def close(self) -> None:
        if self._own and self._client is not None:
            self._client.set_terminated(self._run_id)

    def _log(self, step: int, values: dict[str, float]) -> None:
        if self._client is None:
            self._begin()
        now = int(time.time() * 1000)
        metric = _mlflow().entities.Metric
        metrics = [metric(name, value, now, step) for name, value in values.items()]
        self._client.log_batch(self._run_id, metrics=metrics)

    def _begin(self) -> None:
        """Begins the run with the first thing to log: of several processes that train one model only one does."""
        if not self._own and self._run_id is None:
            active = _mlflow().active_run()
            if active is None:
                raise UsageError("MLflowSink: no run is active; call mlflow.start_run() before, or give it a folder")
            self._run_id = active.info.run_id
        client = _mlflow().MlflowClient(tracking_uri=self.uri)
        if self._own:
            found = client.get_experiment_by_name(self._experiment)
            place = Path(str(self._folder)).absolute() / "artifacts"
            experiment = found.experiment_id if found else client.create_experiment(self._experiment, place.as_uri())
            self._run_id = client.create_run(experiment).info.run_id
        self._client = client


def _uri_of(folder: Path) -> str:
    """Where MLflow tracks in a folder: in a database, or in files where it has none or there are some already."""
    database = folder / "mlflow.db"
    has_files = any(folder.glob("*/meta.yaml"))
    if not has_files and find_spec("sqlalchemy") and find_spec("alembic"):
        return f"sqlite:///{database}"
    os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # newer versions refuse files otherwise
    return folder.as_uri()


def _mlflow() -> Any:
    return required("mlflow", "MLflowSink", "mlflow-skinny")
