"""What a run says about where it was made."""

import re
from pathlib import Path

import pytest
import torch

from vgharness.system import environment as machine
from vgharness.system.device import pick_device
from vgharness.system.environment import commit, describe

pytestmark = pytest.mark.fast


def test_this_machine_is_described_in_fields_that_hold_between_runs() -> None:
    here = describe(torch.device("cpu"))
    assert here == describe(torch.device("cpu"))
    assert here.versions["torch"] == torch.__version__.partition("+")[0] or here.versions["torch"] == torch.__version__
    assert here.device == "cpu"
    assert here.cuda is None
    assert here.threads == torch.get_num_threads()
    assert re.fullmatch(r"[\w.-]+", here.id)


@pytest.mark.parametrize(("changed", "expected"), [(None, "a" * 40), (" M vgharness/train.py", "a" * 40 + "-dirty")])
def test_the_commit_says_when_files_differ_from_it(
    changed: str | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = {"--show-toplevel": str(Path(machine.__file__).parents[2]), "HEAD": "a" * 40, ":!reports": changed}
    monkeypatch.setattr(machine, "_output", lambda *command: answers[command[-1]])
    assert commit() == expected


def test_an_installed_package_in_somebody_elses_repository_has_no_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = {"--show-toplevel": "/somebody/elses", "HEAD": "b" * 40, ":!reports": None}
    monkeypatch.setattr(machine, "_output", lambda *command: answers[command[-1]])
    assert commit() is None


def test_auto_takes_a_gpu_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    assert pick_device("auto") == torch.device("cuda", 0)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert pick_device("auto") == torch.device("cpu")
