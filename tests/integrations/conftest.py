"""Nothing here asks the network."""

import os

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
