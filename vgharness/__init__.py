"""vgharness: is what is said about a network's gradients true?

``python -m vgharness.full`` trains the study, judges the claims and writes the page. The public
names below are imported on first use, so that ``import vgharness`` itself does not import torch.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "Cell": "records",
    "Claim": "claims",
    "DeepCNN": "nets",
    "Diagnosis": "diagnosis",
    "FlowSample": "flow_sample",
    "GradientFlow": "records",
    "GradientProbe": "probe",
    "LayerGradient": "records",
    "MLP": "nets",
    "Run": "records",
    "RunStore": "store",
    "Sample": "samples",
    "Session": "samples",
    "Study": "records",
    "Verdict": "records",
    "diagnose": "diagnosis",
    "judge": "verdicts",
    "load_claims": "claims",
    "load_images": "data",
    "load_run": "store",
    "load_session": "store",
    "measure": "sampling",
    "plan": "presets",
    "run_study": "study",
    "write_report": "report",
}

__all__ = sorted([*_HOMES, "__version__"])


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'vgharness' has no attribute {name!r}; it has {', '.join(__all__)}")
    return getattr(import_module(f"vgharness.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
