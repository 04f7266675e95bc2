"""Options of this repository's own ``pytest -m full``; loaded by its ``pyproject.toml``, not by other projects.

Not in ``tests/conftest.py``: pytest takes the file behind ``--run`` for a test path until it knows the
option, and then does not look for the conftest that would add it.
"""

from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("vgharness: claims of a run (-m full)")
    group.addoption("--run", type=Path, help="judge this saved run instead of training one")
    group.addoption("--device", default="auto", help="where to train: auto, cpu, cuda or cuda:N")
