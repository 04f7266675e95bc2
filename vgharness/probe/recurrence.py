"""Computes ``nn.RNN``, ``nn.LSTM`` and ``nn.GRU`` again one step at a time, so that every hidden state is a tensor of
its own in the graph.

Batches are laid out as in a ``PackedSequence``, longest sequence first: ``sizes[t]`` sequences have a step t, and
one tensor [sum of sizes, …] holds the steps one after the other. A padded batch of B is one whose sizes are all B.
The formulas are those of PyTorch's documentation of the three modules.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import linear

State = tuple[Tensor, ...]  # h, and an LSTM's c: [B, hidden size]


class Weights(NamedTuple):
    """What one direction of one layer computes with.

    input: W_ih [gates · hidden size, input size].
    hidden: W_hh [gates · hidden size, size of h].
    input_bias: b_ih, or ``None``.
    hidden_bias: b_hh, or ``None``.
    projection: W_hr [size of h, hidden size] of an LSTM with ``proj_size``, or ``None``.
    """

    input: Tensor
    hidden: Tensor
    input_bias: Tensor | None = None
    hidden_bias: Tensor | None = None
    projection: Tensor | None = None


class Unrolled(NamedTuple):
    """One pass through a recurrent module, step by step.

    hidden: per layer, per direction, h after each step in the order in which the direction takes them: [sizes[t], H].
    outputs: per layer the h that it hands on, directions side by side: [sum of sizes, directions · H].
    final: what each direction of each layer ends with, layer by layer, of all sequences: h, and an LSTM's c.
    """

    hidden: tuple[tuple[tuple[Tensor, ...], ...], ...]
    outputs: tuple[Tensor, ...]
    final: tuple[State, ...]


# From W_ih x + b_ih of a step, the state before it and the weights, the state after it.
_Step = Callable[[Tensor, State, Weights], State]


def unroll(
    mode: str, layers: Sequence[Sequence[Weights]], data: Tensor, sizes: Sequence[int], initial: Sequence[State]
) -> Unrolled:
    """Runs the recurrence.

    ``mode`` is a key of :data:`STEPS`. ``layers`` holds per layer the weights of its directions, the second of which
    goes from the end to the start. ``data`` [sum of sizes, input size] is the input. ``initial`` holds the state
    each direction of each layer starts from, layer by layer. There is no dropout between the layers.
    """
    hidden: list[tuple[tuple[Tensor, ...], ...]] = []
    outputs: list[Tensor] = []
    final: list[State] = []
    for directions in layers:
        ran = []
        for weights, backward in zip(directions, (False, True), strict=False):
            steps, state = _run(STEPS[mode], weights, data, sizes, initial[len(final)], backward=backward)
            ran.append(steps)
            final.append(state)
        in_time = [steps[::-1] if backward else steps for steps, backward in zip(ran, (False, True), strict=False)]
        data = torch.cat([torch.cat(steps) for steps in in_time], dim=1)
        outputs.append(data)
        hidden.append(tuple(ran))
    return Unrolled(tuple(hidden), tuple(outputs), tuple(final))


def _run(
    step: _Step, weights: Weights, data: Tensor, sizes: Sequence[int], state: State, *, backward: bool
) -> tuple[tuple[Tensor, ...], State]:
    """One direction of one layer: h after each step, and the state that each sequence ends with."""
    inward = torch.split(linear(data, weights.input, weights.input_bias), list(sizes))
    hidden = []
    for x in reversed(inward) if backward else inward:
        # Sequences that have ended keep their last state; going backward, those yet to begin keep their first.
        running = len(x)
        after = step(x, tuple(part[:running] if len(part) > running else part for part in state), weights)
        hidden.append(after[0])
        resting = [part[running:] for part in state]
        state = tuple(torch.cat(parts) if len(parts[1]) else parts[0] for parts in zip(after, resting, strict=True))
    return tuple(hidden), state


def _tanh_step(x: Tensor, state: State, weights: Weights) -> State:
    return (torch.tanh(x + linear(state[0], weights.hidden, weights.hidden_bias)),)


def _relu_step(x: Tensor, state: State, weights: Weights) -> State:
    return (torch.relu(x + linear(state[0], weights.hidden, weights.hidden_bias)),)


def _lstm_step(x: Tensor, state: State, weights: Weights) -> State:
    h, c = state
    entry, keep, new, out = (x + linear(h, weights.hidden, weights.hidden_bias)).chunk(4, dim=1)
    c = torch.sigmoid(keep) * c + torch.sigmoid(entry) * torch.tanh(new)
    h = torch.sigmoid(out) * torch.tanh(c)
    return (h if weights.projection is None else linear(h, weights.projection)), c


def _gru_step(x: Tensor, state: State, weights: Weights) -> State:
    (h,) = state
    reset_x, update_x, new_x = x.chunk(3, dim=1)
    reset_h, update_h, new_h = linear(h, weights.hidden, weights.hidden_bias).chunk(3, dim=1)
    update = torch.sigmoid(update_x + update_h)
    new = torch.tanh(new_x + torch.sigmoid(reset_x + reset_h) * new_h)
    return ((1 - update) * new + update * h,)


# By the ``mode`` of an ``nn.RNNBase``.
STEPS: Final[Mapping[str, _Step]] = {
    "RNN_TANH": _tanh_step,
    "RNN_RELU": _relu_step,
    "LSTM": _lstm_step,
    "GRU": _gru_step,
}
