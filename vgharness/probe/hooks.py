"""PyTorch's global hooks, shared by all probes of the process.

PyTorch iterates over its registries while the hooks in them run, so that a hook which one thread sets or removes can
raise in another that trains. Here there is one of each kind as long as anybody listens; those who do stand in a tuple
that is only ever replaced as a whole.
"""

from __future__ import annotations

import threading
from typing import Any, Protocol

from torch import nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.optim.optimizer import (
    Optimizer,
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)
from torch.utils.hooks import RemovableHandle


class Listener(Protocol):
    """What is told of every module and every optimizer of the process."""

    def before_forward(self, module: nn.Module, inputs: tuple[Any, ...]) -> None: ...

    def after_forward(self, module: nn.Module, output: Any) -> None: ...

    def before_step(self, optimizer: Optimizer) -> None: ...

    def after_step(self, optimizer: Optimizer) -> None: ...


_lock = threading.Lock()
_listeners: tuple[Listener, ...] = ()
_handles: list[RemovableHandle] = []


def listen(listener: Listener) -> None:
    """From here on ``listener`` is told."""
    global _listeners
    with _lock:
        if not _listeners:
            _handles.extend((
                register_module_forward_pre_hook(_before_forward),
                register_module_forward_hook(_after_forward),
                register_optimizer_step_pre_hook(_before_step),
                register_optimizer_step_post_hook(_after_step),
            ))  # fmt: skip
        _listeners = (*_listeners, listener)


def leave(listener: Listener) -> None:
    """From here on it is not; with the last one the hooks go."""
    global _listeners
    with _lock:
        _listeners = tuple(each for each in _listeners if each is not listener)
        if not _listeners:
            while _handles:
                _handles.pop().remove()


# Each returns None, always: anything else would replace what the module is given or puts out.


def _before_forward(module: nn.Module, inputs: tuple[Any, ...]) -> None:
    for listener in _listeners:
        listener.before_forward(module, inputs)


def _after_forward(module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
    for listener in _listeners:
        listener.after_forward(module, output)


def _before_step(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
    for listener in _listeners:
        listener.before_step(optimizer)


def _after_step(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
    for listener in _listeners:
        listener.after_step(optimizer)
