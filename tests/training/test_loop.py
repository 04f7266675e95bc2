"""Training: reproducible, paired by seed, equal to a plain loop, and honest when it ends early."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from factories import make_errors, without_seconds
from plain_loop import plain_epoch, standardise
from small_cells import TEST, TRAIN, Draw, make_cell, pack_cells, small_cell, train, values_of
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules import module as nn_module

from vgharness.data.on_device import DeviceImages
from vgharness.data.synthetic import synthetic_images
from vgharness.models import DeepCNN
from vgharness.records import ACTIVATIONS, TRAINED_ACTIVATIONS, Activation, Cell, CellResult, Epoch
from vgharness.training import pack as packs
from vgharness.training.callback import Callback
from vgharness.training.loop import NetworkTraining, train_pack

pytestmark = [pytest.mark.fast, pytest.mark.usefixtures("without_first_batch")]


# --- reproducible ------------------------------------------------------------------------------


@pytest.mark.parametrize("changes", [{}, {"norm": "batch", "depth": 3}, {"init": "kaiming", "architecture": "readme"}])
def test_a_cell_trained_twice_is_the_same_bit_for_bit(few_images: DeviceImages, changes: dict[str, Any]) -> None:
    cell = small_cell(epochs=2, **changes)
    first, second = (train(cell, few_images, "fp32") for _ in range(2))
    assert first.status == "finished"
    assert without_seconds(first) == without_seconds(second)


def test_a_cell_depends_on_nothing_that_happened_before(few_images: DeviceImages) -> None:
    alone = train(small_cell(), few_images, "fp32")
    torch.manual_seed(1)
    train(small_cell("gelu", seed=3, norm="batch"), few_images, "fp32")
    torch.rand(17)
    assert without_seconds(train(small_cell(), few_images, "fp32")) == without_seconds(alone)


def test_bf16_rounds_and_fp32_does_not(few_images: DeviceImages) -> None:
    flows = [train(small_cell(epochs=0), few_images, precision).initial for precision in ("fp32", "bf16")]
    exact, rounded = (list(values_of(flow).values()) for flow in flows)
    assert exact != rounded
    assert rounded == pytest.approx(exact, rel=0.2)


@pytest.mark.parametrize("changes", [{"seed": 43}, {"init": "xavier"}, {"init": "kaiming"}])
def test_other_seeds_and_schemes_start_from_other_weights(few_images: DeviceImages, changes: dict[str, Any]) -> None:
    hashes = [train(small_cell(epochs=0, **c), few_images, "fp32").initial_weights_sha256 for c in ({}, changes)]
    assert hashes[0] != hashes[1]


def test_activations_of_one_seed_start_from_the_same_weights_and_see_the_same_batches(
    few_images: DeviceImages, draws: list[Draw]
) -> None:
    results = {}
    for activation in ("sigmoid", "relu"):
        draws.clear()
        results[activation] = train(small_cell(activation, epochs=2), few_images, "fp32"), list(draws)
    (sigmoid, sigmoid_saw), (relu, relu_saw) = results.values()

    assert sigmoid.initial_weights_sha256 == relu.initial_weights_sha256
    assert sigmoid.initial != relu.initial
    assert len(sigmoid_saw) == len(relu_saw) == 6
    for a, b in zip(sigmoid_saw, relu_saw, strict=True):
        assert a.index == b.index
        assert torch.equal(a.crops, b.crops)


def test_every_activation_starts_from_the_same_weights(few_images: DeviceImages) -> None:
    started = [train(small_cell(activation, epochs=0), few_images, "fp32") for activation in ACTIVATIONS]
    kinds = {result.cell.activation in TRAINED_ACTIVATIONS: result.initial_weights_sha256 for result in started}
    assert len({result.initial_weights_sha256 for result in started}) == len(kinds) == 2
    flows = {result.initial.model_dump_json() for result in started if result.initial}
    assert len(flows) == len(ACTIVATIONS) - 2  # CELU is ELU, and ReLU6 is ReLU under 6


# --- equal to a plain loop ---------------------------------------------------------------------


@pytest.mark.parametrize("activation", ["sigmoid", "relu"])
def test_an_epoch_equals_a_plain_loop(images: DeviceImages, activation: Activation) -> None:
    cell = make_cell(activation)
    plain, result = plain_epoch(cell), train(cell, images, "fp32")
    (epoch,) = result.epochs

    # Sigmoid's first layer is the one whose gradient float32 hardly carries: each way is off by up to 3e-3 there.
    rel = 1e-3 if activation == "sigmoid" else 1e-4
    assert values_of(result.initial) == pytest.approx(plain.steps[0], rel=rel)
    mean = {key: (plain.steps[0][key] + plain.steps[1][key]) / 2 for key in plain.steps[0]}
    assert values_of(epoch.flow) == pytest.approx(mean, rel=rel)
    assert epoch.train_loss == pytest.approx((128 * plain.losses[0] + 80 * plain.losses[1]) / TRAIN, rel=1e-5)
    assert epoch.train_accuracy == pytest.approx(100 * plain.correct / TRAIN)

    test = synthetic_images(TRAIN, TEST)
    with torch.no_grad():
        outputs = plain.model.eval()(standardise(test.test_images))
    assert epoch.test_loss == pytest.approx(functional.cross_entropy(outputs, test.test_labels).item(), rel=1e-4)
    correct = int((outputs.argmax(1) == test.test_labels).sum())
    assert epoch.test_accuracy == pytest.approx(100 * correct / TEST)


# --- what a result holds -----------------------------------------------------------------------


@pytest.mark.parametrize("norm", [None, "batch"])
def test_no_epochs_measure_what_a_trained_cell_starts_with(few_images: DeviceImages, norm: Any) -> None:
    cell = small_cell(norm=norm)
    untrained = train(cell.model_copy(update={"epochs": 0}), few_images, "fp32")
    trained = train(cell, few_images, "fp32")

    assert untrained.status == "finished"
    assert (untrained.epochs, untrained.heatmap) == ((), None)
    assert untrained.initial == trained.initial
    assert untrained.initial_weights_sha256 == trained.initial_weights_sha256
    assert untrained.layers == trained.layers
    assert trained.initial != trained.epochs[0].flow


def test_a_finished_cell_has_a_heatmap_of_the_image(few_images: DeviceImages) -> None:
    heatmap = train(small_cell(), few_images, "fp32").heatmap
    assert heatmap is not None
    assert [len(row) for row in heatmap] == [32] * 32
    assert min(map(min, heatmap)) >= 0
    assert max(map(max, heatmap)) > 0


def test_the_initial_flow_does_not_change_with_training_on(few_images: DeviceImages) -> None:
    one, two = (train(small_cell(epochs=n), few_images, "fp32") for n in (1, 2))
    assert two.initial == one.initial
    assert without_seconds(two)["epochs"][0] == without_seconds(one)["epochs"][0]


class Log(Callback):
    def __init__(self) -> None:
        self.events: list[tuple[Any, ...]] = []

    def step_done(self, cell: Cell, epoch: int, step: int, steps: int) -> None:
        self.events.append((epoch, step, steps))

    def epoch_done(self, cell: Cell, epoch: Epoch) -> None:
        self.events.append((epoch.epoch, epoch))


def test_a_callback_is_notified_of_each_step_and_epoch_the_tail_batch_included(few_images: DeviceImages) -> None:
    log = Log()
    result = train(small_cell(epochs=2), few_images, "fp32", log)
    first, second = result.epochs
    assert log.events == [
        *[(1, 1, 3), (1, 2, 3), (1, 3, 3), (1, first)],
        *[(2, 1, 3), (2, 2, 3), (2, 3, 3), (2, second)],
    ]


def test_what_is_measured_so_far_is_at_the_end_what_the_epoch_records(few_images: DeviceImages) -> None:
    """Of each network of a pack, the tail batch counted by its images."""
    seen: dict[Cell, list[tuple[float, float]]] = {}

    class SoFar(Callback):
        def step_measured(self, cell: Cell, read: Callable[[], tuple[float, float]]) -> None:
            seen.setdefault(cell, []).append(read())

    cells = pack_cells(2)
    for result in train_pack(cells, few_images, "fp32", SoFar()):
        ends = seen[result.cell][2::3]
        assert ends == [pytest.approx((epoch.train_loss, epoch.train_accuracy)) for epoch in result.epochs]
        assert seen[result.cell][0] != pytest.approx(ends[0])


def test_128_and_80_images_are_two_steps(images: DeviceImages, draws: list[Draw]) -> None:
    log = Log()
    train(make_cell(depth=2), images, "fp32", log)
    assert log.events[:-1] == [(1, 1, 2), (1, 2, 2)]
    assert [len(draw.index) for draw in draws] == [128, 80]


# --- early ends --------------------------------------------------------------------------------


def test_a_loss_that_is_not_finite_ends_the_cell_as_diverged(few_images: DeviceImages) -> None:
    result = train(small_cell(epochs=3, learning_rate=1e30), few_images, "fp32")
    assert result.status == "diverged"
    assert "epoch 1" in result.reason
    assert "not finite" in result.reason
    (epoch,) = result.epochs
    assert epoch.train_loss is None
    assert "train_loss" in epoch.nonfinite
    assert {layer.state for layer in epoch.flow.layers} == {"nonfinite"}
    assert result.initial is not None
    assert {layer.state for layer in result.initial.layers} == {"ok"}
    assert result.heatmap is None
    assert CellResult.model_validate_json(result.model_dump_json()) == result


class Interrupt(Callback):
    def __init__(self, epoch: int, step: int) -> None:
        self.at = (epoch, step)

    def step_done(self, cell: Cell, epoch: int, step: int, steps: int) -> None:
        if (epoch, step) == self.at:
            raise KeyboardInterrupt


def test_ctrl_c_keeps_the_epochs_that_are_finished(few_images: DeviceImages) -> None:
    whole = train(small_cell(epochs=2), few_images, "fp32")
    result = train(small_cell(epochs=2), few_images, "fp32", Interrupt(2, 2))
    assert result.status == "interrupted"
    assert "epoch 2" in result.reason
    assert without_seconds(result)["epochs"] == without_seconds(whole)["epochs"][:1]
    assert result.initial == whole.initial
    assert result.heatmap is None


def test_ctrl_c_in_the_first_epoch_keeps_what_the_network_is(few_images: DeviceImages) -> None:
    result = train(small_cell(), few_images, "fp32", Interrupt(1, 1))
    assert (result.status, result.epochs, result.initial) == ("interrupted", (), None)
    assert result.initial_weights_sha256
    assert result.layers


def test_other_exceptions_pass(few_images: DeviceImages) -> None:
    class Broken(Callback):
        def epoch_done(self, cell: Cell, epoch: Epoch) -> None:
            raise RuntimeError("broken callback")

    with pytest.raises(RuntimeError, match="broken callback"):
        train(small_cell(), few_images, "fp32", Broken())


def test_one_that_diverges_does_not_stop_the_others(images: DeviceImages, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = train_pack(pack_cells(), images, "fp32")
    make = packs.initial_network

    def broken(cell: Cell, images: DeviceImages) -> DeepCNN:
        model = make(cell, images)
        if cell == pack_cells()[1]:
            nn.init.constant_(model.get_submodule("fc").get_parameter("bias"), float("nan"))
        return model

    monkeypatch.setattr(packs, "initial_network", broken)
    notified: list[tuple[Cell, int]] = []
    advanced: list[str] = []

    class Log(Callback):
        def epoch_done(self, cell: Cell, epoch: Epoch) -> None:
            notified.append((cell, epoch.epoch))

        def cell_advanced(self, result: CellResult) -> None:
            if result.cell == pack_cells()[1]:
                advanced.append(result.status)

    results = train_pack(pack_cells(), images, "fp32", Log())
    assert [result.status for result in results] == ["finished", "diverged", "finished", "finished"]
    assert (len(results[1].epochs), results[1].heatmap) == (1, None)
    assert (pack_cells()[1], 2) not in notified
    assert len(notified) == 7
    assert advanced == ["running", "diverged"]
    for i in (0, 2, 3):
        assert without_seconds(results[i]) == without_seconds(whole[i])


def test_what_there_is_of_a_network_is_passed_on_as_it_grows(
    images: DeviceImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(network: NetworkTraining) -> None:
        network.numerics.append(make_errors(len(network.epochs)))

    monkeypatch.setattr(NetworkTraining, "measure_first_batch", measure)
    seen: dict[Cell, list[CellResult]] = {}

    class Log(Callback):
        def cell_advanced(self, result: CellResult) -> None:
            seen.setdefault(result.cell, []).append(result)

    results = train_pack(pack_cells(), images, "fp32", Log())
    for result in results:
        advances = seen[result.cell]
        assert [(x.status, len(x.epochs)) for x in advances] == [("running", 0), ("running", 1), ("running", 2)]
        # The first batch is measured again before what comes of an epoch is passed on.
        assert [[each.epoch for each in x.numerics] for x in advances] == [[0], [0, 1], [0, 1, 2]]
        assert [x.initial for x in advances] == [None, result.initial, result.initial]
        assert advances[0].layers == result.layers
        assert advances[-1].epochs == result.epochs


def test_ctrl_c_keeps_what_every_network_has_done(images: DeviceImages) -> None:
    class Interrupt(Callback):
        def step_done(self, cell: Cell, epoch: int, step: int, steps: int) -> None:
            if (cell, epoch, step) == (pack_cells()[2], 2, 2):
                raise KeyboardInterrupt

    results = train_pack(pack_cells(), images, "fp32", Interrupt())
    assert [(r.status, r.reason, len(r.epochs)) for r in results] == [("interrupted", "interrupted in epoch 2", 1)] * 4
    assert not nn_module._global_forward_hooks


# --- one transfer per epoch --------------------------------------------------------------------


class OnHost(Tensor):
    """A tensor that has been copied to the host, and whatever is computed from it."""


READS = ("cpu", "item", "tolist", "numpy", "__array__", "__float__", "__int__", "__bool__", "__index__", "nonzero")


@pytest.fixture
def transfers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Counts calls of ``READS`` on tensors that did not come out of ``.cpu()``.

    On a GPU each of them waits for the device. On the CPU nothing waits, so training there is watched
    as if its tensors were on a device: what ``.cpu()`` returns is marked, and reading it is free.
    """
    seen: list[str] = []

    def watched(name: str) -> Any:
        original = getattr(Tensor, name)

        def read(self: Tensor, *args: Any, **kwargs: Any) -> Any:
            result = original(self, *args, **kwargs)
            if isinstance(self, OnHost):
                return result
            seen.append(name)
            return result.as_subclass(OnHost) if name == "cpu" else result

        return read

    for name in READS:
        monkeypatch.setattr(Tensor, name, watched(name))
    return seen


def test_an_epoch_crosses_to_the_host_once(few_images: DeviceImages, transfers: list[str]) -> None:
    class Count(Callback):
        epochs: list[list[str]]

        def __init__(self) -> None:
            self.epochs, self.started = [], 0

        def step_done(self, cell: Cell, epoch: int, step: int, steps: int) -> None:
            if (epoch, step) == (1, 1):  # what was read before training
                del transfers[:]
            assert step > 1 or not transfers

        def epoch_done(self, cell: Cell, epoch: Epoch) -> None:
            self.epochs.append(transfers[:])
            del transfers[:]

    count = Count()
    result = train(small_cell(epochs=3), few_images, "fp32", count)
    assert result.status == "finished"
    assert count.epochs == [["cpu"]] * 3
    assert transfers == ["tolist"]  # the heatmap


def test_what_is_prepared_before_the_first_epoch_is_not_its_time(
    few_images: DeviceImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a GPU steps are recorded first; how long is left is told from the epochs' times."""
    clock, prepared = [0.0], []

    def prepare(pack: packs.Pack, pause: Any = None) -> str:  # an epoch asks for it too, and finds it there
        clock[0] += 0.0 if prepared else 6.0
        prepared.append(True)
        return ""

    def epoch(pack: packs.Pack, step_done: Any, *, real: Any = packs.Pack.epoch) -> Any:
        clock[0] += 1.0
        return real(pack, step_done)

    monkeypatch.setattr(packs.Pack, "prepare", prepare)
    monkeypatch.setattr(packs.Pack, "epoch", epoch)
    monkeypatch.setattr("vgharness.training.loop.time.perf_counter", lambda: clock[0])
    found = train(small_cell(epochs=2), few_images, "fp32")
    assert [epoch.seconds for epoch in found.epochs] == [1.0, 1.0]
    assert (found.seconds, len(prepared)) == (8.0, 3)
