"""PyTorch's global hooks, shared by all probes of the process.

PyTorch iterates over its registries while the hooks in them run, so a hook that one thread adds or removes can raise in
another thread that trains. Here one hook of each kind is registered while there is any observer, and the observers
stand in a tuple that is only ever replaced as a whole. They are held weakly: one that nobody holds any more, with the
model that it observes, is gone.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import Any, Protocol

from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.optim.optimizer import (
    Optimizer,
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)
from torch.utils.hooks import RemovableHandle


class Observer(Protocol):
    """What is called around every forward pass of every module, and around every optimizer step, in the process."""

    def before_forward(self, module: nn.Module, inputs: tuple[Any, ...]) -> None: ...

    def after_forward(
        self, module: nn.Module, inputs: tuple[Any, ...], keywords: dict[str, Any], output: Any
    ) -> None: ...

    def before_step(self, optimizer: Optimizer, *, closure: bool) -> None:
        """``closure``: whether the step was given one, which runs the forward and backward passes inside it."""

    def after_step(self, optimizer: Optimizer) -> None: ...


_lock = threading.Lock()
_observers: tuple[weakref.ref[Observer], ...] = ()  # that are called around forward passes
_step_observers: tuple[weakref.ref[Observer], ...] = ()  # that are called around optimizer steps
_handles: list[RemovableHandle] = []
_step_handles: list[RemovableHandle] = []


def subscribe(observer: Observer, *, forwards: bool = True, steps: bool = False) -> None:
    """Calls ``observer`` from now on around forward passes, around optimizer steps or both; the first one of either
    kind registers the global hooks for it. Those of forward passes cost every module something."""
    global _observers, _step_observers
    with _lock:
        if forwards and not _observers:
            _handles.extend((
                register_module_forward_pre_hook(_before_forward),
                register_module_forward_hook(_after_forward, with_kwargs=True),
            ))  # fmt: skip
        if steps and not _step_observers:
            _step_handles.extend((
                register_optimizer_step_pre_hook(_before_step),
                register_optimizer_step_post_hook(_after_step),
            ))  # fmt: skip
        _observers = (*_observers, weakref.ref(observer)) if forwards else _observers
        _step_observers = (*_step_observers, weakref.ref(observer)) if steps else _step_observers


def unsubscribe(observer: Observer) -> None:
    """Calls ``observer`` no more; the last one of either kind removes the global hooks for it."""
    global _observers, _step_observers
    with _lock:
        _observers = tuple(ref for ref in _observers if ref() not in (None, observer))
        _step_observers = tuple(ref for ref in _step_observers if ref() not in (None, observer))
        for observers, handles in ((_observers, _handles), (_step_observers, _step_handles)):
            while handles and not observers:
                handles.pop().remove()


def weakly(method: Callable[[Tensor], None]) -> Callable[[Tensor], None]:
    """The same, as long as its object is there: for a parameter's hooks, with which Python cannot collect it."""
    ref = weakref.WeakMethod(method)

    def call(given: Tensor) -> None:
        own = ref()
        if own is not None:
            own(given)

    return call


# Each returns None, always: anything else would replace what the module is given or puts out.


def _before_forward(module: nn.Module, inputs: tuple[Any, ...]) -> None:
    for ref in _observers:
        if (observer := ref()) is not None:
            observer.before_forward(module, inputs)


def _after_forward(module: nn.Module, inputs: tuple[Any, ...], keywords: dict[str, Any], output: Any) -> None:
    for ref in _observers:
        if (observer := ref()) is not None:
            observer.after_forward(module, inputs, keywords, output)


def _before_step(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
    closure = (args[1] if len(args) > 1 else kwargs.get("closure")) is not None  # the first is the optimizer
    for ref in _step_observers:
        if (observer := ref()) is not None:
            observer.before_step(optimizer, closure=closure)


def _after_step(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
    for ref in _step_observers:
        if (observer := ref()) is not None:
            observer.after_step(optimizer)
