"""Runs work in a process of its own, which knows nothing of what this one has set."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context, get_start_method, set_start_method

from vgharness.system.process import configure_process, original_environment


@contextmanager
def isolated_process(*, configured: bool) -> Iterator[ProcessPoolExecutor]:
    """Starts a process for ``submit`` and ends it afterwards.

    With ``configured`` it is set as this package's own commands are, by
    :func:`~vgharness.system.process.configure_process`; otherwise it is as a user starts one, with the settings that
    PyTorch comes with, and starts processes by the platform's method.
    """
    # A process that was spawned would spawn a DataLoader's workers too, which import torch while they are timed.
    begin = configure_process if configured else partial(_start_processes_by, get_start_method())
    with ProcessPoolExecutor(1, get_context("spawn"), begin) as process:
        with original_environment():
            process.submit(_nothing).result()  # starts it
        yield process


def _start_processes_by(method: str) -> None:
    set_start_method(method, force=True)


def _nothing() -> None: ...
