"""Training: reproducible, paired by seed, equal to a plain loop, and honest when it ends early."""

import hashlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import torch
from factories import make_layers, without_seconds
from torch import Tensor, nn
from torch.nn import functional

import vgharness.training.loop
import vgharness.training.pack
from vgharness.data.augmentation import augment
from vgharness.data.on_device import DeviceImages
from vgharness.data.synthetic import synthetic
from vgharness.models import DeepCNN
from vgharness.records import QUANTITIES, Activation, Architecture, Cell, CellResult, Epoch, GradientFlow
from vgharness.training.callback import Callback
from vgharness.training.loop import seconds_per_image, train
from vgharness.training.pack import Pack

pytestmark = pytest.mark.fast

TRAIN, TEST = 208, 100  # a batch of 128 and a tail of 80


@pytest.fixture(autouse=True)
def _no_first_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its numerics and predictions have tests of their own, and take longer than these networks."""
    monkeypatch.setattr("vgharness.training.loop.first_batch", lambda *_: {})


@pytest.fixture(scope="module")
def images() -> DeviceImages:
    return DeviceImages(synthetic(TRAIN, TEST), torch.device("cpu"))


@pytest.fixture(scope="module")
def few_images() -> DeviceImages:
    return DeviceImages(synthetic(24, 10), torch.device("cpu"))


def make_cell(activation: Activation = "relu", **changes: Any) -> Cell:
    return Cell(**{"architecture": "script", "activation": activation, "seed": 42, "epochs": 1} | changes)


def small_cell(activation: Activation = "relu", **changes: Any) -> Cell:
    """Two convolutions, batches of 10."""
    return make_cell(activation, **{"depth": 2, "batch_size": 10} | changes)


class Draw(NamedTuple):
    """One batch as it was augmented."""

    index: list[int]
    offsets: Tensor
    flips: Tensor
    crops: Tensor


@pytest.fixture
def draws(monkeypatch: pytest.MonkeyPatch) -> list[Draw]:
    """Fills with every batch that is augmented from here on."""
    seen: list[Draw] = []

    def record(padded: Tensor, index: Tensor, offsets: Tensor, flips: Tensor) -> Tensor:
        crops = augment(padded, index, offsets, flips)
        seen.append(Draw(index.tolist(), offsets, flips, crops))
        return crops

    monkeypatch.setattr(vgharness.training.pack, "augment", record)
    return seen


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


def test_a_cell_leaves_the_global_state_alone(few_images: DeviceImages) -> None:
    def state() -> tuple[Any, ...]:
        precisions = (torch.backends.cudnn.conv, torch.backends.cuda.matmul)
        return tuple(p.fp32_precision for p in precisions), torch.is_grad_enabled(), torch.get_default_dtype()

    torch.manual_seed(0)  # else this could be the very state in which an earlier training left it
    before, generator = state(), torch.get_rng_state()
    train(small_cell(), few_images, "tf32")
    seconds_per_image(small_cell(), few_images, "tf32")
    assert state() == before
    assert torch.equal(torch.get_rng_state(), generator)


@pytest.mark.parametrize(("precision", "setting"), [("fp32", "ieee"), ("tf32", "tf32"), ("bf16", "ieee")])
def test_precision_is_what_was_asked_for_and_only_while_training(
    few_images: DeviceImages, precision: Any, setting: str
) -> None:
    seen = set()

    class Look(Callback):
        def step_done(self, *_: object) -> None:
            seen.add((torch.backends.cudnn.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision))
            raise KeyboardInterrupt

    before = torch.backends.cudnn.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision
    train(small_cell(), few_images, precision, Look())
    assert seen == {(setting, setting)}
    assert (torch.backends.cudnn.conv.fp32_precision, torch.backends.cuda.matmul.fp32_precision) == before


def test_bf16_rounds_and_fp32_does_not(few_images: DeviceImages) -> None:
    flows = [train(small_cell(epochs=0), few_images, precision).initial for precision in ("fp32", "bf16")]
    exact, rounded = (list(figures(flow).values()) for flow in flows)
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


# --- what a network is shown -------------------------------------------------------------------


def test_every_epoch_shows_every_image_once_in_a_new_order(few_images: DeviceImages, draws: list[Draw]) -> None:
    train(small_cell(epochs=3), few_images, "fp32")
    assert [len(draw.index) for draw in draws] == [10, 10, 4] * 3
    orders = [[i for draw in draws[first : first + 3] for i in draw.index] for first in (0, 3, 6)]
    assert [sorted(order) for order in orders] == [list(range(24))] * 3
    assert len({tuple(order) for order in [*orders, range(24)]}) == 4


def test_crops_and_flips_take_every_value_and_change_with_the_epoch(images: DeviceImages, draws: list[Draw]) -> None:
    pack = Pack((make_cell(),), images, "fp32")
    for _ in range(2):
        pack.shuffle()
        for size in pack.sizes:
            pack.batch(size)
    offsets, flips = (torch.cat([getattr(d, name) for d in draws]) for name in ("offsets", "flips"))

    assert offsets.shape == (2 * TRAIN, 2)
    for column in offsets.unbind(1):
        assert column.unique().tolist() == list(range(9))
    assert not torch.equal(offsets[:, 0], offsets[:, 1])
    assert 0.4 < flips.float().mean().item() < 0.6
    assert not torch.equal(offsets[:TRAIN], offsets[TRAIN:])
    assert not torch.equal(flips[:TRAIN], flips[TRAIN:])


# --- equal to a plain loop ---------------------------------------------------------------------


def generator(seed: int, purpose: str) -> torch.Generator:
    """A stream of the cell: its published results depend on this definition."""
    number = int.from_bytes(hashlib.sha256(f"{seed} {purpose}".encode()).digest()[:8], "big") // 2
    return torch.Generator().manual_seed(number)


def standardise(pixels: Tensor) -> Tensor:
    mean = torch.tensor([0.4914, 0.4822, 0.4465]).view(3, 1, 1)
    std = torch.tensor([0.2470, 0.2435, 0.2616]).view(3, 1, 1)
    return (pixels / 255 - mean) / std


def crop(image: Tensor, top: int, left: int, flip: bool) -> Tensor:
    black = torch.zeros(3, 40, 40, dtype=torch.uint8)
    black[:, 4:36, 4:36] = image.flip(2) if flip else image
    return black[:, top : top + 32, left : left + 32]


class Plain(NamedTuple):
    """One epoch, written without the package's probe, augmentation, normalisation and evaluation."""

    steps: list[dict[tuple[str, str], float]]
    losses: list[float]
    correct: int
    model: nn.Module


def initial_model(cell: Cell) -> DeepCNN:
    with torch.random.fork_rng():
        torch.set_rng_state(generator(cell.seed, "weights").get_state())
        return DeepCNN(cell.activation, cell.depth, cell.architecture, cell.norm)


def plain_epoch(cell: Cell) -> Plain:
    data, model = synthetic(TRAIN, TEST), initial_model(cell)
    optimizer = torch.optim.Adam(model.parameters(), lr=cell.learning_rate)
    order = torch.randperm(TRAIN, generator=generator(cell.seed, "order"))
    random = generator(cell.seed, "augmentation")
    offsets = torch.randint(9, (TRAIN, 2), generator=random).tolist()
    flips = (torch.rand(TRAIN, generator=random) < 0.5).tolist()

    steps, losses, correct = [], [], 0
    for batch in (range(128), range(128, TRAIN)):
        pixels = [crop(data.train_images[order[i]], *offsets[i], flips[i]) for i in batch]
        targets = data.train_labels[order[list(batch)]]
        x, signals = standardise(torch.stack(pixels)), {}
        for name, module in model.named_children():
            x = module(x)
            if name.startswith(("conv", "fc")):
                x.retain_grad()
                signals[name] = x
        loss = -x.log_softmax(1)[range(len(targets)), targets].mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        row = {}
        for name, signal in signals.items():
            weight = model.get_submodule(name).get_parameter("weight").grad
            assert weight is not None
            assert signal.grad is not None
            row[name, "weight_mean_abs"] = weight.abs().mean().item()
            row[name, "weight_l2"] = weight.double().norm().item()
            row[name, "signal_l2"] = signal.grad.double().norm().item()
            row[name, "signal_rms"] = signal.grad.double().square().mean().sqrt().item()
        steps.append(row)
        losses.append(loss.item())
        correct += int((x.argmax(1) == targets).sum())
        optimizer.step()
    return Plain(steps, losses, correct, model)


def figures(flow: GradientFlow | None) -> dict[tuple[str, str], float]:
    assert flow is not None
    return {(layer.name, q): getattr(layer, q) for layer in flow.layers for q in QUANTITIES}


@pytest.mark.parametrize("activation", ["sigmoid", "relu"])
def test_an_epoch_equals_a_plain_loop(images: DeviceImages, activation: Activation) -> None:
    cell = make_cell(activation)
    plain, result = plain_epoch(cell), train(cell, images, "fp32")
    (epoch,) = result.epochs

    # Sigmoid's first layer is the one whose gradient float32 hardly carries: each way is off by up to 3e-3 there.
    rel = 1e-3 if activation == "sigmoid" else 1e-4
    assert figures(result.initial) == pytest.approx(plain.steps[0], rel=rel)
    mean = {key: (plain.steps[0][key] + plain.steps[1][key]) / 2 for key in plain.steps[0]}
    assert figures(epoch.flow) == pytest.approx(mean, rel=rel)
    assert epoch.train_loss == pytest.approx((128 * plain.losses[0] + 80 * plain.losses[1]) / TRAIN, rel=1e-5)
    assert epoch.train_accuracy == pytest.approx(100 * plain.correct / TRAIN)

    test = synthetic(TRAIN, TEST)
    with torch.no_grad():
        outputs = plain.model.eval()(standardise(test.test_images))
    assert epoch.test_loss == pytest.approx(functional.cross_entropy(outputs, test.test_labels).item(), rel=1e-4)
    correct = int((outputs.argmax(1) == test.test_labels).sum())
    assert epoch.test_accuracy == pytest.approx(100 * correct / TEST)


def test_the_optimizer_is_adam_by_pytorchs_defaults(few_images: DeviceImages) -> None:
    pack = Pack((small_cell(learning_rate=0.25),), few_images, "fp32")
    expected = torch.optim.Adam(pack.models.parameters(), lr=0.25).defaults
    assert type(pack.optimizer) is torch.optim.Adam
    assert pack.optimizer.defaults | {"fused": None} == expected
    (group,) = pack.optimizer.param_groups
    assert set(group["params"]) == set(pack.models.parameters())


@pytest.mark.parametrize("norm", [None, "batch"])
def test_evaluation_equals_a_plain_one_over_several_chunks(
    images: DeviceImages, monkeypatch: pytest.MonkeyPatch, norm: Any
) -> None:
    monkeypatch.setattr(vgharness.training.pack, "TEST_BATCH", 30)
    pack = Pack((make_cell(norm=norm),), images, "fp32")
    (model,) = pack.models
    model(torch.randn(8, 3, 32, 32))  # moves BatchNorm's running statistics
    ((loss, correct),) = pack.evaluate(TEST).tolist()
    assert model.training

    model, data = model.eval(), synthetic(1, TEST)
    with torch.no_grad():
        outputs = torch.cat([model(standardise(image[None])) for image in data.test_images])
    assert correct == sum(outputs.argmax(1).eq(data.test_labels).tolist())
    assert loss == pytest.approx(TEST * functional.cross_entropy(outputs, data.test_labels).item(), rel=1e-5)


@pytest.mark.parametrize("norm", [None, "batch"])
def test_heatmap_is_the_gradient_at_the_first_pre_activation(
    images: DeviceImages, monkeypatch: pytest.MonkeyPatch, norm: Any
) -> None:
    monkeypatch.setattr(vgharness.training.loop, "HEATMAP_IMAGES", 40)
    pack = Pack((make_cell(norm=norm),), images, "fp32")
    with pack.evaluating():
        heatmap = torch.tensor(vgharness.training.loop._heatmap(pack.models[0], images))

    model, data = pack.models[0].eval(), synthetic(1, TEST)
    seen: list[Tensor] = []
    model.get_submodule("conv1").register_forward_hook(lambda module, inputs, output: seen.append(output))
    outputs = model(standardise(data.test_images[:40]))
    loss = functional.cross_entropy(outputs, data.test_labels[:40])
    (gradient,) = torch.autograd.grad(loss, seen)
    torch.testing.assert_close(heatmap, gradient.abs().mean((0, 1)), rtol=1e-3, atol=0)


def test_heatmap_is_of_the_first_256_test_images() -> None:
    images = DeviceImages(synthetic(1, 300), torch.device("cpu"))
    (model,) = Pack((make_cell(depth=2),), images, "fp32").models
    sizes: list[int] = []
    model.get_submodule("conv1").register_forward_hook(lambda m, inputs, output: sizes.append(len(output)))
    vgharness.training.loop._heatmap(model, images)
    assert sizes == [256]


# --- what a result holds -----------------------------------------------------------------------


@pytest.mark.parametrize("architecture", ["readme", "script"])
def test_a_result_states_the_networks_shapes(few_images: DeviceImages, architecture: Architecture) -> None:
    result = train(make_cell(architecture=architecture, epochs=0), few_images, "fp32")
    stated = [(layer.name, layer.shape) for layer in result.layers]
    assert stated == [(layer.name, layer.shape) for layer in make_layers(architecture, "relu")]
    assert {layer.kind for layer in result.layers} == {"Conv2d", "ReLU", "MaxPool2d", "Flatten", "Linear"}
    assert result.parameters == 261_322


@pytest.mark.parametrize("norm", [None, "batch"])
def test_the_hash_is_of_the_network_as_it_was_made(few_images: DeviceImages, norm: Any) -> None:
    """Looking at its shapes must not have moved BatchNorm's running statistics."""
    cell = small_cell(norm=norm, epochs=0)
    digest = hashlib.sha256()
    for name, tensor in initial_model(cell).state_dict().items():
        digest.update(name.encode() + tensor.numpy().tobytes())
    assert train(cell, few_images, "fp32").initial_weights_sha256 == digest.hexdigest()


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


def test_a_watcher_is_told_of_each_step_and_epoch_the_tail_batch_included(few_images: DeviceImages) -> None:
    log = Log()
    result = train(small_cell(epochs=2), few_images, "fp32", log)
    first, second = result.epochs
    assert log.events == [
        *[(1, 1, 3), (1, 2, 3), (1, 3, 3), (1, first)],
        *[(2, 1, 3), (2, 2, 3), (2, 3, 3), (2, second)],
    ]


def test_128_and_80_images_are_two_steps(images: DeviceImages, draws: list[Draw]) -> None:
    log = Log()
    train(make_cell(depth=2), images, "fp32", log)
    assert log.events[:-1] == [(1, 1, 2), (1, 2, 2)]
    assert [len(draw.index) for draw in draws] == [128, 80]


def test_seconds_per_image_are_measured(few_images: DeviceImages) -> None:
    training, testing = seconds_per_image(small_cell(), few_images, "fp32")
    assert 0 < testing < 1
    assert 0 < training < 1


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
