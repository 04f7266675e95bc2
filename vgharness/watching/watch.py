"""The watch around a training: notices its steps, and ends with it."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import nn
from torch.optim.optimizer import Optimizer

from vgharness.errors import UsageError
from vgharness.formatting import count, in_one_line, listing
from vgharness.probe.hooks import subscribe, unsubscribe
from vgharness.records import TrainingLog, TrainingProblem, TrainingStatus
from vgharness.watching.losses import Loss, numbers_of
from vgharness.watching.model_watch import ModelWatch
from vgharness.watching.notices import TrainingProblemError
from vgharness.watching.reporting import Reporter
from vgharness.watching.setting import Setting

# Of one optimizer of a model of the same shape, after which it is taken for a copy that is trained instead.
_FOREIGN_STEPS = 10
_STEPS_OF_OTHERS = 1000  # after which a model beside them that has taken none is said not to be trained
# The models hold their watch, and nothing else does: it goes when they do.
_open: list[weakref.ref[Watch]] = []


def _all_open() -> list[Watch]:
    return [watch for ref in _open if (watch := ref()) is not None]


class Watch:
    """What :func:`vgharness.watch` gives: it watches from then on, until :meth:`close` or the end of its ``with``.

    Where neither comes, the log is closed when the model is there no more, or when the process ends; one that is killed
    leaves a log that can be read.
    """

    def __init__(
        self, models: Mapping[str, nn.Module], optimizers: Sequence[Optimizer], setting: Setting, reporter: Reporter
    ) -> None:
        self._reporter = reporter
        self._parts = [
            ModelWatch(name, model, [x for x in optimizers if _owns(x, model)], setting, reporter)
            for name, model in models.items()
        ]
        self._owners: weakref.WeakKeyDictionary[Optimizer, tuple[int, list[ModelWatch]]] = weakref.WeakKeyDictionary()
        # Steps of models of the same shape since the last one of these, in the same thread.
        self._foreign: weakref.WeakKeyDictionary[Optimizer, int] = weakref.WeakKeyDictionary()
        self._thread = threading.get_ident()
        self._closed = self._stopped = False
        self._process = os.getpid()
        self._observer = _Steps(self)
        self._open()

    def _open(self) -> None:
        for part in self._parts:
            part.kept_by = self
            part.open()
        subscribe(self._observer, forwards=False, steps=True)
        _open.append(weakref.ref(self))
        try:
            self._settle()
        except Warning:  # where warnings are errors
            self.close("failed")
            raise

    # --- what the user calls ---------------------------------------------------------------------------

    def step(self, loss: Loss | Mapping[str, Loss] | None = None) -> None:
        """To be called after each step, or never: gives the ``loss``, of several models a number for all or a mapping,
        and takes what has arrived. Of several losses between two steps the mean counts.

        Steps are noticed by themselves; only of an optimizer that is none of PyTorch's, one is counted here.

        Raises :class:`~vgharness.errors.UsageError` after :meth:`close`, and :class:`~vgharness.TrainingProblemError`
        as ``on_problem`` says.
        """
        if self._closed:
            raise UsageError("this watch is closed: call step() before close(), or make another watch")
        losses = numbers_of(loss, self._parts)
        self._act(lambda: self._step(losses))

    def before_step(self, optimizer: Optimizer) -> None:
        """For frameworks whose optimizers run forward and backward passes inside their step: gradients are complete,
        and the weights have not changed."""
        self._act(lambda: self._each_of(optimizer, ModelWatch.announce))

    def after_step(self, optimizer: Optimizer) -> None:
        """For the same: the step is over, or was left out by a scaler."""
        self._act(lambda: self._each_of(optimizer, ModelWatch.conclude))

    def close(self, status: TrainingStatus = "finished") -> None:
        """Takes what is left, and closes the log. Does nothing the second time.

        Raises :class:`~vgharness.TrainingProblemError` as ``on_problem`` says, where ``status`` is ``finished``.
        """
        if self._closed:
            return
        if status == "finished" and not self._stopped:
            self._say_what_was_not_trained()
        for part in self._parts:
            self._guarded(part.close)
            self._reporter.look_for_births(part)
        self._leave()
        problem = None
        try:
            problem = self._reporter.settle(raising=status == "finished")
        finally:
            self._end("failed" if problem is not None else status)
        if problem is not None:
            raise TrainingProblemError(problem)

    @property
    def log(self) -> TrainingLog:
        """What there is so far."""
        self._reporter.count_steps({part.name: part.steps for part in self._parts})
        return self._reporter.log

    @property
    def problems(self) -> tuple[TrainingProblem, ...]:
        """In the order in which they began."""
        return self._reporter.problems

    @property
    def path(self) -> Path | None:
        """The log's file; ``None`` where nothing is saved."""
        return self._reporter.path

    @classmethod
    def of(cls, model: nn.Module) -> Watch | None:
        """The one that is open on ``model``, if there is one."""
        return next((watch for watch in _all_open() if any(x is model for x in watch.models.values())), None)

    @property
    def models(self) -> dict[str, nn.Module]:
        """By name; of a single one the name is empty."""
        return {part.name: part.model for part in self._parts}

    def __enter__(self) -> Watch:
        if self._closed:
            raise UsageError("this watch is closed: make another one with vgharness.watch")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close(_status_of(error))

    def __repr__(self) -> str:
        of = listing(f"{part.name or type(part.model).__name__} at step {part.step:,}" for part in self._parts)
        end = ", closed" if self._closed else ""
        return f"<Watch of {of or 'nothing'}: {count(len(self.problems), 'problem')}{end}>"

    def __del__(self) -> None:
        """The models are there no more: their training is over."""
        with contextlib.suppress(Exception):  # there is nobody to be told
            if not self._closed and self._process == os.getpid():
                self.close()

    def __deepcopy__(self, memo: dict[int, Any]) -> Watch:
        """What holds a watch may be copied; it stays the one of its training."""
        return self

    # --- what the hooks call ---------------------------------------------------------------------------

    def _entered(self, optimizer: Optimizer, *, closure: bool) -> None:
        self._act(lambda: self._enter(optimizer, closure=closure))

    def _left(self, optimizer: Optimizer) -> None:
        if not _in_backward_pass():
            self._act(lambda: self._each_of(optimizer, ModelWatch.leave_step))

    # --- inside ----------------------------------------------------------------------------------------

    def _enter(self, optimizer: Optimizer, *, closure: bool) -> None:
        if _in_backward_pass():
            self._reporter.note("an optimizer steps inside the backward pass: such steps are not watched")
            return
        own = self._of(optimizer)
        for part in own:
            part.enter_step(optimizer, closure=closure)
        if any(part.steps == _STEPS_OF_OTHERS for part in own):
            self._say_what_was_not_trained()
        if own:
            self._foreign.clear()
            self._thread = threading.get_ident()
        elif threading.get_ident() == self._thread:
            self._enter_foreign(optimizer)

    def _enter_foreign(self, optimizer: Optimizer) -> None:
        """Members of an ensemble are of the same shape, and step by turns, or are watched too."""
        steps = self._foreign.get(optimizer, 0) + 1
        if steps > _FOREIGN_STEPS or not any(part.resembles(optimizer) for part in self._parts):
            return
        self._foreign[optimizer] = steps
        watched = any(watch._of(optimizer) for watch in _all_open())
        if steps == _FOREIGN_STEPS and not watched:
            self._reporter.note(
                f"the last {_FOREIGN_STEPS} optimizer steps were of a model of the same shape that is not watched: if "
                "the model was copied or swapped, watch the one that is trained"
            )

    def _say_what_was_not_trained(self) -> None:
        for part in self._parts:
            if not (part.steps or part.begun) and any(x.requires_grad for x in part.model.parameters()):
                which = f"model {part.name}" if part.name else "the model"
                self._reporter.note(
                    f"no step of {which} was seen: is its optimizer made of its own parameters, or was a copy trained? "
                    "Give watch the one that is trained, and call .step() after each step of an optimizer that is none "
                    "of PyTorch's"
                )

    def _each_of(self, optimizer: Optimizer, what: Callable[[ModelWatch, Optimizer], None]) -> None:
        for part in self._of(optimizer):
            what(part, optimizer)

    def _step(self, losses: Mapping[str, float | None]) -> None:
        for part in self._parts:
            loss = losses[part.name]
            if loss is not None:
                part.losses.append(loss)
            if part.called and not part.step_of_ones_own():
                continue  # a micro-batch, whose step is still to come
            part.called = True
            part.take_losses()
            part.drain()
            part.tell()

    def _act(self, what: Callable[[], object]) -> None:
        """Nothing that goes wrong in watching ends the training; what is to end it does."""
        if self._closed or self._stopped or os.getpid() != self._process:
            return
        self._guarded(what)
        for part in self._parts:
            self._reporter.look_for_births(part)
        self._settle()

    def _settle(self) -> None:
        problem = self._reporter.settle()
        if problem is not None:
            self._end_for(problem)

    def _end_for(self, problem: TrainingProblem) -> None:
        for part in self._parts:
            self._guarded(part.close)
        self._leave()
        try:
            self._reporter.settle(raising=False)
        finally:
            self._end("failed")
        raise TrainingProblemError(problem)

    def _guarded(self, what: Callable[[], object]) -> None:
        try:
            what()
        except Exception as error:
            if not self._stopped:
                self._stopped = True
                self._reporter.note(f"the watching has stopped, the training goes on: {in_one_line(error)}")
                for part in self._parts:
                    self._guarded(part.rest)
                self._leave()

    def _of(self, optimizer: Optimizer) -> list[ModelWatch]:
        """The models that it has parameters of."""
        version = sum(len(group["params"]) for group in optimizer.param_groups) + sum(x.changes for x in self._parts)
        known = self._owners.get(optimizer)
        if known is None or known[0] != version:
            known = version, [part for part in self._parts if _owns(optimizer, part.model)]
            self._owners[optimizer] = known
        return known[1]

    def _leave(self) -> None:
        unsubscribe(self._observer)
        _open[:] = [ref for ref in _open if ref() is not self]

    def _end(self, status: TrainingStatus) -> None:
        self._closed = True
        self._reporter.close(status, {part.name: part.steps for part in self._parts})


class _Steps:
    """Observes optimizer steps for a watch, whose own methods of these names are for frameworks."""

    def __init__(self, watch: Watch) -> None:
        self._watch = weakref.ref(watch)

    def before_step(self, optimizer: Optimizer, *, closure: bool) -> None:
        watch = self._watch()
        if watch is not None:
            watch._entered(optimizer, closure=closure)

    def after_step(self, optimizer: Optimizer) -> None:
        watch = self._watch()
        if watch is not None:
            watch._left(optimizer)

    def before_forward(self, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        """Not subscribed to."""

    def after_forward(self, module: nn.Module, inputs: tuple[Any, ...], keywords: dict[str, Any], output: Any) -> None:
        """Not subscribed to."""


def _in_backward_pass() -> bool:
    return torch._C._current_graph_task_id() != -1


def _owns(optimizer: Optimizer, model: nn.Module) -> bool:
    own = {id(parameter) for parameter in model.parameters()}
    return any(id(parameter) in own for group in optimizer.param_groups for parameter in group["params"])


def _status_of(error: BaseException | None) -> TrainingStatus:
    if error is None:
        return "finished"
    return "failed" if isinstance(error, Exception) else "interrupted"


@atexit.register
def _close_all() -> None:
    """When the process ends; the interpreter keeps the exception that ended it."""
    for watch in _all_open():
        if watch._process == os.getpid():
            watch.close(_status_of(getattr(sys, "last_exc", None) or getattr(sys, "last_value", None)))
