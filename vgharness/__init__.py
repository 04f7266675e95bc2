"""vgharness: is what is said about a network's gradients true?

``python -m vgharness.full`` trains the study, judges the claims and writes the page. The public
names below are imported on first use, so that ``import vgharness`` itself does not import torch.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "Cell": "records",
    "Claim": "claims.spec",
    "DeepCNN": "models",
    "Diagnosis": "gradflow.diagnosis",
    "FlowSample": "gradflow.sample",
    "GradientFlow": "records",
    "GradientProbe": "probe.probe",
    "LayerGradient": "records",
    "MLP": "models",
    "Run": "records",
    "RunStore": "storage.store",
    "Sample": "records.session",
    "Session": "records.session",
    "Study": "records",
    "Verdict": "records",
    "diagnose": "gradflow.diagnosis",
    "judge": "claims.verdicts",
    "load_claims": "claims.spec",
    "load_images": "data.images",
    "load_run": "storage.store",
    "load_session": "storage.store",
    "measure": "gradflow.measurement",
    "plan": "study.presets",
    "run_study": "study.run",
    "write_report": "report.study_page",
}

__all__ = sorted([*_HOMES, "__version__"])


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'vgharness' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(f"vgharness.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
