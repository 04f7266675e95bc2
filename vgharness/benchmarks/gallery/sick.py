"""The sick models: each with the problem of its gradients and the layers where it may be said to start."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from torch import Tensor, nn

from vgharness.benchmarks.gallery.cases import (
    Case,
    Loss,
    classification,
    each_word,
    first_word,
    float16_vectors,
    images,
    sequences,
    unsafe_log_likelihood,
    vectors,
    vectors_and_zeros,
    weighted,
    words,
)
from vgharness.benchmarks.gallery.networks import (
    Apply,
    Residual,
    StackedLSTM,
    Translator,
    TrunkAndHead,
    TwoBranches,
    UnrolledCell,
    WordReader,
    biased,
    chain,
    kaiming,
    plain_batchnorm,
    root_or_zero,
    scaled,
    unit_length,
)
from vgharness.gradflow.symptoms import ProblemKind
from vgharness.models import MLP, DeepCNN


def _case(
    name: str,
    problem: ProblemKind,
    layers: str,
    make: Callable[[], nn.Module],
    batch: Callable[[int], Any] = vectors,
    loss: Loss = classification,
) -> Case:
    """A :class:`Case` with the names of its layers in one text, between spaces."""
    return Case(name, make, batch, loss, problem, frozenset(layers.split()))


def _passes(layer: str, first: int, last: int) -> str:
    """The names of a recurrent layer's passes from ``first`` to ``last``."""
    return " ".join(f"{layer}[{i}]" if i else layer for i in range(first, last + 1))


SICK: Final = (
    _case("sigmoid CNN", "vanishing", "conv2 conv3", lambda: DeepCNN("sigmoid"), images),
    _case("sigmoid CNN, script", "vanishing", "conv1 conv2 conv3", lambda: DeepCNN("sigmoid", pools="script"), images),
    _case("sigmoid MLP", "vanishing", "fc6 fc7 fc8 fc9", lambda: MLP([20, *[32] * 9, 10], "sigmoid")),
    _case("init too small", "vanishing", "6 8", lambda: scaled(chain((20, *[32] * 6, 10), nn.ReLU), 0.1)),
    _case("RNN cell of 60 steps", "vanishing", _passes("cell", 40, 58), lambda: UnrolledCell("rnn"), sequences),
    _case("LSTM cell of 60 steps", "vanishing", _passes("cell", 40, 58), lambda: UnrolledCell("lstm"), sequences),
    _case(
        "RNN cell reading words",
        "vanishing",
        _passes("cell", 40, 58),
        WordReader,
        words,
        first_word,
    ),
    _case("stacked LSTMs", "vanishing", "layers.2 layers.3 layers.4 layers.5", lambda: StackedLSTM(8), sequences),
    _case(
        "closed gate",
        "vanishing",
        "3.0",
        lambda: kaiming(
            nn.Linear(20, 32),
            nn.ReLU(),
            Residual(nn.Linear(32, 32), nn.ReLU()),
            nn.Sequential(nn.Linear(32, 32), nn.ReLU(), Apply(lambda x: 1e-6 * x)),
            nn.Linear(32, 32),
            nn.ReLU(),
            nn.Linear(32, 10),
        ),
    ),
    _case(
        "closed gate between encoder and decoder",
        "vanishing",
        "body.encoder.norm",
        lambda: Translator(1e-6),
        words,
        each_word,
    ),
    _case("init too large", "exploding", "4 6 8 10", lambda: scaled(chain((20, *[32] * 6, 10), nn.ReLU), 20.0)),
    _case("deep plain BatchNorm", "exploding", " ".join(map(str, range(3, 130, 3))), lambda: plain_batchnorm(60)),
    _case(
        "big recurrent weights", "exploding", _passes("cell", 20, 58), lambda: UnrolledCell("linear", 2.0), sequences
    ),
    _case(
        "conv init too large",
        "exploding",
        "conv2 conv3 conv4 conv5",
        lambda: scaled(DeepCNN("relu", depth=6), 20.0),
        images,
    ),
    _case("detached trunk", "missing", "trunk.2", lambda: TrunkAndHead(Tensor.detach)),
    _case("unused module", "missing", "extra", lambda: TrunkAndHead(unused=True)),
    _case("detached branch", "missing", "right.2", TwoBranches),
    _case(
        "dying ReLU",
        "dead",
        "2",
        lambda: nn.Sequential(
            nn.Linear(20, 32), nn.ReLU(), biased(nn.Linear(32, 32), -100), nn.ReLU(), nn.Linear(32, 10)
        ),
    ),
    _case(
        "dead ReLU beside a residual",
        "dead",
        "1.branch.0",
        lambda: nn.Sequential(
            nn.Linear(20, 32),
            Residual(biased(nn.Linear(32, 32), -100), nn.ReLU(), nn.Linear(32, 32)),
            nn.Linear(32, 10),
        ),
    ),
    _case("loss times zero", "dead", "head.2", TrunkAndHead, loss=partial(weighted, weight=0.0)),
    _case("zero head", "dead", "trunk.2", lambda: TrunkAndHead(lambda x: 0 * x)),
    _case(
        "float16 underflow",
        "dead",
        "head.2",
        lambda: TrunkAndHead().half(),
        float16_vectors,
        partial(weighted, weight=1e-6),
    ),
    _case(
        "float16 in the middle",
        "dead",
        "trunk.2",
        lambda: TrunkAndHead(lambda x: x.half().float()),
        loss=partial(weighted, weight=1e-7),
    ),
    _case(
        "inputs saturate a sigmoid",
        "dead",
        "fc1",
        lambda: MLP([20, 32, 32, 10], "sigmoid"),
        partial(vectors, scale=1e5),
    ),
    _case("inputs saturate a tanh", "dead", "fc1", lambda: MLP([20, 32, 32, 10], "tanh"), partial(vectors, scale=1e5)),
    _case("root of zero behind a mask", "nonfinite", "trunk.2", lambda: TrunkAndHead(root_or_zero)),
    _case(
        "length of a zero vector",
        "nonfinite",
        "0",
        lambda: nn.Sequential(
            nn.Linear(20, 32, bias=False), Apply(unit_length), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 10)
        ),
        vectors_and_zeros,
    ),
    _case(
        "logarithm of zero",
        "nonfinite",
        "fc3",
        lambda: scaled(MLP([20, 32, 32, 10], "relu"), 3.0),
        loss=unsafe_log_likelihood,
    ),
    _case(
        "float16 overflow",
        "nonfinite",
        "head.0",
        lambda: scaled(TrunkAndHead(), 100.0).half(),
        float16_vectors,
    ),
)
