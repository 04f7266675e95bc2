"""Hooks that a project's ``conftest.py`` may define, to add to what a gradient-flow session saves."""

from typing import Any

import pytest


@pytest.hookspec
def pytest_gradflow_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    """Add to ``machine_info``, JSON values by name: saved under ``extra.machine_info``, never compared."""


@pytest.hookspec
def pytest_gradflow_session(config: pytest.Config, extra: dict[str, Any]) -> None:
    """Add to ``extra``, JSON values by name: saved beside the samples, never compared."""
