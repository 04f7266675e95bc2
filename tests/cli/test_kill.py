"""A study that is killed again and again, and goes on each time: nothing is lost and nothing left behind."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from factories import without_seconds

from vgharness.records import Run
from vgharness.storage.checkpoints import Configuration
from vgharness.storage.store import load_run

pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(os.name != "posix", reason="there is no SIGKILL"),
]

# How often each comes: SIGKILL, and each of SIGTERM, SIGHUP and SIGINT. VGHARNESS_KILLS=50,10 is the long version.
KILLS, OTHERS = map(int, os.environ.get("VGHARNESS_KILLS", "6,2").split(","))
SIGNALS = [signal.SIGKILL] * KILLS + [signal.SIGTERM, signal.SIGHUP, signal.SIGINT] * OTHERS
EPOCHS = 2 * len(SIGNALS)  # of each of two networks

# The command as it is, on images so few that an epoch takes a tenth of a second; each epoch that it begins is noted.
STUDY = f"""
import dataclasses, signal, sys
for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(each, signal.default_int_handler if each == signal.SIGINT else signal.SIG_DFL)
from vgharness.study import presets
presets.PRESETS["quick"] = dataclasses.replace(presets.PRESETS["quick"], train_images=512, test_images=32)
from vgharness.cli import full
from vgharness.study.progress import StudyProgress
from vgharness.report import study_page
study_page.draw = lambda run: []
epoch_done = StudyProgress.epoch_done
def note(self, cell, epoch):
    print("trained", cell.activation, epoch.epoch, file=open("epochs.txt", "a"))
    epoch_done(self, cell, epoch)
StudyProgress.epoch_done = note
sys.argv = ["full", "--device", "cpu", "--preset", "quick", "--epochs", "{EPOCHS}", "--seeds", "1", "--jobs", "1",
    "--activations", "sigmoid,relu", "--exit-zero"]
full.main()
"""


def start(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", STUDY],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
    )


def end(folder: Path, number: int, chance: random.Random) -> bool:
    """Starts the study and ends it at a random moment; whether it was finished before."""
    process = start(folder)
    assert process.stdout is not None
    output = ""
    moments = {"start": "", "training": "networks to train", "epoch": ", epoch "}
    moment = chance.choice(("start", "training", "epoch", "epoch", "epoch") if number == signal.SIGKILL else ("epoch",))
    for line in () if moment == "start" else process.stdout:
        output += line
        if moments[moment] in line:
            break
    time.sleep(chance.uniform(0, 0.5 if moment == "epoch" else 3))
    process.send_signal(number)
    output += process.communicate(timeout=120)[0]
    assert "Traceback" not in output
    assert "set aside" not in output
    assert process.returncode in (-signal.SIGKILL, 130, 0), output
    runs = (folder / ".gradflow").glob("*/*_quick.json")
    return any(load_run(path).status == "finished" for path in runs)


def results(run: Run) -> list[dict[str, Any]]:
    return [without_seconds(each) for each in run.results]


def trained(folder: Path) -> list[str]:
    return (folder / "epochs.txt").read_text().splitlines()


def test_killed_at_random_moments_it_ends_as_if_it_had_never_been(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for folder in (whole, killed):
        folder.mkdir()
    assert start(whole).communicate()[0]
    chance = random.Random(0)
    chance.shuffle(SIGNALS)
    lives = 0
    for number in SIGNALS:
        lives += 1
        if end(killed, number, chance):
            break
    else:
        output = start(killed).communicate(timeout=600)[0]
        assert "resumed: " in output
    final = max((killed / ".gradflow").glob("*/*_quick.json"))
    expected = load_run(next((whole / ".gradflow").glob("*/0001_quick.json")))
    run = load_run(final)
    assert run.status == "finished"
    assert results(run) == results(expected)
    assert run.verdicts == expected.verdicts
    for path in (killed / ".gradflow").glob("*/*_quick.json"):
        load_run(path)
    assert len(trained(killed)) <= 1.2 * len(trained(whole))
    left = {path.name for path in (killed / ".gradflow").rglob("*") if path.is_file()} - {final.name}
    assert {name for name in left if not name.endswith("_quick.json")} == {".gitignore", ".lock"}
    assert not list((killed / "reports").glob(".*"))
    assert not any(
        Configuration.of(each.cell, run).address in str(path) for each in run.results for path in killed.rglob("*")
    )
    assert lives > len(SIGNALS) / 2
    print(f"{lives} signals, {len(trained(killed))} epochs trained for {len(trained(whole))}")
