"""What the benchmark counts and fits; never a time."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from vgharness.benchmarks import baseline as baseline
from vgharness.benchmarks import throughput as speed
from vgharness.benchmarks.baseline import BaselineScript
from vgharness.benchmarks.throughput import growth, measure_cost, train_speed, work_per_image
from vgharness.cli import bench
from vgharness.cli import main as cli
from vgharness.data.synthetic import synthetic
from vgharness.models import DeepCNN
from vgharness.records import ARCHITECTURES, Architecture
from vgharness.system import process
from vgharness.system.process import configure_process

pytestmark = pytest.mark.fast

CPU = torch.device("cpu")


# Where a process has threads Python 3.12 warns of what a DataLoader does on Linux: it forks.
forks = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """What has a process of its own runs in this one, with what is patched."""
    monkeypatch.setattr(speed, "_process", lambda *_: ThreadPoolExecutor(1))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, here: None) -> None:
    """Batches of 4, of which one warms up; ceilings of 1 GFLOP/s and 100 MB/s."""
    monkeypatch.setattr(speed, "BATCH", 4)
    for module in (speed, baseline):
        monkeypatch.setattr(module, "WARM_UP", 1)
        monkeypatch.setattr(module, "AHEAD", 0)
    monkeypatch.setattr(speed, "_product", lambda device, precision: lambda: 1e-9)
    monkeypatch.setattr(speed, "_copy", lambda device: lambda: 1e-8)


@pytest.mark.parametrize(("architecture", "forward_mac"), [("readme", 48_091_136), ("script", 12_701_696)])
def test_operations_are_those_of_every_product(architecture: Architecture, forward_mac: int) -> None:
    """Forward, and backward twice as much, but for the first layer's input, whose gradient nobody needs."""
    first = 32 * 32 * 27 * 32
    flop, _ = work_per_image(architecture, 128, "fp32")
    assert flop == 2 * (3 * forward_mac - first)


def test_bytes_are_counted_by_hand_for_the_script() -> None:
    numbers = [3 * 32 * 32, 32 * 16 * 16, 64 * 8 * 8, 128 * 4 * 4, 128 * 4 * 4]
    layers = [3 * numbers[i] + 4 * numbers[i + 1] for i in range(4)]
    _, moved = work_per_image("script", 128, "fp32")
    assert moved == 4 * (sum(layers) - numbers[0] + 8 * 261_322 / 128)
    _, rounded = work_per_image("script", 128, "bf16")  # Adam stays in float32
    assert rounded == pytest.approx(2 * (sum(layers) - numbers[0]) + 4 * 8 * 261_322 / 128)


def test_the_product_is_of_the_precision_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[torch.dtype] = []
    monkeypatch.setattr(speed, "_best", lambda run, times, device: seen.append(run().dtype) or 1.0)
    for precision in ("fp32", "tf32", "bf16"):
        speed._product(CPU, precision)()  # type: ignore[arg-type]
    assert seen == [torch.float32, torch.float32, torch.bfloat16]


def test_ceilings_are_seconds_per_operation_and_per_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "_best", lambda run, times, device: float(run().numel()))
    assert speed._product(CPU, "fp32")() == 1024**2 / (2 * 1024**3)
    assert speed._copy(CPU)() == pytest.approx(1 / 8)  # a number of four bytes is read and written


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_row_follows_from_the_times_of_its_arms(architecture: Architecture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BaselineScript, "seconds_per_image", lambda self: 0.5)
    monkeypatch.setattr(speed, "_epoch", lambda packs, device: 2.0 * len(packs))
    row = train_speed(architecture, CPU, rounds=2, images=8, seeds=2)
    assert (row.architecture, row.device, row.precision, row.cells, row.images) == (architecture, "cpu", "fp32", 4, 8)
    assert row.baseline_images_per_s == 2
    assert row.images_per_s == pytest.approx(8 * 4 / 8)
    assert (row.ratio, row.ratio_low, row.ratio_high) == pytest.approx((2, 2, 2))
    flop, moved = work_per_image(architecture, 4, "fp32")
    assert row.floor_images_per_s == pytest.approx(min(1e9 / row.flop_per_image, 1e8 / row.bytes_per_image))
    assert (row.flop_per_image, row.bytes_per_image) == (flop, moved)


@forks
@pytest.mark.usefixtures("small")
def test_both_really_train() -> None:
    row = train_speed("script", CPU, rounds=2, images=12)
    assert min(row.baseline_images_per_s, row.images_per_s) > 0


@pytest.mark.usefixtures("small")
def test_too_few_images_are_refused() -> None:
    with pytest.raises(ValueError, match="more than 4"):
        train_speed("script", CPU, images=4)


def test_the_usual_scripts_process_is_as_a_user_starts_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not with our settings; and its workers are started as the platform has it, not as the process itself was."""
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.setattr(process, "_set_here", set())
    configure_process()
    with speed._process(speed._start_workers_by, "forkserver") as other:
        asked = "__import__('multiprocessing').get_start_method()"  # itself, sent along, would answer for this process
        assert other.submit(eval, asked).result() == "forkserver"
        assert other.submit(os.getenv, "OMP_WAIT_POLICY").result() is None
    assert os.environ.pop("OMP_WAIT_POLICY") == "PASSIVE"


@forks
def test_the_usual_script_shows_every_image_once_and_waits_for_each_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    data, shown, waits = synthetic(10, 1), [], []
    monkeypatch.setattr(baseline, "WARM_UP", 1)
    monkeypatch.setattr(baseline, "AHEAD", 1)
    script = BaselineScript("script", "relu", data, CPU, "fp32", 4)
    script._optimizer = torch.optim.SGD(script._model.parameters(), lr=1.0)  # Adam's own step uses `item` too
    before = [weight.detach().clone() for weight in script._model.parameters()]
    script._model.register_forward_pre_hook(lambda module, inputs: shown.append((len(inputs[0]), len(waits))))
    monkeypatch.setattr(torch.Tensor, "item", lambda self, item=torch.Tensor.item: waits.append(1) or item(self))
    assert script.seconds_per_image() > 0
    assert [size for size, _ in shown] == [4, 4, 2]
    steps = [after - before for (_, before), (_, after) in pairwise(shown)]
    assert steps == [6, 6]  # waits: a gradient for each of four convolutions, the loss and the right answers
    assert all(not torch.equal(a, b) for a, b in zip(before, script._model.parameters(), strict=True))


@forks
def test_neither_its_first_nor_its_last_batches_are_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baseline, "WARM_UP", 2)
    monkeypatch.setattr(baseline, "AHEAD", 1)
    takes, clock = [100.0, 100.0, 1.0, 1.0, 1.0, 1000.0], [0.0]
    script = BaselineScript("script", "relu", synthetic(22, 1), CPU, "fp32", 4)
    script._model.register_forward_hook(lambda *_: clock.append(clock[-1] + takes[len(clock) - 1]))
    monkeypatch.setattr(baseline.time, "perf_counter", lambda: clock[-1])
    assert script.seconds_per_image() == pytest.approx(3 / 12)
    assert len(clock) == 7


def test_the_usual_script_is_the_plain_network() -> None:
    model = BaselineScript("script", "relu", synthetic(4, 1), CPU, "fp32", 4)._model
    assert isinstance(model, DeepCNN)
    assert [type(module) for module in model.chain()][:3] == [nn.Conv2d, nn.ReLU, nn.MaxPool2d]


# --- growth ------------------------------------------------------------------------------------


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch, here: None) -> list[tuple[Any, ...]]:
    """How processes were begun."""
    asked: list[tuple[Any, ...]] = []
    monkeypatch.setattr(speed, "_process", lambda *begin: asked.append(begin) or ThreadPoolExecutor(1))
    return asked


@pytest.fixture
def costs(monkeypatch: pytest.MonkeyPatch, here: None) -> list[tuple[Any, ...]]:
    """Instead of training: seconds that grow with the square of what changes, memory by 100 for each one more."""
    asked: list[tuple[Any, ...]] = []

    def cost(architecture: str, device: str, seeds: int, depth: int, batch: int, images: int) -> tuple[float, int]:
        asked.append((seeds, depth, batch))
        return 3.0 * (seeds * depth * batch) ** 2, 7_000 + 100 * (seeds + depth + batch)

    monkeypatch.setattr(speed, "measure_cost", cost)
    return asked


def test_growth_is_fitted_along_each_axis(costs: list[tuple[Any, ...]], begun: list[tuple[Any, ...]]) -> None:
    for axis in speed.AXES:
        found = growth(axis, "script", CPU, 1024)
        assert found.exponent == pytest.approx(2)
        assert found.memory_per_step == pytest.approx(100)
        assert [cost.value for cost in found.costs] == list(speed.AXES[axis])
    assert begun == [(configure_process,)] * 15
    assert costs[:5] == [(seeds, 4, 128) for seeds in (1, 2, 4, 8, 16)]
    assert costs[5:10] == [(1, depth, 128) for depth in (2, 4, 6, 8, 10)]
    assert costs[10:] == [(1, 4, batch) for batch in (32, 64, 128, 256, 512)]


def test_a_cost_is_of_networks_that_train() -> None:
    seconds, memory = measure_cost("script", "cpu", 2, 2, 4, 8)
    assert seconds > 0
    assert 2**26 < memory < 2**36  # bytes, of a process that has imported torch


# --- the commands ------------------------------------------------------------------------------


@pytest.mark.usefixtures("small")
def test_train_prints_a_table_and_writes_its_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(BaselineScript, "seconds_per_image", lambda self: 0.5)
    monkeypatch.setattr(speed, "_epoch", lambda packs, device: 2.0)
    target = tmp_path / "b.json"
    options = ["--device", "cpu", "--rounds", "2", "--images", "1280", "--json", str(target)]
    result = CliRunner().invoke(cli.app, ["bench", "train", *options])
    assert result.exit_code == 0, result.output
    for words in ("baseline script", "floor", "gap", "readme", "script", "DataLoader with two workers"):
        assert words in result.output
    written = json.loads(target.read_text())
    assert [row["architecture"] for row in written["rows"]] == ["readme", "script"]
    for row in written["rows"]:
        assert {"device", "precision", "baseline_images_per_s", "images_per_s", "ratio", "floor_images_per_s"} < set(
            row
        )
    assert written["machine"]["versions"]["torch"]
    assert written["machine"]["processor"]


def test_the_commands_prepare_their_process(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []
    monkeypatch.setattr(bench, "configure_process", lambda: called.append("bench"))
    for command in ("probe", "train", "scale"):
        CliRunner().invoke(cli.app, ["bench", command, "--device", "tpu"])
    assert called == ["bench"] * 3


@pytest.mark.usefixtures("costs")
def test_scale_prints_what_grows_and_writes_it(tmp_path: Path) -> None:
    target = tmp_path / "s.json"
    result = CliRunner().invoke(cli.app, ["bench", "scale", "--device", "cpu", "--json", str(target)])
    assert result.exit_code == 0, result.output
    for words in ("time grows as seeds^2.00", "for each network more", "depth^2.00", "batch^2.00"):
        assert words in result.output
    written = json.loads(target.read_text())
    assert [growth["axis"] for growth in written["axes"]] == ["seeds", "depth", "batch"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["train", "--rounds", "1"], "--rounds 1: give 2 or more"),
        (["train", "--images", "100"], "--images 100: give 1280 or more"),
        (["train", "--seeds", "0"], "--seeds 0: give 1 or more"),
        (["train", "--precision", "fp8"], "--precision fp8: use fp32, tf32, bf16"),
        (["train", "--precision", "tf32", "--device", "cpu"], "--precision tf32: only a CUDA GPU has it"),
        (["train", "--device", "tpu"], "--device tpu: use auto, cpu, cuda or cuda:N"),
        (["scale", "--architecture", "resnet"], "--architecture resnet: use readme or script"),
        (["scale", "--images", "1"], "--images 1: give 512 or more"),
        (["scale", "--json", "/proc/no/b.json"], "--json"),
    ],
)
def test_bad_input_is_one_line(options: list[str], words: str) -> None:
    result = CliRunner().invoke(cli.app, ["bench", *options])
    assert result.exit_code == 2
    assert words in result.output
