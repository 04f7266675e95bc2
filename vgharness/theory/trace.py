"""How a model's modules and functions feed each other: seen in one forward pass, so that nothing is taken for a chain
that is none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode, resolve_name

from vgharness.records import Activation
from vgharness.theory.activations import activation_of

_FUNCTIONS: Final[dict[Any, Activation]] = {
    functional.relu: "relu", torch.relu: "relu", Tensor.relu: "relu",
    torch.tanh: "tanh", Tensor.tanh: "tanh", functional.tanh: "tanh",
    torch.sigmoid: "sigmoid", Tensor.sigmoid: "sigmoid", functional.sigmoid: "sigmoid",
    functional.silu: "silu", functional.gelu: "gelu",
}  # fmt: skip
_AS_USUAL: Final = {"inplace": False, "approximate": "none"}
# They change the shape alone.
_RESHAPES: Final = frozenset({torch.flatten, Tensor.flatten, Tensor.view, Tensor.reshape, torch.reshape})


class Operation(NamedTuple):
    """What ran once: a module without modules of its own, or a function outside of these.

    name: the module's name, or the function's.
    module: it; ``None``: it is a function.
    activation: that it is; ``None``: it is none that is known.
    reshapes: whether it changes the shape alone.
    inputs: numbers of the values that it took.
    mean_square: of what came in; NaN where that is no one tensor of numbers.
    variances: of each channel of a batch norm's input; ``None`` of all else.
    """

    name: str
    module: nn.Module | None
    activation: Activation | None
    reshapes: bool
    inputs: tuple[int, ...]
    mean_square: float
    variances: Tensor | None


class Trace:
    """One forward pass.

    operations: in the order in which they ended.
    made_by: by the number of a value, which operation made it; the model's inputs have none.
    uses: by the number of a value, how many operations took it; to be part of the model's output counts as one.
    """

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self.made_by: dict[int, int] = {}
        self.uses: Counter[int] = Counter()
        self._numbers: dict[tuple[int, int], int] = {}
        self._kept: list[Tensor] = []  # a tensor that is gone would leave its id to another one

    def numbers_of(self, values: Any) -> tuple[int, ...]:
        """The numbers of the tensors in ``values`` but parameters. One that was changed in place is another value."""
        return tuple(self._number(tensor) for tensor in tensors_of(values) if not isinstance(tensor, nn.Parameter))

    def add(self, name: str, module: nn.Module | None, kind: Any, before: Before, outputs: Any) -> None:
        """Notes that an operation ended; one that hands on what it took is none."""
        numbers, mean_square, variances = before
        made = self.numbers_of(outputs)
        if made and set(made) <= set(numbers):  # a Dropout in evaluation, an Identity, a flatten of what is flat
            return
        self.uses.update(set(numbers))
        activation = activation_of(module) if module is not None else kind
        reshapes = type(module) is nn.Flatten or kind == "reshape"
        known = None if kind == "reshape" else activation
        place = len(self.operations)
        self.operations.append(Operation(name, module, known, reshapes, numbers, mean_square, variances))
        self.made_by.update((number, place) for number in made if number not in numbers)

    def before(self, module: nn.Module | None, inputs: Any) -> Before:
        """What is known of an operation's inputs: before it runs, for it may change them in place."""
        tensors = [tensor for tensor in tensors_of(inputs) if not isinstance(tensor, nn.Parameter)]
        only = tensors[0].detach() if len(tensors) == 1 and tensors[0].is_floating_point() else None
        mean_square = float(only.double().square().mean()) if only is not None and only.numel() else float("nan")
        variances = None
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and only is not None and only.dim() > 1:
            over = [dim for dim in range(only.dim()) if dim != 1]
            variances = only.double().var(dim=over, unbiased=False)
        return self.numbers_of(inputs), mean_square, variances

    def _number(self, tensor: Tensor) -> int:
        key = (id(tensor), tensor._version)
        if key not in self._numbers:
            self._numbers[key] = len(self._numbers)
            self._kept.append(tensor)
        return self._numbers[key]


Before = tuple[tuple[int, ...], float, Tensor | None]


def traced(model: nn.Module, inputs: Any) -> Trace:
    """Runs ``model`` once, in the mode that it is in, and puts its buffers and torch's generators back.

    inputs: a tensor, or a tuple or a mapping of arguments.
    """
    trace = Trace()
    depth = [0]
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    hooks = [hook for name, module in leaves(model) for hook in _hooked(trace, depth, name, module)]
    try:
        with torch.no_grad(), torch.random.fork_rng(_gpus(model)), _Functions(trace, depth):
            outputs = _call(model, inputs)
        trace.uses.update(trace.numbers_of(outputs))
    finally:
        for hook in hooks:
            hook.remove()
        with torch.no_grad():
            for name, buffer in model.named_buffers():
                buffer.copy_(buffers[name])
    return trace


def leaves(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """The modules that are looked at as a whole, with their names."""
    found: list[tuple[str, nn.Module]] = []
    for name, module in model.named_modules():
        inside = any(name.startswith(f"{above}.") or (not above and name) for above, _ in found)
        if not inside and (not list(module.children()) or isinstance(module, nn.MultiheadAttention | nn.RNNBase)):
            found.append((name, module))
    return found


def tensors_of(values: Any) -> Iterator[Tensor]:
    """The tensors in nested tuples, lists and mappings."""
    if isinstance(values, Tensor):
        yield values
    elif isinstance(values, Mapping):
        yield from tensors_of(list(values.values()))
    elif isinstance(values, tuple | list):
        for value in values:
            yield from tensors_of(value)


def _gpus(model: nn.Module) -> list[int]:
    """Whose generators a forward pass may use."""
    return sorted({parameter.get_device() for parameter in model.parameters() if parameter.is_cuda})


class _Functions(TorchFunctionMode):
    """Notes the functions that run outside of the modules that are looked at as a whole."""

    def __init__(self, trace: Trace, depth: list[int]) -> None:
        super().__init__()
        self._trace, self._depth = trace, depth

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self._depth[0]:
            return func(*args, **kwargs)
        before = self._trace.before(None, [args, kwargs])
        outputs = func(*args, **kwargs)
        if any(True for _ in tensors_of(outputs)) and before[0]:
            kind: Any = "reshape" if func in _RESHAPES else None
            if func in _FUNCTIONS and len(args) == 1 and all(_AS_USUAL.get(x) == y for x, y in kwargs.items()):
                kind = _FUNCTIONS[func]
            self._trace.add((resolve_name(func) or str(func)).split(".")[-1], None, kind, before, outputs)
        return outputs


def _hooked(trace: Trace, depth: list[int], name: str, module: nn.Module) -> Iterator[Any]:
    under_way: list[Before] = []

    def begins(module: nn.Module, args: Any, kwargs: Any) -> None:
        depth[0] += 1
        under_way.append(trace.before(module, [args, kwargs]))

    def ends(module: nn.Module, args: Any, kwargs: Any, outputs: Any) -> None:
        depth[0] -= 1
        trace.add(name, module, None, under_way.pop(), outputs)

    yield module.register_forward_pre_hook(begins, with_kwargs=True)
    yield module.register_forward_hook(ends, with_kwargs=True)


def _call(model: nn.Module, inputs: Any) -> Any:
    if isinstance(inputs, Mapping):
        return model(**inputs)
    return model(*inputs) if isinstance(inputs, tuple | list) else model(inputs)
