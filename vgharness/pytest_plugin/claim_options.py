"""Options of this repository's own ``pytest -m full``; loaded by its ``pyproject.toml``, not by other projects.

Not in ``tests/conftest.py``: pytest takes the file behind ``--run`` for a test path until it knows the
option, and then does not look for the conftest that would add it.
"""

from pathlib import Path

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("vgharness: claims of a run (-m full)")
    group.addoption("--claims", type=Path, metavar="FILE", help="judge this claims file instead of the README's claims")
    group.addoption(
        "--run",
        action="append",
        default=[],
        metavar="RUN",
        help="judge this saved run, pytest session or training log (file, number or name) instead of training one; may "
        "be given several times: they are judged together",
    )
    group.addoption("--device", default="auto", help="where to train: auto, cpu, cuda or cuda:N")
