"""What is recorded of the machine: of a GPU all that a result or its speed can depend on. The GPU here is made up."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from vgharness.system import environment
from vgharness.system.environment import describe

pytestmark = pytest.mark.fast


@pytest.fixture
def _a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    properties = SimpleNamespace(uuid="12ab", total_memory=85 * 10**9, major=9, minor=0)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA H100 80GB HBM3")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: properties)
    monkeypatch.setattr(torch.backends.cudnn, "version", lambda: 91000)
    monkeypatch.setattr(torch.version, "cuda", "13.0")


def said(monkeypatch: pytest.MonkeyPatch, line: str | None, *, by_name: bool = True) -> dict[str, Any]:
    """What is recorded where the driver's program prints ``line``; not ``by_name``: only where it is asked of all."""

    def output(*command: str) -> str | None:
        if command[0] != "nvidia-smi":
            return None
        return line if by_name == ("--id=GPU-12ab" in command) else None

    monkeypatch.setattr(environment, "_output", output)
    machine = describe(torch.device("cuda", 0))
    assert (machine.device, machine.cuda, machine.cudnn) == ("NVIDIA H100 80GB HBM3", "13.0", "91000")
    assert (machine.memory, machine.capability, machine.cudnn_benchmark) == (85 * 10**9, "9.0", False)
    return {"driver": machine.driver, "power": machine.power_limit, "mig": machine.mig}


@pytest.mark.usefixtures("_a_gpu")
@pytest.mark.parametrize("by_name", [True, False])
def test_a_gpus_driver_power_limit_and_division(monkeypatch: pytest.MonkeyPatch, by_name: bool) -> None:
    found = said(monkeypatch, "580.159.04, 700.00, Disabled", by_name=by_name)
    assert found == {"driver": "580.159.04", "power": 700.0, "mig": False}


@pytest.mark.usefixtures("_a_gpu")
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("550.1, [N/A], Enabled", {"driver": "550.1", "power": None, "mig": True}),
        ("550.1, 350.00, [N/A]", {"driver": "550.1", "power": 350.0, "mig": None}),
        ("550.1", {"driver": "550.1", "power": None, "mig": None}),
        (None, {"driver": None, "power": None, "mig": None}),
    ],
)
def test_what_the_driver_does_not_say_is_not_recorded(
    monkeypatch: pytest.MonkeyPatch, line: str | None, expected: dict[str, Any]
) -> None:
    assert said(monkeypatch, line) == expected


def test_the_facts_of_a_cpu_are_none() -> None:
    assert describe(torch.device("cpu")).facts == {}
