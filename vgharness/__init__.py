"""vgharness: is what is said about a network's gradients true?

``python -m vgharness.full`` trains the study, judges the claims and writes the page. The public
names below are imported on first use, so that ``import vgharness`` itself does not import torch.
"""

import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vgharness import theory as theory
    from vgharness.claims.loading import load_claims as load_claims
    from vgharness.claims.spec import Claim as Claim
    from vgharness.data.images import load_images as load_images
    from vgharness.gradflow.comparison import compare as compare
    from vgharness.gradflow.diagnosis import Diagnosis as Diagnosis
    from vgharness.gradflow.diagnosis import Problem as Problem
    from vgharness.gradflow.diagnosis import diagnose as diagnose
    from vgharness.gradflow.measurement import measure as measure
    from vgharness.gradflow.sample import FlowSample as FlowSample
    from vgharness.integrations.files import CsvSink as CsvSink
    from vgharness.integrations.files import JsonlSink as JsonlSink
    from vgharness.integrations.mlflow import MLflowSink as MLflowSink
    from vgharness.integrations.tensorboard import TensorBoardSink as TensorBoardSink
    from vgharness.integrations.wandb import WandbSink as WandbSink
    from vgharness.models import MLP as MLP
    from vgharness.models import DeepCNN as DeepCNN
    from vgharness.probe.probe import GradientProbe as GradientProbe
    from vgharness.pytest_plugin.fixture import GradFlow as GradFlow
    from vgharness.pytest_plugin.fixture import GradFlowWarning as GradFlowWarning
    from vgharness.records import Cell as Cell
    from vgharness.records import GradientFlow as GradientFlow
    from vgharness.records import LayerGradient as LayerGradient
    from vgharness.records import Run as Run
    from vgharness.records import Sample as Sample
    from vgharness.records import Session as Session
    from vgharness.records import Study as Study
    from vgharness.records import TrainingLog as TrainingLog
    from vgharness.records import TrainingProblem as TrainingProblem
    from vgharness.records import Verdict as Verdict
    from vgharness.report.pages import write_report as write_report
    from vgharness.storage.store import RunStore as RunStore
    from vgharness.storage.store import load_run as load_run
    from vgharness.storage.store import load_session as load_session
    from vgharness.storage.training_log import load_training_log as load_training_log
    from vgharness.study.judging import judge as judge
    from vgharness.study.presets import plan as plan
    from vgharness.study.run import run_study as run_study
    from vgharness.training.callback import Callback as Callback
    from vgharness.watching.notices import TrainingProblemError as TrainingProblemError
    from vgharness.watching.notices import TrainingProblemWarning as TrainingProblemWarning
    from vgharness.watching.notices import WatchWarning as WatchWarning
    from vgharness.watching.start import watch as watch
    from vgharness.watching.watch import Watch as Watch

__version__ = "0.1.0"

_HOMES = {
    "Callback": "training.callback",
    "Cell": "records",
    "Claim": "claims.spec",
    "CsvSink": "integrations.files",
    "DeepCNN": "models",
    "Diagnosis": "gradflow.diagnosis",
    "FlowSample": "gradflow.sample",
    "GradFlow": "pytest_plugin.fixture",
    "GradFlowWarning": "pytest_plugin.fixture",
    "GradientFlow": "records",
    "GradientProbe": "probe.probe",
    "JsonlSink": "integrations.files",
    "LayerGradient": "records",
    "MLP": "models",
    "MLflowSink": "integrations.mlflow",
    "Problem": "gradflow.diagnosis",
    "Run": "records",
    "RunStore": "storage.store",
    "Sample": "records",
    "Session": "records",
    "Study": "records",
    "TensorBoardSink": "integrations.tensorboard",
    "TrainingLog": "records",
    "TrainingProblem": "records",
    "TrainingProblemError": "watching.notices",
    "TrainingProblemWarning": "watching.notices",
    "Verdict": "records",
    "WandbSink": "integrations.wandb",
    "Watch": "watching.watch",
    "WatchWarning": "watching.notices",
    "compare": "gradflow.comparison",
    "diagnose": "gradflow.diagnosis",
    "judge": "study.judging",
    "load_claims": "claims.loading",
    "load_images": "data.images",
    "load_run": "storage.store",
    "load_session": "storage.store",
    "load_training_log": "storage.training_log",
    "measure": "gradflow.measurement",
    "plan": "study.presets",
    "run_study": "study.run",
    "watch": "watching.start",
    "write_report": "report.pages",
}

__all__ = sorted([*_HOMES, "__version__", "theory"])


if not TYPE_CHECKING:  # to a type checker it would mean that there is every name

    def __getattr__(name: str) -> Any:
        if name == "theory":
            return import_module("vgharness.theory")
        if name not in _HOMES:
            raise AttributeError(f"module 'vgharness' has no attribute {name!r}; it has {', '.join(__all__)}")
        return getattr(import_module(f"vgharness.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__


# `python -m` imports this package before it runs one of its modules, with this word for the program's name. A module
# that is no command would run without a word and exit 0, and be taken for one that did its work.
if sys.argv[:1] == ["-m"] and "-m" in sys.orig_argv:
    _asked = sys.orig_argv[sys.orig_argv.index("-m") + 1]
    if _asked.startswith("vgharness.") and _asked not in ("vgharness.full", "vgharness.bench", "vgharness.__main__"):
        sys.exit(f"{_asked} is no command: run python -m vgharness, vgharness.full or vgharness.bench")
