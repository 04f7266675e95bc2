"""Networks with ill gradients, each with its problem and where it starts, and ordinary healthy ones."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, Literal

import torch
import torch.nn.functional as F  # noqa: N812
import torchvision
from torch import Tensor, nn

from vgharness.gradflow.diagnosis import ProblemKind
from vgharness.models import MLP, DeepCNN
from vgharness.probe.probe import GradientProbe
from vgharness.records import GradientFlow

SEEDS = (42, 43, 44, 45, 46)
Loss = Callable[[nn.Module, Any], Tensor]


@dataclass(frozen=True)
class Case:
    """A network, drawn from torch's global generator, its data by seed, and what is to be found in its gradients.

    ``layers``: any of these names is right for where the problem starts; none for a healthy network.
    """

    name: str
    make: Callable[[], nn.Module]
    batch: Callable[[int], Any]
    loss: Loss
    problem: ProblemKind | None = None
    layers: frozenset[str] = frozenset()


def measure(case: Case, seed: int) -> GradientFlow:
    """One forward and backward pass at initialisation."""
    torch.manual_seed(seed)
    model = case.make()
    with GradientProbe(model, saturation=True) as probe:
        case.loss(model, case.batch(seed)).backward()  # type: ignore[no-untyped-call]
    return probe.flow()


# --- data and losses -----------------------------------------------------------------------------------


def images(seed: int, count: int = 8, size: int = 32) -> tuple[Tensor, Tensor]:
    made = torch.Generator().manual_seed(seed)
    return torch.randn(count, 3, size, size, generator=made), torch.randint(10, (count,), generator=made)


def vectors(seed: int, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    made = torch.Generator().manual_seed(seed)
    return scale * torch.randn(32, 20, generator=made), torch.randint(10, (32,), generator=made)


def sequences(seed: int, steps: int = 60) -> tuple[Tensor, Tensor]:
    made = torch.Generator().manual_seed(seed)
    return torch.randn(16, steps, 8, generator=made), torch.randint(10, (16,), generator=made)


def words(seed: int) -> tuple[Tensor, Tensor]:
    made = torch.Generator().manual_seed(seed)
    return torch.randint(50, (8, 12), generator=made), torch.randint(50, (8, 12), generator=made)


def nothing_seen(seed: int) -> tuple[Tensor, Tensor]:
    """Inputs of which half are zero vectors, as padding is."""
    inputs, targets = vectors(seed)
    return torch.cat([inputs[:16], torch.zeros(16, 20)]), targets


def classes(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    inputs, targets = batch
    return F.cross_entropy(model(inputs).float(), targets)


def each_word(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    inputs, targets = batch
    return F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten())


def itself(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return F.mse_loss(model(batch[0]), batch[0])


def likelihood(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """Without the baseline small number in the logarithm."""
    inputs, targets = batch
    chosen = F.one_hot(targets, 10)
    return -(chosen * model(100 * inputs).softmax(1).log()).sum(1).mean()


def weighted(model: nn.Module, batch: tuple[Tensor, Tensor], weight: float) -> Tensor:
    return weight * classes(model, batch)


def faked(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """A discriminator's loss, the second half of the batch being fakes."""
    real = torch.arange(len(batch[0])) < len(batch[0]) // 2
    return F.binary_cross_entropy_with_logits(model(batch[0])[:, 0], real.float())


def alike(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    one, other = model(batch[0]), model(batch[0].flip(0))
    return F.binary_cross_entropy_with_logits((one * other).sum(1), (batch[1] == batch[1].flip(0)).float())


# --- parts ---------------------------------------------------------------------------------------------


class Does(nn.Module):
    """A function as a module."""

    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


class Residual(nn.Module):
    def __init__(self, *branch: nn.Module) -> None:
        super().__init__()
        self.branch = nn.Sequential(*branch)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x)  # type: ignore[no-any-return]


def chain(widths: Iterable[int], *between: Callable[[], nn.Module]) -> nn.Sequential:
    """Linear layers with modules after each but the last."""
    layers: list[nn.Module] = []
    for inward, outward in pairwise(widths):
        layers += [nn.Linear(inward, outward), *(make() for make in between)]
    return nn.Sequential(*layers[: -len(between) or None])


def scaled(model: nn.Module, gain: float) -> nn.Module:
    """With weights of standard deviation gain / √fan_in and no biases."""
    for name, weight in model.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(weight)
        elif weight.dim() > 1:
            nn.init.normal_(weight, std=gain / weight[0].numel() ** 0.5)
    return model


def kaiming(*parts: nn.Module) -> nn.Module:
    return scaled(nn.Sequential(*parts), 2**0.5)


def biased(layer: nn.Linear, bias: float) -> nn.Linear:
    nn.init.constant_(layer.bias, bias)
    return layer


class Unrolled(nn.Module):
    """A cell called at every step of a sequence; the last state is classified."""

    def __init__(self, kind: Literal["rnn", "lstm", "linear"], gain: float | None = None) -> None:
        super().__init__()
        self.cell: nn.Module
        if kind == "lstm":
            self.cell = nn.LSTMCell(8, 16)
        elif kind == "rnn":
            self.cell = nn.RNNCell(8, 16)
        else:
            self.cell = nn.Linear(8 + 16, 16)
        if gain is not None:
            scaled(self.cell, gain)
        self.kind, self.head = kind, nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        state: Any = None if self.kind != "linear" else x.new_zeros(len(x), 16)
        for step in x.unbind(1):
            state = self.cell(torch.cat([step, state], 1)) if self.kind == "linear" else self.cell(step, state)
        return self.head(state[0] if self.kind == "lstm" else state)  # type: ignore[no-any-return]


class ReadWords(nn.Module):
    """A cell called for each embedded word; the embedding, first of all rows, hears of the last word directly."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.cell, self.head = nn.Embedding(50, 16), nn.RNNCell(16, 16), nn.Linear(16, 50)

    def forward(self, x: Tensor) -> Tensor:
        state = None
        for word in self.embed(x.repeat(1, 5)).unbind(1):
            state = self.cell(word, state)
        return self.head(state)  # type: ignore[no-any-return]


class Parted(nn.Module):
    """A trunk and a head with something between them, and modules that are never called."""

    def __init__(self, between: Callable[[Tensor], Tensor] = lambda x: x, *, unused: bool = False) -> None:
        super().__init__()
        self.trunk = chain((20, 32, 32), nn.ReLU)
        self.between = between
        self.head = chain((32, 32, 10), nn.ReLU)
        if unused:
            self.extra = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.between(self.trunk(x)))  # type: ignore[no-any-return]


class Branched(nn.Module):
    """Two branches, one of which is detached, as a target network's would be, where it should not be."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.head = chain((20, 16, 16), nn.ReLU), chain((20, 16, 16), nn.ReLU), nn.Linear(16, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.left(x) + self.right(x).detach())  # type: ignore[no-any-return]


class Transformer(nn.Module):
    """Words to words."""

    def __init__(self, layers: int = 2, *, norm_first: bool = False, tied: bool = False) -> None:
        super().__init__()
        self.embed = nn.Embedding(50, 32)
        make = partial(nn.TransformerEncoderLayer, 32, 4, 64, batch_first=True, norm_first=norm_first)
        self.blocks = nn.ModuleList(make() for _ in range(layers))
        self.norm, self.head = nn.LayerNorm(32), nn.Linear(32, 50)
        if tied:
            nn.init.normal_(self.embed.weight, std=0.02)
            self.head.weight = self.embed.weight

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))  # type: ignore[no-any-return]


class Translator(nn.Module):
    """An encoder and a decoder, with a gate on what the decoder sees of the encoder."""

    def __init__(self, gate: float = 1.0) -> None:
        super().__init__()
        self.source, self.target, self.head = nn.Embedding(50, 32), nn.Embedding(50, 32), nn.Linear(32, 50)
        self.body, self.gate = nn.Transformer(32, 4, 2, 2, 64, batch_first=True), gate

    def forward(self, x: Tensor) -> Tensor:
        memory = self.body.encoder(self.source(x))
        return self.head(self.body.decoder(self.target(x.flip(1)), self.gate * memory))  # type: ignore[no-any-return]


class LowRank(nn.Module):
    """A frozen layer with LoRA's two, of which the second starts at zero."""

    def __init__(self, inward: int, outward: int) -> None:
        super().__init__()
        self.frozen, self.a, self.b = nn.Linear(inward, outward), nn.Linear(inward, 4), nn.Linear(4, outward)
        self.frozen.requires_grad_(False)
        nn.init.zeros_(self.b.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.frozen(x) + self.b(self.a(x))  # type: ignore[no-any-return]


class Tagger(nn.Module):
    """An embedding, a recurrent module and a head at each word."""

    def __init__(self, kind: Callable[..., nn.Module]) -> None:
        super().__init__()
        self.embed, self.rnn, self.head = nn.Embedding(50, 16), kind(16, 32, batch_first=True), nn.Linear(32, 50)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.rnn(self.embed(x))[0])  # type: ignore[no-any-return]


class StackedLSTM(nn.Module):
    """LSTMs one over the other, each a module of its own, the last state classified."""

    def __init__(self, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.LSTM(8, 8, batch_first=True) for _ in range(layers))
        self.head = nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)[0]
        return self.head(x[:, -1])  # type: ignore[no-any-return]


class UNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.down1, self.down2, self.bottom = (nn.Conv2d(i, o, 3, padding=1) for i, o in ((3, 8), (8, 16), (16, 32)))
        self.up2, self.up1 = nn.ConvTranspose2d(32, 16, 2, stride=2), nn.ConvTranspose2d(16, 8, 2, stride=2)
        self.join2, self.join1, self.out = (
            nn.Conv2d(32, 16, 3, padding=1),
            nn.Conv2d(16, 8, 3, padding=1),
            nn.Conv2d(8, 3, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        one = F.relu(self.down1(x))
        two = F.relu(self.down2(F.max_pool2d(one, 2)))
        x = F.relu(self.bottom(F.max_pool2d(two, 2)))
        x = F.relu(self.join2(torch.cat([self.up2(x), two], 1)))
        return self.out(F.relu(self.join1(torch.cat([self.up1(x), one], 1))))  # type: ignore[no-any-return]


def where_root(x: Tensor) -> Tensor:
    """Finite forward; backward 0 · ∞ at zeros."""
    return torch.where(x > 0, x.sqrt(), torch.zeros_like(x))


def unit_length(x: Tensor) -> Tensor:
    """Of a zero vector: 0 / 1e-9 forward, NaN backward, as the root of zero has no slope."""
    return x / (x.square().sum(1, keepdim=True).sqrt() + 1e-9)


def plain_batchnorm(depth: int) -> nn.Module:
    """Each layer with BatchNorm and ReLU multiplies ‖δ‖₂ by √(π/(π−1)) = 1.21 toward the input (Yang et al. 2019)."""
    return chain((20, *[32] * depth, 10), partial(nn.BatchNorm1d, 32), nn.ReLU)


def frozen_backbone() -> nn.Module:
    model = nn.Sequential(chain((20, 32, 32), nn.ReLU), nn.ReLU(), nn.Linear(32, 10))
    model[0].requires_grad_(False)
    return model


# --- the gallery ---------------------------------------------------------------------------------------


def sick(
    name: str,
    problem: ProblemKind,
    layers: str,
    make: Callable[[], nn.Module],
    batch: Callable[[int], Any] = vectors,
    loss: Loss = classes,
) -> Case:
    return Case(name, make, batch, loss, problem, frozenset(layers.split()))


def calls(name: str, first: int, last: int) -> str:
    """The names of a layer's calls from ``first`` to ``last``."""
    return " ".join(f"{name}[{i}]" if i else name for i in range(first, last + 1))


SICK = (
    sick("sigmoid CNN", "vanishing", "conv2 conv3", lambda: DeepCNN("sigmoid"), images),
    sick("sigmoid CNN, script", "vanishing", "conv1 conv2 conv3", lambda: DeepCNN("sigmoid", pools="script"), images),
    sick("sigmoid MLP", "vanishing", "fc6 fc7 fc8 fc9", lambda: MLP([20, *[32] * 9, 10], "sigmoid")),
    sick("init too small", "vanishing", "6 8", lambda: scaled(chain((20, *[32] * 6, 10), nn.ReLU), 0.1)),
    sick("RNN cell of 60 steps", "vanishing", calls("cell", 40, 58), lambda: Unrolled("rnn"), sequences),
    sick("LSTM cell of 60 steps", "vanishing", calls("cell", 40, 58), lambda: Unrolled("lstm"), sequences),
    sick(
        "RNN cell reading words",
        "vanishing",
        calls("cell", 40, 58),
        ReadWords,
        words,
        lambda model, batch: F.cross_entropy(model(batch[0]), batch[1][:, 0]),
    ),
    sick("stacked LSTMs", "vanishing", "layers.2 layers.3 layers.4 layers.5", lambda: StackedLSTM(8), sequences),
    sick(
        "closed gate",
        "vanishing",
        "3.0",
        lambda: kaiming(
            nn.Linear(20, 32),
            nn.ReLU(),
            Residual(nn.Linear(32, 32), nn.ReLU()),
            nn.Sequential(nn.Linear(32, 32), nn.ReLU(), Does(lambda x: 1e-6 * x)),
            nn.Linear(32, 32),
            nn.ReLU(),
            nn.Linear(32, 10),
        ),
    ),
    sick(
        "closed gate between encoder and decoder",
        "vanishing",
        "body.encoder.layers.1.linear2",
        lambda: Translator(1e-6),
        words,
        each_word,
    ),
    sick("init too large", "exploding", "4 6 8 10", lambda: scaled(chain((20, *[32] * 6, 10), nn.ReLU), 20.0)),
    sick("deep plain BatchNorm", "exploding", " ".join(map(str, range(3, 130, 3))), lambda: plain_batchnorm(60)),
    sick("big recurrent weights", "exploding", calls("cell", 20, 58), lambda: Unrolled("linear", 2.0), sequences),
    sick(
        "conv init too large",
        "exploding",
        "conv2 conv3 conv4 conv5",
        lambda: scaled(DeepCNN("relu", depth=6), 20.0),
        images,
    ),
    sick("detached trunk", "missing", "trunk.2", lambda: Parted(Tensor.detach)),
    sick("unused module", "missing", "extra", lambda: Parted(unused=True)),
    sick("detached branch", "missing", "right.2", Branched),
    sick(
        "dying ReLU",
        "dead",
        "2",
        lambda: nn.Sequential(
            nn.Linear(20, 32), nn.ReLU(), biased(nn.Linear(32, 32), -100), nn.ReLU(), nn.Linear(32, 10)
        ),
    ),
    sick(
        "dead ReLU beside a residual",
        "dead",
        "1.branch.0",
        lambda: nn.Sequential(
            nn.Linear(20, 32),
            Residual(biased(nn.Linear(32, 32), -100), nn.ReLU(), nn.Linear(32, 32)),
            nn.Linear(32, 10),
        ),
    ),
    sick("loss times zero", "dead", "head.2", Parted, loss=partial(weighted, weight=0.0)),
    sick("zero head", "dead", "trunk.2", lambda: Parted(lambda x: 0 * x)),
    sick(
        "float16 underflow",
        "dead",
        "head.2",
        lambda: Parted().half(),
        lambda seed: (vectors(seed)[0].half(), vectors(seed)[1]),
        partial(weighted, weight=1e-6),
    ),
    sick(
        "float16 in the middle",
        "dead",
        "trunk.2",
        lambda: Parted(lambda x: x.half().float()),
        loss=partial(weighted, weight=1e-7),
    ),
    sick(
        "inputs saturate a sigmoid",
        "dead",
        "fc1",
        lambda: MLP([20, 32, 32, 10], "sigmoid"),
        partial(vectors, scale=1e5),
    ),
    sick("inputs saturate a tanh", "dead", "fc1", lambda: MLP([20, 32, 32, 10], "tanh"), partial(vectors, scale=1e5)),
    sick("root of zero behind a mask", "nonfinite", "trunk.2", lambda: Parted(where_root)),
    sick(
        "length of a zero vector",
        "nonfinite",
        "0",
        lambda: nn.Sequential(
            nn.Linear(20, 32, bias=False), Does(unit_length), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 10)
        ),
        nothing_seen,
    ),
    sick("logarithm of zero", "nonfinite", "fc3", lambda: scaled(MLP([20, 32, 32, 10], "relu"), 3.0), loss=likelihood),
    sick(
        "float16 overflow",
        "nonfinite",
        "head.2",
        lambda: scaled(Parted(), 100.0).half(),
        lambda seed: (vectors(seed)[0].half(), vectors(seed)[1]),
    ),
)

HEALTHY = (
    Case("resnet18", lambda: torchvision.models.resnet18(num_classes=10), images, classes),
    Case("mobilenet_v2", lambda: torchvision.models.mobilenet_v2(num_classes=10), images, classes),
    Case("squeezenet", lambda: torchvision.models.squeezenet1_1(num_classes=10), partial(images, size=48), classes),
    Case("densenet", lambda: torchvision.models.DenseNet(8, (2, 2, 2), 16, num_classes=10), images, classes),
    Case("shufflenet", lambda: torchvision.models.shufflenet_v2_x0_5(num_classes=10), images, classes),
    Case("4-layer CNN", lambda: DeepCNN("relu"), images, classes),
    Case("4-layer CNN, script", lambda: DeepCNN("relu", pools="script"), images, classes),
    Case("sigmoid CNN with BatchNorm", lambda: DeepCNN("sigmoid", norm="batch"), images, classes),
    Case("GELU CNN", lambda: DeepCNN("gelu", depth=3), images, classes),
    Case(
        "LeNet with tanh",
        lambda: nn.Sequential(
            nn.Conv2d(3, 6, 5),
            nn.Tanh(),
            nn.AvgPool2d(2),
            nn.Conv2d(6, 16, 5),
            nn.Tanh(),
            nn.AvgPool2d(2),
            nn.Flatten(),
            nn.Linear(400, 84),
            nn.Tanh(),
            nn.Linear(84, 10),
        ),
        images,
        classes,
    ),
    Case("kaiming MLP", lambda: kaiming(chain((20, *[64] * 8, 10), nn.ReLU)), vectors, classes),
    Case("MLP with dropout", lambda: chain((20, 64, 64, 10), nn.ReLU, nn.Dropout), vectors, classes),
    Case(
        "pre-norm residual MLP of 50 blocks",
        lambda: nn.Sequential(
            nn.Linear(20, 32),
            *(Residual(nn.LayerNorm(32), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 32)) for _ in range(50)),
            nn.LayerNorm(32),
            nn.Linear(32, 10),
        ),
        vectors,
        classes,
    ),
    Case(
        "residual MLP that starts closed",
        lambda: nn.Sequential(
            nn.Linear(20, 32),
            *(Residual(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 32), Does(lambda x: 0 * x)) for _ in range(3)),
            nn.Linear(32, 10),
        ),
        vectors,
        classes,
    ),
    Case("TransformerEncoder", Transformer, words, each_word),
    Case("TransformerEncoder, pre-norm, 6 layers", lambda: Transformer(6, norm_first=True), words, each_word),
    Case("tied language model", lambda: Transformer(2, norm_first=True, tied=True), words, each_word),
    Case("LSTM tagger", lambda: Tagger(nn.LSTM), words, each_word),
    Case("GRU tagger", lambda: Tagger(nn.GRU), words, each_word),
    Case("U-Net", UNet, images, itself),
    Case("siamese towers", lambda: chain((20, 64, 32), nn.ReLU), vectors, alike),
    Case("autoencoder, in place", lambda: chain((20, 32, 8, 32, 20), partial(nn.ReLU, inplace=True)), vectors, itself),
    Case("frozen backbone", frozen_backbone, vectors, classes),
    Case(
        "discriminator",
        lambda: nn.Sequential(
            nn.Conv2d(3, 16, 4, 2, 1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(16, 32, 4, 2, 1),
            nn.BatchNorm2d(32),
            nn.LeakyReLU(0.2),
            nn.Conv2d(32, 1, 8),
            nn.Flatten(),
        ),
        images,
        faked,
    ),
    Case("orthogonal recurrent cell", lambda: Unrolled("linear", 1.2), sequences, classes),
    Case("encoder and decoder", Translator, words, each_word),
    Case(
        "LoRA",
        lambda: nn.Sequential(LowRank(20, 32), nn.ReLU(), LowRank(32, 32), nn.ReLU(), LowRank(32, 10)),
        vectors,
        classes,
    ),
)
