"""Where NaN or infinity is born: the module, the operation and the pass."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from vgharness.probe.origin import find_origin
from vgharness.records import NonfiniteOrigin

pytestmark = pytest.mark.fast


class Does(nn.Module):
    def __init__(self, function: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def origin(*between: nn.Module, inputs: Tensor | None = None) -> NonfiniteOrigin | None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 4), *between, nn.Linear(4, 4))
    given = torch.randn(3, 4) if inputs is None else inputs
    return find_origin(model, lambda: model(given).square().mean())


def weight_of_nan() -> nn.Module:
    layer = nn.Linear(4, 4)
    nn.init.constant_(layer.weight, math.nan)
    return layer


FORWARD = {
    "a logarithm": (lambda x: x.log(), "log"),
    "in place": (lambda x: x.clone().log_(), "log"),
    "a division": (lambda x: x / torch.zeros(4), "div"),
    "overflow": (lambda x: (1e4 * x).exp(), "exp"),
    "softmax of a closed row": (lambda x: x + torch.full((4,), -math.inf).softmax(0), "softmax"),
    "infinity in the middle": (lambda x: x + (x - x) * (1 / torch.zeros(4)), "reciprocal"),
}


@pytest.mark.parametrize(("function", "operation"), FORWARD.values(), ids=FORWARD)
def test_module_and_operation_of_the_forward_pass(function, operation) -> None:
    assert origin(Does(function)) == NonfiniteOrigin(stage="forward", module="1", operation=operation)


def test_a_module_that_changes_its_input_in_place_is_named() -> None:
    assert origin(Does(lambda x: x * 1), Does(lambda x: x.log_())).module == "2"


BACKWARD = {
    "a root at zero": (lambda x: (0 * x).sqrt(), "sqrt"),
    "an angle at one": (lambda x: (x.detach() * 0 + 1 + 0 * x).acos() * x, "acos"),
    "behind where": (lambda x: torch.where(x > 0, (x * (x > 0)).sqrt(), x), "sqrt"),
}


@pytest.mark.parametrize(("function", "operation"), BACKWARD.values(), ids=BACKWARD)
def test_operation_of_the_backward_pass(function, operation) -> None:
    assert origin(Does(function)) == NonfiniteOrigin(stage="backward", module="1", operation=operation)


def test_a_mask_of_infinities_is_meant() -> None:
    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mask = Does(lambda x: torch.zeros(4).masked_fill(torch.eye(4)[0] > 0, -math.inf))

        def forward(self, x: Tensor) -> Tensor:
            return x * (x + self.mask(x)).softmax(-1)

    assert origin(Masked()) is None
    assert origin(Masked(), Does(lambda x: (x - 9).log())).module == "2"


def test_a_weight_of_nan_is_named_by_its_module() -> None:
    assert origin(nn.ReLU(), weight_of_nan()) == NonfiniteOrigin(stage="forward", module="2")


def test_inputs_that_hold_nan_are_said() -> None:
    assert origin(inputs=torch.tensor([[1.0, 2.0, math.nan, 4.0]])) == NonfiniteOrigin(stage="inputs")


def test_the_loss_alone() -> None:
    model = nn.Linear(2, 1)
    found = find_origin(model, lambda: (model(torch.ones(1, 2)) * 0).log().sum())
    assert found == NonfiniteOrigin(stage="forward", operation="log")


def test_all_finite_is_no_origin_and_leaves_no_hook() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    assert find_origin(model, lambda: model(torch.ones(1, 2)).sum()) is None
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def closed_attention() -> nn.Module:
    """Attention in which a mask's logarithm and a sum leave one row nothing to look at."""

    class Attention(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            mask = torch.tensor([[1.0, 1, 1], [0, 0, 0], [1, 1, 0]]).log()
            return torch.baddbmm(mask[None], x[None], x.t()[None]).softmax(-1)[0] @ x

    return Attention()


def test_a_mask_is_no_birth_and_what_it_leaves_nothing_is() -> None:
    assert origin(closed_attention()) == NonfiniteOrigin(stage="forward", module="1", operation="softmax")
    open_to_all = Does(lambda x: (x @ x.t() + torch.tensor([1.0, 1, 0]).log()).softmax(-1) @ x)
    assert origin(open_to_all) is None
    assert origin(open_to_all, Does(lambda x: (x - 9).log())).module == "2"
    assert origin(open_to_all, Does(lambda x: (0 * x).sqrt())).module == "2"


def test_a_cast_that_overflows_is_a_birth_and_one_of_the_least_number_is_meant() -> None:
    least = torch.tensor([0.0, 0, 0, torch.finfo(torch.float32).min])
    masked = Does(lambda x: (x.half() + least.half()).float().softmax(-1))
    assert origin(masked) is None
    assert origin(masked, Does(lambda x: (1e6 * x).half().float())) == NonfiniteOrigin(
        stage="forward", module="2", operation="to_copy"
    )


def test_infinity_in_the_inputs_is_theirs_unless_it_is_a_masks() -> None:
    given = torch.tensor([[1.0, 2.0, math.inf, 4.0]])
    assert origin(inputs=given) == NonfiniteOrigin(stage="inputs")
    mask = torch.tensor([[0.0, 0.0, -math.inf, 0.0]])
    model = nn.Sequential(Does(lambda x: x.softmax(-1)), nn.Linear(4, 4), Does(lambda x: (0 * x).sqrt()))
    assert find_origin(model, lambda: model(mask).sum()).operation == "sqrt"
