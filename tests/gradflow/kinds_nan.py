"""Networks in which NaN or infinity is born, in the forward or in the backward pass only; and safe relatives."""

import math

import torch
from kinds_case import Calls, Function, Kind, cross_entropy, vectors
from torch import nn
from torch.nn import functional as F  # noqa: N812


def around(**middle: nn.Module) -> nn.Module:
    """fc1, the modules of ``middle``, fc2."""
    names = list(middle)

    def run(s, x):
        h = s.fc1(x)
        for name in names:
            h = getattr(s, name)(h)
        return s.fc2(h)

    return Calls(run, fc1=nn.Linear(8, 16), **middle, fc2=nn.Linear(16, 4))


def log_in_a_block() -> nn.Module:
    return around(
        block=Calls(
            lambda s, x: s.log(s.act(s.inner(x))), inner=nn.Linear(16, 16), act=nn.ReLU(), log=Function(torch.log)
        )
    )


def zero_by_zero() -> nn.Module:
    return around(act=Function(lambda h: (h - 100).relu()), ratio=Function(lambda h: h / h.sum(1, keepdim=True)))


def in_the_parent() -> nn.Module:
    return Calls(lambda s, x: s.fc2(torch.log(s.fc1(x).relu())), fc1=nn.Linear(8, 16), fc2=nn.Linear(16, 4))


def in_a_named_parent() -> nn.Module:
    """The encoder takes the logarithm between two layers of its own."""
    encoder = Calls(lambda s, x: s.b(torch.log(s.a(x).relu())), a=nn.Linear(8, 16), b=nn.Linear(16, 16))
    return Calls(lambda s, x: s.fc(s.encoder(x).tanh()), encoder=encoder, fc=nn.Linear(16, 4))


def attention(blocks: int, masked: bool) -> nn.Module:
    """Self-attention over four tokens, where a row of the last block's mask may be closed wholly."""

    def attend(s, x):
        q, k, v = s.qkv(x).chunk(3, -1)
        return x + s.out((q @ k.mT / 4 + s.mask).softmax(-1) @ v)

    def mask(last):
        made = torch.full((4, 4), -math.inf).triu(1)
        if masked and last:
            made[2] = -math.inf
        return made

    def block(last):
        return Calls(attend, qkv=nn.Linear(16, 48), out=nn.Linear(16, 16), mask=mask(last))

    def run(s, x):
        h = s.embed(x.reshape(-1, 4, 2))
        for each in s.blocks:
            h = each(h)
        return s.head(h.mean(1))

    made = nn.ModuleList([block(i == blocks - 1) for i in range(blocks)])
    return Calls(run, embed=nn.Linear(2, 16), blocks=made, head=nn.Linear(16, 4))


def masking_module() -> nn.Module:
    """One module puts out minus infinity, and is meant to; the next takes a softmax."""
    close = Function(lambda h: h.masked_fill(h < h.mean(1, keepdim=True), -math.inf))
    return around(close=close, soft=nn.Softmax(1))


def zero_row(divide: bool, by_hand: bool) -> nn.Module:
    """The first sample is zero, and the first layer has no bias."""

    def run(s, x):
        x = torch.cat([torch.zeros_like(x[:1]), x[1:]])
        return s.fc2(s.size(s.fc1(x)))

    def size(h):
        length = (h * h).sum(1, keepdim=True).sqrt() if by_hand else torch.linalg.vector_norm(h, dim=1, keepdim=True)
        return h / length if divide else h.tanh() * (1 + length)

    return Calls(run, fc1=nn.Linear(8, 16, bias=False), size=Function(size), fc2=nn.Linear(16, 4))


def gate_by_hand() -> nn.Module:
    return around(gate=Function(lambda h: 1 / (1 + torch.exp(100 + 50 * h.abs()))))


def switched(h: torch.Tensor) -> torch.Tensor:
    """ReLU by a product, which makes NaN of infinity times zero on the way back."""
    return h * (h > 0)


def guarded_log(act: nn.Module) -> nn.Module:
    """torch.where hides the logarithm of nothing from the output only."""
    return around(
        act=act, guard=Function(lambda h: torch.where(h > 0, h.clamp(max=1e3).sqrt().log(), torch.zeros_like(h)))
    )


def broken_weight() -> nn.Module:
    model = around(mid=nn.Linear(16, 16), act=nn.Tanh())
    with torch.no_grad():
        model.mid.weight[3, 5] = math.nan
    return model


def nested_sequential() -> nn.Module:
    inner = nn.Sequential(nn.Linear(16, 16), nn.Sequential(nn.Tanh(), Function(lambda h: torch.exp(h * 1000 + 1000))))
    return nn.Sequential(nn.Linear(8, 16), inner, nn.Linear(16, 4))


def probabilities() -> nn.Module:
    model = around(act=nn.ReLU())
    return nn.Sequential(model, Function(lambda h: (1000 * h + 2000).sigmoid()))


def one_minus(out, target):
    return -torch.log(1 - out).mean()


def safe() -> nn.Module:
    def run(h):
        return torch.log1p(h.relu()) + (h.square() + 1e-3).sqrt() + torch.logsumexp(h, 1, keepdim=True)

    return around(safe=Function(run), norm=nn.LayerNorm(16))


def constant_batch() -> nn.Module:
    """BatchNorm of a feature that is the same for all samples: its ε keeps it."""

    def run(s, x):
        h = s.fc1(x)
        return s.fc2(s.norm(torch.cat([h[:, :15], torch.ones_like(h[:, :1])], 1)).relu())

    return Calls(run, fc1=nn.Linear(8, 16), norm=nn.BatchNorm1d(16), fc2=nn.Linear(16, 4))


def log_softmax() -> nn.Module:
    return around(big=Function(lambda h: 100 * h), soft=nn.LogSoftmax(1), small=Function(lambda h: h / 100))


def forward(name, make, *layers, **more) -> Kind:
    return Kind(name, make, vectors(), more.pop("loss", cross_entropy), "nonfinite", layers, "forward", **more)


def backward(name, make, *layers, **more) -> Kind:
    return Kind(name, make, vectors(), cross_entropy, "nonfinite", layers, "backward", **more)


def healthy(name, make, **more) -> Kind:
    return Kind(name, make, vectors(), cross_entropy, **more)


ROOT = ("model", "")
NAN = [
    forward("a logarithm inside a block", log_in_a_block, "block.log"),
    forward("zero by zero", zero_by_zero, "ratio"),
    forward("a function of the whole model", in_the_parent, *ROOT, "fc1"),
    forward("a function of a named parent", in_a_named_parent, "encoder"),
    forward("overflow deep in a sequential", nested_sequential, "1.1.1"),
    forward("a closed row of attention", lambda: attention(1, True), "blocks.0"),
    forward("a closed row of the third", lambda: attention(3, True), "blocks.2"),
    forward("a root of what is negative", lambda: around(power=Function(lambda h: h**0.5)), "power"),
    forward("a zero vector by its norm", lambda: zero_row(True, False), "size"),
    forward("a weight that is NaN", broken_weight, "mid"),
    forward("the loss's own logarithm", probabilities, *ROOT, "1", "0", "0.fc2", loss=one_minus),
    backward("a root at zero", lambda: around(act=Function(switched), root=Function(torch.sqrt)), "root", "act", "fc1"),
    backward("a norm by hand at zero", lambda: zero_row(False, True), "size", "fc1"),
    backward("a gate by hand", gate_by_hand, "gate", "fc1"),
    backward(
        "a logarithm behind where",
        lambda: guarded_log(Function(switched)),
        "guard",
        "act",
        "fc1",
    ),
    backward(
        "an angle at one",
        lambda: around(t=Function(lambda h: (1e4 * h).tanh()), angle=Function(torch.acos)),
        "angle",
        "t",
        "fc1",
    ),
    backward(
        "a cube root at zero, inside a block",
        lambda: around(block=Calls(lambda s, x: switched(s.inner(x)) ** (1 / 3), inner=nn.Linear(16, 16))),
        "block",
        "block.inner",
    ),
    # First labelled nonfinite, wrongly: what comes back to a ReLU that is off is replaced by zero, infinity too.
    healthy("a root after ReLU", lambda: around(act=nn.ReLU(), root=Function(torch.sqrt))),
    healthy("a logarithm behind where, after ReLU", lambda: guarded_log(nn.ReLU())),
    healthy(
        "a cube root after ReLU, inside a block",
        lambda: around(block=Calls(lambda s, x: F.relu(s.inner(x)) ** (1 / 3), inner=nn.Linear(16, 16))),
    ),
    healthy("masked attention", lambda: attention(2, False)),
    healthy("a module of minus infinity, meant", masking_module),
    healthy("torch's norm of a zero vector", lambda: zero_row(False, False)),
    healthy("everything made safe", safe),
    healthy("a constant feature in BatchNorm", constant_batch),
    healthy("log_softmax of large numbers", log_softmax),
]
