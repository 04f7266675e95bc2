"""The networks: their shapes against the document's table, their initial weights, what they refuse."""

import copy
import itertools
import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from vgharness.models import MLP, DeepCNN
from vgharness.records import ACTIVATIONS, ARCHITECTURES, Activation, Architecture

pytestmark = pytest.mark.fast

FORMULAS = {
    "sigmoid": lambda x: 1 / (1 + (-x).exp()),
    "tanh": lambda x: (x.exp() - (-x).exp()) / (x.exp() + (-x).exp()),
    "relu": lambda x: torch.where(x > 0, x, 0 * x),
    "gelu": lambda x: x / 2 * (1 + torch.erf(x / math.sqrt(2))),
    "silu": lambda x: x / (1 + (-x).exp()),
    "identity": lambda x: x,
}
POOLS_AFTER = {"readme": (2, 3, 4), "script": (1, 2, 3)}

# Per convolution block: channels, size out of the convolution, size out of the block.
_README_4 = [(32, 32, 32), (64, 32, 16), (128, 16, 8), (128, 8, 4)]
_SCRIPT_4 = [(32, 32, 16), (64, 16, 8), (128, 8, 4), (128, 4, 4)]
LAYOUTS = {
    ("readme", 2): (_README_4[:2], 16384),
    ("script", 2): (_SCRIPT_4[:2], 4096),
    ("readme", 3): (_README_4[:3], 8192),
    ("script", 3): (_SCRIPT_4[:3], 2048),
    **{("readme", depth): (_README_4 + [(128, 4, 4)] * (depth - 4), 2048) for depth in range(4, 11)},
    **{("script", depth): (_SCRIPT_4 + [(128, 4, 4)] * (depth - 4), 2048) for depth in range(4, 11)},
}


def trace(model: nn.Module) -> dict[str, tuple[int, ...]]:
    """By module, in the order of the computation, the shape that it puts out for one image."""
    shapes: dict[str, tuple[int, ...]] = {}

    def note(name: str) -> Any:
        return lambda module, inputs, output: shapes.update({name: tuple(output.shape[1:])})

    for name, module in model.named_children():
        module.register_forward_hook(note(name))
    model(torch.zeros(1, 3, 32, 32))
    return shapes


@pytest.mark.parametrize(("pools", "depth"), LAYOUTS)
def test_every_block_has_the_shape_that_the_module_states(pools: Architecture, depth: int) -> None:
    blocks, linear = LAYOUTS[pools, depth]
    expected: list[tuple[str, tuple[int, ...]]] = []
    for i, (channels, inner, outer) in enumerate(blocks, 1):
        expected += [(f"conv{i}", (channels, inner, inner)), (f"act{i}", (channels, inner, inner))]
        if inner != outer:
            expected.append((f"pool{i}", (channels, outer, outer)))
    expected += [("flatten", (linear,)), ("fc", (10,))]

    assert list(trace(DeepCNN("relu", depth, pools)).items()) == expected


def test_readme_is_the_network_of_the_documents_table() -> None:
    """Conv1 3→32: 32×32; Conv2 32→64: 32×32; Conv3 64→128: 16×16 → 8×8; Conv4 128→128: 4×4; FC 128×4×4 → 10."""
    model, shapes = DeepCNN("sigmoid"), trace(DeepCNN("sigmoid"))

    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    assert [(c.in_channels, c.out_channels) for c in convolutions] == [(3, 32), (32, 64), (64, 128), (128, 128)]
    assert shapes["conv1"] == (32, 32, 32)
    assert shapes["conv2"] == (64, 32, 32)
    assert (shapes["conv3"], shapes["pool3"]) == ((128, 16, 16), (128, 8, 8))
    assert shapes["pool4"] == (128, 4, 4)
    linear = model.get_submodule("fc")
    assert isinstance(linear, nn.Linear)
    assert (linear.in_features, linear.out_features) == (128 * 4 * 4, 10)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("pools", ARCHITECTURES)
def test_depth_4_has_261322_parameters(activation: Activation, pools: Architecture) -> None:
    own = 4 if activation == "prelu" else 0  # a slope after each convolution
    assert sum(p.numel() for p in DeepCNN(activation, pools=pools).parameters()) == 261_322 + own


@pytest.mark.parametrize(("width", "channels"), [(0.5, [16, 32, 64, 64]), (1.3, [42, 83, 166, 166]), (0.01, [1] * 4)])
def test_width_multiplies_the_channels(width: float, channels: list[int]) -> None:
    model = DeepCNN("relu", norm="batch", width=width)
    assert [m.out_channels for m in model.children() if isinstance(m, nn.Conv2d)] == channels
    assert model(torch.zeros(2, 3, 32, 32)).shape == (2, 10)


def test_each_layer_deeper_than_4_adds_one_convolution_of_128_channels() -> None:
    counts = [sum(p.numel() for p in DeepCNN("relu", depth).parameters()) for depth in range(4, 11)]
    assert [b - a for a, b in pairwise(counts)] == [128 * 128 * 9 + 128] * 6


@pytest.mark.parametrize("classes", [2, 10, 17])
def test_one_logit_per_class(classes: int) -> None:
    assert DeepCNN("relu", num_classes=classes)(torch.zeros(2, 3, 32, 32)).shape == (2, classes)


@pytest.mark.parametrize("activation", FORMULAS)
def test_activation_is_the_function_of_its_name(activation: Activation) -> None:
    module = DeepCNN(activation, depth=2).get_submodule("act2")
    x = torch.linspace(-4, 4, 401, dtype=torch.float64)
    torch.testing.assert_close(module(x), FORMULAS[activation](x))


@pytest.mark.parametrize("activation", FORMULAS)
@pytest.mark.parametrize("pools", ARCHITECTURES)
def test_forward_equals_the_layers_written_out(activation: Activation, pools: Architecture) -> None:
    model = DeepCNN(activation, depth=5, pools=pools)
    weights = dict(model.named_parameters())
    inputs = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))

    x: Tensor = inputs
    for i in range(1, 6):
        x = FORMULAS[activation](
            functional.conv2d(x, weights[f"conv{i}.weight"], weights[f"conv{i}.bias"], stride=1, padding=1)
        )
        if i in POOLS_AFTER[pools]:
            x = x.unflatten(3, (-1, 2)).unflatten(2, (-1, 2)).amax((3, 5))
    expected = x.reshape(2, -1) @ weights["fc.weight"].T + weights["fc.bias"]

    torch.testing.assert_close(model(inputs), expected)


def test_networks_of_one_seed_differ_in_their_activation_alone() -> None:
    models = {}
    for activation in ACTIVATIONS:
        torch.manual_seed(7)
        models[activation] = DeepCNN(activation)
    first = models.pop("sigmoid")
    for model in models.values():
        weights = {name: value for name, value in model.state_dict().items() if not name.startswith("act")}
        torch.testing.assert_close(weights, dict(first.state_dict()), rtol=0, atol=0)
        assert [n for n, _ in model.named_children()] == [n for n, _ in first.named_children()]


# --- BatchNorm ---------------------------------------------------------------------------------


def test_batch_norm_stands_between_each_convolution_and_its_activation() -> None:
    names = [name for name, _ in DeepCNN("sigmoid", norm="batch").named_children()]
    pooled = [f"{part}{i}" for i in (2, 3, 4) for part in ("conv", "norm", "act", "pool")]
    assert names == ["conv1", "norm1", "act1", *pooled, "flatten", "fc"]


def test_batch_norm_adds_two_parameters_per_channel() -> None:
    counts = [sum(p.numel() for p in DeepCNN("relu", norm=norm).parameters()) for norm in (None, "batch")]
    assert counts[1] - counts[0] == 2 * (32 + 64 + 128 + 128)


def test_batch_norm_gives_activations_zero_mean_and_unit_variance() -> None:
    seen: dict[str, Tensor] = {}
    model = DeepCNN("sigmoid", depth=6, norm="batch")
    for i in range(1, 7):
        model.get_submodule(f"act{i}").register_forward_pre_hook(
            lambda module, inputs, i=i: seen.update({f"act{i}": inputs[0].detach()})
        )
    model(torch.randn(64, 3, 32, 32, generator=torch.Generator().manual_seed(0)))

    assert len(seen) == 6
    for x in seen.values():
        torch.testing.assert_close(x.mean((0, 2, 3)), torch.zeros(x.shape[1]), atol=1e-4, rtol=0)
        # BatchNorm's ε = 1e-5 takes a share of the small variance that sigmoid leaves.
        torch.testing.assert_close(x.var((0, 2, 3)), torch.ones(x.shape[1]), atol=0.2, rtol=0)


# --- initial weights ---------------------------------------------------------------------------


def _fans(weight: Tensor) -> tuple[int, int]:
    area = weight[0, 0].numel()
    return weight.shape[1] * area, weight.shape[0] * area


@pytest.mark.parametrize("name", ["conv1", "conv2", "conv3", "conv4", "fc"])
@pytest.mark.parametrize("init", ["default", "xavier", "kaiming"])
def test_initial_weights_have_their_schemes_spread(init: Any, name: str) -> None:
    torch.manual_seed(0)
    layer = DeepCNN("relu", init=init).get_submodule(name)
    weight = layer.get_parameter("weight").detach()
    fan_in, fan_out = _fans(weight)
    variance = {"default": 1 / (3 * fan_in), "xavier": 2 / (fan_in + fan_out), "kaiming": 2 / fan_in}[init]

    count = weight.numel()
    assert weight.std().item() == pytest.approx(math.sqrt(variance), rel=4 / math.sqrt(2 * count))
    assert abs(weight.mean().item()) < 4 * math.sqrt(variance / count)


@pytest.mark.parametrize("name", ["conv1", "conv4", "fc"])
@pytest.mark.parametrize(("init", "uniform"), [("default", True), ("xavier", True), ("kaiming", False)])
def test_initial_weights_are_uniform_or_normal_as_their_scheme_says(init: Any, uniform: bool, name: str) -> None:
    torch.manual_seed(0)
    weight = DeepCNN("relu", init=init).get_submodule(name).get_parameter("weight").detach()
    furthest = (weight.abs().max() / weight.std()).item()
    if uniform:
        assert furthest == pytest.approx(math.sqrt(3), rel=0.1)
    else:
        assert furthest > 3


@pytest.mark.parametrize("init", ["xavier", "kaiming"])
def test_named_schemes_start_with_zero_biases(init: Any) -> None:
    biases = [p for name, p in DeepCNN("relu", init=init).named_parameters() if name.endswith("bias")]
    assert len(biases) == 5
    assert all(not b.any() for b in biases)


def test_default_scheme_starts_with_pytorchs_biases() -> None:
    bias = DeepCNN("relu").get_submodule("fc").get_parameter("bias").detach()
    assert 0 < bias.abs().max() <= 1 / math.sqrt(2048)


@pytest.mark.parametrize("init", ["default", "xavier", "kaiming"])
def test_no_scheme_touches_batch_norm(init: Any) -> None:
    model = DeepCNN("relu", norm="batch", init=init)
    for i in range(1, 5):
        norm = model.get_submodule(f"norm{i}")
        assert norm.get_parameter("weight").eq(1).all()
        assert norm.get_parameter("bias").eq(0).all()


# --- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"activation": "rrelu"}, ["'rrelu'", *ACTIVATIONS]),
        ({"activation": "relu", "pools": "paper"}, ["'paper'", *ARCHITECTURES]),
        ({"activation": "relu", "norm": "layer"}, ["'layer'", "'batch'", "None"]),
        ({"activation": "relu", "init": "orthogonal"}, ["'orthogonal'", "default", "xavier", "kaiming"]),
        ({"activation": "relu", "depth": 1}, ["depth 1", "2..10"]),
        ({"activation": "relu", "depth": 11}, ["depth 11", "2..10"]),
        ({"activation": "relu", "width": 0.0}, ["width 0.0", "above 0"]),
    ],
)
def test_unknown_values_are_refused_with_the_known_ones(arguments: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ValueError, match=r"unknown|outside|above") as caught:
        DeepCNN(**arguments)
    assert not [word for word in words if word not in str(caught.value)]


@settings(max_examples=20)
@given(
    activation=st.sampled_from(ACTIVATIONS),
    depth=st.integers(2, 10),
    pools=st.sampled_from(ARCHITECTURES),
    norm=st.sampled_from([None, "batch"]),
    batch=st.integers(1, 3),
    classes=st.integers(2, 12),
)
def test_any_network_maps_images_to_logits(
    activation: Activation, depth: int, pools: Architecture, norm: Any, batch: int, classes: int
) -> None:
    model = DeepCNN(activation, depth, pools, norm, num_classes=classes)
    logits = model(torch.rand(batch, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    assert logits.shape == (batch, classes)
    assert logits.isfinite().all()
    assert [name for name, _ in model.named_children() if name.startswith("conv")] == [
        f"conv{i}" for i in range(1, depth + 1)
    ]


# --- the multilayer perceptron -----------------------------------------------------------------


@pytest.mark.parametrize("norm", [None, "batch"])
def test_an_mlp_has_an_activation_between_its_layers_and_none_after_the_last(norm: Any) -> None:
    model = MLP([5, 4, 3, 2], "sigmoid", norm=norm)
    inner = [kind for i in (1, 2) for kind in (f"fc{i}", *([f"norm{i}"] if norm else []), f"act{i}")]
    assert [name for name, _ in model.named_children()] == [*inner, "fc3"]
    x = torch.randn(7, 5, generator=torch.Generator().manual_seed(0))
    assert model(x).shape == (7, 2)
    if norm is None:
        layers = [model.get_submodule(f"fc{i}") for i in (1, 2, 3)]
        by_hand = layers[2](FORMULAS["sigmoid"](layers[1](FORMULAS["sigmoid"](layers[0](x)))))
        torch.testing.assert_close(model(x), by_hand)


def test_an_mlps_initial_weights_are_as_asked() -> None:
    torch.manual_seed(0)
    model = MLP([400, 300, 10], "tanh", init="xavier")
    first = model.get_submodule("fc1")
    assert first.weight.abs().max().item() == pytest.approx(math.sqrt(6 / 700), rel=1e-3)
    assert not first.bias.any()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"widths": [3]}, "two or more"),
        ({"widths": [3, 0, 2]}, "1 or more"),
        ({"activation": "swish"}, "unknown activation 'swish'"),
        ({"norm": "layer"}, "unknown norm 'layer'"),
        ({"init": "zeros"}, "unknown init 'zeros'"),
    ],
)
def test_an_mlp_that_cannot_be_built_is_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        MLP(**{"widths": [3, 2], "activation": "relu", **arguments})


# --- pools before activations ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("activation", "pools", "norm"),
    [
        *itertools.product(FORMULAS, ARCHITECTURES, (None, "batch")),
        *((each, "script", None) for each in ACTIVATIONS if each not in FORMULAS),
    ],
)
def test_pooling_early_is_the_same_function_with_the_same_gradients(
    activation: Activation, pools: Architecture, norm: Any
) -> None:
    torch.manual_seed(0)
    plain = DeepCNN(activation, pools=pools, norm=norm).double()
    early = copy.deepcopy(plain).pool_early()
    images, targets = torch.randn(6, 3, 32, 32, dtype=torch.float64), torch.arange(6)
    outputs = [model(images) for model in (plain, early)]
    torch.testing.assert_close(*outputs, rtol=1e-12, atol=1e-12)
    for output in outputs:
        functional.cross_entropy(output, targets).backward()  # type: ignore[no-untyped-call]
    assert list(plain.state_dict()) == list(early.state_dict())
    for (name, a), b in zip(plain.named_parameters(), early.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-9, atol=1e-14, msg=name)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_only_where_the_activation_never_falls_does_it_see_pooled_units(activation: Activation) -> None:
    model = DeepCNN(activation, pools="script").pool_early()
    seen = {}
    for name, module in model.named_children():
        module.register_forward_hook(lambda m, inputs, output, name=name: seen.update({name: output.shape[-1]}))
    model(torch.randn(1, 3, 32, 32))
    early = activation not in ("gelu", "silu", "mish", "hardswish", "prelu")
    assert [seen[f"act{i}"] for i in (1, 2, 3, 4)] == ([16, 8, 4, 4] if early else [32, 16, 8, 4])
    assert [seen[f"pool{i}"] for i in (1, 2, 3)] == [16, 8, 4]
    assert [name for name, _ in model.named_children()][:3] == ["conv1", "act1", "pool1"]
