"""What arrives in the log of a real Lightning training, and in the Trainer's loggers."""

import subprocess
import sys
import textwrap
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from vgharness.errors import UsageError
from vgharness.records import Snapshot, TrainingLog
from vgharness.storage.training_log import load_training_log

pl = pytest.importorskip("lightning.pytorch")

from vgharness.integrations.lightning import GradientFlowCallback  # noqa: E402 - needs Lightning

pytestmark = [pytest.mark.integrations, pytest.mark.filterwarnings("ignore")]
LAYERS = ["0", "2", "4"]  # of the network that a module holds
BATCHES = 4  # in an epoch


def network(inputs: int = 4, outputs: int = 2) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, outputs))


class Classifier(pl.LightningModule):
    """A network that training_step calls, as most are."""

    def __init__(self) -> None:
        super().__init__()
        self.net = network()

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        inputs, targets = batch
        return nn.functional.cross_entropy(self.net(inputs), targets)

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        self.log("validation", self.training_step(batch, index))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.1)


class Gan(pl.LightningModule):
    """Two networks, each with an optimizer; the second takes two steps for each of the first."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.generator, self.critic = network(2, 4), network(4, 1)

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        real, noise = batch[0], torch.randn(len(batch[0]), 2)
        generators, critics = self.optimizers()
        for _ in range(2):
            critics.zero_grad()
            self.manual_backward(self.critic(self.generator(noise).detach()).mean() - self.critic(real).mean())
            critics.step()
        generators.zero_grad()
        self.manual_backward(-self.critic(self.generator(noise)).mean())
        generators.step()

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        return [torch.optim.Adam(self.generator.parameters()), torch.optim.Adam(self.critic.parameters())]


def batches() -> DataLoader[Any]:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(BATCHES * 8, 4, generator=generator)
    return DataLoader(TensorDataset(inputs, (inputs.sum(1) > 0).long()), 8)


def trainer(*callbacks: Any, package: Any = pl, **options: Any) -> Any:
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "enable_checkpointing": False}
    defaults = {"accelerator": "cpu", "devices": 1, "max_epochs": 3, "logger": False, **quiet}
    return package.Trainer(callbacks=list(callbacks), **{**defaults, **options})


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


def fit(store: Path, module: Any = None, *, every: int = 4, **options: Any) -> TrainingLog:
    """Trains, and reads the log back."""
    callback = GradientFlowCallback(every=every, storage=store, on_problem=lambda problem: None)
    trainer(callback, **options).fit(module or Classifier(), batches(), batches())
    return saved(callback)


def saved(callback: GradientFlowCallback) -> TrainingLog:
    assert callback.watch is not None
    assert callback.watch.path is not None
    return load_training_log(callback.watch.path)


def names(log: TrainingLog, snapshot: Snapshot) -> list[str]:
    return [row.name for row in log.rows[snapshot.rows]]


@pytest.mark.parametrize("package", ["lightning.pytorch", "pytorch_lightning"])
def test_a_training_is_watched_from_its_first_step_to_its_last(store: Path, package: str) -> None:
    module = import_module(package)
    owner = type("Own", (module.LightningModule,), {**Classifier.__dict__})
    own = owner.__new__(owner)
    module.LightningModule.__init__(own)
    own.net = network()
    callback = GradientFlowCallback(every=4, storage=store)
    trainer(callback, package=module).fit(own, batches(), batches())
    log = saved(callback)
    assert log.status == "finished"
    assert (log.models[0].architecture, log.models[0].steps) == ("Sequential", 3 * BATCHES)
    assert [each.step for each in log.snapshots][:3] == [0, 4, 8]
    for each in log.snapshots:
        assert names(log, each) == LAYERS
        assert each.batch == each.step  # validation in between counts no batches
        assert set(each.states) == {"ok"}
        assert all(each.values["signal_l2"])
        assert all(each.values["relative_update"])
        assert each.not_optimized == ()


def test_gradients_are_those_of_the_same_loop_by_hand(store: Path) -> None:
    torch.manual_seed(1)
    module = Classifier()
    twin = network()
    twin.load_state_dict(module.net.state_dict())
    log = fit(store, module, every=1, max_epochs=1)
    optimizer = torch.optim.SGD(twin.parameters(), 0.1)
    for each, (inputs, targets) in zip(log.snapshots, batches(), strict=True):
        optimizer.zero_grad()
        nn.functional.cross_entropy(twin(inputs), targets).backward()
        expected = torch.cat([p.grad.flatten() for p in twin.parameters()]).norm().item()
        assert each.total_norm == pytest.approx(expected, rel=1e-4)
        optimizer.step()


@pytest.mark.parametrize("make", [Classifier, Gan])
def test_it_trains_to_the_same_bits(store: Path, make: type[Any]) -> None:
    weights = []
    for callbacks in ([], [GradientFlowCallback(every=1, storage=store)]):
        torch.manual_seed(1)
        module = make()
        trainer(*callbacks).fit(module, batches())
        weights.append(module.state_dict())
    assert all(torch.equal(weights[1][name], weight) for name, weight in weights[0].items())


def test_a_step_is_one_of_the_optimizer_however_many_batches_it_takes(store: Path) -> None:
    log = fit(store, every=2, accumulate_grad_batches=2)
    assert log.models[0].steps == 3 * BATCHES // 2
    assert [(each.step, each.batch) for each in log.snapshots][:3] == [(0, 1), (2, 5), (4, 9)]


def test_the_norm_is_that_before_clipping_and_after(store: Path) -> None:
    free, clipped = fit(store, max_epochs=1), fit(store, max_epochs=1, gradient_clip_val=0.01)
    assert free.snapshots[0].total_norm == free.snapshots[0].clipped_norm
    for each in clipped.snapshots:
        assert each.clipped_norm == pytest.approx(0.01, rel=1e-3)
        assert (each.total_norm or 0.0) > 0.02


def test_each_optimizer_of_a_gan_steps_a_model_of_its_own(store: Path) -> None:
    log = fit(store, Gan(), every=2)
    assert {each.name: each.steps for each in log.models} == {"generator": 3 * BATCHES, "critic": 6 * BATCHES}
    for name, steps in (("generator", 3 * BATCHES), ("critic", 6 * BATCHES)):
        found = log.of_model(name)
        assert [each.step for each in found][: steps // 2] == list(range(0, steps, 2))
        assert all(sorted(set(names(log, each))) == LAYERS for each in found)
        assert all(value for each in found for value in each.values["relative_update"])


def test_the_scale_of_the_loss_is_divided_out(store: Path) -> None:
    torch.manual_seed(1)
    plain_module = Classifier()
    torch.manual_seed(1)
    plain = fit(store, plain_module, max_epochs=1)
    torch.manual_seed(1)
    module = Classifier()
    precision = pl.plugins.MixedPrecision("16-mixed", "cpu", torch.amp.GradScaler("cpu", init_scale=1024.0))
    scaled = fit(store, module, max_epochs=1, plugins=precision)
    assert scaled.snapshots[0].loss_scale == 1024.0
    assert scaled.snapshots[0].total_norm == pytest.approx(plain.snapshots[0].total_norm, rel=0.05)
    assert scaled.models[0].steps == BATCHES


def test_a_step_that_the_scaler_leaves_out_is_one(store: Path) -> None:
    class Overflowing(Classifier):
        def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
            return super().training_step(batch, index) * (float("inf") if index in (1, 3) else 1.0)

    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    log = fit(store, Overflowing(), every=1, max_epochs=1, plugins=pl.plugins.MixedPrecision("16-mixed", "cpu", scaler))
    assert [each.skipped for each in log.snapshots] == [False, True, False, True]
    assert scaler.get_scale() == 256.0


def test_bf16_and_a_model_that_computes_its_activations_again(store: Path) -> None:
    class Checkpointed(Classifier):
        def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
            inputs, targets = batch
            outputs = torch.utils.checkpoint.checkpoint(self.net, inputs, use_reentrant=False)
            return nn.functional.cross_entropy(outputs, targets)

    log = fit(store, Checkpointed(), precision="bf16-mixed")
    assert log.models[0].steps == 3 * BATCHES
    assert all(names(log, each) == LAYERS and all(each.values["signal_l2"]) for each in log.snapshots)


def test_a_resumed_training_goes_on_with_its_step(store: Path, tmp_path: Path) -> None:
    first = trainer(max_epochs=1)
    first.fit(Classifier(), batches())
    first.save_checkpoint(tmp_path / "last.ckpt")
    callback = GradientFlowCallback(every=2, storage=store)
    trainer(callback).fit(Classifier(), batches(), ckpt_path=tmp_path / "last.ckpt")
    log = saved(callback)
    assert log.first_step == BATCHES
    assert log.snapshots[0].step == BATCHES
    assert log.models[0].steps == 2 * BATCHES


def test_a_module_that_holds_several_networks_is_watched_as_one(store: Path) -> None:
    class Pair(Classifier):
        def __init__(self) -> None:
            super().__init__()
            self.net, self.head = network(4, 6), nn.Linear(6, 2)

        def forward(self, inputs: Tensor) -> Tensor:
            return self.head(self.net(inputs))

        def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
            return nn.functional.cross_entropy(self(batch[0]), batch[1])

    class Uncalled(Pair):
        def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
            return nn.functional.cross_entropy(self.head(self.net(batch[0])), batch[1])

    for make, said in ((Pair, 0), (Uncalled, 1)):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            module = make()
            log = fit(store, module)
        assert sum("call self(...)" in str(each.message) for each in caught) == said
        assert not module._forward_pre_hooks
        assert names(log, log.snapshots[0]) == [*(f"net.{layer}" for layer in LAYERS), "head"]
        assert [each.step for each in log.snapshots][:3] == [0, 4, 8]


def test_a_sink_that_fails_is_said_once_and_the_training_goes_on(store: Path) -> None:
    from vgharness.integrations.wandb import WandbSink

    callback = GradientFlowCallback(every=1, storage=store, log=["training", WandbSink()])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer(callback).fit(Classifier(), batches())
    assert sum("no run is active" in str(each.message) for each in caught) == 1
    assert saved(callback).models[0].steps == 3 * BATCHES
    assert len([note for note in saved(callback).notes if "wandb.init" in note]) == 1


@pytest.mark.parametrize(("error", "status"), [(RuntimeError, "failed"), (KeyboardInterrupt, "interrupted")])
def test_the_log_says_how_a_training_ended(store: Path, error: type[BaseException], status: str) -> None:
    class Ending(Classifier):
        def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
            if self.global_step == 5:
                raise error
            return super().training_step(batch, index)

    callback = GradientFlowCallback(every=2, storage=store)
    module = Ending()
    with pytest.raises((error, SystemExit)):
        trainer(callback).fit(module, batches())
    log = saved(callback)
    assert (log.status, log.models[0].steps) == (status, 5)
    assert "configure_gradient_clipping" not in vars(module)
    assert not module.trainer.optimizers[0]._optimizer_step_post_hooks


def test_the_first_nan_is_found_where_it_was_made(store: Path) -> None:
    class Root(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.sqrt()

    class Breaking(Classifier):
        def __init__(self) -> None:
            super().__init__()
            self.net.insert(4, Root())

        def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
            inputs, targets = batch
            nn.init.constant_(self.net[2].bias, 10.0 if self.global_step != 6 else -10.0)
            return nn.functional.cross_entropy(self.net(inputs), targets)

    log = fit(store, Breaking())
    (birth,) = log.births
    assert (birth.step, birth.batch) == (6, 6)
    assert birth.origin is not None
    assert birth.origin.module == "4"
    assert [each.began for each in log.problems if each.kind == "nonfinite"][:1] == [6]


def test_on_request_the_loggers_get_what_is_measured(store: Path, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    loggers = [pl.loggers.TensorBoardLogger(tmp_path, "board"), pl.loggers.CSVLogger(tmp_path, "table")]
    callback = GradientFlowCallback(every=4, storage=store, loggers=True)
    trainer(callback, logger=loggers).fit(Classifier(), batches(), batches())
    log = saved(callback)
    read = EventAccumulator(str(tmp_path / "board" / "version_0")).Reload()
    for at, layer in enumerate(LAYERS):
        found = [(each.step, each.value) for each in read.Scalars(f"gradflow/signal_l2/{layer}")]
        assert found == [(each.step, pytest.approx(each.values["signal_l2"][at], 1e-5)) for each in log.snapshots]
    table = (tmp_path / "table" / "version_0" / "metrics.csv").read_text()
    assert "gradflow/total_norm" in table
    assert "validation" in table


def test_what_cannot_be_watched_is_refused_before_the_first_step(store: Path) -> None:
    with pytest.raises(TypeError, match="no option 'evry'; it has every, "):
        GradientFlowCallback(evry=3)
    for module, options, words in (
        (torch.compile(Classifier()), {}, "torch.compile"),
        (Classifier(), {"model": "backbone"}, "no module 'backbone'"),
    ):
        with pytest.raises(UsageError, match=words):
            trainer(GradientFlowCallback(storage=store, **options)).fit(module, batches())
    assert not list(store.glob("*.jsonl"))


def test_a_part_of_a_module_can_be_watched_by_its_name(store: Path) -> None:
    callback = GradientFlowCallback(storage=store, model=["generator"])
    trainer(callback).fit(Gan(), batches())
    assert {each.name for each in saved(callback).models} <= {"", "generator"}


def test_of_two_processes_one_keeps_the_log(store: Path, tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(
        textwrap.dedent(
            f"""
            import sys
            sys.path.insert(0, {str(Path(__file__).parent)!r})
            from test_lightning import Classifier, GradientFlowCallback, batches, trainer
            from vgharness.integrations.files import CsvSink

            sink = CsvSink({str(tmp_path / "steps.csv")!r})
            callback = GradientFlowCallback(every=2, storage={str(store)!r}, log=["training", sink])
            trainer(callback, strategy="ddp", devices=2).fit(Classifier(), batches())
            """
        )
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=120, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (path,) = store.rglob("*.jsonl")
    log = load_training_log(path)
    steps = 3 * BATCHES // 2
    assert (log.status, log.models[0].steps) == ("finished", steps)
    assert [each.step for each in log.snapshots][:3] == [0, 2, 4]
    assert (tmp_path / "steps.csv").read_text().count("\n") == 1 + len(LAYERS) * len(log.snapshots)
