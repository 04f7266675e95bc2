"""A pack: cells of one shape that train side by side on one device, as one step of all their networks.

What a step needs lies on the device before the epoch begins, and what it measures stays there until the epoch's end:
a step is the same work every time. On a GPU it is therefore recorded once as a CUDA graph, one for each size of batch
and one for the evaluation, and launched as a whole, and networks compute on streams of their own. On a CPU the same
code runs without graphs and streams.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property, partial

import torch
from torch import Tensor, nn

from vgharness.data.on_device import DeviceImages
from vgharness.models import DeepCNN
from vgharness.precision import autocast
from vgharness.probe.probe import GradientProbe
from vgharness.records import TRAINED_ACTIVATIONS, Cell, GradientFlow, Precision
from vgharness.system.device import LAYOUT
from vgharness.training.cuda_graph import WARM_UP, Recorded, Recorder
from vgharness.training.cuda_streams import Launches, NetworkStreams
from vgharness.training.evaluation import evaluate
from vgharness.training.optimizer import make_optimizer
from vgharness.training.own_network import count_correct, make_network, mean_loss
from vgharness.training.randomness import Batch, Batches, drawing_from, generator
from vgharness.training.values import EpochBuffer, EvaluationValues, StepValues


class Pack:
    """The networks of R cells, with one optimizer and one probe for all; each network's losses and gradients are its
    own, as if it trained alone.

    Convolutions and matrix products in float32 follow :func:`~vgharness.precision.float32_precision`, which is the
    caller's to enter: it is the whole process's.

    cell: one of the cells, for what they have in common.
    images: what the networks train on and are tested on, on the device.
    precision: of the arithmetic.
    models: the networks, in the order of the cells.
    optimizer: of all their parameters.
    probe: of all their layers.
    batches: of an epoch, for all networks.
    """

    def __init__(self, cells: Sequence[Cell], images: DeviceImages, precision: Precision) -> None:
        """Makes the networks at their initial weights. Raises ``ValueError`` for cells that cannot share
        a pack, by their :func:`pack_key`."""
        if len({pack_key(cell) for cell in cells}) != 1:
            raise ValueError("the cells of a pack differ in activation and seed alone; trained ones are apart")
        self.cell, self.images, self.precision = cells[0], images, precision
        device = images.device
        self.models = nn.ModuleList(initial_network(cell, images) for cell in cells)
        self.optimizer = make_optimizer(self.cell, self.models.parameters(), device)
        self._loss = mean_loss(self.cell)
        self.probe = GradientProbe(self.models)
        self.batches = Batches(cells, images)
        self._measured = EpochBuffer(len(self.batches.sizes), device)
        self._streams = NetworkStreams(device, len(cells))
        self._launches = Launches(device)
        self._recorder = Recorder(device)
        self._prepared = False
        self._recorded_steps: dict[int, Recorded[None]] = {}  # by size of batch
        self._recorded_evaluation: Recorded[EvaluationValues] | None = None  # on all test images

    def __len__(self) -> int:
        """The number R of networks."""
        return len(self.models)

    # --- training ----------------------------------------------------------------------------------

    def epoch(self, step_done: Callable[[int], None]) -> StepValues:
        """Trains an epoch and gives what its steps measured, on the device: a buffer that the next epoch fills anew.

        ``step_done`` is called with the number of each step, from 1, once it is done; on a GPU once it is launched, at
        most some steps before that.
        """
        self.prepare()
        self.batches.shuffle()
        self._measured.rewind()
        with self.probe:
            for number, size in enumerate(self.batches.sizes, 1):
                if size in self._recorded_steps:
                    self._recorded_steps[size].replay()
                else:
                    self._measure_step(size)
                self._launches.launched()
                step_done(number)
        return self._measured.values

    def so_far(self, number: int, steps: int) -> tuple[float, float]:
        """Reads a network's mean training loss, and its percentage of right answers, over the epoch's first ``steps``
        steps. On a GPU that waits for them."""
        values, sizes = self._measured.values, torch.tensor(self.batches.sizes[:steps])
        images = sizes.sum()
        loss = (values.losses[:steps, number] * sizes).sum() / images
        return float(loss), float(100 * values.correct[:steps, number].sum() / images)

    def step(self, size: int) -> StepValues:
        """Makes one optimizer step on the next batch, of ``size`` images, and gives what it measured, on the device;
        gradients, losses and right answers are of before the update. Enter the probe around it."""
        batch = self.batches.take(size)
        self.optimizer.zero_grad()
        with self._drawing():
            losses, correct = self._forward(batch)
            torch.stack(losses).sum().backward()  # type: ignore[no-untyped-call]
            self._streams.join()
            self.optimizer.step()
        gradients = self.probe.read().view(len(self), -1)
        return StepValues.join(gradients, torch.stack(losses).detach(), torch.stack(correct))

    def rehearse(self, steps: int) -> None:
        """Trains ``steps`` steps for each size of batch and takes back what they did to networks and optimizer.

        Afterwards what libraries do the first time is done, and the optimizer's state is allocated. No generator is
        used: the batches are of the order drawn last.
        """
        before = {name: tensor.clone() for name, tensor in self.models.state_dict().items()}
        # There is some where it goes on from a checkpoint.
        state_before = {parameter: copy.deepcopy(state) for parameter, state in self.optimizer.state.items()}
        with self._recorder.aside(), self.probe:
            for size in self._distinct_sizes():
                for _ in range(steps):
                    self.batches.rewind()
                    self._measured.rewind()
                    self._measure_step(size)
        self.models.load_state_dict(before)
        self.optimizer.zero_grad()
        for parameter, state in self.optimizer.state.items():
            for name, value in state.items():
                if parameter in state_before and isinstance(value, Tensor):
                    value.copy_(state_before[parameter][name])
                elif isinstance(value, Tensor):
                    value.zero_()

    def flows(self, gradients: Tensor) -> list[GradientFlow]:
        """Makes each network's flow from ``gradients`` [R, rows · columns]: those of a step, or means over several
        steps, on the host."""
        rows = gradients.reshape(len(self.probe.layers), -1)
        whole = self.probe.record(rows.tolist())
        return [_without_prefix(whole, f"{number}.") for number in range(len(self))]

    # --- evaluation --------------------------------------------------------------------------------

    def evaluate(self, count: int) -> EvaluationValues:
        """Tests the networks on the first ``count`` test images and gives their losses and right answers, on the
        device."""
        if self._recorded_evaluation is not None and count == self.images.test_count:
            return self._recorded_evaluation.replay()
        return evaluate(self.models, self.cell, self._loss, self.images, self.precision, count)

    # --- the parts of a step, and their recording --------------------------------------------------

    def prepare(self, pause: Callable[[], None] = lambda: None) -> str:
        """On a GPU, the first time: records a step for each size of batch, and the evaluation. Until the first epoch
        that takes seconds, which are no epoch's.

        ``pause`` is called between its parts, and may raise. Gives why nothing could be recorded; steps are then
        launched operation by operation, which takes longer; empty: it could, or was not to be.
        """
        # What a user's own network does may differ from step to step, or wait for the GPU: it is not recorded.
        if self._prepared or not self._recorder.can_record or self.cell.own is not None:
            return ""
        self._prepared = True
        pause()
        self.rehearse(WARM_UP)
        pause()
        try:
            self._record(pause)
        except RuntimeError as error:  # out of memory for one: a recording has its own, beside the rehearsal's
            self._recorded_steps.clear()
            self._recorded_evaluation = None
            self.optimizer.zero_grad()  # what the recording allocated
            return f"{type(error).__name__}: {error}".partition("\n")[0]
        return ""

    def _record(self, pause: Callable[[], None]) -> None:
        evaluate_all = partial(
            evaluate, self.models, self.cell, self._loss, self.images, self.precision, self.images.test_count
        )
        with self._recorder.aside():
            evaluate_all()
        join = self._streams.join_recorded
        self._recorded_evaluation = self._recorder.record(evaluate_all, join)
        with self.probe:
            for size in self._distinct_sizes():
                pause()
                self.optimizer.zero_grad()  # the recording then allocates gradients in its own memory
                self._recorded_steps[size] = self._recorder.record(partial(self._measure_step, size), join)

    @contextmanager
    def _drawing(self) -> Iterator[None]:
        """Within, what a user's own network draws on the CPU comes from the cell's own generator. Networks that train
        beside it wait where it draws at all: PyTorch has one generator for the whole process."""
        if self.cell.own is None or not self._draws:
            yield
            return
        with drawing_from(self.batches.drawn[0]):
            yield

    @cached_property
    def _draws(self) -> bool:
        """Whether a forward pass of a user's own network draws random numbers, by a trial on a copy."""
        model = copy.deepcopy(self.models[0])
        inputs, _ = next(self.images.test_batches(2, 2))
        trial = torch.Generator()
        before = trial.get_state()
        with drawing_from(trial), torch.no_grad():
            model(inputs)
        return not torch.equal(before, trial.get_state())

    def _distinct_sizes(self) -> list[int]:
        return sorted(set(self.batches.sizes), reverse=True)

    def _measure_step(self, size: int) -> None:
        self._measured.add(self.step(size))

    def _forward(self, batch: Batch) -> tuple[list[Tensor], list[Tensor]]:
        """Runs the networks, on a GPU side by side, and gives the mean loss and the number of right answers of each,
        scalars in the memory of its stream."""
        losses, correct = [], []
        for number, (model, images, labels) in enumerate(zip(self.models, *batch, strict=True)):
            with self._streams.of_network(number), autocast(self.precision, self.images.device):
                outputs = model(images)
                losses.append(self._loss(outputs, labels))
                correct.append(count_correct(self.cell, outputs, labels))
        self._streams.join()
        return losses, correct


def pack_key(cell: Cell) -> Hashable:
    """What cells must have in common to share a pack: the values of every field but activation and seed, and whether
    their activations are layers of their own. A user's own network trains alone."""
    if cell.own is not None:
        return cell
    return (
        cell.activation in TRAINED_ACTIVATIONS,
        *(value for field, value in cell if field not in ("activation", "seed")),
    )


def initial_network(cell: Cell, images: DeviceImages) -> nn.Module:
    """Makes the cell's network for the classes of ``images``, on their device. Its weights are drawn on the CPU, from
    the cell's own generator."""
    with drawing_from(generator(cell, "weights")):
        if cell.own is not None:
            return make_network(cell, images.num_classes).to(images.device)
        model = DeepCNN(cell.activation, cell.depth, cell.pools, cell.norm, cell.init, images.num_classes, cell.width)
    return model.pool_early().to(images.device, memory_format=LAYOUT)  # type: ignore[call-overload, no-any-return]


def _without_prefix(whole: GradientFlow, prefix: str) -> GradientFlow:
    """The flow of the layers whose name begins with ``prefix``, under their names without it."""
    own = whole.select(f"{prefix}*")
    return GradientFlow(
        layers=tuple(x.model_copy(update={"name": x.name.removeprefix(prefix)}) for x in own.layers),
        missed=tuple(name.removeprefix(prefix) for name in own.missed),
        training=own.training,
    )
