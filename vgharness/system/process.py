"""Settings of the whole process: those that make training on a CPU faster, to be made before PyTorch is imported, and
what signals do."""

from __future__ import annotations

import ctypes
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

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


@contextmanager
def ended_as_by_ctrl_c() -> Iterator[None]:
    """While it is open, SIGTERM and SIGHUP (a terminal that is closed, a supervisor that stops the process) raise
    ``KeyboardInterrupt`` in the main thread, as Ctrl-C does.

    A signal that the process was started to ignore, as under ``nohup``, stays ignored. In another thread than the main
    one, where Python can set no handler, nothing changes.
    """
    with _handled(_interrupt, lambda handler: handler == signal.SIG_DFL):
        yield


@contextmanager
def interruptions_held() -> Iterator[None]:
    """Holds SIGINT, SIGTERM and SIGHUP back while it is open, but for :func:`interruptions_heard`: one that came raises
    ``KeyboardInterrupt`` at its end.

    A signal that would not have raised it is left as it is; so are all in another thread than the main one.
    """
    held = _Held()
    with _handled(held, lambda handler: handler in (signal.default_int_handler, _interrupt)):
        yield
    if held.came:
        raise KeyboardInterrupt


@contextmanager
def interruptions_heard() -> Iterator[None]:
    """Within :func:`interruptions_held`, lets the signals raise ``KeyboardInterrupt`` at once again, also one that came
    before; elsewhere nothing changes."""
    for held in map(signal.getsignal, _numbers("SIGINT", "SIGTERM", "SIGHUP")):
        if isinstance(held, _Held) and held.came:
            held.came = False
            raise KeyboardInterrupt
    with _handled(_interrupt, lambda handler: isinstance(handler, _Held)):
        yield


class _Held:
    """A handler that notes that a signal came."""

    def __init__(self) -> None:
        self.came = False

    def __call__(self, number: int, frame: FrameType | None) -> None:
        self.came = True


@contextmanager
def _handled(handler: Callable[[int, FrameType | None], None], where: Callable[[object], bool]) -> Iterator[None]:
    """Sets ``handler`` for those of the three signals whose own is one that ``where`` picks."""
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in _numbers("SIGINT", "SIGTERM", "SIGHUP"):
            if where(signal.getsignal(number)):
                before[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        for number, own in before.items():
            signal.signal(number, own)


def _numbers(*names: str) -> list[signal.Signals]:
    """Of the signals that this system has: there is no SIGHUP on Windows."""
    return [getattr(signal, name) for name in names if hasattr(signal, name)]


def is_gone(process: int) -> bool:
    """Whether no process of this machine has that number. On Windows, where asking could end it, it is said to be
    there."""
    if os.name != "posix":
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return True
    except PermissionError:  # it is another user's
        return False
    return False


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
