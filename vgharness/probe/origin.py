"""Where NaN or infinity is born: the first module, and the first operation, that makes it of finite numbers.

Looks at every operation, and waits for the device each time: for a pass that is repeated once it is known to fail.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

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


def find_origin(model: nn.Module, compute_loss: Callable[[], Tensor]) -> NonfiniteOrigin | None:
    """Repeats a forward and backward pass of ``model`` and finds what first makes NaN or infinity of finite numbers.

    ``compute_loss()`` runs the model and gives the loss. Returns None where all is finite. Gradients are left as they
    come.
    """
    watch = _Watch(model)
    with watch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        loss = compute_loss()
    if watch.module is not None:
        return NonfiniteOrigin(module=watch.module, operation=watch.operation_in(watch.module), backward=False)
    if not _is_finite(loss):
        return NonfiniteOrigin(module="", operation=watch.operation_in(""), backward=False)
    return _of_backward(compute_loss)


def _of_backward(compute_loss: Callable[[], Tensor]) -> NonfiniteOrigin | None:
    try:
        with warnings.catch_warnings(), torch.autograd.detect_anomaly(check_nan=True):
            warnings.simplefilter("ignore")
            compute_loss().backward()  # type: ignore[no-untyped-call]
    except RuntimeError as error:
        named = re.search(r"Function '(\w+?)Backward\d*' returned nan", str(error))
        if named is not None:
            return NonfiniteOrigin(module="", operation=_plain(named[1]), backward=True)
    return None


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes which module, and which operation within which module, is the first to make what is not finite."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._names = {module: name for name, module in model.named_modules()}
        self._inside: list[str] = []
        self.module: str | None = None
        self._operations: list[tuple[tuple[str, ...], str]] = []  # the modules that were running, and the operation
        self._handles: list[Any] = []

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
        self._inside.append(self._names[module])

    def _end(self, module: nn.Module, inputs: tuple[Any, ...], keywords: dict[str, Any], output: Any) -> None:
        if self.module is None and not _is_finite(output) and _is_finite((inputs, keywords)):
            self.module = self._names[module]
        self._inside.pop()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if not any(part in name for part in _FILLING) and not _is_finite(made) and _is_finite((args, kwargs or {})):
            self._operations.append((tuple(self._inside), name))
        return made

    def operation_in(self, module: str) -> str:
        """The first operation that did it while ``module`` ran; empty where none was seen."""
        for inside, operation in self._operations:
            if not module or module in inside:
                return _plain(operation)
        return ""


def _is_finite(value: Any) -> bool:
    # Through the dispatcher below every mode, so that looking is not looked at.
    with torch._C._DisableTorchDispatch():
        return all(
            bool(torch.isfinite(tensor).all())
            for tensor in tensors_in(value)
            if tensor.is_floating_point() or tensor.is_complex()
        )


def _plain(operation: str) -> str:
    """``LogSoftmax`` and ``_log_softmax`` → ``log_softmax``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", operation).lower().strip("_")
