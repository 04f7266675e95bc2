"""The README's examples, as they stand there."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import vgharness

pytestmark = [pytest.mark.integrations, pytest.mark.filterwarnings("ignore")]
README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def run(name: str, **names: Any) -> dict[str, Any]:
    (code,) = re.findall(rf"<!-- example: {name} -->\n```python\n(.*?)```", README, re.DOTALL)
    scope = {"vgharness": vgharness, **names}
    exec(compile(code, f"README.md, {name}", "exec"), scope)
    return scope


def logs(folder: Path) -> list[vgharness.TrainingLog]:
    return [vgharness.load_training_log(path) for path in sorted(folder.rglob(".gradflow/**/*.jsonl"))]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_lightning(folder: Path) -> None:
    from functools import partial

    import test_lightning as case

    quiet = partial(case.pl.Trainer, logger=False, enable_checkpointing=False, accelerator="cpu")
    run("lightning", Trainer=quiet, module=case.Classifier(), data=case.batches())
    assert [log.models[0].steps for log in logs(folder)] == [2 * case.BATCHES]


def test_transformers(folder: Path) -> None:
    import test_transformers as case

    model = case.bert()
    arguments = case.trainer(folder, model).args
    run("transformers", Trainer=case.transformers.Trainer, model=model, arguments=arguments, data=case.examples())
    assert [log.models[0].steps for log in logs(folder)] == [case.STEPS]


def test_accelerate(folder: Path) -> None:
    accelerate = pytest.importorskip("accelerate")
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    inputs = torch.randn(32, 4)
    names = {
        "accelerator": accelerate.Accelerator(cpu=True, gradient_accumulation_steps=2),
        "model": model,
        "optimizer": torch.optim.SGD(model.parameters(), 0.1),
        "data": torch.utils.data.DataLoader(torch.utils.data.TensorDataset(inputs, (inputs[:, 0] > 0).long()), 4),
        "loss_of": nn.functional.cross_entropy,
        "first_step": 100,
    }
    run("accelerate", **names)
    (log,) = logs(folder)
    assert (log.first_step, log.models[0].steps) == (100, 4)
    assert (log.snapshots[0].step, log.snapshots[0].batch) == (100, 1)
    assert log.snapshots[0].loss is not None


def test_sinks(folder: Path) -> None:
    model = nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    watching = run("sinks", model=model, optimizer=optimizer)["watching"]
    for _ in range(3):
        optimizer.zero_grad()
        model(torch.randn(8, 4)).square().mean().backward()
        optimizer.step()
    watching.close()
    (log,) = logs(folder)
    assert not log.notes
    assert (folder / "gradients.csv").read_text().count("\n") == 1 + len(log.snapshots)
    for files in ("runs/first/events.*", "wandb/offline-run-*/*.wandb", "tracking/**/total_norm", "gradients.jsonl"):
        assert list(folder.glob(files)), files
