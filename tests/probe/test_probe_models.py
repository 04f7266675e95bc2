"""The probe on models that nobody here wrote, and on what they do that ``DeepCNN`` does not."""

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from vgharness.probe.probe import GradientProbe
from vgharness.records import GradientFlow

Loss = Callable[[Any], Tensor]


def images(size: int, count: int = 2) -> Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(0))


def sequences() -> Tensor:
    return torch.randn(2, 7, 16, generator=torch.Generator().manual_seed(0))


class Tagger(nn.Module):
    """Embedding, two LSTM layers in both directions, a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, 16)
        self.lstm = nn.LSTM(16, 12, num_layers=2, bidirectional=True, batch_first=True)
        self.head = nn.Linear(24, 5)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.lstm(self.embedding(x))[0])
        return out


def encoder(*, norm_first: bool) -> nn.Module:
    layer = nn.TransformerEncoderLayer(16, 4, 32, dropout=0.1, batch_first=True, norm_first=norm_first)
    return nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)


# Model, input, and how many layers it has: every module with parameters of its own, attention as one.
MODELS: dict[str, tuple[Callable[[], nn.Module], Callable[[], Tensor], int]] = {
    "resnet18": (lambda: torchvision.models.resnet18(), lambda: images(64), 21 + 20),
    "LSTM tagger": (Tagger, lambda: torch.arange(14).view(2, 7), 3),
    "TransformerEncoder": (lambda: encoder(norm_first=False), sequences, 6 + 4),
    "TransformerEncoder, norm first": (lambda: encoder(norm_first=True), sequences, 6 + 4),
    "Transformer decoder layer": (
        lambda: Decoder(),
        sequences,
        4 + 3,
    ),
}
LARGE: dict[str, tuple[Callable[[], nn.Module], Callable[[], Tensor], int]] = {
    "vit_b_16": (lambda: vision_transformer(), lambda: images(224, 1), 1 + 12 * 5 + 1 + 1 + 2),
    "convnext_tiny": (
        lambda: torchvision.models.convnext_tiny(),
        lambda: images(64),
        59 + 18 + 23,
    ),  # blocks with a scale of their own, norms
}


def vision_transformer() -> nn.Module:
    """Its head starts at zero, which would make every gradient below zero."""
    model = torchvision.models.vit_b_16()
    nn.init.normal_(model.heads.head.weight, std=0.02)
    return model


class Decoder(nn.Module):
    """Self-attention and attention to a memory, here itself."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerDecoderLayer(16, 4, 32, dropout=0.0, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x, x)
        return out


def tensors(output: Any) -> Iterator[Tensor]:
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, Mapping):
        for value in output.values():
            yield from tensors(value)
    elif isinstance(output, tuple | list):
        for value in output:
            yield from tensors(value)


def by_autograd(model: nn.Module, inputs: Tensor, names: tuple[str, ...]) -> dict[str, tuple[float, float]]:
    """‖∂L/∂W‖ and ‖∂L/∂h‖ of each layer by ``torch.autograd.grad``, with no hook on any gradient."""
    outputs: dict[str, list[Tensor]] = {name: [] for name in names}
    handles = [
        model.get_submodule(name).register_forward_hook(
            lambda module, args, output, name=name: outputs[name].extend(t for t in tensors(output) if t.requires_grad)
        )
        for name in names
    ]
    torch.manual_seed(1)
    loss = model(inputs).square().mean()
    for handle in handles:
        handle.remove()
    found = {}
    for name in names:
        module = model.get_submodule(name)
        named = dict(module.named_parameters(recurse=isinstance(module, nn.MultiheadAttention)))
        large = {n: p for n, p in named.items() if p.dim() > 1}
        weights = [p for n, p in large.items() if "weight" in n] or [*large.values()] or [named["weight"]]
        grads = torch.autograd.grad(loss, [*weights, *outputs[name]], retain_graph=True, allow_unused=True)

        def norm(parts: tuple[Tensor | None, ...]) -> float:
            return math.sqrt(sum(g.double().square().sum().item() for g in parts if g is not None))

        found[name] = norm(grads[: len(weights)]), norm(grads[len(weights) :])
    return found


@pytest.mark.deep
def test_the_zero_head_of_a_fresh_vision_transformer_is_seen() -> None:
    model, inputs = torchvision.models.vit_b_16(num_classes=10), images(224, 1)
    with GradientProbe(model) as probe:
        nn.functional.cross_entropy(model(inputs), torch.zeros(1, dtype=torch.int64)).backward()
    states = {layer.name: layer.state for layer in probe.flow().layers}
    assert (
        states.pop("heads.head") == states.pop("") == "ok"
    )  # the model's own output, and so its signal, is the head's
    assert set(states.values()) == {"zero"}


def check(model: nn.Module, inputs: Tensor, layers: int) -> None:
    with GradientProbe(model) as probe:
        torch.manual_seed(1)
        model(inputs).square().mean().backward()
        flow = probe.flow()
    assert len(flow.layers) == layers
    assert flow.missed == ()
    for module in model.modules():
        if isinstance(module, nn.ReLU):
            module.inplace = False  # or autograd.grad would give the gradient after it, for the batch norm before
    for name, (weight, signal) in by_autograd(model, inputs, probe.layers).items():
        (layer,) = (x for x in flow.layers if x.name == name)
        assert layer.state == "ok"
        assert layer.weight_l2 == pytest.approx(weight, rel=1e-6)
        assert layer.signal_l2 == pytest.approx(signal, rel=1e-6)


@pytest.mark.parametrize(
    "name",
    [
        *(pytest.param(x, marks=pytest.mark.fast) for x in MODELS),
        *(pytest.param(x, marks=pytest.mark.deep) for x in LARGE),
    ],
)
def test_every_site_is_seen_and_equal_to_autograds(name: str) -> None:
    build, inputs, layers = (MODELS | LARGE)[name]
    torch.manual_seed(0)
    check(build(), inputs(), layers)


# --- choosing ------------------------------------------------------------------------------------------


@pytest.mark.fast
@pytest.mark.parametrize(
    ("layers", "names"),
    [
        ("head", ("head",)),
        ("*", ("embedding", "lstm", "head")),
        (nn.Linear, ("head",)),
        ((nn.LSTM, "embed*"), ("embedding", "lstm")),
        (("head", nn.Linear, "h*"), ("head",)),
    ],
)
def test_layers_are_chosen_by_name_glob_or_type(layers: Any, names: tuple[str, ...]) -> None:
    model = Tagger()
    with GradientProbe(model, layers) as probe:
        model(torch.arange(14).view(2, 7)).sum().backward()
    assert tuple(layer.name for layer in probe.flow().layers) == names


@pytest.mark.fast
@pytest.mark.parametrize(
    ("layers", "complaint"),
    [
        ("tail", "no layer named 'tail': the model has embedding, lstm, head"),
        ("x*", "no layer named 'x\\*'"),
        (nn.Conv2d, "no layer of type Conv2d"),
        ((), "no layers were named"),
    ],
)
def test_what_fits_nothing_is_refused(layers: Any, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        GradientProbe(Tagger(), layers)


@pytest.mark.fast
def test_a_norm_is_a_layer_of_its_own() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4))
    assert GradientProbe(model).layers == ("0", "1")
    with GradientProbe(model, ["0", "1"]) as probe:
        model(torch.randn(3, 4)).square().sum().backward()
    assert [layer.weight_l2 for layer in probe.flow().layers] == pytest.approx(
        [m.weight.grad.norm().item() for m in model]  # type: ignore[union-attr]
    )


# --- what hooks cannot see is refused --------------------------------------------------------------------


@pytest.mark.fast
def test_a_compiled_model_is_refused_with_what_to_do() -> None:
    compiled = torch.compile(nn.Linear(2, 2), backend="eager")
    with pytest.raises(ValueError, match=r"probe the module that was given to torch\.compile"):
        GradientProbe(compiled)  # type: ignore[arg-type]


@pytest.mark.fast
def test_data_parallel_is_refused_with_what_to_do() -> None:
    with pytest.raises(ValueError, match=r"probe model\.module on one device, or use DistributedDataParallel"):
        GradientProbe(nn.DataParallel(nn.Linear(2, 2)))


# --- outputs, scales, recomputation ------------------------------------------------------------------------


class Branches(nn.Linear):
    """Puts out a dict of a list of two halves, of which the loss takes one."""

    def forward(self, x: Tensor) -> dict[str, list[Tensor]]:  # type: ignore[override]
        return {"halves": list(super().forward(x).chunk(2, dim=1))}


@pytest.mark.fast
def test_tensors_are_found_in_whatever_a_module_puts_out() -> None:
    model, inputs = Branches(3, 4), torch.randn(5, 3)
    with GradientProbe(model, [""]) as probe:
        (3 * model(inputs)["halves"][0]).sum().backward()
    (layer,) = probe.flow().layers
    assert layer.signal_l2 == pytest.approx(3 * math.sqrt(10))
    assert layer.signal_rms == pytest.approx(3)


def flow_of(model: nn.Module, loss: Callable[[], Tensor], **options: Any) -> GradientFlow:
    model.zero_grad()
    with GradientProbe(model, **options) as probe:
        loss().backward()
    return probe.flow()


@pytest.mark.fast
def test_the_scale_of_a_grad_scaler_is_divided_out() -> None:
    model, inputs = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)), torch.randn(5, 4)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**12)
    plain = flow_of(model, lambda: model(inputs).square().sum())
    scaled = flow_of(model, lambda: scaler.scale(model(inputs).square().sum()), scaler=scaler)
    naive = flow_of(model, lambda: scaler.scale(model(inputs).square().sum()))
    for a, b, c in zip(plain.layers, scaled.layers, naive.layers, strict=True):
        assert b.signal_l2 == pytest.approx(a.signal_l2)
        assert b.weight_mean_abs == pytest.approx(a.weight_mean_abs)
        assert c.signal_l2 == pytest.approx(2**12 * (a.signal_l2 or 0))


@pytest.mark.fast
def test_an_overflowed_step_is_nonfinite() -> None:
    model = nn.Linear(2, 2)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**120)
    flow = flow_of(model, lambda: scaler.scale((model(torch.ones(1, 2)) * 1e30).sum()), scaler=scaler)
    assert flow.layers[0].state == "nonfinite"


class Checkpointed(nn.Module):
    def __init__(self, *, reentrant: bool | None) -> None:
        super().__init__()
        self.inside = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 4))
        self.head = nn.Linear(4, 2)
        self.reentrant = reentrant

    def forward(self, x: Tensor) -> Tensor:
        if self.reentrant is None:
            return self.head(self.inside(x))  # type: ignore[no-any-return]
        return self.head(checkpoint(self.inside, x, use_reentrant=self.reentrant))  # type: ignore[no-any-return]


@pytest.mark.fast
@pytest.mark.parametrize("reentrant", [True, False])
def test_recomputation_counts_each_gradient_once(reentrant: bool) -> None:
    models = [Checkpointed(reentrant=None), Checkpointed(reentrant=reentrant)]
    models[1].load_state_dict(models[0].state_dict())
    inputs = torch.randn(5, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    plain, recomputed = (flow_of(m, lambda m=m: m(inputs).square().sum()) for m in models)
    assert recomputed.missed == ()
    assert [x.name for x in recomputed.layers] == [x.name for x in plain.layers]
    for a, b in zip(plain.layers, recomputed.layers, strict=True):
        assert b.signal_l2 == pytest.approx(a.signal_l2)
        assert b.weight_l2 == pytest.approx(a.weight_l2)


@pytest.mark.fast
def test_sparse_gradients_are_measured_as_the_dense_ones() -> None:
    flows = []
    for sparse in (False, True):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Embedding(10, 4, sparse=sparse), nn.Linear(4, 2))
        flows.append(flow_of(model, lambda model=model: model(torch.tensor([1, 3, 3])).square().sum()))
    for a, b in zip(flows[0].layers, flows[1].layers, strict=True):
        assert b.weight_mean_abs == pytest.approx(a.weight_mean_abs)
        assert b.weight_l2 == pytest.approx(a.weight_l2)
