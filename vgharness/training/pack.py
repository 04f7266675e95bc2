"""A pack: cells of one shape that train side by side on one device, as one step of all their networks.

Everything random comes from generators that a cell owns, seeded from its seed: initial weights, order of the images,
crops and flips. They run on the CPU, so that a cell draws the same numbers on every device and in every pack. Two
cells that differ only in their activation start from the same weights and see the same images: their difference is
paired by seed.

What a step needs lies on the device before the epoch begins, and what it measures stays there until the epoch's end:
a step is the same work every time, found by a counter that it moves itself. On a GPU it is therefore recorded once as
a CUDA graph, one for each size of batch and one for the evaluation, and launched as a whole; networks compute on
streams of their own. On a CPU the same code runs without the graphs.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional

from vgharness.data.augmentation import PADDING, augment, normalise
from vgharness.data.on_device import DeviceImages
from vgharness.models import DeepCNN
from vgharness.probe.probe import GradientProbe
from vgharness.records import Cell, GradientFlow, Precision

TEST_BATCH = 1000
_STREAMS = 8
_WARM_UP = 3  # steps before a graph is captured, as PyTorch's documentation asks for
_seeding = threading.Lock()  # of PyTorch's global generator, which layers initialise from


class Pack:
    """The networks of ``cells``, R of them, which differ in activation and seed alone; one optimizer and one probe
    for all, each network's losses and gradients its own."""

    def __init__(self, cells: Sequence[Cell], images: DeviceImages, precision: Precision) -> None:
        if len({shape(cell) for cell in cells}) != 1:
            raise ValueError("the cells of a pack differ in activation and seed alone")
        self.cell, self.images, self._precision = cells[0], images, precision
        device, count = images.device, len(images.padded)
        self.models = nn.ModuleList(_network(cell, images.num_classes) for cell in cells)
        self.models.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimizer = torch.optim.Adam(
            self.models.parameters(), lr=self.cell.learning_rate, fused=True, capturable=device.type == "cuda"
        )
        self.probe = GradientProbe(self.models)
        self._orders = [generator(cell, "order") for cell in cells]
        self._augmentations = [generator(cell, "augmentation") for cell in cells]

        size = self.cell.batch_size
        self.sizes = [min(size, count - start) for start in range(0, count, size)]  # of an epoch's batches
        self._index = torch.empty(len(cells), count, dtype=torch.int64, device=device)
        self._offsets = torch.empty(len(cells), count, 2, dtype=torch.int64, device=device)
        self._flips = torch.empty(len(cells), count, dtype=torch.bool, device=device)
        self._seen = torch.zeros(1, dtype=torch.int64, device=device)  # images of the epoch
        self._steps = torch.zeros(1, dtype=torch.int64, device=device)
        self._measured = torch.empty(0, device=device)
        on_gpu = device.type == "cuda"
        self._streams = [_stream(device) for _ in cells[:_STREAMS]] if on_gpu else []
        self._side = _stream(device) if on_gpu else None  # where graphs are rehearsed and captured
        self._graphs: dict[int, torch.cuda.CUDAGraph] = {}
        self._evaluation: tuple[torch.cuda.CUDAGraph, Tensor] | None = None  # and where it leaves its sums

    def __len__(self) -> int:
        return len(self.models)

    # --- training ----------------------------------------------------------------------------------

    def shuffle(self) -> None:
        """Draws an epoch's order, crops and flips, each network's from its own generators."""
        count = len(self.images.padded)
        draws = [
            (
                torch.randperm(count, generator=order),
                torch.randint(2 * PADDING + 1, (count, 2), generator=augmentation),
                torch.rand(count, generator=augmentation) < 0.5,
            )
            for order, augmentation in zip(self._orders, self._augmentations, strict=True)
        ]
        for buffer, drawn in zip((self._index, self._offsets, self._flips), zip(*draws, strict=True), strict=True):
            buffer.copy_(torch.stack(drawn))
        self._seen.zero_()
        self._steps.zero_()

    def batch(self, size: int) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
        """The epoch's next ``size`` images of each network: R float32 [size, 3, 32, 32] and R int64 [size]."""
        chosen = self._seen + torch.arange(size, device=self.images.device)
        picked = self._index[:, chosen]
        crops = augment(
            self.images.padded,
            picked.flatten(),
            self._offsets[:, chosen].flatten(0, 1),
            self._flips[:, chosen].flatten(),
        )
        self._seen += size
        return normalise(crops).split(size), self.images.labels[picked].unbind()  # type: ignore[no-untyped-call]

    def step(self, size: int) -> Tensor:
        """One optimizer step on the next batch → on the device, [R, figures]: the probe's quantities, the mean loss
        and the number of right answers; gradients, loss and answers of before the update."""
        inputs, targets = self.batch(size)
        self.optimizer.zero_grad()
        losses, correct = zip(*self._forward(inputs, targets), strict=True)
        torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]
        self._join_streams()
        self.optimizer.step()
        read = self.probe.read().view(len(self), -1)
        return torch.cat([read, torch.stack(losses).detach()[:, None], torch.stack(correct)[:, None]], dim=1)

    def epoch(self, step_done: Callable[[int], None]) -> Tensor:
        """Trains an epoch and tells ``step_done`` the number of each step, done or on a GPU launched → what the steps
        measured, on the device: [steps, R, figures]."""
        self._prepare()
        self.shuffle()
        with self.probe:
            for number, size in enumerate(self.sizes, 1):
                if size in self._graphs:
                    self._graphs[size].replay()
                else:
                    self._measure(size)
                step_done(number)
        return self._measured

    def flows(self, figures: Tensor) -> list[GradientFlow]:
        """``figures`` [R, rows · columns], a step's or means of several → each network's flow."""
        rows = figures.reshape(len(self.probe.layers), -1)
        whole, found = self.probe.record(rows.tolist()), []
        for replica in range(len(self)):
            prefix = f"{replica}."
            mine = whole.select(f"{prefix}*")
            found.append(
                GradientFlow(
                    layers=tuple(x.model_copy(update={"name": x.name.removeprefix(prefix)}) for x in mine.layers),
                    missed=tuple(name.removeprefix(prefix) for name in mine.missed),
                    training=whole.training,
                )
            )
        return found

    # --- evaluation --------------------------------------------------------------------------------

    def evaluate(self, count: int) -> Tensor:
        """On the first ``count`` test images → [R, 2] on the device: summed loss and right answers."""
        if self._evaluation is not None and count == len(self.images.test_images):
            graph, sums = self._evaluation
            graph.replay()
            return sums
        total = torch.zeros(len(self), 2, device=self.images.device)
        chunks = zip(
            torch.split(self.images.test_images[:count], TEST_BATCH),
            torch.split(self.images.test_labels[:count], TEST_BATCH),
            strict=True,
        )
        with self.evaluating(), torch.no_grad(), self.autocast():
            for pixels, targets in chunks:
                inputs = normalise(pixels)
                for model, sums in zip(self.models, total, strict=True):
                    outputs = model(inputs)
                    loss = functional.cross_entropy(outputs.float(), targets, reduction="sum")
                    sums += torch.stack([loss, _correct(outputs, targets)])
        return total

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        self.models.eval()
        try:
            yield
        finally:
            self.models.train()

    def autocast(self) -> torch.autocast | nullcontext[None]:
        return torch.autocast(self.images.device.type, torch.bfloat16) if self._precision == "bf16" else nullcontext()

    # --- the step, recorded ------------------------------------------------------------------------

    def _measure(self, size: int) -> None:
        """A step whose figures go to its place in the epoch's."""
        row = self.step(size)
        if not len(self._measured):
            self._measured = row.new_empty(len(self.sizes), *row.shape)
        self._measured.index_copy_(0, self._steps, row[None])
        self._steps += 1

    def _prepare(self) -> None:
        """On a GPU, once: records a step for each size of batch, and the evaluation."""
        if self.images.device.type != "cuda" or self._graphs:
            return
        self.rehearse(_WARM_UP)
        count = len(self.images.test_images)
        with self._aside():
            self.evaluate(count)
        pool = torch.cuda.graph_pool_handle()
        evaluation = torch.cuda.CUDAGraph()
        with torch.cuda.graph(evaluation, pool, self._side):
            sums = self.evaluate(count)
        self._evaluation = evaluation, sums
        with self.probe:
            for size in sorted(set(self.sizes), reverse=True):
                self.optimizer.zero_grad()
                self._graphs[size] = torch.cuda.CUDAGraph()
                with torch.cuda.graph(self._graphs[size], pool, self._side):
                    self._measure(size)

    def rehearse(self, steps: int) -> None:
        """Trains ``steps`` steps of each size of batch and takes them back, generators excepted that no step uses: what
        libraries do at first is then done, and the optimizer's state is there."""
        before = {name: tensor.clone() for name, tensor in self.models.state_dict().items()}
        self._index.zero_()
        self._offsets.zero_()
        self._flips.zero_()
        with self._aside(), self.probe:
            for size in sorted(set(self.sizes), reverse=True):
                for _ in range(steps):
                    self._seen.zero_()
                    self._steps.zero_()
                    self._measure(size)
        self.models.load_state_dict(before)
        self.optimizer.zero_grad()
        for state in self.optimizer.state.values():
            for tensor in state.values():
                tensor.zero_()

    @contextmanager
    def _aside(self) -> Iterator[None]:
        """On a GPU what is within runs on the side stream, after what came before and before what comes then."""
        if self._side is None:
            yield
            return
        main = torch.cuda.current_stream(self.images.device)
        self._side.wait_stream(main)
        with torch.cuda.stream(self._side):
            yield
        main.wait_stream(self._side)

    def _forward(self, inputs: Sequence[Tensor], targets: Sequence[Tensor]) -> list[tuple[Tensor, Tensor]]:
        """Of each network the mean loss and the number of right answers, on a GPU side by side."""
        found = []
        for replica, (model, images, labels) in enumerate(zip(self.models, inputs, targets, strict=True)):
            stream = self._streams[replica % len(self._streams)] if self._streams else None
            if stream is not None:
                stream.wait_stream(torch.cuda.current_stream(self.images.device))
            with torch.cuda.stream(stream), self.autocast():
                outputs = model(images)
                found.append((functional.cross_entropy(outputs, labels), _correct(outputs, labels)))
        self._join_streams()
        return found

    def _join_streams(self) -> None:
        for stream in self._streams:
            torch.cuda.current_stream(self.images.device).wait_stream(stream)


def shape(cell: Cell) -> Cell:
    """What cells that can share a pack have in common."""
    return cell.model_copy(update={"activation": "relu", "seed": 0})


def generator(cell: Cell, purpose: str) -> torch.Generator:
    """The cell's own, on the CPU, one for each purpose, so that streams do not repeat each other's numbers."""
    digest = hashlib.sha256(f"{cell.seed} {purpose}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8]) >> 1)


def _network(cell: Cell, num_classes: int) -> DeepCNN:
    with _seeding, torch.random.fork_rng(devices=()):
        torch.default_generator.set_state(generator(cell, "weights").get_state())
        model = DeepCNN(cell.activation, cell.depth, cell.architecture, cell.norm, cell.init, num_classes)
    return model.pool_early()


def _stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


def _correct(outputs: Tensor, targets: Tensor) -> Tensor:
    return (outputs.argmax(1) == targets).sum().float()
