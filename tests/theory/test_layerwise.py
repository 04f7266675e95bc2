"""What theory says of a whole model: the value where it holds, held against a measurement, and why not elsewhere."""

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from vgharness.models import MLP, DeepCNN
from vgharness.records import ModelTheory
from vgharness.theory import bound, mean_field_factors, of

pytestmark = pytest.mark.fast

INPUTS = torch.randn(64, 30, generator=torch.Generator().manual_seed(1))


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


class Three(nn.Module):
    """Three layers; what runs between them is for each test to say."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(30, 200), nn.Linear(200, 200), nn.Linear(200, 200)


class Functions(Three):
    def forward(self, x: Tensor) -> Tensor:
        return self.c(torch.flatten(torch.tanh(self.b(functional.relu(self.a(x)))), 1))


class Skip(Three):
    def forward(self, x: Tensor) -> Tensor:
        h = self.a(x)
        return self.c(h + torch.relu(self.b(h)))


class SkipInPlace(Three):
    def forward(self, x: Tensor) -> Tensor:
        h = torch.relu(self.b(self.a(x)))
        h += 1
        return self.c(h)


class TwoOutputs(Three):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = torch.relu(self.a(x))
        return self.c(self.b(h)), h


class Repeated(Three):
    def forward(self, x: Tensor) -> Tensor:
        return self.b(torch.tanh(self.b(torch.tanh(self.a(x)))))


class Sequence(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(30, 8, batch_first=True), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.lstm(x[:, None])[0][:, -1])


def signals(model: nn.Module, inputs: Tensor) -> dict[str, float]:
    """‖∂L/∂h‖₂ of each layer relative to the last one's, for a gradient that is drawn at the output."""
    outputs = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d):
            module.register_forward_hook(lambda m, i, o, name=name: outputs.__setitem__(name, o))
    result = model(inputs)
    found = torch.autograd.grad(result, list(outputs.values()), torch.randn_like(result))
    return {name: float(x.norm() / found[-1].norm()) for name, x in zip(outputs, found, strict=True)}


@pytest.mark.parametrize(
    "make",
    [
        lambda: MLP([30, *[300] * 4], "sigmoid"),
        lambda: MLP([30, *[300] * 4], "relu", init="kaiming"),
        lambda: MLP([30, *[300] * 4], "tanh", norm="batch"),
        lambda: MLP([30, *[300] * 4], "sigmoid", norm="batch"),
        Functions,
    ],
    ids=["sigmoid", "He", "tanh BatchNorm", "sigmoid BatchNorm", "functions"],
)
def test_the_signal_is_what_is_measured(make: type[nn.Module]) -> None:
    model = make()
    theory = of(model, INPUTS)
    measured = signals(model, INPUTS)
    assert {layer.name: layer.signal for layer in theory} == pytest.approx(measured, rel=0.12)
    for below, layer in zip(theory, [*theory][1:], strict=False):
        assert below.bound is None or measured[below.name] <= below.bound * measured[layer.name]


def test_of_a_chain_it_says_what_the_other_functions_of_theory_say() -> None:
    model = MLP([30, 40, 50, 60], "tanh")
    theory = of(model, INPUTS)
    assert {x.name: x.factor for x in theory if x.above} == pytest.approx(mean_field_factors(model, INPUTS))
    assert [(x.name, x.above, x.bound) for x in theory if x.above] == [
        (x.layer, x.above, pytest.approx(x.factor)) for x in bound(model)
    ]
    assert theory.activation == "tanh"
    assert theory[0].signal == pytest.approx(theory[0].factor * theory[1].factor)  # type: ignore[operator]


def reasons(theory: ModelTheory) -> dict[str, str]:
    return {layer.name: layer.reason for layer in theory}


def test_where_it_says_nothing_it_says_why() -> None:
    assert reasons(of(DeepCNN("relu"), torch.randn(2, 3, 32, 32))) == {
        "conv1": "",
        **{f"conv{i}": f"a max-pool (pool{i}) hands on the greatest units, not typical ones" for i in (2, 3, 4)},
        "fc": "",
    }
    skip = "what comes into b goes elsewhere too (a skip connection or a branch)"
    joins = "add joins 2 values (a skip connection, a branch or a mask)"
    assert reasons(of(Skip(), INPUTS)) == {"a": skip, "b": joins, "c": ""}
    assert reasons(of(TwoOutputs(), INPUTS)) == {"a": skip, "b": "", "c": ""}
    assert reasons(of(SkipInPlace(), INPUTS))["b"] == "mean field says nothing of the function add_"
    assert reasons(of(Repeated(), INPUTS)) == {"a": "b runs 2 times", "b": "", "c": "it did not run"}
    assert reasons(of(Sequence(), INPUTS))["lstm"] == "mean field says nothing of LSTM"
    dropout = nn.Sequential(nn.Linear(30, 5), nn.Dropout(0.5), nn.Linear(5, 5))
    assert reasons(of(dropout, INPUTS))["0"] == "mean field says nothing of Dropout"
    assert reasons(of(dropout.eval(), INPUTS))["0"] == ""
    trained = MLP([30, 40, 40], "tanh", norm="batch").eval()
    assert reasons(of(trained, INPUTS))["fc1"].startswith("mean field is known of a batch norm that trains")


def test_a_model_is_left_as_it_was() -> None:
    model = nn.Sequential(nn.Linear(30, 8), nn.BatchNorm1d(8), nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(8, 2))
    before, random = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    of(model, INPUTS)
    assert all(torch.equal(x, y) for x, y in zip(before.values(), model.state_dict().values(), strict=True))
    assert torch.equal(random, torch.get_rng_state())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert model.training


def test_a_model_that_raises_is_left_as_it_was_too() -> None:
    model = nn.Sequential(nn.Linear(30, 8), nn.Linear(9, 2))
    with pytest.raises(RuntimeError):
        of(model, INPUTS)
    assert not any(module._forward_hooks for module in model.modules())
