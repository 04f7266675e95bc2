"""Networks whose parameters have any name and any number of dimensions; some that no gradient reaches."""

import torch
from kinds_case import Calls, Kind, constant, cross_entropy, frozen, parameter, vectors, whole
from torch import nn
from torch.nn import functional as F  # noqa: N812


def affine() -> nn.Module:
    own = Calls(lambda s, x: x * s.a + s.b, a=constant(1.0, 16), b=constant(0.0, 16))
    return nn.Sequential(nn.Linear(8, 16), own, nn.ReLU(), nn.Linear(16, 4))


def experts() -> nn.Module:
    """A three-dimensional parameter, mixed by a softmax."""

    def run(s, x):
        mixed = torch.einsum("be,bd,edo->bo", s.route(x).softmax(1), x, s.experts)
        return s.head(mixed.relu())

    return Calls(run, route=nn.Linear(8, 3), experts=parameter(3, 8, 16, scale=0.35), head=nn.Linear(16, 4))


def temperature(used: bool) -> nn.Module:
    def run(s, x):
        logits = s.fc2(s.fc1(x).relu())
        return logits * s.temperature if used else logits

    return Calls(run, fc1=nn.Linear(8, 16), fc2=nn.Linear(16, 4), temperature=nn.Parameter(torch.tensor(1.0)))


def biases_only() -> nn.Module:
    """Random features that stay, of which the offsets are trained."""

    def run(s, x):
        return (x @ s.first + s.offset).relu() @ s.second + s.shift

    mixing = {"first": 0.35 * torch.randn(8, 32), "second": 0.2 * torch.randn(32, 4)}
    return Calls(run, **mixing, offset=constant(0.0, 32), shift=constant(0.0, 4))


def bias_detached() -> nn.Module:
    def run(s, x):
        return s.fc2(F.linear(x, s.fc1.weight, s.fc1.bias.detach()).relu())

    return Calls(run, fc1=nn.Linear(8, 16), fc2=nn.Linear(16, 4))


def bias_detached_inside() -> nn.Module:
    inner = Calls(
        lambda s, x: x @ s.kernel + s.offset.detach(), kernel=parameter(8, 16, scale=0.3), offset=parameter(16)
    )
    return Calls(lambda s, x: s.fc(s.inner(x).relu()), inner=inner, fc=nn.Linear(16, 4))


def norms_only() -> nn.Module:
    return nn.Sequential(
        frozen(nn.Linear(8, 16)),
        nn.LayerNorm(16),
        nn.ReLU(),
        frozen(nn.Linear(16, 16)),
        nn.LayerNorm(16),
        nn.Linear(16, 4),
    )


def gain_forgotten() -> nn.Module:
    """A norm that adds its offset and forgets its gain."""

    def run(s, x):
        return F.layer_norm(x, (16,)) + s.offset

    norm = Calls(run, gain=constant(1.0, 16), offset=constant(0.0, 16))
    return Calls(lambda s, x: s.fc2(s.norm(s.fc1(x)).relu()), fc1=nn.Linear(8, 16), norm=norm, fc2=nn.Linear(16, 4))


def parameter_list() -> nn.Module:
    def run(s, x):
        for matrix in s.matrices:
            x = (x @ matrix).relu()
        return s.head(x)

    return Calls(run, matrices=nn.ParameterList([parameter(8, 8, scale=0.5) for _ in range(3)]), head=nn.Linear(8, 4))


def parameter_dict() -> nn.Module:
    banks = nn.ParameterDict({"main": parameter(8, 16, scale=0.5), "spare": parameter(8, 16)})
    return Calls(lambda s, x: s.head((x @ s.banks["main"]).relu()), banks=banks, head=nn.Linear(16, 4))


def positions(learned: bool) -> nn.Module:
    """A small transformer with a class token and a table of positions."""

    def run(s, x):
        tokens = s.embed(x.reshape(-1, 4, 2))
        tokens = torch.cat([s.token.expand(len(x), 1, 16), tokens], 1)
        if learned:
            tokens = tokens + s.positions
        else:
            with torch.no_grad():
                table = 2 * s.positions
            tokens = tokens + table
        return s.head(s.layer(tokens)[:, 0])

    return Calls(
        run,
        embed=nn.Linear(2, 16),
        token=parameter(1, 1, 16, scale=0.5),
        positions=parameter(1, 5, 16, scale=0.5),
        layer=nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True),
        head=nn.Linear(16, 4),
    )


def tied(detached: bool = False) -> nn.Module:
    """The matrix of the embedding is the output's too."""

    def run(s, x):
        h = s.mix(s.embed((x[:, 0] > 0).long() + 2 * (x[:, 1] > 0).long())).relu()
        return h @ s.embed.weight.detach().T if detached else s.out(h)

    model = Calls(run, embed=nn.Embedding(4, 16), mix=nn.Linear(16, 16))
    if not detached:
        model.out = nn.Linear(16, 4, bias=False)
        model.out.weight = model.embed.weight
    return model


def whitening() -> nn.Module:
    """Buffers, integer ones among them, and a parameter that is frozen and never used."""

    def run(s, x):
        return s.fc2(s.fc1((x - s.mean) / s.spread).relu())

    model = Calls(run, fc1=nn.Linear(8, 16), fc2=nn.Linear(16, 4), mean=torch.zeros(8), spread=torch.ones(8))
    model.register_buffer("seen", torch.tensor(0))
    model.old = nn.Parameter(torch.randn(3, 3), requires_grad=False)
    return model


def half_used() -> nn.Module:
    """A wide matrix of which half is used."""
    return Calls(lambda s, x: s.fc((x @ s.wide[:, :16]).relu()), wide=parameter(8, 32, scale=0.35), fc=nn.Linear(16, 4))


def kernel_by_data() -> nn.Module:
    own = Calls(lambda s, x: x @ s.kernel.data + s.offset, kernel=parameter(8, 16), offset=parameter(16))
    return Calls(lambda s, x: s.fc(s.proj(x).relu()), proj=own, fc=nn.Linear(16, 4))


def spare_head() -> nn.Module:
    return Calls(
        lambda s, x: s.head(s.fc(x).relu()), fc=nn.Linear(8, 16), head=nn.Linear(16, 4), spare=nn.Linear(16, 4)
    )


def case(name, make, label="healthy", layers=(), **more) -> Kind:
    return Kind(name, make, vectors(), cross_entropy, label, layers, **more)


PARAMETERS = [
    case("affine", affine),
    case("experts", experts),
    case("temperature used", lambda: temperature(True)),
    case("temperature never used", lambda: temperature(False), "missing", ("temperature",)),
    case("biases only", biases_only),
    case("a bias detached", bias_detached, "missing", ("fc1.bias",)),
    case("an offset detached inside", bias_detached_inside, "missing", ("inner.offset",)),
    case("norms only", norms_only),
    case("a gain forgotten", gain_forgotten, "missing", ("norm.gain",)),
    case("parameter list", parameter_list),
    case("parameter dict with a spare", parameter_dict, "missing", ("banks.spare",)),
    case("positions learned", lambda: positions(True)),
    case("positions under no_grad", lambda: positions(False), "missing", ("positions",)),
    case("tied", tied),
    case("tied, one use detached", lambda: tied(True)),
    case("buffers, and one frozen and unused", whitening),
    case("half of a matrix used", half_used),
    case("a kernel by its data", kernel_by_data, "missing", ("proj.kernel",)),
    case("a spare head", spare_head, "missing", whole("spare")),
]
