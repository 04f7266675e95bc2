"""Networks whose graph is not a chain: branches, skips, inner gradients, functions of one's own, views."""

import warnings
from itertools import pairwise
from typing import Any

import torch
from kinds_case import Calls, Kind, constant, cross_entropy, images, parameter, vectors, whole
from torch import nn
from torch.nn import functional as F  # noqa: N812
from torch.utils.checkpoint import checkpoint


def stack(act: type[nn.Module], *sizes: int) -> nn.Sequential:
    return nn.Sequential(*(x for a, b in pairwise(sizes) for x in (nn.Linear(a, b), act())))


def residual() -> nn.Module:
    blocks = nn.ModuleList([stack(nn.ReLU, 16, 16, 16) for _ in range(6)])

    def run(s, x):
        h = s.stem(x)
        for block in s.blocks:
            h = h + block(h)
        return s.head(h)

    return Calls(run, stem=nn.Linear(8, 16), blocks=blocks, head=nn.Linear(16, 4))


def skipped_sigmoids() -> nn.Module:
    """What a stack of sigmoids loses the skips carry."""
    blocks = nn.ModuleList([stack(nn.Sigmoid, 16, 16) for _ in range(12)])

    def run(s, x):
        h = s.stem(x)
        for block in s.blocks:
            h = h + block(h)
        return s.head(s.norm(h))

    return Calls(run, stem=nn.Linear(8, 16), blocks=blocks, norm=nn.LayerNorm(16), head=nn.Linear(16, 4))


def dense() -> nn.Module:
    def run(s, x):
        for layer in s.layers:
            x = torch.cat([x, layer(x).relu()], 1)
        return s.head(x)

    layers = nn.ModuleList([nn.Linear(8 + 8 * i, 8) for i in range(4)])
    return Calls(run, layers=layers, head=nn.Linear(40, 4))


def two_ways(deep: nn.Module, shallow_first: bool, cut: str = "") -> nn.Module:
    """A shallow and a deep branch, concatenated; only the order in which they are called differs."""

    def run(s, x):
        got = {}
        for name in ("shallow", "deep") if shallow_first else ("deep", "shallow"):
            got[name] = getattr(s, name)(x)
            got[name] = got[name].detach() if cut == name else got[name]
        return s.head(torch.cat([got["shallow"], got["deep"]], 1))

    return Calls(run, shallow=stack(nn.ReLU, 8, 16), deep=deep, head=nn.Linear(32, 4))


def relu_branch() -> nn.Module:
    return stack(nn.ReLU, 8, 16, 16, 16)


def sigmoid_branch() -> nn.Module:
    return stack(nn.Sigmoid, 8, *[16] * 12)


def penalty() -> nn.Module:
    """A critic with the gradient penalty of its inputs."""

    def run(s, x):
        x = x.clone().requires_grad_()
        score = s.net(x)
        (slope,) = torch.autograd.grad(score.sum(), x, create_graph=True)
        return score, slope

    return Calls(
        run, net=nn.Sequential(nn.Linear(8, 32), nn.Softplus(), nn.Linear(32, 32), nn.Softplus(), nn.Linear(32, 1))
    )


def penalised(out: Any, target: torch.Tensor) -> torch.Tensor:
    score, slope = out
    sign = (target % 2).float()[:, None] * 2 - 1
    return (score * sign).mean() + 10 * ((slope.norm(dim=1) - 1) ** 2).mean()


def physics(boundary: bool) -> nn.Module:
    """u'' = -u on random points; without the boundary nothing depends on the last bias."""

    def run(s, x):
        t = x[:, :1].clone().requires_grad_()

        def u(t):
            return s.last(torch.tanh(s.mid(torch.tanh(s.first(t)))))

        value = u(t)
        (d1,) = torch.autograd.grad(value.sum(), t, create_graph=True)
        (d2,) = torch.autograd.grad(d1.sum(), t, create_graph=True)
        if boundary:
            return d2 + value, u(torch.zeros(1, 1)) - 1
        return d2 + torch.sin(t), d1 * 0.1

    return Calls(run, first=nn.Linear(1, 32), mid=nn.Linear(32, 32), last=nn.Linear(32, 1))


def residues(out: Any, target: torch.Tensor) -> torch.Tensor:
    return (out[0] ** 2).mean() + (out[1] ** 2).mean()


class Straight(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, back):
        ctx.back = back
        return x.sign()

    @staticmethod
    def backward(ctx, grad):
        return {"through": grad, "zero": torch.zeros_like(grad), "none": None}[ctx.back], None


def own_function(back: str) -> nn.Module:
    return Calls(lambda s, x: s.fc2(Straight.apply(s.fc1(x), back)), fc1=nn.Linear(8, 16), fc2=nn.Linear(16, 4))


def checkpointed(reentrant: bool, from_input: bool = False) -> nn.Module:
    def run(s, x):
        h = x if from_input else s.stem(x)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for block in s.blocks:
                h = checkpoint(block, h, use_reentrant=reentrant)
        return s.head(h)

    size = 8 if from_input else 16
    stem = {} if from_input else {"stem": nn.Linear(8, 16)}
    blocks = nn.ModuleList([stack(nn.ReLU, size, 16)] if from_input else [stack(nn.ReLU, 16, 16) for _ in range(3)])
    return Calls(run, **stem, blocks=blocks, head=nn.Linear(16, 4))


def in_place() -> nn.Module:
    def run(s, x):
        h = s.fc1(x).relu_().view(-1, 2, 16)
        left, right = h.unbind(1)
        mixed = left.clone()
        mixed[:, :8] += s.fc2(right)
        mixed.mul_(0.5).add_(1.0)
        return s.head(mixed.chunk(2, 1)[0] + mixed[:, 8:].clone())

    return Calls(run, fc1=nn.Linear(8, 32), fc2=nn.Linear(16, 8), head=nn.Linear(8, 4))


def two_heads() -> nn.Module:
    def run(s, x):
        h = s.body(x)
        return s.coarse(h), s.fine(h)

    return Calls(run, body=stack(nn.ReLU, 8, 16, 16), coarse=nn.Linear(16, 4), fine=nn.Linear(16, 4))


def both(out: Any, target: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(out[0], target) + 0.5 * F.cross_entropy(out[1], target)


def fine_only(out: Any, target: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(out[1], target)


def quantised() -> nn.Module:
    """A vector-quantised bottleneck, straight through."""

    def run(s, x):
        h = s.encode(x)
        code = s.codes[torch.cdist(h, s.codes).argmin(1)]
        return s.decode(h + (code - h).detach()), h, code

    return Calls(run, encode=stack(nn.Tanh, 8, 16), codes=parameter(12, 16), decode=stack(nn.ReLU, 16, 16, 4))


def with_codes(out: Any, target: torch.Tensor) -> torch.Tensor:
    logits, h, code = out
    return F.cross_entropy(logits, target) + F.mse_loss(code, h.detach()) + 0.25 * F.mse_loss(h, code.detach())


def without_codes(out: Any, target: torch.Tensor) -> torch.Tensor:
    return F.cross_entropy(out[0], target)


def unet() -> nn.Module:
    def run(s, x):
        a = s.a(x).relu()
        b = s.b(F.max_pool2d(a, 2)).relu()
        c = F.interpolate(s.bottom(F.max_pool2d(b, 2)).relu(), scale_factor=2)
        d = F.interpolate(s.c(torch.cat([b, c], 1)).relu(), scale_factor=2)
        return s.out(torch.cat([a, d], 1)).mean((2, 3))

    conv = {"kernel_size": 3, "padding": 1}
    return Calls(
        run,
        out=nn.Conv2d(16, 4, **conv),
        c=nn.Conv2d(16, 8, **conv),
        bottom=nn.Conv2d(8, 8, **conv),
        b=nn.Conv2d(8, 8, **conv),
        a=nn.Conv2d(3, 8, **conv),
    )


def squeezed() -> nn.Module:
    def run(s, x):
        h = s.conv(x).relu()
        gate = s.up(s.down(h.mean((2, 3))).relu()).sigmoid()
        return s.head((h * gate[:, :, None, None]).mean((2, 3)) * s.scale)

    parts = {"down": nn.Linear(16, 4), "up": nn.Linear(4, 16), "scale": constant(1.0, 16)}
    return Calls(run, conv=nn.Conv2d(3, 16, 3), **parts, head=nn.Linear(16, 4))


def case(name, make, label="healthy", layers=(), loss=cross_entropy, batch=None, **more) -> Kind:
    return Kind(name, make, batch or vectors(), loss, label, layers, **more)


DEEP = tuple(f"deep.{i}" for i in range(0, 24, 2))
CUT = tuple(name for i in (0, 2, 4) for name in whole(f"deep.{i}"))
GRAPH = [
    case("residual", residual),
    case("sigmoids beside skips", skipped_sigmoids),
    case("dense", dense),
    case("branches, shallow first", lambda: two_ways(relu_branch(), True)),
    case("branches, deep first", lambda: two_ways(relu_branch(), False)),
    case("a vanishing branch, called last", lambda: two_ways(sigmoid_branch(), True), "vanishing", DEEP),
    case("a vanishing branch, called first", lambda: two_ways(sigmoid_branch(), False), "vanishing", DEEP),
    case("a cut branch, called last", lambda: two_ways(relu_branch(), True, "deep"), "missing", CUT),
    case("a cut branch, called first", lambda: two_ways(relu_branch(), False, "deep"), "missing", CUT),
    case("gradient penalty", penalty, loss=penalised),
    case("physics with a boundary", lambda: physics(True), loss=residues),
    case("physics without a boundary", lambda: physics(False), "missing", ("last.bias",), loss=residues),
    case("straight through", lambda: own_function("through")),
    case("a backward of zeros", lambda: own_function("zero"), "dead", ("fc1",)),
    case("a backward of None", lambda: own_function("none"), "missing", whole("fc1")),
    case("checkpoints", lambda: checkpointed(False)),
    case("reentrant checkpoints", lambda: checkpointed(True)),
    case("a reentrant one of the input", lambda: checkpointed(True, True), "missing", whole("blocks.0.0")),
    case("views in place", in_place),
    case("two heads", two_heads, loss=both),
    case("two heads, one in the loss", two_heads, "missing", whole("coarse"), loss=fine_only),
    case("codes with their loss", quantised, loss=with_codes),
    case("codes without it", quantised, "missing", ("codes",), loss=without_codes),
    case("u-net, its parts listed backwards", unet, batch=images()),
    case("squeeze and excite", squeezed, batch=images()),
]
