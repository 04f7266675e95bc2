"""The random networks on which the diagnosis is calibrated, and their task."""

import pytest
import torch
from torch import nn

from vgharness.benchmarks.random_networks import CLASSES, RandomNetwork, build_network, draw_examples, draw_networks

pytestmark = pytest.mark.fast

MLP = RandomNetwork(
    family="mlp", convolutional=False, depth=2, width=16, activation="relu", cell=None, init="he", seed=1
)
DRAWN = draw_networks(300, 1)


def hidden_layers(model: nn.Module) -> list[nn.Module]:
    return [m for m in model.modules() if isinstance(m, nn.Linear | nn.Conv2d)][:-1]


def test_a_seed_draws_the_same_networks() -> None:
    assert draw_networks(20, 1) == DRAWN[:20]
    assert draw_networks(20, 2) != DRAWN[:20]


def test_every_kind_is_drawn() -> None:
    assert {x.family for x in DRAWN} == {"mlp", "cnn", "rnn", "residual", "layernorm", "batchnorm"}
    assert {x.cell for x in DRAWN} == {None, "rnn", "gru", "lstm"}
    assert {x.activation for x in DRAWN} == {None, "relu", "leaky relu", "gelu", "silu", "tanh", "sigmoid"}
    assert {x.init for x in DRAWN} == {"default", "he", "glorot", "orthogonal", "he/10", "he*3", "normal 0.01"}
    assert {x.depth for x in DRAWN} >= {1, 7, 40}
    assert {x.convolutional for x in DRAWN if x.family == "residual"} == {True, False}


@pytest.mark.parametrize("network", [x for x in DRAWN[:60] if x.depth <= 12], ids=str)
def test_a_network_is_what_its_record_says(network: RandomNetwork) -> None:
    model = build_network(network)
    examples = draw_examples(network, 5)
    assert model(examples.inputs).shape == (5, CLASSES)
    if network.family == "rnn":
        assert examples.inputs.shape[1] == network.depth
    else:
        assert len(hidden_layers(model)) == network.depth
        assert all(isinstance(layer, nn.Conv2d) == network.convolutional for layer in hidden_layers(model))
    norms = {"layernorm": nn.LayerNorm, "batchnorm": nn.BatchNorm1d | nn.BatchNorm2d}
    for family, kind in norms.items():
        found = sum(isinstance(m, kind) for m in model.modules())
        assert found == (network.depth if network.family == family else 0)


@pytest.mark.parametrize(("init", "scale"), [("he", 1.0), ("he/10", 0.1), ("he*3", 3.0)])
def test_he_initialisations_have_their_scale(init: str, scale: float) -> None:
    torch.manual_seed(0)
    network = MLP.model_copy(update={"init": init, "width": 64})
    layer = hidden_layers(build_network(network))[1]
    assert float(layer.weight.detach().std()) == pytest.approx(scale * (2 / 64) ** 0.5, rel=0.05)
    assert not layer.bias.any()


def test_orthogonal_weights_are_orthogonal() -> None:
    layer = hidden_layers(build_network(MLP.model_copy(update={"init": "orthogonal"})))[1]
    torch.testing.assert_close(layer.weight @ layer.weight.T, torch.eye(16), atol=1e-5, rtol=0)


def test_residual_layers_add_their_input() -> None:
    residual = build_network(MLP.model_copy(update={"family": "residual", "depth": 3}))
    with torch.no_grad():
        for layer in hidden_layers(residual)[1:]:
            layer.weight.zero_()
    x = torch.randn(4, 16)
    torch.testing.assert_close(residual(x), residual[-1](residual[0](x)))


def test_a_sequence_shows_its_class_at_the_first_step_only() -> None:
    network = MLP.model_copy(update={"family": "rnn", "cell": "gru", "activation": None, "depth": 3})
    examples = draw_examples(network, 4000)
    means = torch.stack([examples.inputs[examples.classes == i].mean(0) for i in range(CLASSES)])
    assert means[:, 0].std(dim=0).mean() > 0.5
    assert means[:, 1:].abs().max() < 0.1


def test_examples_depend_on_the_networks_seed() -> None:
    def inputs(seed: int) -> torch.Tensor:
        return draw_examples(MLP.model_copy(update={"seed": seed}), 8).inputs

    assert torch.equal(inputs(1), inputs(1))
    assert not torch.equal(inputs(1), inputs(2))
