"""Settings of the whole process that make training on a CPU faster; to be made before PyTorch is imported."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

# Threads that spin while they wait for one another take three times as long as threads that sleep where anything else
# is running.
_ENVIRONMENT = {"OMP_WAIT_POLICY": "PASSIVE"}
# glibc gives large blocks back to the system when they are freed, and the system hands them out again page by page,
# each cleared first: up to a fifth of a step that asks for the same hundred megabytes as the one before. So: one heap
# for all threads (M_ARENA_MAX), all of it heap (M_MMAP_MAX), none given back (M_TRIM_THRESHOLD), grown by 64 MiB
# (M_TOP_PAD). Numbers from malloc.h.
_MALLOPT = {-8: 1, -4: 0, -1: 2**31 - 1, -2: 2**26}

_set_here: set[str] = set()  # names of environment variables


def configure_process() -> None:
    """Sets how idle OpenMP threads wait, and how glibc manages memory.

    A variable that the user has set stays as it is; on a C library without ``mallopt`` memory is left alone.
    """
    for name, value in _ENVIRONMENT.items():
        if name not in os.environ:
            os.environ[name] = value
            _set_here.add(name)
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if mallopt is not None:
        for parameter, number in _MALLOPT.items():
            mallopt(parameter, number)


@contextmanager
def original_environment() -> Iterator[None]:
    """Takes the variables that :func:`configure_process` has set out of the environment and puts them back afterwards.

    A process that is started in between therefore inherits none of them.
    """
    removed = {name: os.environ.pop(name) for name in _set_here if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(removed)
