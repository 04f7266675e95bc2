"""What the tests of watching share."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from trainings import Training

import vgharness


@pytest.fixture
def training() -> Training:
    return Training()


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Callable[..., vgharness.Watch]]:
    """``vgharness.watch``, of which nothing is saved unless that is asked for, and which is closed in the end."""
    made: list[vgharness.Watch] = []

    def start(*args: object, **settings: object) -> vgharness.Watch:
        made.append(vgharness.watch(*args, **{"log": None, "storage": tmp_path / "store", **settings}))  # type: ignore[arg-type]
        return made[-1]

    yield start
    for each in made:
        each.close("failed")
