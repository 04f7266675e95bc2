"""A watch in a process that ends, however it ends, and in several that train together."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from vgharness.storage.training_log import load_training_log

pytestmark = pytest.mark.processes


def run(code: str, folder: Path, *, expect: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=folder, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == expect, done.stderr
    return done.stderr


_TRAINING = """
    import os, sys, torch, vgharness
    model = torch.nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    vgharness.watch(model, optimizer, every=2)
    for _ in range(5):
        optimizer.zero_grad()
        model(torch.randn(8, 4)).square().mean().backward()
        optimizer.step()
"""


@pytest.mark.parametrize(
    ("end", "status", "code"),
    [("", "finished", 0), ("    os._exit(3)", "running", 3), ("    raise ValueError", "failed", 1)],
)
def test_a_process_that_ends_closes_its_log(tmp_path: Path, end: str, status: str, code: int) -> None:
    run(_TRAINING + end, tmp_path, expect=code)
    (path,) = (tmp_path / ".gradflow").glob("*/0001_training.jsonl")
    log = load_training_log(path)
    assert (log.status, [snapshot.step for snapshot in log.snapshots]) == (status, [0, 2, 4])


_TOGETHER = """
    import sys, warnings, torch, vgharness
    from pathlib import Path
    from torch import distributed, multiprocessing, nn
    from torch.nn.parallel import DistributedDataParallel

    def train(rank, folder):
        distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
        warnings.simplefilter("error")
        torch.manual_seed(0)
        model = DistributedDataParallel(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        torch.manual_seed(rank)
        norms = []
        with vgharness.watch(model, optimizer, every=1, log=f"rank{rank}", storage=folder) as watching:
            for _ in range(4):
                optimizer.zero_grad()
                model(torch.randn(8, 4)).square().mean().backward()
                norms.append(torch.cat([p.grad.reshape(-1) for p in model.parameters()]).norm().item())
                optimizer.step()
        snapshots = watching.log.snapshots
        assert len(snapshots) == (0 if rank else 4), len(snapshots)
        for snapshot, norm in zip(snapshots, norms):
            assert abs(snapshot.total_norm / norm - 1) < 1e-4, (snapshot.total_norm, norm)
            assert snapshot.clipped_norm == snapshot.total_norm
        distributed.destroy_process_group()

    if __name__ == "__main__":
        multiprocessing.spawn(train, (sys.argv[1],), nprocs=2)
"""


def test_of_processes_that_train_together_the_first_writes(tmp_path: Path) -> None:
    (tmp_path / "together.py").write_text(textwrap.dedent(_TOGETHER), encoding="utf-8")
    command = [sys.executable, "together.py", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("*/*.jsonl")
    log = load_training_log(path)
    assert path.name == "0001_rank0.jsonl"
    assert [row.name for row in log.rows[0]] == ["0", "2"]
