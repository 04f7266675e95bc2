"""The error signal at every step inside ``nn.RNN``, ``nn.LSTM`` and ``nn.GRU``, which to hooks are one operation.

A forward hook remembers what the pass computed with; hooks on the output tensors collect what the loss sends back.
Afterwards the recurrence is computed again step by step, with the values that the pass had, and those gradients are
sent back through it: this gives ∂L/∂h_t, the total one, through later steps, layers and outputs.
"""

from __future__ import annotations

import itertools
import math
import weakref
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from vgharness.probe.norms import norm, tensors_in
from vgharness.probe.recurrence import State, Weights, unroll

_Place = tuple[int, int]  # layer, and direction
_FORWARDS: Final = {cls.forward for cls in (nn.RNN, nn.LSTM, nn.GRU)}


class TimePath(NamedTuple):
    """The error signal through time in one direction of one layer of a recurrent module.

    layer: the module's name in ``named_modules()``; empty as :meth:`RecurrentPass.paths` gives it.
    part: which layer inside the module, and direction: "layer 0", "layer 0 backward".
    signals: ‖∂L/∂h_t‖₂ over the batch, step by step in the order in which the direction takes them: one that goes
        backward begins at the end of the sequence. Sequences that have no step t count as zero there.
    direct: the greatest gradient that came to the layer at once, not through time: ‖·‖₂ of what the layer or the loss
        above sent to the outputs of one step, or to the states that the sequences end with.
    """

    layer: str
    part: str
    signals: tuple[float, ...]
    direct: float


class RecurrentPass:
    """One forward pass of an ``nn.RNNBase``, and what the loss sent back to its outputs.

    Make it in a forward hook, of what the hook is given: ``RecurrentPass(module, args, kwargs, output)``. It keeps
    copies of the inputs, the initial states and the weights, so that nothing done to these later changes what
    :meth:`paths` gives; passes of one module between two steps of its optimizer share one copy of the weights.
    It changes neither outputs nor gradients, draws no random numbers, and waits for the device only in :meth:`paths`
    and :meth:`detached_from`.

    Of several backward passes through it the last counts.

    Attributes:

    not_judged: parts, as in ``TimePath.part``, that :meth:`paths` leaves out. With dropout between the layers (in
        training mode) they are all but the last layer: which elements were dropped is not known. The last layer's
        path is then approximate, as if nothing had been dropped from its input. All parts where the module's class
        has a ``forward`` of its own.
    """

    def __init__(self, module: nn.RNNBase, args: Sequence[Any], kwargs: Mapping[str, Any], output: Any) -> None:
        self._mode = module.mode
        self._layers, self._directions = module.num_layers, 2 if module.bidirectional else 1
        self._first_judged = self._layers - 1 if module.dropout and module.training else 0
        if type(module).forward not in _FORWARDS:
            self._first_judged = self._layers
        self.not_judged = tuple(self._part(i, j) for i, j in self._places() if i < self._first_judged)
        self._gradients: dict[int, Tensor] = {}  # by place among the outputs: the sequence, h_n, c_n
        self._backward = -1  # the backward pass that they are of
        outputs = [x for x in tensors_in(output) if x.is_floating_point()]
        self._kept: _Kept | None = None
        if self._first_judged < self._layers and any(x.requires_grad for x in outputs):
            given = args[0] if args else kwargs["input"]
            state = args[1] if len(args) > 1 else kwargs.get("hx")
            self._kept = _keep(module, given, list(tensors_in(state)), outputs[1:])
        for place, tensor in enumerate(outputs):
            if tensor.requires_grad:
                self._receive(place, tensor)

    def _receive(self, place: int, tensor: Tensor) -> None:
        def receive(gradient: Tensor | None) -> None:
            """Returns None, always: anything else would replace the gradient."""
            if gradient is None:  # what autograd passes for one of several outputs that the loss does not use
                return
            backward = torch._C._current_graph_task_id()
            if backward != self._backward:
                self._gradients.clear()
                self._backward = backward
            self._gradients[place] = gradient.detach().clone()

        tensor.register_hook(receive)  # type: ignore[no-untyped-call]

    def paths(self) -> tuple[TimePath, ...]:
        """The signals through time of each layer and direction that can be judged; none where no gradient came.

        Call it after ``backward()``; an optimizer's step in between does no harm. Computes in the dtype of the pass,
        and at least in float32.
        """
        if self._kept is None or not self._gradients:
            return ()
        # Whatever the caller is in the middle of: the replay needs a graph, and no autocast.
        device = self._kept.data.device.type
        with torch.inference_mode(False), torch.enable_grad(), torch.autocast(device, enabled=False):
            signals, directs = self._replay(self._kept)
        places = [place for place in self._places() if place[0] >= self._first_judged]
        found = torch.stack([torch.stack([norm(x) for x in [*signals[place], *directs[place]]]) for place in places])
        steps = len(self._kept.layout.sizes)
        return tuple(
            TimePath("", self._part(*place), tuple(row[:steps]), max(row[steps:]))
            for place, row in zip(places, found.tolist(), strict=True)
        )

    def _replay(self, kept: _Kept) -> tuple[dict[_Place, list[Tensor]], dict[_Place, list[Tensor]]]:
        """∂L/∂h_t of every step, and what :attr:`TimePath.direct` is the greatest of; of those that are judged."""
        dtype = torch.promote_types(kept.data.dtype, torch.float32)
        weights = [x.to(dtype) for x in kept.weights.tensors]
        each = len(weights) // (self._layers * self._directions)
        sets = [_in_order(weights[i : i + each]) for i in range(0, len(weights), each)]
        layers = [sets[i : i + self._directions] for i in range(0, len(sets), self._directions)]
        # Something has to ask for a gradient, or there is no graph.
        data = kept.data.detach().to(dtype).requires_grad_()
        run = unroll(self._mode, layers, data, kept.layout.sizes, _initial_states(self._mode, kept, sets))
        outputs = [run.outputs[-1], *(torch.stack(parts) for parts in zip(*run.final, strict=True))]
        came = {place: kept.layout.of_output(place, x).to(dtype) for place, x in self._gradients.items()}
        # A scalar whose gradients are those: where they are given to `grad`, PyTorch imports sympy, half a second.
        loss = torch.stack([(outputs[i] * x).sum() for i, x in came.items()]).sum()
        wanted = [*run.outputs, *(h for layer in run.hidden for steps in layer for h in steps)]
        gradients = torch.autograd.grad(loss, wanted, allow_unused=True)
        found = iter(torch.zeros_like(x) if g is None else g for x, g in zip(wanted, gradients, strict=True))
        handed = [next(found).chunk(self._directions, dim=1) for _ in run.outputs]
        sizes = list(kept.layout.sizes)
        signals = {place: [next(found) for _ in sizes] for place in self._places()}
        directs = {
            (i, j): [*torch.split(handed[i][j], sizes), *(x[i * self._directions + j] for n, x in came.items() if n)]
            for i, j in self._places()
        }
        return signals, directs

    def detached_from(self, earlier: RecurrentPass) -> bool:
        """Whether this pass goes on from the final state of ``earlier`` with no graph from the one to the other, so
        that what comes after cannot teach what came before. Waits for the device."""
        if self._kept is None or earlier._kept is None or self._kept.state_has_graph or not self._kept.initial:
            return False
        pairs = list(zip(self._kept.initial, earlier._kept.final, strict=False))
        same = all(a.shape == b.shape and bool((a == b).all()) for a, b in pairs)
        return same and any(bool(a.any()) for a, _ in pairs)  # zeros may be a new beginning

    def _places(self) -> list[_Place]:
        return list(itertools.product(range(self._layers), range(self._directions)))

    @staticmethod
    def _part(layer: int, direction: int) -> str:
        return f"layer {layer} backward" if direction else f"layer {layer}"


def gradient_reached(forward: RecurrentPass) -> bool:
    """Whether a backward pass came to any output of ``forward``. One that did not taught the module nothing: of a
    module called once per step, those before a detached state."""
    return bool(forward._gradients)


def time_ratio(path: TimePath) -> float | None:
    """‖∂L/∂h_t‖₂ of the first step ÷ the greatest gradient that came to any step at once: under 1 the signal shrinks
    through time, and 0 is what underflowed.

    That the last step is not the measure has reasons: a padded sequence ends in steps that the loss does not use, and a
    direction that goes backward begins at the steps that the loss may use most. ``None`` with fewer than two steps,
    where no gradient came to this direction, or where a value is not finite.
    """
    first = path.signals[0]
    if len(path.signals) < 2 or not path.direct or not math.isfinite(first) or not math.isfinite(path.direct):
        return None
    return first / path.direct


class _Layout:
    """How the batch of a pass lies in its tensors, and how these come into the layout of ``recurrence``.

    sizes: how many sequences have each step.
    """

    def __init__(self, module: nn.RNNBase, given: Tensor | PackedSequence) -> None:
        self._packed = isinstance(given, PackedSequence)
        self._batched = isinstance(given, PackedSequence) or given.dim() == 3
        self._batch_first = module.batch_first and self._batched and not self._packed
        self._order: Tensor | None = None
        if isinstance(given, PackedSequence):
            self._order = given.sorted_indices
            self.sizes = tuple(given.batch_sizes.tolist())
        elif self._batch_first:
            self.sizes = (given.shape[0],) * given.shape[1]
        else:
            self.sizes = (given.shape[1] if self._batched else 1,) * given.shape[0]

    def of_sequence(self, sequence: Tensor) -> Tensor:
        """[T, B, …], [B, T, …] or [T, …] → [T · B, …]; what is packed is so already."""
        if self._packed or not self._batched:
            return sequence
        return (sequence.transpose(0, 1) if self._batch_first else sequence).flatten(0, 1)

    def of_state(self, state: Tensor) -> Tensor:
        """[layers · directions, B, …] or [layers · directions, …] → the former, longest sequence first."""
        state = state if self._batched else state.unsqueeze(1)
        return state if self._order is None else state.index_select(1, self._order)

    def of_output(self, place: int, tensor: Tensor) -> Tensor:
        """Either of the two, by the place among the module's outputs."""
        return self.of_state(tensor) if place else self.of_sequence(tensor)


class _WeightCopies:
    """A module's weights as they were, in the order of ``_flat_weights``.

    tensors: the copies.
    """

    def __init__(self, sources: Sequence[Tensor]) -> None:
        # Aliases, which keep their memory from being used for other weights meanwhile.
        self._sources = [x.detach() for x in sources]
        self._versions = [x._version for x in sources]
        self.tensors = [x.detach().clone() for x in sources]

    def are_of(self, sources: Sequence[Tensor]) -> bool:
        """Whether ``sources`` still hold the same values: same memory, not written to since."""
        known = zip(self._sources, self._versions, strict=True)
        return len(sources) == len(self.tensors) and all(
            x.data_ptr() == source.data_ptr() and x.dtype == source.dtype and x._version == version
            for x, (source, version) in zip(sources, known, strict=True)
        )


_latest: weakref.WeakKeyDictionary[nn.RNNBase, weakref.ref[_WeightCopies]] = weakref.WeakKeyDictionary()


def _copies_of(module: nn.RNNBase) -> _WeightCopies:
    """The module's weights; a copy that an earlier pass still holds, where they have not changed since."""
    sources = [x for x in module._flat_weights if isinstance(x, Tensor)]
    known = _latest.get(module)
    copies = known() if known else None
    if copies is None or not copies.are_of(sources):
        copies = _WeightCopies(sources)
        _latest[module] = weakref.ref(copies)
    return copies


class _Kept(NamedTuple):
    """Copies of what a pass computed with, in the layout of ``recurrence``.

    data: the input [sum of sizes, input size].
    weights: the module's.
    initial: the states it was given, h and an LSTM's c, each [layers · directions, B, …]; empty without any.
    state_has_graph: whether gradients flow on into these states.
    final: the states it ended with.
    """

    layout: _Layout
    data: Tensor
    weights: _WeightCopies
    initial: tuple[Tensor, ...]
    state_has_graph: bool
    final: tuple[Tensor, ...]


def _keep(
    module: nn.RNNBase, given: Tensor | PackedSequence, initial: Sequence[Tensor], final: Sequence[Tensor]
) -> _Kept:
    layout = _Layout(module, given)
    data = given.data if isinstance(given, PackedSequence) else given
    return _Kept(
        layout,
        layout.of_sequence(data.detach()).clone(),
        _copies_of(module),
        tuple(layout.of_state(x.detach()).clone() for x in initial),
        any(x.requires_grad for x in initial),
        tuple(layout.of_state(x.detach()).clone() for x in final),
    )


def _in_order(tensors: Sequence[Tensor]) -> Weights:
    """From PyTorch's order: W_ih, W_hh, b_ih and b_hh where there are biases, W_hr where there is a projection."""
    bias = len(tensors) >= 4
    return Weights(
        input=tensors[0],
        hidden=tensors[1],
        input_bias=tensors[2] if bias else None,
        hidden_bias=tensors[3] if bias else None,
        projection=tensors[-1] if len(tensors) % 2 else None,
    )


def _initial_states(mode: str, kept: _Kept, sets: Sequence[Weights]) -> list[State]:
    """By layer and direction; zeros where none were given."""
    hidden = sets[0].hidden
    if kept.initial:
        return list(zip(*(x.to(hidden.dtype).unbind() for x in kept.initial), strict=True))
    sizes = [hidden.shape[1], hidden.shape[0] // 4] if mode == "LSTM" else [hidden.shape[1]]
    return [tuple(hidden.new_zeros(kept.layout.sizes[0], size) for size in sizes)] * len(sets)
