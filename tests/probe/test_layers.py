"""Which modules are layers, and which of a layer's parameters its weight gradient is of."""

import pytest
import torch
from torch import nn

from vgharness import GradientProbe
from vgharness.probe.layers import find_layers
from vgharness.records import GradientFlow

pytestmark = pytest.mark.fast


class Own(nn.Module):
    """Parameters of any name and shape."""

    def __init__(self, **parameters: torch.Tensor) -> None:
        super().__init__()
        for name, value in parameters.items():
            setattr(self, name, nn.Parameter(value))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return sum((p.sum() for p in self.parameters()), start=x)


def flow_of(model: nn.Module) -> GradientFlow:
    with GradientProbe(model) as probe:
        probe.backward(model(torch.ones(3, 4)).square().sum())
        return probe.flow()


@pytest.mark.parametrize(
    ("parameters", "weight"),
    [
        ({"scale": torch.ones(())}, ["scale"]),
        ({"w": torch.ones(2), "b": torch.ones(2)}, ["w", "b"]),
        ({"weight": torch.ones(4), "bias": torch.ones(4)}, ["weight"]),
        ({"kernel": torch.ones(2, 2), "bias": torch.ones(4)}, ["kernel"]),
        ({"weight_ih": torch.ones(2, 2), "weight_hh": torch.ones(2, 2), "codes": torch.ones(3, 3)}, None),
    ],
)
def test_any_parameter_makes_a_layer(parameters, weight) -> None:
    model = Own(**parameters)
    (layer,) = find_layers(model, None)
    expected = weight or ["weight_ih", "weight_hh"]
    assert [id(p) for p in layer.weights] == [id(getattr(model, name)) for name in expected]
    (row,) = flow_of(model).layers
    assert row.state == "ok"
    assert row.weight_l2 == pytest.approx(
        torch.cat([getattr(model, name).grad.flatten() for name in expected]).norm().item()
    )


def test_a_layer_of_which_only_the_bias_is_trained_is_measured_by_it() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    for layer in (model[0], model[2]):
        layer.weight.requires_grad_(False)
    rows = flow_of(model).layers
    assert [x.state for x in rows] == ["ok", "ok"]
    assert [x.weight_l2 for x in rows] == pytest.approx([model[i].bias.grad.norm().item() for i in (0, 2)])


def test_a_weight_that_is_unfrozen_while_it_is_probed_is_measured_from_then_on() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
    model[0].weight.requires_grad_(False)
    with GradientProbe(model) as probe:
        norms = []
        for trained in (False, True):
            model[0].weight.requires_grad_(trained)
            model.zero_grad()
            model(torch.ones(3, 4)).square().sum().backward()
            norms.append(probe.flow().layers[0].weight_l2)
            expected = model[0].weight.grad if trained else model[0].bias.grad
            assert norms[-1] == pytest.approx(expected.norm().item())
    assert norms[0] != norms[1]


def test_a_bias_alone_without_a_gradient_is_named() -> None:
    class Detached(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return nn.functional.linear(x, self.weight, self.bias.detach())

    rows = flow_of(nn.Sequential(Detached(4, 4), nn.Linear(4, 2))).layers
    assert [x.without_gradient for x in rows] == [("0.bias",), ()]
    assert [x.state for x in rows] == ["ok", "ok"]


def test_a_weight_alone_without_a_gradient_leaves_the_layer_in_use() -> None:
    class Detached(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return nn.functional.linear(x, self.weight.detach(), self.bias)

    row = flow_of(nn.Sequential(Detached(4, 4), nn.Linear(4, 2))).layers[0]
    assert row.without_gradient == ("0.weight",)
    assert row.state == "ok"
    assert row.weight_l2 is None
