"""A model that stands in for one that trains, so that a pass can be repeated and the training not change."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed import get_world_size, is_available, is_initialized
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from vgharness.gradflow.randomness import GeneratorStates
from vgharness.probe.norms import tensors_in
from vgharness.watching.first_nan.forward_passes import ForwardPass, buffers_of

HOOKS = (
    "_forward_pre_hooks",
    "_forward_hooks",
    "_backward_pre_hooks",
    "_backward_hooks",
    "_state_dict_hooks",
    "_state_dict_pre_hooks",
    "_load_state_dict_pre_hooks",
    "_load_state_dict_post_hooks",
)


class CannotRepeatError(Exception):
    """Why a pass is not repeated, as the end of a sentence."""


def unwrapped(model: nn.Module) -> nn.Module:
    """The model inside what distributes or compiles it."""
    wrapped = isinstance(model, DistributedDataParallel | nn.DataParallel)
    inner = model.module if wrapped else getattr(model, "_orig_mod", None)
    return unwrapped(inner) if isinstance(inner, nn.Module) else model


@contextmanager
def standing_in(model: nn.Module, weights: Sequence[Tensor] | None) -> Iterator[nn.Module]:
    """A copy of ``model``, or where it cannot be copied the model itself, put back afterwards.

    weights: in the order of its parameters, where these are no longer those that are meant. Raises
    :class:`CannotRepeatError` for a model that cannot run on one process alone.
    """
    _refuse_what_is_shared_out(model)
    gpus = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()  # type: ignore[no-untyped-call]
    generators = GeneratorStates.now(tuple(gpus))
    try:
        try:
            copied = _copy(model, weights)
        except Exception:  # whatever a stranger's module holds that cannot be copied
            if is_distributed() or any(getattr(x, "_post_accumulate_grad_hooks", None) for x in model.parameters()):
                raise CannotRepeatError("the model cannot be copied, and its own gradients have hooks") from None
            with _put_back_later(model, weights):
                yield model
        else:
            yield copied
    finally:
        generators.put_back()


def set_state(model: nn.Module, given: ForwardPass) -> None:
    """Gives ``model`` the buffers and modes, and the generators the states, that there were before that pass."""
    if given.buffers is not None:
        with torch.no_grad():
            for buffer, before in zip(buffers_of(model), given.buffers, strict=True):
                buffer.copy_(before)
    for module, training in zip(model.modules(), given.modes, strict=True):
        module.training = training
    given.generators.put_back()


@contextmanager
def as_it_ran(given: ForwardPass) -> Iterator[None]:
    """Within, gradients are asked for and types are chosen as in that pass."""
    with ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")  # the training has heard them, or they are of the copy
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        # It would end the pass at the first NaN.
        stack.enter_context(torch.autograd.set_detect_anomaly(False))
        for autocast in given.autocasts:
            stack.enter_context(torch.autocast(autocast.device, autocast.dtype, enabled=autocast.enabled))
        yield


def _copy(model: nn.Module, weights: Sequence[Tensor] | None) -> nn.Module:
    memo: dict[int, Any] = {}
    for place, parameter in enumerate(model.parameters()):
        if weights is not None:  # no copy: these are not used by the training
            memo[id(parameter)] = nn.Parameter(weights[place], requires_grad=parameter.requires_grad)
    for module in model.modules():
        for value in list(vars(module).values()):
            # What a module kept of an earlier pass cannot be copied with its graph. Nor is what a hook belongs to.
            for tensor in tensors_in(value):
                if tensor.grad_fn is not None:
                    memo[id(tensor)] = tensor.detach()
        for name in HOOKS:
            hooks = getattr(module, name, None)
            if hooks:
                memo[id(hooks)] = type(hooks)((key, hook) for key, hook in hooks.items() if not is_ours(hook))
    copied = copy.deepcopy(model, memo)
    for module in copied.modules():
        for name in HOOKS:
            hooks = getattr(module, name, None) or {}
            for key, hook in hooks.items():
                if isinstance(hook, MethodType) and isinstance(memo.get(id(hook.__self__)), nn.Module):
                    hooks[key] = MethodType(hook.__func__, memo[id(hook.__self__)])
        if isinstance(module, nn.SyncBatchNorm):
            module.__class__ = _LocalBatchNorm  # type: ignore[assignment]  # the other processes do not repeat it
    return copied


def is_ours(hook: Any) -> bool:
    """Whether a hook looks at the training, and is no part of the model."""
    package = __name__.partition(".")[0]
    return any(type(x).__module__.partition(".")[0] == package for x in (hook, getattr(hook, "__self__", None)))


class _LocalBatchNorm(_BatchNorm):
    """What SyncBatchNorm is on one process."""

    def _check_input_dim(self, input: Tensor) -> None: ...


@contextmanager
def _put_back_later(model: nn.Module, weights: Sequence[Tensor] | None) -> Iterator[None]:
    parameters = list(model.parameters())
    gradients = [parameter.grad for parameter in parameters]
    own = [parameter.data for parameter in parameters]
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    attributes = [(module, dict(vars(module))) for module in model.modules()]
    try:
        for place, parameter in enumerate(parameters):
            parameter.grad = None
            # The weights themselves, for a forward pass may change them: their storage must not be the training's.
            parameter.data = own[place].clone() if weights is None else weights[place]
        yield
    finally:
        for module, before in attributes:
            vars(module).clear()
            vars(module).update(before)
        with torch.no_grad():
            for buffer, value in buffers:
                buffer.copy_(value)
        for parameter, gradient, data in zip(parameters, gradients, own, strict=True):
            parameter.data, parameter.grad = data, gradient


def _refuse_what_is_shared_out(model: nn.Module) -> None:
    if not is_distributed():
        return
    if any("FSDP" in type(module).__name__ or "FullySharded" in type(module).__name__ for module in model.modules()):
        raise CannotRepeatError("its weights are shared out over processes, and it cannot run on one alone")


def is_distributed() -> bool:
    """Whether several processes train together."""
    return is_available() and is_initialized() and get_world_size() > 1
