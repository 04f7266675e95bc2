"""Nothing here asks the network."""

import os
import re
from pathlib import Path

import pytest

os.environ.update(
    WANDB_MODE="offline",
    WANDB_SILENT="true",
    WANDB_ERROR_REPORTING="false",
    HF_HUB_OFFLINE="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    TRANSFORMERS_VERBOSITY="error",
    MLFLOW_DISABLE_TELEMETRY="true",
    DO_NOT_TRACK="1",
    LIGHTNING_DISABLE_VERSION_CHECK="1",
)

_SLOW_TO_IMPORT = ("test_lightning.py", "test_transformers.py")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Lightning and transformers are imported only where their tests were asked for."""
    asked = re.sub(r"not \(.*?\)", "", config.option.markexpr)
    return True if collection_path.name in _SLOW_TO_IMPORT and "integrations" not in asked else None
