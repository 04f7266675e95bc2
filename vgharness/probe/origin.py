"""Where NaN or infinity is born: the first module, and the first operation, that makes it of finite numbers.

Looks at every operation, and waits for the device each time: for a pass that is repeated once it is known to fail.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.graph import Node
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.hooks import RemovableHandle

from vgharness.probe.graph import nodes_from
from vgharness.probe.norms import tensors_in
from vgharness.records import NonfiniteOrigin

# Operations that put a constant, infinity for one, where a mask says so: what is masked is meant.
_FILLING = (
    "fill",
    "full",
    "where",
    "copy",
    "scalar_tensor",
    "clone",
    "empty",
    "zeros",
    "ones",
    "_to_copy",
    "index_put",
)
_FINITE: Final = 0
_INFINITE: Final = 1
_NAN: Final = 2


def find_origin(model: nn.Module, compute_loss: Callable[[], Tensor]) -> NonfiniteOrigin | None:
    """Repeats a forward and backward pass of ``model`` and finds what first makes NaN or infinity of finite numbers,
    or NaN of infinity that is meant, as a mask's.

    ``compute_loss()`` runs the model and gives the loss. Returns None where all is finite. Gradients are left as they
    come.
    """
    watch = _Watch(model)
    with watch:
        loss = compute_loss()
    if watch.given == _NAN:
        return NonfiniteOrigin(stage="inputs")
    operation = watch.operation_in(watch.module)
    if _worst(loss) != _FINITE or (watch.module is not None and operation):  # else it was filled in, and is meant
        return NonfiniteOrigin(stage="forward", module=watch.module, operation=operation)
    made_by = _of_backward(loss)
    return None if made_by is None else NonfiniteOrigin(stage="backward", operation=made_by)


def _of_backward(loss: Tensor) -> str | None:
    """The first operation whose backward pass makes NaN or infinity of finite gradients."""
    made: list[str] = []

    def look_at(node: Node) -> RemovableHandle:
        def look(sent: Any, came: Any) -> None:
            if not made and _worst(sent) > _worst(came):
                made.append(node.name())

        return node.register_hook(look)

    handles = [look_at(node) for node in nodes_from(loss)]
    loss.backward()  # type: ignore[no-untyped-call]
    for handle in handles:
        handle.remove()
    return _plain(re.sub(r"Backward\d*$", "", made[0])) if made else None


class _Made(NamedTuple):
    """A module or an operation that put out worse than it was given.

    inside: of an operation, the modules that were running.
    """

    name: str
    given: int
    made: int
    inside: tuple[str, ...] = ()


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes which module, and which operation within which module, is the first to make what is not finite."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._names = {module: name for name, module in model.named_modules()}
        self._inside: list[tuple[str, int]] = []  # the running modules, and the worst of what each was given
        self._modules: list[_Made] = []  # what made it, in the order in which they ended
        self._operations: list[_Made] = []
        self.given = _FINITE  # the worst of what the model was given
        self._handles: list[Any] = []

    @property
    def module(self) -> str | None:
        """The first that did it by an operation that does not merely fill in a constant, of finite numbers if there is
        one; else the first that made NaN (of a weight that is NaN); else the first."""
        kinds: tuple[Callable[[_Made], bool], ...] = (
            lambda made: made.given == _FINITE and self._by_operation(made.name, of_finite=True),
            lambda made: self._by_operation(made.name, of_finite=False),
            lambda made: made.made == _NAN,
            lambda made: True,
        )
        return next((made.name for kind in kinds for made in self._modules if kind(made)), None)

    def operation_in(self, module: str | None) -> str:
        """The first operation that did it while ``module`` ran, or at all; empty where none was seen."""
        found = [x for x in self._operations if module is None or module in x.inside]
        return next((_plain(x.name) for x in sorted(found, key=lambda x: x.given != _FINITE)), "")

    def _by_operation(self, module: str, *, of_finite: bool) -> bool:
        return any(module in x.inside and (x.given == _FINITE or not of_finite) for x in self._operations)

    def __enter__(self) -> _Watch:
        for module in self._names:
            self._handles.append(module.register_forward_pre_hook(self._begin, with_kwargs=True))
            self._handles.append(module.register_forward_hook(self._end, with_kwargs=True))
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        while self._handles:
            self._handles.pop().remove()

    def _begin(self, module: nn.Module, inputs: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        given = _worst((inputs, keywords))
        if not self._inside:
            self.given = max(self.given, given)
        self._inside.append((self._names[module], given))

    def _end(self, module: nn.Module, inputs: tuple[Any, ...], keywords: dict[str, Any], output: Any) -> None:
        name, given = self._inside.pop()
        made = _worst(output)
        if made > given:
            self._modules.append(_Made(name, given, made))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = _worst((args, kwargs or {}))  # before an operation in place changes it
        output = func(*args, **(kwargs or {}))
        name, made = func.overloadpacket.__name__, _worst(output)
        if made > given and not any(part in name for part in _FILLING):
            self._operations.append(_Made(name, given, made, tuple(running for running, _ in self._inside)))
        return output


def _worst(value: Any) -> int:
    # Through the dispatcher below every mode, so that looking is not looked at.
    with torch._C._DisableTorchDispatch():
        found = [x for x in tensors_in(value) if x.is_floating_point() or x.is_complex()]
        if any(bool(torch.isnan(x).any()) for x in found):
            return _NAN
        return _INFINITE if any(bool(torch.isinf(x).any()) for x in found) else _FINITE


def _plain(operation: str) -> str:
    """``LogSoftmax`` and ``_log_softmax`` → ``log_softmax``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", operation).lower().strip("_")
