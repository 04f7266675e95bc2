"""Runs work in processes of its own, which know nothing of what this one has set."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context, get_start_method, set_start_method

from vgharness.system.process import configure_process, original_environment


@contextmanager
def isolated_process(*, configured: bool) -> Iterator[ProcessPoolExecutor]:
    """Starts a process for ``submit`` and ends it afterwards, as :func:`isolated_processes` does."""
    with isolated_processes(1, configured=configured) as process:
        yield process


@contextmanager
def isolated_processes(count: int, *, configured: bool) -> Iterator[ProcessPoolExecutor]:
    """Starts ``count`` processes for ``submit`` and ends them afterwards.

    With ``configured`` they are set as this package's own commands are, by
    :func:`~vgharness.system.process.configure_process`; otherwise they are as a user starts one, with the settings that
    PyTorch comes with, and starts processes by the platform's method.
    """
    # A process that was spawned would spawn a DataLoader's workers too, which import torch while they are timed.
    begin = configure_process if configured else partial(_start_processes_by, get_start_method())
    with ProcessPoolExecutor(count, get_context("spawn"), begin) as process:
        with original_environment():
            started = [process.submit(_nothing) for _ in range(count)]  # starts them
            for future in started:
                future.result()
        yield process


def _start_processes_by(method: str) -> None:
    set_start_method(method, force=True)


def _nothing() -> None: ...
