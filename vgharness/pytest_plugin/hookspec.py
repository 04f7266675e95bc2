"""Hooks that a project's ``conftest.py`` may define, to add to what a gradient-flow session saves."""

from typing import Any

import pytest


@pytest.hookspec
def pytest_gradflow_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    """Adds to ``machine_info``, JSON values by name, which is saved under ``extra.machine_info`` and never compared.

    In ``conftest.py``::

        def pytest_gradflow_machine_info(config, machine_info):
            machine_info["rack"] = "b7"
    """


@pytest.hookspec
def pytest_gradflow_session(config: pytest.Config, extra: dict[str, Any]) -> None:
    """Adds to ``extra``, JSON values by name, which is saved beside the samples and never compared.

    In ``conftest.py``::

        import os

        def pytest_gradflow_session(config, extra):
            extra["build"] = os.environ.get("BUILD_NUMBER")
    """
