"""What a process of its own knows of this one."""

import os

import pytest

from vgharness.benchmarks import isolated
from vgharness.benchmarks.isolated import isolated_process
from vgharness.system import process
from vgharness.system.process import configure_process

pytestmark = pytest.mark.fast


def test_a_process_that_is_not_configured_is_as_a_user_starts_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not with our settings; and it starts others as the platform has it, not as it was started itself."""
    monkeypatch.setattr(isolated, "get_start_method", lambda: "forkserver")
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.setattr(process, "_set_here", set())
    configure_process()
    with isolated_process(configured=False) as other:
        asked = "__import__('multiprocessing').get_start_method()"  # itself, sent along, would answer for this process
        assert other.submit(eval, asked).result() == "forkserver"
        assert other.submit(os.getenv, "OMP_WAIT_POLICY").result() is None
    assert os.environ.pop("OMP_WAIT_POLICY") == "PASSIVE"


def test_a_process_that_is_configured_sets_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    with isolated_process(configured=True) as other:
        assert other.submit(os.getenv, "OMP_WAIT_POLICY").result() == "PASSIVE"
    assert "OMP_WAIT_POLICY" not in os.environ
