"""Trains a pack of cells by the published recipe and measures their gradients at every step.

What an epoch measures stays on the device until its end and then crosses to the host in one copy.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import cached_property, partial
from typing import Literal

import torch
from torch import Tensor, nn

from vgharness.data.on_device import DeviceImages
from vgharness.formatting import count
from vgharness.precision import autocast
from vgharness.records import Cell, CellResult, Epoch, GradientFlow, LayerPrediction, MomentErrors, Precision
from vgharness.storage.checkpoints import Checkpoint
from vgharness.training.callback import Callback
from vgharness.training.checkpoint import CheckpointError, restore, state_of
from vgharness.training.evaluation import evaluation_mode
from vgharness.training.first_batch import FirstBatch
from vgharness.training.network_facts import Heatmap, facts_of, heatmap_of
from vgharness.training.optimizer import learning_rate_at, set_learning_rate
from vgharness.training.pack import Pack
from vgharness.training.values import to_host


class NetworkTraining:
    """The training of one network of a pack: what was found of it so far. Its fields are those of the
    :class:`~vgharness.records.CellResult` that it ends as.

    cell: what is trained.
    model: the network.
    facts: what it was before it trained.
    numerics: the gradients' errors on its first batch, at the moments that it has come to.
    predictions: theory's word on its gradients there, at initialisation.
    initial: the flow of its first training batch; ``None`` until that is trained on.
    epochs: those that were finished.
    heatmap: after the last epoch; ``None`` before.
    status: ``running`` until it ends.
    reason: why it ended early; empty: it did not.
    """

    def __init__(self, cell: Cell, model: nn.Module, images: DeviceImages, precision: Precision) -> None:
        self.cell, self.model, self.facts = cell, model, facts_of(model, images, own=cell.own is not None)
        self._images, self._precision = images, precision
        self.numerics: list[MomentErrors] = []
        self.predictions: tuple[LayerPrediction, ...] = ()
        self.initial: GradientFlow | None = None
        self.epochs: list[Epoch] = []
        self.heatmap: Heatmap | None = None
        self.status: Literal["running", "finished", "diverged", "interrupted"] = "running"
        self.reason = ""
        self._earlier_seconds = 0.0  # of the process that it goes on from

    def go_on_from(self, result: CellResult) -> None:
        """Takes what an earlier process found of it. Raises ``ValueError`` where that began from other weights."""
        if result.initial_weights_sha256 != self.facts.weights_sha256:
            raise ValueError("it began from other weights")
        self.numerics, self.epochs = list(result.numerics), list(result.epochs)
        self.predictions, self.initial = result.predictions, result.initial
        self._earlier_seconds = result.seconds

    @cached_property
    def _first_batch(self) -> FirstBatch:
        return FirstBatch(self.cell, self._images, self._precision)

    @property
    def diverged(self) -> bool:
        """Whether it trains no more because a loss was not finite."""
        return self.status == "diverged"

    def measure_first_batch(self) -> None:
        """Measures gradients on the first batch with the weights as they are now, unless the training has diverged."""
        if self.diverged:
            return
        if self.epochs:
            errors = self._first_batch.errors(self.model, len(self.epochs))
        else:
            errors, self.predictions = self._first_batch.at_initialisation(self.model)
        self.numerics += [errors] if errors else []

    def end_if_not_finite(self) -> None:
        """Ends the training as diverged if a loss of the last epoch was not finite."""
        last = self.epochs[-1]
        if last.train_loss is None or last.test_loss is None:
            self.status, self.reason = "diverged", f"the loss of epoch {last.epoch} is not finite"

    def finish(self) -> None:
        """Ends the training, unless it has diverged."""
        if not self.diverged:
            self.status = "finished"

    def interrupt(self) -> None:
        """Ends the training as interrupted, with the epochs that were finished."""
        begun = len(self.epochs) + 1
        where = f"in epoch {begun}" if begun <= self.cell.epochs else "after the last epoch"
        self.status, self.reason = "interrupted", f"interrupted {where}"

    def if_interrupted(self, seconds: float) -> CellResult:
        """Makes the record of what there is if nothing more comes; ``seconds`` as in :meth:`result`."""
        before = self.status, self.reason
        if not self.diverged:
            self.interrupt()
        found = self.result(seconds)
        self.status, self.reason = before
        return found

    def result(self, seconds: float) -> CellResult:
        """Makes the record of all that there is so far; ``seconds``: how long its pack has trained in this process."""
        return CellResult(
            cell=self.cell,
            status=self.status,
            reason=self.reason,
            parameters=self.facts.parameters,
            layers=self.facts.layers,
            initial_weights_sha256=self.facts.weights_sha256,
            initial=self.initial,
            numerics=tuple(self.numerics),
            predictions=self.predictions,
            epochs=tuple(self.epochs),
            heatmap=self.heatmap,
            seconds=self._earlier_seconds + seconds,
        )


def train_pack(
    cells: Sequence[Cell],
    images: DeviceImages,
    precision: Precision,
    callback: Callback | None = None,
    checkpoints: Sequence[Checkpoint] = (),
) -> tuple[CellResult, ...]:
    """Trains ``cells``, alike but for activation and seed, and gives their results, in their order.

    ``checkpoints``: what each of them goes on from, all after the same epoch; none: they begin. Raises
    :class:`~vgharness.training.checkpoint.CheckpointError` where one is of another network.

    Each trains to its end, to its divergence (a loss that is not finite), or to Ctrl-C, which ends all that train as
    ``interrupted`` and is not raised. Float32 on a GPU is computed as the caller has set it by
    :func:`~vgharness.precision.float32_precision`, for that is the whole process's and packs train beside each other.
    """
    started = time.perf_counter()
    pack = Pack(cells, images, precision)
    networks = [NetworkTraining(cell, model, images, precision) for cell, model in zip(cells, pack.models, strict=True)]
    for number, (network, checkpoint) in enumerate(zip(networks, checkpoints, strict=bool(checkpoints))):
        _go_on(pack, number, network, checkpoint)
    try:
        _train(pack, networks, callback or Callback(), started)
        for network in networks:
            network.finish()
    except KeyboardInterrupt:
        for network in networks:
            if not network.diverged:
                network.interrupt()
    seconds = time.perf_counter() - started
    return tuple(network.result(seconds) for network in networks)


def _go_on(pack: Pack, number: int, network: NetworkTraining, checkpoint: Checkpoint) -> None:
    restore(pack, number, checkpoint.state)
    try:
        network.go_on_from(checkpoint.result)
    except ValueError as error:
        raise CheckpointError(number, str(error)) from error


def _train(pack: Pack, networks: Sequence[NetworkTraining], callback: Callback, started: float) -> None:
    """Trains the pack to its end and notes in ``networks``, one for each of its networks, what is found; ``started``:
    when."""

    def advanced(those: Sequence[NetworkTraining]) -> None:
        for network in those:
            callback.cell_advanced(network.result(time.perf_counter() - started))

    def keep(those: Sequence[NetworkTraining]) -> None:
        seconds = time.perf_counter() - started
        for number, network in enumerate(networks):
            if network in those:
                callback.checkpoint(network.if_interrupted(seconds), partial(state_of, pack, number))

    def measure_first_batches() -> None:
        for network in networks:
            callback.waiting()  # it may take seconds, in which Ctrl-C is to be heard
            network.measure_first_batch()

    done = len(networks[0].epochs)
    if not done:
        measure_first_batches()
        advanced(networks)
    if not pack.cell.epochs:
        for network, flow in zip(networks, _initial_flows(pack), strict=True):
            network.initial = flow
        return
    if why := pack.prepare(callback.waiting):  # before the clock of the first epoch
        callback.warned(f"{count(len(networks), 'network')}: no CUDA graph, so training takes longer ({why})")
    for number in range(done + 1, pack.cell.epochs + 1):
        training = [network for network in networks if not network.diverged]
        _train_epoch(pack, number, networks, callback)
        if number in (1, pack.cell.epochs):  # the moments that claims speak of
            measure_first_batches()
        keep(training)
        advanced(training)
        if all(network.diverged for network in networks):
            return
    with evaluation_mode(pack.models), autocast(pack.precision, pack.images.device):
        for network in networks:
            if not network.diverged and network.cell.own is None:
                network.heatmap = heatmap_of(network.model, pack.images)


def _initial_flows(pack: Pack) -> list[GradientFlow]:
    """Measures each network's flow on its first training batch. The step changes the weights, so nothing more is to be
    measured of the pack."""
    pack.batches.shuffle()
    with pack.probe:
        return pack.flows(pack.step(pack.batches.sizes[0]).gradients.double())


def _train_epoch(pack: Pack, number: int, networks: Sequence[NetworkTraining], callback: Callback) -> None:
    """Trains and tests for one epoch and adds it to the networks that have not diverged; the first epoch gives their
    initial flow too."""
    started = time.perf_counter()
    sizes, test_count = pack.batches.sizes, pack.images.test_count
    training = {i: network for i, network in enumerate(networks) if not network.diverged}

    def step_done(step: int) -> None:
        for i, network in training.items():
            if pack.images.device.type == "cpu":
                callback.step_measured(network.cell, partial(pack.so_far, i, step))
            callback.step_done(network.cell, number, step, len(sizes))

    set_learning_rate(pack.optimizer, learning_rate_at(pack.cell, number))
    steps, tested = to_host(pack.epoch(step_done), pack.evaluate(test_count))
    seconds = time.perf_counter() - started

    by_network = [steps.of_network(i) for i in range(len(pack))]
    if number == 1:
        for network, flow in zip(networks, pack.flows(steps.gradients[0]), strict=True):
            network.initial = flow
    flows = pack.flows(torch.stack([own.gradients.mean(0) for own in by_network]))
    images_per_step = torch.tensor(sizes, dtype=torch.float64)
    images = images_per_step.sum()
    for i, network in training.items():
        epoch = Epoch(
            epoch=number,
            train_loss=float((by_network[i].losses * images_per_step).sum() / images),
            train_accuracy=_percent(by_network[i].correct.sum() / images),
            test_loss=float(tested.losses[i]) / test_count,
            test_accuracy=_percent(tested.correct[i] / test_count),
            seconds=seconds,
            flow=flows[i],
        )
        network.epochs.append(epoch)
        callback.epoch_done(network.cell, epoch)
        network.end_if_not_finite()


def _percent(share: Tensor) -> float | None:
    """``None`` where nothing is right or wrong, of targets that are no classes."""
    return None if share.isnan() else 100 * float(share)
