"""A NaN of one process' batch, whose gradients all processes share."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.processes

SCRIPT = """
import sys

import torch
import torch.distributed
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from vgharness.watching.first_nan.pulse import Pulse


class Log(nn.Module):
    def forward(self, x):
        return x.log()


rank = int(sys.argv[1])
torch.distributed.init_process_group("gloo", f"tcp://127.0.0.1:{sys.argv[2]}", rank=rank, world_size=2)
inner = nn.Sequential(nn.Linear(3, 3), Log(), nn.Linear(3, 1))
nn.init.constant_(inner[0].weight, 0.1)
nn.init.zeros_(inner[0].bias)
model = DistributedDataParallel(inner)
pulse = Pulse(model, "", folder=lambda: None, note=print)
pulse.open()
for step in range(4):
    x = torch.rand(4, 3) * (0.0 if (step, rank) == (2, 1) else 1.0)
    model.zero_grad()
    model(x).sum().backward()
    pulse.before_step(step)
pulse.close()
print(pulse.birth.step, pulse.birth.cause, pulse.birth.remark, sep=" | ")
torch.distributed.destroy_process_group()
"""


def test_it_is_found_in_the_process_that_it_came_from_and_said_in_the_other(tmp_path: Path) -> None:
    (tmp_path / "two.py").write_text(SCRIPT)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    pipe = subprocess.PIPE
    command = [sys.executable, "two.py"]
    started = [
        subprocess.Popen([*command, rank, str(port)], cwd=tmp_path, stdout=pipe, stderr=pipe, text=True)
        for rank in ("0", "1")
    ]
    other, own = (process.communicate(timeout=240) for process in started)
    assert own[0].startswith("2 | the forward pass of 1 makes NaN or infinity, by log"), own[1]
    assert other[0].startswith("2 | "), other[1]
    assert "comes from another process' batch" in other[0]
