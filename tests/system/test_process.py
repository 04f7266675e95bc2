"""What a process sets for itself: nothing that the user has set, and nothing that another process is to have."""

import ctypes
import os
import platform
import signal
import subprocess
import sys

import pytest

from vgharness.system import process
from vgharness.system.process import (
    configure_process,
    ended_as_by_ctrl_c,
    interruptions_heard,
    interruptions_held,
    is_gone,
    original_environment,
)

pytestmark = pytest.mark.fast


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_WAIT_POLICY", "ACTIVE")  # so that whatever a test makes of it is undone
    monkeypatch.setattr(process, "_set_here", set())
    monkeypatch.setattr(process, "_MALLOPT", {})


def test_what_the_user_has_set_stays() -> None:
    configure_process()
    assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"
    with original_environment():
        assert os.environ["OMP_WAIT_POLICY"] == "ACTIVE"


def test_another_process_begins_without(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY")
    for _ in range(2):
        configure_process()
        assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
        with original_environment():
            assert "OMP_WAIT_POLICY" not in os.environ
        assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"


@pytest.mark.parametrize("library", [object(), ctypes.CDLL(None)])
def test_a_c_library_that_knows_no_such_settings_is_left_alone(
    library: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    configure_process()


_FAULTS = """
import resource
from vgharness.system.process import configure_process
PREPARE
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    b"x" * 2**26  # more than glibc keeps by itself
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print([faults() for _ in range(3)][-1])
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc's malloc is set to keep what is freed")
@pytest.mark.parametrize("prepared", [True, False])
def test_memory_that_was_freed_is_used_again(prepared: bool) -> None:
    code = _FAULTS.replace("PREPARE", "configure_process()" if prepared else "")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (int(done.stdout) < 10) == prepared


def test_other_signals_end_as_ctrl_c_does_only_while_that_is_asked_for() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), ended_as_by_ctrl_c():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with ended_as_by_ctrl_c():
            signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)


def held_and_heard(done: list[str]) -> None:
    with ended_as_by_ctrl_c(), interruptions_held():
        try:
            with interruptions_heard():
                signal.raise_signal(signal.SIGTERM)
                done.append("not reached")
        except KeyboardInterrupt:
            done.append("heard")
        signal.raise_signal(signal.SIGTERM)
        done.append("held")
        try:
            with interruptions_heard():
                done.append("not reached")
        except KeyboardInterrupt:
            done.append("heard late")
        signal.raise_signal(signal.SIGTERM)
        done.append("held to the end")


def test_signals_are_held_back_but_where_they_are_heard() -> None:
    done: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        held_and_heard(done)
    assert done == ["heard", "held", "heard late", "held to the end"]
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_nothing_is_raised_where_nothing_came() -> None:
    before = signal.getsignal(signal.SIGINT)
    with interruptions_held(), interruptions_heard():
        pass
    assert signal.getsignal(signal.SIGINT) == before


@pytest.mark.skipif(os.name != "posix", reason="a process cannot be asked for there")
def test_a_process_that_has_ended_is_gone() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert is_gone(ended.pid)
    assert not is_gone(os.getpid())
    assert not is_gone(1)
