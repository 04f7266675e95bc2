"""A study that is told to stop keeps what there is, whoever tells it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from vgharness.storage.store import load_run

STUDY = ("--preset", "quick", "--epochs", "500", "--seeds", "1", "--jobs", "1", "--activations", "sigmoid")


def _heeding() -> None:
    """What these tests are started by may ignore signals, as a CI in the background does, and a child inherits that."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


def started(folder: Path, *before: str) -> subprocess.Popen[str]:
    """A study in a process of its own, once its first epoch is done."""
    process = subprocess.Popen(
        [*before, sys.executable, "-u", "-m", "vgharness.full", *STUDY],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        preexec_fn=_heeding,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "epoch 1 of 500" in line:
            return process
    raise AssertionError(f"it ended by itself: {process.wait()}")


@pytest.mark.processes
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP", "SIGINT"])
def test_whoever_stops_it_what_there_is_is_saved(tmp_path: Path, name: str) -> None:
    process = started(tmp_path)
    process.send_signal(getattr(signal, name))
    output = process.communicate(timeout=120)[0]
    assert process.returncode == 130, output
    (saved,) = (tmp_path / ".gradflow").glob("*/0001_quick.json")
    run = load_run(saved)
    assert run.status == "interrupted"
    assert run.results[0].epochs
    assert "sigmoid-gradient-shrinks" in output  # what could be judged is
    assert "Traceback" not in output


@pytest.mark.processes
def test_under_nohup_a_closed_terminal_stops_nothing(tmp_path: Path) -> None:
    process = started(tmp_path, "nohup")
    process.send_signal(signal.SIGHUP)
    assert process.stdout is not None
    assert any("epoch" in line for line in process.stdout)  # it goes on
    process.send_signal(signal.SIGTERM)
    output = process.communicate(timeout=120)[0]
    assert process.returncode == 130, output
