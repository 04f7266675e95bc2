"""Recurrent networks: fused ones and cells, read at the last step or pooled, cut, packed, in both directions."""

import torch
from kinds_case import Calls, Kind, cross_entropy, sequences
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence


def fused(layer: nn.Module, read: str = "last", width: int = 16) -> nn.Module:
    def run(s, x):
        out, _ = s.layer(x)
        return s.head({"last": lambda: out[:, -1], "mean": lambda: out.mean(1), "max": lambda: out.amax(1)}[read]())

    return Calls(run, layer=layer, head=nn.Linear(width, 4))


def batch_first(kind: type[nn.Module], **more) -> nn.Module:
    return kind(4, 16, batch_first=True, **more)


def step_first() -> nn.Module:
    def run(s, x):
        out, _ = s.layer(x.transpose(0, 1))
        return s.head(out[-1])

    return Calls(run, layer=nn.GRU(4, 16), head=nn.Linear(16, 4))


def cells(kind: type[nn.Module], read: str = "last", cut: bool = False) -> nn.Module:
    def run(s, x):
        state, seen = None, []
        for t in range(x.shape[1]):
            state = s.cell(x[:, t], state)
            out = state[0] if isinstance(state, tuple) else state
            seen.append(out)
            if cut and t + 1 < x.shape[1]:
                state = tuple(part.detach() for part in state) if isinstance(state, tuple) else state.detach()
        return s.head(out if read == "last" else torch.stack(seen).mean(0))

    return Calls(run, cell=kind(4, 16), head=nn.Linear(16, 4))


def identity() -> nn.Module:
    """ReLU with the identity for its recurrent matrix."""
    layer = batch_first(nn.RNN, nonlinearity="relu")
    with torch.no_grad():
        layer.weight_hh_l0.copy_(torch.eye(16))
        layer.weight_ih_l0.mul_(0.3)
        layer.bias_hh_l0.zero_()
        layer.bias_ih_l0.zero_()
    return fused(layer)


def orthogonal(gain: float) -> nn.Module:
    layer = batch_first(nn.RNN, nonlinearity="relu")
    with torch.no_grad():
        layer.weight_hh_l0.copy_(gain * torch.eye(16))
    return fused(layer)


def open_forget() -> nn.Module:
    layer = batch_first(nn.LSTM)
    with torch.no_grad():
        layer.bias_ih_l0[16:32] = 5.0
    return fused(layer)


def packed(kind: type[nn.Module]) -> nn.Module:
    def run(s, x):
        lengths = torch.arange(x.shape[1], x.shape[1] - len(x), -1)
        _, state = s.layer(pack_padded_sequence(x, lengths, batch_first=True))
        return s.head((state[0] if isinstance(state, tuple) else state)[-1])

    return Calls(run, layer=kind(4, 16, batch_first=True), head=nn.Linear(16, 4))


def chunks(cut: bool) -> nn.Module:
    """A fused layer over pieces of the sequence, its state handed on."""

    def run(s, x):
        state, seen = None, []
        for piece in x.split(3, 1):
            out, state = s.layer(piece, None if state is None else state.detach() if cut else state)
            seen.append(out)
        return s.head(out[:, -1] if cut else torch.cat(seen, 1).mean(1))

    return Calls(run, layer=batch_first(nn.GRU), head=nn.Linear(16, 4))


def tagger() -> nn.Module:
    def run(s, x):
        return s.head(s.layer(x)[0])

    return Calls(run, layer=batch_first(nn.LSTM), head=nn.Linear(16, 4))


def tagged(out, target):
    return cross_entropy(out.flatten(0, 1), target.repeat_interleave(out.shape[1]))


def attended() -> nn.Module:
    """Every step is in reach of the output by attention."""

    def run(s, x):
        out, _ = s.layer(x)
        return s.head((s.score(out).softmax(1) * out).sum(1))

    return Calls(run, layer=batch_first(nn.GRU), score=nn.Linear(16, 1), head=nn.Linear(16, 4))


def case(name, make, steps, label="healthy", layers=(), loss=cross_entropy, **more) -> Kind:
    return Kind(name, make, sequences(steps), loss, label, layers, **more)


VANISHING = ("vanishing", ("layer",))
TIME = [
    case("RNN read last", lambda: fused(batch_first(nn.RNN)), 40, *VANISHING),
    case("LSTM read last", lambda: fused(batch_first(nn.LSTM)), 40, *VANISHING),
    case("GRU read last, steps first", step_first, 40, *VANISHING),
    case("two LSTMs read last", lambda: fused(batch_first(nn.LSTM, num_layers=2)), 40, *VANISHING),
    case(
        "both directions read last", lambda: fused(batch_first(nn.LSTM, bidirectional=True), "last", 32), 40, *VANISHING
    ),
    case("packed and long", lambda: packed(nn.RNN), 40, *VANISHING),
    case("RNN cells read last", lambda: cells(nn.RNNCell), 40, "vanishing", ("cell",)),
    case("LSTM cells read last", lambda: cells(nn.LSTMCell), 40, "vanishing", ("cell",)),
    case("GRU cells read last", lambda: cells(nn.GRUCell), 40, "vanishing", ("cell",)),
    case("a gain of two", lambda: orthogonal(2.0), 40, "exploding", ("layer",)),
    case("cells cut at each step", lambda: cells(nn.RNNCell, cut=True), 12, "missing", ("cell",)),
    case("LSTM cells cut at each step", lambda: cells(nn.LSTMCell, cut=True), 12, "missing", ("cell",)),
    case("a fused layer cut between pieces", lambda: chunks(True), 18, "missing", ("layer",)),
    case("pieces in a whole", lambda: chunks(False), 18),
    case("RNN pooled", lambda: fused(batch_first(nn.RNN), "mean"), 40),
    case(
        "LSTM pooled by maximum, both directions",
        lambda: fused(batch_first(nn.LSTM, bidirectional=True), "max", 32),
        40,
    ),
    case("RNN cells pooled", lambda: cells(nn.RNNCell, "mean"), 40),
    case("GRU cells pooled", lambda: cells(nn.GRUCell, "mean"), 40),
    case("the identity, read last", identity, 40),
    case("an open forget gate, read last", open_forget, 40),
    case("short RNN read last", lambda: fused(batch_first(nn.RNN)), 5),
    case("packed and short", lambda: packed(nn.GRU), 6),
    case("a tagger", tagger, 40, loss=tagged),
    case("attention over the steps", attended, 40),
]
