"""What the forward passes of a step were given, and the gradients that came back to them: enough to repeat one.

Nothing is copied that can be kept by reference: what is given is copied only where it is known to be changed in place.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from itertools import chain
from typing import Any, Final, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map_only
from torch.utils.hooks import RemovableHandle

from vgharness.gradflow.randomness import GeneratorStates
from vgharness.probe.norms import tensors_in

_MOST_PASSES: Final = 64  # of one step that are kept; a model that runs more often is repeated from these
_MOST_BUFFER_BYTES: Final = 2**22  # of a model, up to which they are copied before each pass
_MOST_GRADIENT_BYTES: Final = 2**28  # of one output's gradient, up to which it is kept where it must be kept for steps


class Autocast(NamedTuple):
    """One device's automatic choice of types."""

    device: str
    enabled: bool
    dtype: torch.dtype


class ForwardPass:
    """One training forward pass of a model.

    part: the name of the module that was called; empty: the model itself.
    batch: the how-manieth, from 0; -1 of one that is not known to be of the training yet.
    inputs: positional and named arguments; tensors without their graph.
    generators, buffers, modes, autocasts: as they were before it; ``buffers`` are ``None`` where they are too large.
    """

    def __init__(
        self,
        part: str,
        inputs: tuple[tuple[Any, ...], dict[str, Any]],
        generators: GeneratorStates,
        buffers: list[Tensor] | None,
        modes: list[bool],
        autocasts: tuple[Autocast, ...],
    ) -> None:
        self.part, self.batch, self.inputs, self.generators = part, -1, inputs, generators
        self.buffers, self.modes, self.autocasts = buffers, modes, autocasts
        self.sum: Tensor | None = None  # of all that it put out: finite where that is
        self.came_back = False
        self.left_out = False  # whether a gradient was too large to keep
        self.versions = _versions(inputs)
        self._gradients: dict[int, list[tuple[Tensor, int]]] = {}

    @property
    def inputs_unchanged(self) -> bool:
        """Whether no input was changed in place since."""
        return all(map(_is_unchanged, self.versions))

    @property
    def lacks_gradients(self) -> bool:
        """Whether one that came to its outputs was not kept, or was changed in place since."""
        return self.left_out or not all(map(_is_unchanged, chain.from_iterable(self._gradients.values())))

    def gradients(self) -> dict[int, Tensor]:
        """By place among the tensors that it put out, the gradient that came to that one; of several backward passes
        their sum."""
        kept = {place: [each for each in came if _is_unchanged(each)] for place, came in self._gradients.items()}
        return {place: _sum([tensor for tensor, _ in came]) for place, came in kept.items() if came}

    def take(self, place: int, gradient: Tensor, most_bytes: int | None) -> None:
        """Keeps the gradient that came to an output."""
        self.came_back = True
        if most_bytes is not None and gradient.numel() * gradient.element_size() > most_bytes:
            self.left_out = True
            return
        self._gradients.setdefault(place, []).append((gradient.detach(), _version(gradient)))


class PassListener(Protocol):
    """What is told of the passes."""

    def before_pass(self) -> None:
        """One begins."""

    def gradient_came(self) -> None:
        """A gradient came to what one of them put out, in a backward pass that goes on."""


class _Hook:
    """A hook of a module, of which neither a copy of the module nor a file that it is saved in gets more than one that
    does nothing."""

    def __init__(self, call: Callable[..., None]) -> None:
        self._call = call

    def __call__(self, *given: Any) -> None:
        self._call(*given)

    def __reduce__(self) -> tuple[Any, ...]:
        return getattr, (nullcontext(), "__exit__")  # for copies too; found without this package


class PassRecorder:
    """Keeps the training forward passes of a model since the step before.

    called: the module that is called.
    model: the same without what wraps it, which is what can be repeated.
    listener: is told of them.
    for_steps: whether what is kept must outlive its step.
    """

    def __init__(self, called: nn.Module, model: nn.Module, listener: PassListener, *, for_steps: bool) -> None:
        self._listener = listener
        self._names: dict[nn.Module, str] = {called: ""}  # of the modules whose calls are passes
        self._children = {module: name for name, module in _parts_of(model)}
        self._counts: Counter[str] = Counter()
        self._most_bytes = _MOST_GRADIENT_BYTES if for_steps else None
        self._running: tuple[nn.Module, ForwardPass] | None = None
        self._given: list[tuple[Tensor, int]] = []
        self.passes: deque[ForwardPass] = deque(maxlen=_MOST_PASSES)
        self._handles: list[RemovableHandle] = []
        # Of the first pass it is not known yet whether the model works on its inputs in place.
        self._copies, self._changed_later = True, False
        self.batch = -1
        self._keeps, self._paused = True, False
        self.read(model)

    def read(self, model: nn.Module) -> None:
        """Takes note of what is in the model, which may have changed; forgets passes of what it was."""
        self.passes.clear()
        self.modules = list(model.modules())
        self._buffers = [(module._buffers, name) for module in self.modules for name in module._buffers]
        devices = {tensor.device for tensor in (*model.parameters(), *model.buffers())}
        self._gpus = tuple(sorted(device.index or 0 for device in devices if device.type == "cuda"))
        self._device_types = tuple(sorted({"cpu", *(device.type for device in devices)}))

    def open(self) -> None:
        """Hooks the model."""
        for module in self._names:
            self._hook(module)

    def keep_parts(self, batches: int) -> None:
        """Takes the calls of the model's parts for passes, too, for the model itself was not called in ``batches``: a
        training step that is a method of its own may call them."""
        for module, name in self._children.items():
            if module not in self._names:
                self._names[module] = name
                self._counts[name] = batches
                self._hook(module)

    def _hook(self, module: nn.Module) -> None:
        self._handles += [
            module.register_forward_pre_hook(_Hook(self._begin), with_kwargs=True),
            module.register_forward_hook(_Hook(self._end)),
        ]

    def close(self) -> None:
        """Takes the hooks away and forgets what was kept."""
        while self._handles:
            self._handles.pop().remove()
        self.passes.clear()
        self._running = None

    def take_all(self) -> tuple[ForwardPass, ...]:
        """The passes since it was called last."""
        passes = tuple(self.passes)
        self.passes.clear()
        return passes

    def pause(self) -> None:
        """Passes are those of something else."""
        self._paused = True

    def go_on(self) -> None:
        """Passes are the training's again."""
        self._paused = False

    def stop_keeping(self) -> None:
        """Counts passes, and keeps nothing of them any more."""
        self._keeps = False
        self.passes.clear()

    def copy_from_now_on(self) -> None:
        """Has inputs copied, for the training changes them in place once they were used."""
        self._changed_later = True

    def _begin(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self._running is not None and self._running[0] is not module:
            return  # inside another
        self._running = None
        # A pass inside a backward pass is one that checkpointing repeats.
        if self._paused or not torch.is_grad_enabled() or torch._C._current_graph_task_id() != -1:
            return
        if not self._keeps:
            if module.training:
                self._count(module)
            return
        self._listener.before_pass()
        take = _clone if self._copies or self._changed_later else torch.Tensor.detach
        running = ForwardPass(
            self._names[module],
            _each((args, kwargs), take),
            GeneratorStates.now(self._gpus),
            self._buffers_now(),
            [each.training for each in self.modules],
            tuple(
                Autocast(device, torch.is_autocast_enabled(device), torch.get_autocast_dtype(device))
                for device in self._device_types
            ),
        )
        self._running = module, running
        self._given = running.versions if take is torch.Tensor.detach else _versions((args, kwargs))

    def _end(self, module: nn.Module, inputs: Any, output: Any) -> None:
        if self._running is None or self._running[0] is not module:
            return
        (_, running), self._running = self._running, None
        # A leaf, such as a weight that is put out, would keep its hook.
        outputs = [(place, x) for place, x in enumerate(tensors_in(output)) if x.grad_fn is not None]
        # A model that works on its inputs in place is given copies to keep from now on.
        self._copies = any(_version(tensor) != version for tensor, version in self._given)
        self._given = []
        if not outputs:
            return
        running.sum = sum_of([tensor for _, tensor in outputs])
        if module.training:
            self._keep(running, module)
        for place, tensor in outputs:
            tensor.register_hook(_Taker(self, running, module, place))  # type: ignore[no-untyped-call]

    def _count(self, module: nn.Module) -> int:
        name = self._names[module]
        self._counts[name] += 1
        self.batch = max(self.batch, self._counts[name] - 1)
        return self._counts[name] - 1

    def _keep(self, running: ForwardPass, module: nn.Module) -> None:
        running.batch = self._count(module)
        self.passes.append(running)

    def came_back(self, running: ForwardPass, module: nn.Module, place: int, gradient: Tensor) -> None:
        """A gradient came to an output."""
        if running.batch < 0:  # a model in evaluation mode that is trained all the same
            self._keep(running, module)
        running.take(place, gradient, self._most_bytes)
        self._listener.gradient_came()

    def _buffers_now(self) -> list[Tensor] | None:
        there = [buffer for owner, name in self._buffers if (buffer := owner[name]) is not None]
        if sum(buffer.numel() * buffer.element_size() for buffer in there) > _MOST_BUFFER_BYTES:
            return None
        copies = [torch.empty_like(buffer) for buffer in there]
        if copies:
            torch._foreach_copy_(copies, there)
        return copies


class _Taker:
    """A hook that keeps what comes to one output."""

    def __init__(self, recorder: PassRecorder, running: ForwardPass, module: nn.Module, place: int) -> None:
        self._recorder, self._running, self._module, self._place = recorder, running, module, place

    def __call__(self, gradient: Tensor) -> None:
        self._recorder.came_back(self._running, self._module, self._place, gradient)


def _parts_of(model: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """The modules directly inside, and inside those that only hold others."""
    for name, module in model.named_children():
        if isinstance(module, nn.ModuleList | nn.ModuleDict):
            yield from _parts_of(module, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", module


def buffers_of(model: nn.Module) -> list[Tensor]:
    """The buffers of all its modules, in the order in which a pass keeps them."""
    return [buffer for module in model.modules() for buffer in module._buffers.values() if buffer is not None]


def sum_of(tensors: Sequence[Tensor]) -> Tensor:
    """The sum of all elements, a scalar on the first one's device: finite where all of them are, and no sum overflows
    float32. It is the cheapest look at them."""
    with torch.no_grad():
        sums = [
            tensor.abs().sum() if tensor.is_complex() else tensor.sum(dtype=torch.float32)
            for tensor in tensors
            if tensor.is_floating_point() or tensor.is_complex()
        ]
        total = sums[0]
        for each in sums[1:]:
            total = total + each.to(total.device, non_blocking=True)
    return total


def copied(inputs: Any) -> Any:
    """``inputs`` with copies of the tensors in them."""
    return _each(inputs, _clone)


def _each(inputs: Any, take: Callable[[Tensor], Tensor]) -> Any:
    kind = type(inputs)
    if kind is Tensor:
        taken = take(inputs)
        return taken.requires_grad_() if inputs.requires_grad else taken
    if kind is tuple or kind is list:
        return kind(_each(value, take) for value in inputs)
    if kind is dict:
        return {key: _each(value, take) for key, value in inputs.items()}
    if inputs is None or kind in (bool, int, float, str):
        return inputs
    # What PyTorch knows how to take apart, which takes longer: named tuples, outputs of transformers.
    return tree_map_only(Tensor, lambda tensor: take(tensor).requires_grad_(tensor.requires_grad), inputs)


def _clone(tensor: Tensor) -> Tensor:
    return tensor.detach().clone()


def _sum(tensors: list[Tensor]) -> Tensor:
    total = tensors[0]
    for tensor in tensors[1:]:
        total = total + tensor
    return total


def _versions(inputs: Any) -> list[tuple[Tensor, int]]:
    return [(tensor.detach(), _version(tensor)) for tensor in tensors_in(inputs)]


def _is_unchanged(seen: tuple[Tensor, int]) -> bool:
    tensor, version = seen
    return _version(tensor) == version


def _version(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version
