"""Where NaN or infinity is born: the first module, and the first operation, that makes it of finite numbers.

Looks at every operation, and waits for the device each time: for a pass that is repeated once it is known to fail.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd import _get_sequence_nr  # type: ignore[attr-defined]
from torch.autograd.function import BackwardCFunction
from torch.autograd.graph import Node
from torch.utils._python_dispatch import TorchDispatchMode

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
    "index_put",
)
_CAST: Final = "_to_copy"  # to float16 it overflows; of the most negative number, a mask's, that is meant
_FINITE: Final = 0
_INFINITE: Final = 1
_NAN: Final = 2


def find_origin(model: nn.Module, compute_loss: Callable[[], Tensor]) -> NonfiniteOrigin | None:
    """Repeats a forward and backward pass of ``model`` and finds what first makes NaN or infinity of finite numbers,
    or NaN of infinity that is meant, as a mask's.

    ``compute_loss()`` runs the model and gives the loss. Returns None where all is finite. Gradients are left as they
    come.
    """
    return find_origin_of_pass(model, compute_loss, lambda loss: loss.backward()).origin


class Found(NamedTuple):
    """What a repeated pass showed.

    origin: ``None`` where all was finite.
    of_finite: whether an operation, or a backward pass, made it of finite numbers; a weight that is not finite is no
        operation's.
    """

    origin: NonfiniteOrigin | None
    of_finite: bool = False


def find_origin_of_pass(model: nn.Module, forward: Callable[[], Any], backward: Callable[[Any], None]) -> Found:
    """:func:`find_origin` where the loss is not known: ``forward()`` runs the model and gives what it puts out, and
    ``backward(outputs)`` goes back from there."""
    watch = _Watch(model)
    with watch:
        with watch.operations:
            outputs = forward()
        module = watch.module
        operation = watch.operation_in(module)
        if watch.given == _NAN or (watch.given == _INFINITE and not watch.made_of_finite(module)):
            return Found(NonfiniteOrigin(stage="inputs"))
        worst = _worst(outputs)
        # Infinity that came by no operation was filled in, and is meant.
        if worst == _NAN or (module is None and worst) or (module is not None and operation):
            origin = NonfiniteOrigin(stage="forward", module=module, operation=operation)
            return Found(origin, watch.made_of_finite(module))
        watch.look_back_from(outputs)
        backward(outputs)
    return Found(watch.made_in_backward, watch.made_in_backward is not None)


class _Made(NamedTuple):
    """A module or an operation that put out worse than it was given.

    inside: of an operation, the modules that were running.
    """

    name: str
    given: int
    made: int
    inside: tuple[str, ...] = ()


class _Running(NamedTuple):
    """A module that runs: the worst of what it was given, and the number of the next node of the graph."""

    name: str
    given: int
    first_node: int


class _Operations(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the operations that make what is not finite."""

    def __init__(self, inside: list[_Running]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._inside = inside
        self.made: list[_Made] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = _worst((args, kwargs or {}))  # before an operation in place changes it
        output = func(*args, **(kwargs or {}))
        name, made = func.overloadpacket.__name__, _worst(output)
        if made > given and not _is_meant(name, args, output):
            self.made.append(_Made(name, given, made, tuple(running.name for running in self._inside)))
        return output


class _Watch:
    """Notes which module, and which operation within which module, is the first to make what is not finite."""

    def __init__(self, model: nn.Module) -> None:
        self._names = {module: name for name, module in model.named_modules()}
        self._inside: list[_Running] = []
        self._modules: list[_Made] = []  # what made it, in the order in which they ended
        self.operations = _Operations(self._inside)
        self.given = _FINITE  # the worst of what the model was given
        self.made_in_backward: NonfiniteOrigin | None = None
        self._module_of: dict[Node, str | None] = {}  # nodes that are looked at
        self._spans: list[tuple[int, int, str]] = []  # numbers of the first node of a module's run and after its last
        self._back = False
        self._handles: list[Any] = []

    @property
    def module(self) -> str | None:
        """The first that did it by an operation that does not merely fill in a constant, of finite numbers if there is
        one; else the first that made NaN (of a weight that is NaN); else the first."""
        kinds: tuple[Callable[[_Made], bool], ...] = (
            lambda made: made.given == _FINITE and self.made_of_finite(made.name),
            lambda made: any(made.name in x.inside for x in self.operations.made),
            lambda made: made.made == _NAN,
            lambda made: True,
        )
        return next((made.name for kind in kinds for made in self._modules if kind(made)), None)

    def operation_in(self, module: str | None) -> str:
        """The first operation that did it while ``module`` ran, or at all; empty where none was seen."""
        found = [x for x in self.operations.made if module is None or module in x.inside]
        return next((_plain(x.name) for x in sorted(found, key=lambda x: x.given != _FINITE)), "")

    def made_of_finite(self, module: str | None) -> bool:
        """Whether an operation in ``module``, or anywhere, made it of finite numbers."""
        return any(x.given == _FINITE and (module is None or module in x.inside) for x in self.operations.made)

    def __enter__(self) -> _Watch:
        for module in self._names:
            self._handles.append(module.register_forward_pre_hook(self._begin, with_kwargs=True))
            self._handles.append(module.register_forward_hook(self._end, with_kwargs=True))
        return self

    def __exit__(self, *error: Any) -> None:
        while self._handles:
            self._handles.pop().remove()

    def _begin(self, module: nn.Module, inputs: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        given = _worst((inputs, keywords))
        if not self._inside and not self._back and not _are_masks((inputs, keywords)):
            self.given = max(self.given, given)
        self._inside.append(_Running(self._names[module], given, _get_sequence_nr()))

    def _end(self, module: nn.Module, inputs: tuple[Any, ...], keywords: dict[str, Any], output: Any) -> None:
        name, given, first_node = self._inside.pop()
        if self._back:  # checkpointing runs it again, and may go back through what it makes now
            self._look_at_nodes_of(output, lambda node: name)
            return
        made = _worst(output)
        self._spans.append((first_node, _get_sequence_nr(), name))
        if made > given:
            self._modules.append(_Made(name, given, made))

    # --- the backward pass -----------------------------------------------------------------------------------

    def look_back_from(self, outputs: Any) -> None:
        """Notes, in the backward pass that follows, the first operation that makes it of finite gradients."""
        self._back = True
        self._inside.clear()
        self._look_at_nodes_of(outputs, self._innermost)

    def _innermost(self, node: Node) -> str | None:
        """The module that ran when ``node`` was made; ``None``: none did."""
        number = node._sequence_nr()
        around = [(end - first, name) for first, end, name in self._spans if first <= number < end]
        # Of those that are as long, the one that ended first is inside the others.
        return min(around, key=lambda span: span[0])[1] if around else None

    def _look_at_nodes_of(self, outputs: Any, module_of: Callable[[Node], str | None]) -> None:
        for tensor in tensors_in(outputs):
            for node in nodes_from(tensor):
                if node not in self._module_of:
                    self._module_of[node] = module_of(node)
                    self._handles.append(self._look_at(node))

    def _look_at(self, node: Node) -> Any:
        def look(sent: Any, came: Any) -> None:
            if self.made_in_backward is None and _worst(sent) > _worst(came):
                self.made_in_backward = NonfiniteOrigin(
                    stage="backward", module=self._module_of[node], operation=_operation_of(node)
                )

        return node.register_hook(look)


def _operation_of(node: Node) -> str:
    name = re.sub(r"Backward\d*$", "", node.name())
    return name if isinstance(node, BackwardCFunction) else _plain(name)  # a function of the user's keeps its name


def _is_meant(name: str, given: Any, made: Any) -> bool:
    if name == _CAST:  # what was finite and least of all stands for minus infinity
        return all(
            bool((x.isfinite() & (x > torch.finfo(x.dtype).min)).logical_and(~y.isfinite()).any()) is False
            for x, y in zip(_floating(given), _floating(made), strict=False)
        )
    return any(part in name for part in _FILLING) or _are_masks(made)


def _worst(value: Any) -> int:
    # Through the dispatcher below every mode, so that looking is not looked at.
    with torch._C._DisableTorchDispatch():
        found = _floating(value)
        if any(bool(torch.isnan(x).any()) for x in found):
            return _NAN
        return _INFINITE if any(bool(torch.isinf(x).any()) for x in found) else _FINITE


def _are_masks(value: Any) -> bool:
    """Whether all that is not finite are tensors of nothing but zeros and minus infinities, both of them."""
    with torch._C._DisableTorchDispatch():
        return all(
            bool((x == -torch.inf).any() and (x == 0).any() and ((x == 0) | (x == -torch.inf)).all())
            for x in _floating(value)
            if not bool(x.isfinite().all())
        )


def _floating(value: Any) -> list[Tensor]:
    return [x for x in tensors_in(value) if x.is_floating_point() or x.is_complex()]


def _plain(operation: str) -> str:
    """``LogSoftmax`` and ``_log_softmax`` → ``log_softmax``."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", operation).lower().strip("_")
