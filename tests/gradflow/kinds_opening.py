"""Networks that start closed: what opens after a step, and what never does."""

import torch
from kinds_case import Calls, Function, Kind, constant, cross_entropy, frozen, images, parameter, vectors, whole, zeroed
from torch import nn


def chain(*middle: nn.Module, last: nn.Module | None = None) -> nn.Module:
    return nn.Sequential(nn.Linear(8, 16), *middle, last or nn.Linear(16, 4))


def branches(scale, depth: int = 4) -> nn.Module:
    """Residual branches, each by a scale of its own."""

    def block():
        inner = nn.Sequential(nn.LayerNorm(16), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 16))
        return Calls(lambda s, x: x + s.scale * s.inner(x), inner=inner, scale=scale())

    return nn.Sequential(nn.Linear(8, 16), *(block() for _ in range(depth)), nn.Linear(16, 4))


def last_gamma() -> nn.Module:
    def block():
        norm = nn.BatchNorm2d(8)
        nn.init.zeros_(norm.weight)
        inner = nn.Sequential(
            nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1), norm
        )
        return Calls(lambda s, x: (x + s.inner(x)).relu(), inner=inner)

    return Calls(
        lambda s, x: s.head(s.blocks(s.stem(x)).mean((2, 3))),
        stem=nn.Conv2d(3, 8, 3, padding=1),
        blocks=nn.Sequential(block(), block()),
        head=nn.Linear(8, 4),
    )


def lora(both: bool = False) -> nn.Module:
    def adapted(i, o):
        down, up = parameter(i, 2, scale=0.3), constant(0.0, 2, o)
        down = constant(0.0, i, 2) if both else down
        return Calls(lambda s, x: s.base(x) + x @ s.down @ s.up, base=frozen(nn.Linear(i, o)), down=down, up=up)

    return nn.Sequential(adapted(8, 16), nn.ReLU(), adapted(16, 16), nn.ReLU(), adapted(16, 4))


def film() -> nn.Module:
    def run(s, x):
        gain, shift = s.film(s.condition(x[:, :2]).relu()).chunk(2, 1)
        return s.head((s.fc(x) * (1 + gain) + shift).relu())

    parts = {"condition": nn.Linear(2, 16), "film": zeroed(nn.Linear(16, 32))}
    return Calls(run, fc=nn.Linear(8, 16), **parts, head=nn.Linear(16, 4))


def controlled() -> nn.Module:
    """A trained copy joins a frozen network by a layer of zeros."""

    def run(s, x):
        return s.out((s.base(x) + s.join(s.copy(x))).relu())

    parts = {"base": frozen(nn.Linear(8, 16)), "copy": nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16))}
    return Calls(run, **parts, join=zeroed(nn.Linear(16, 16)), out=frozen(nn.Linear(16, 4)))


def modulated() -> nn.Module:
    """Gates at zero and a head at zero, as in diffusion transformers."""

    def block():
        def run(s, x, c):
            shift, scale, gate = s.modulation(c).chunk(3, 1)
            return x + gate * s.mlp(s.norm(x) * (1 + scale) + shift)

        mlp = nn.Sequential(nn.Linear(16, 32), nn.GELU(), nn.Linear(32, 16))
        norm = nn.LayerNorm(16, elementwise_affine=False)
        return Calls(run, modulation=zeroed(nn.Linear(16, 48)), mlp=mlp, norm=norm)

    def run(s, x):
        c, h = nn.functional.silu(s.condition(x[:, :2])), s.stem(x)
        for each in s.blocks:
            h = each(h, c)
        return s.head(h)

    parts = {"condition": nn.Linear(2, 16), "stem": nn.Linear(8, 16), "blocks": nn.ModuleList([block(), block()])}
    return Calls(run, **parts, head=zeroed(nn.Linear(16, 4)))


def tanh_gate() -> nn.Module:
    def run(s, x):
        h = s.fc(x).relu()
        return s.head(h + s.gate.tanh() * s.extra(h).relu())

    parts = {"fc": nn.Linear(8, 16), "extra": nn.Linear(16, 16), "gate": nn.Parameter(torch.tensor(0.0))}
    return Calls(run, **parts, head=nn.Linear(16, 4))


def shut(layer: nn.Linear, bias: float) -> nn.Linear:
    nn.init.constant_(layer.bias, bias)
    return layer


def all_zero() -> nn.Module:
    parts = [zeroed(nn.Linear(16, 16)), nn.ReLU(), zeroed(nn.Linear(16, 4))]
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), *parts)


def buffer_gate() -> nn.Module:
    return chain(Calls(lambda s, x: x.relu() * s.gate, gate=torch.zeros(16)))


def closed_branch(kind: str) -> nn.Module:
    """A residual branch by a factor that never becomes anything but zero."""

    def run(s, x):
        h = s.stem(x).relu()
        return s.head(h + s.gate * (s.other if kind == "product" else 1) * s.branch(h))

    gates = {
        "buffer": {"gate": torch.zeros(1)},
        "frozen": {"gate": nn.Parameter(torch.zeros(1), requires_grad=False)},
        "product": {"gate": constant(0.0, 1), "other": constant(0.0, 1)},
    }
    return Calls(run, stem=nn.Linear(8, 16), branch=nn.Linear(16, 16), head=nn.Linear(16, 4), **gates[kind])


def times_zero(out, target):
    return 0 * cross_entropy(out, target)


def case(name, make, label="healthy", layers=(), loss=cross_entropy, batch=None, **more) -> Kind:
    return Kind(name, make, batch or vectors(), loss, label, layers, **more)


BRANCH = ("branch", "model", "gate", "other")
OPENING = [
    case("a head at zero", lambda: chain(nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), last=zeroed(nn.Linear(16, 4)))),
    case("ReZero", lambda: branches(lambda: constant(0.0, 1))),
    case("LayerScale of 1e-6", lambda: branches(lambda: constant(1e-6, 16))),
    case("last gamma at zero", last_gamma, batch=images()),
    case("LoRA", lora),
    case("FiLM at zero", film),
    case("a joint at zero", controlled),
    case("gates and head at zero", modulated),
    case("a tanh gate at zero", tanh_gate),
    case("some units closed", lambda: nn.Sequential(shut(nn.Linear(8, 16), -0.5), nn.ReLU(), nn.Linear(16, 4))),
    case(
        "ReLUs closed by their bias",
        lambda: nn.Sequential(shut(nn.Linear(8, 16), -100.0), nn.ReLU(), nn.Linear(16, 4)),
        "dead",
        ("0",),
    ),
    case(
        "ReLUs closed in the middle",
        lambda: chain(nn.ReLU(), shut(nn.Linear(16, 16), -100.0), nn.ReLU()),
        "dead",
        ("0", "2"),
    ),
    case(
        "Hardtanh beyond its ends",
        lambda: nn.Sequential(shut(nn.Linear(8, 16), 50.0), nn.Hardtanh(), nn.Linear(16, 4)),
        "dead",
        ("0",),
    ),
    case("the loss times zero", lambda: chain(nn.ReLU()), "dead", ("2",), times_zero),
    case("detached in the middle", lambda: chain(nn.ReLU(), Function(lambda h: h.detach())), "missing", whole("0")),
    case("rounded in the middle", lambda: chain(Function(torch.round)), "dead", ("0",)),
    case("a gate of zero that stays", buffer_gate, "dead", ("0",)),
    case("two layers of zero", all_zero, "dead", ("0", "2", "4")),
    case("LoRA with both at zero", lambda: lora(both=True), "dead", ("0", "2", "4")),
    case("a branch by a zero that stays", lambda: closed_branch("buffer"), "dead", BRANCH),
    case("a branch by a frozen zero", lambda: closed_branch("frozen"), "dead", BRANCH),
    case("a branch by a product of zeros", lambda: closed_branch("product"), "dead", BRANCH),
]
