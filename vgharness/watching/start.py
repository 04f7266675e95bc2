"""Starts to watch a training: checks what it is given, before anything trains."""

from __future__ import annotations

import math
import os
import shlex
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.optimizer import Optimizer

from vgharness.errors import UsageError
from vgharness.formatting import escaped
from vgharness.probe.layers import LayerChoice, find_layers
from vgharness.records import TrainingLog, TrainingProblem, WatchedModel
from vgharness.storage.store import DEFAULT_ROOT, RunStore, check_name
from vgharness.system.environment import commit_of, describe
from vgharness.watching.reporting import Outlets, Reporter
from vgharness.watching.setting import Setting
from vgharness.watching.sink import Sink
from vgharness.watching.watch import Watch

Log = str | bool | Sink | None

_NAME: Final = "training"
_ON_PROBLEM: Final = ("warn", "raise")


def watch(
    model: nn.Module | Mapping[str, nn.Module],
    optimizer: Optimizer | Iterable[Optimizer] | None = None,
    *,
    every: int = 100,
    on_problem: Literal["warn", "raise"] | Callable[[TrainingProblem], object] | None = "warn",
    log: Log | Sequence[Log] = _NAME,
    layers: LayerChoice | None = None,
    parameters: bool = False,
    scaler: torch.amp.GradScaler | None = None,
    start: int = 0,
    storage: Path | str = DEFAULT_ROOT,
) -> Watch:
    """Watches a training, from here to the end of the ``with`` or to :meth:`Watch.close`; changes nothing in it.

    >>> with vgharness.watch(model, optimizer) as watching:
    ...     train(model, optimizer)
    >>> watching.problems

    At the first step and at every ``every``-th, gradients are measured layer by layer; at every step in between it is
    seen whether they are finite, and how large. The log is read by ``vgharness show``, ``report`` and ``compare``.

    model: what is trained, or several models by name.
    optimizer: one, or several; of those that train one model the first one's steps are counted. Without it, those that
        step the model's parameters are found as they step.
    every: how many steps lie between two snapshots.
    on_problem: ``"warn"`` with a :class:`TrainingProblemWarning`; ``"raise"`` a :class:`TrainingProblemError` where it
        is more than a warning; ``None`` for nothing; or a callable, which gets each :class:`TrainingProblem` when it
        begins and when it ends. It may raise :class:`TrainingProblemError`, which ends the training; any other
        exception of its own is said once.
    log: the name under which it is saved, ``None`` or ``False`` for nothing saved, a :class:`Sink`, or several of them.
    layers: names, patterns or types of the layers, as of :class:`GradientProbe`.
    parameters: whether each parameter is measured by itself too.
    scaler: that scales the loss, if one does.
    start: the number of the first step, of a training that goes on from a checkpoint.
    storage: the folder of saved runs.

    Raises :class:`~vgharness.errors.UsageError` for what cannot be watched.
    """
    _check_types(layers, parameters, storage)
    models = _models(model, layers)
    optimizers = _optimizers(optimizer, models)
    _check_numbers(every, start)
    if not (on_problem is None or callable(on_problem) or (isinstance(on_problem, str) and on_problem in _ON_PROBLEM)):
        raise UsageError(f"on_problem={_shown(on_problem)}: give 'warn', 'raise', a callable or None")
    setting = Setting(every, start, layers, parameters, _enabled(scaler), alone=len(models) == 1)
    name, sinks = _outlets(log)
    outlets = Outlets(name, RunStore(Path(storage).absolute()), sinks, on_problem, quiet=_is_not_first())
    reporter = Reporter(_head(models, every, start), outlets)
    return Watch({} if outlets.quiet else models, optimizers, setting, reporter)


def _models(model: Any, layers: LayerChoice | None) -> dict[str, nn.Module]:
    models = {name: _inner(own) for name, own in _by_name(model).items()}
    try:
        for own in models.values():
            find_layers(own, layers)
    except ValueError as error:
        raise UsageError(str(error)) from error
    return models


def _by_name(model: nn.Module | Mapping[str, nn.Module]) -> dict[str, nn.Module]:
    models = {"": model} if isinstance(model, nn.Module) else model
    if not isinstance(models, Mapping) or not models:
        raise UsageError(f"model: give an nn.Module, or several by name, not {type(model).__name__}")
    for name, own in models.items():
        if not isinstance(name, str) or not isinstance(own, nn.Module):
            raise UsageError(f"model {_shown(name)}: give an nn.Module by its name, not {type(own).__name__}")
    if len({id(own) for own in models.values()}) < len(models):
        raise UsageError("model: one model is given under two names; give each once")
    return dict(models)


def _inner(model: nn.Module) -> nn.Module:
    """The module whose layers run where hooks see them. Raises :class:`~vgharness.errors.UsageError`."""
    model = model.module if isinstance(model, DistributedDataParallel) else model
    for name, module in model.named_modules():
        if hasattr(module, "_orig_mod") or module._compiled_call_impl is not None:
            raise UsageError(
                f"{escaped(name) or 'this model'} is compiled, and what happens inside it cannot be watched: train it "
                "uncompiled while you watch (leave torch.compile out, or set TORCH_COMPILE_DISABLE=1)"
            )
    for name, parameter in model.named_parameters():
        if type(parameter.data).__name__ == "DTensor" or "FlatParameter" in type(parameter).__name__:
            raise UsageError(f"{escaped(name)} is sharded over processes (FSDP): watch a training on one, or with DDP")
    other = Watch.of(model)
    if other is not None:
        where = f" (its log: {other.path})" if other.path else ""
        raise UsageError(
            f"this model is watched already{where}: close that watch first, with its .close() or "
            "vgharness.Watch.of(model).close()"
        )
    return model


def _optimizers(given: Any, models: Mapping[str, nn.Module]) -> list[Optimizer]:
    if given is None:
        return []
    several = [given] if isinstance(given, Optimizer) or not isinstance(given, Iterable) else list(given)
    found = []
    for each in several:
        if not isinstance(each, Optimizer):
            raise UsageError(f"optimizer: give one of torch.optim, or several, not {type(each).__name__}")
        inside = getattr(each, "optimizer", None)  # of one that a framework has wrapped
        found.append(inside if isinstance(inside, Optimizer) else each)
    own = {id(parameter) for model in models.values() for parameter in model.parameters()}
    for each in found:
        if not any(id(parameter) in own for group in each.param_groups for parameter in group["params"]):
            raise UsageError(
                f"optimizer {type(each).__name__} has no parameter of the model: watch the model that it trains, or "
                "make it of model.parameters() (after a copy or a change of the model, once more)"
            )
    return found


def _enabled(scaler: Any) -> torch.amp.GradScaler | None:
    if scaler is not None and not isinstance(scaler, torch.amp.GradScaler):
        raise UsageError(f"scaler: give a torch.amp.GradScaler, not {type(scaler).__name__}")
    return scaler if scaler is not None and scaler.is_enabled() else None


def _check_types(layers: Any, parameters: Any, storage: Any) -> None:
    several = [layers] if isinstance(layers, str | type) else layers
    if several is not None and not (
        isinstance(several, list | tuple | set | frozenset) and all(isinstance(each, str | type) for each in several)
    ):
        raise UsageError(f"layers={_shown(layers)}: give a layer's name, a pattern or a type, or a list of these")
    if not isinstance(parameters, bool):
        raise UsageError(f"parameters={_shown(parameters)}: give True or False")
    if not isinstance(storage, str | os.PathLike):
        raise UsageError(f"storage={_shown(storage)}: give the path of a folder")


def _shown(value: object) -> str:
    return escaped(" ".join(repr(value).split()))[:60]


def _check_numbers(every: Any, start: Any) -> None:
    if isinstance(every, bool) or not isinstance(every, int) or every < 1:
        raise UsageError(f"every={_shown(every)}: give a whole number of steps, 1 or more")
    if isinstance(start, bool) or not isinstance(start, int) or start < 0:
        raise UsageError(f"start={_shown(start)}: give the number of the first step, 0 or more")


def _outlets(log: Any) -> tuple[str | None, tuple[Sink, ...]]:
    """The name in the store, and the sinks."""
    names: list[str] = []
    sinks: list[Sink] = []
    for each in log if isinstance(log, list | tuple) else [log]:
        if each is None or each is False:
            continue
        if isinstance(each, str) or each is True:
            names.append(_NAME if each is True else each)
        elif all(callable(getattr(each, name, None)) for name in ("snapshot", "problem", "close")):
            sinks.append(each)
        else:
            raise UsageError(f"log={_shown(each)}: give a name, None, or a sink with snapshot(), problem() and close()")
    if len(names) > 1:
        raise UsageError(f"log: two names, {names[0]!r} and {names[1]!r}: a training is saved once")
    for name in names:
        check_name(name)
    return (names[0] if names else None), tuple(sinks)


def _head(models: Mapping[str, nn.Module], every: int, start: int) -> TrainingLog:
    devices = [parameter.device for model in models.values() for parameter in model.parameters()]
    return TrainingLog(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        commit=commit_of(Path.cwd()),
        command=shlex.join(sys.argv) or "python",
        machine=describe(devices[0] if devices else torch.device("cpu")),
        every=every,
        first_step=start,
        models=tuple(
            WatchedModel(
                name=name,
                architecture=type(model).__name__,
                parameters=sum(math.prod(p.shape) for p in model.parameters() if p.requires_grad),
            )
            for name, model in models.items()
        ),
    )


def _is_not_first() -> bool:
    """Whether this is one of several processes that train together, and not the first."""
    several = torch.distributed.is_available() and torch.distributed.is_initialized()
    return several and torch.distributed.get_rank() != 0
