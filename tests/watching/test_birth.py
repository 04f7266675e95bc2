"""The first NaN of a training: at which step, in which module, by which operation, in which pass."""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from pulsed_trainings import (
    WIDTH,
    Attending,
    Checkpointed,
    Does,
    OwnLoss,
    Sentinel,
    Twice,
    Upside,
    around,
    batches,
    class_zero,
    exponential,
    large,
    length,
    log_of_lengths,
    logarithm,
    same,
    squares,
    train,
    zero_row,
)
from torch import Tensor, nn

from vgharness.records import Birth, NonfiniteOrigin

pytestmark = pytest.mark.fast

BAD = 3


class Case(NamedTuple):
    """A training whose batch ``BAD`` is changed by ``change``."""

    make: Callable[[], nn.Module]
    change: Callable[[Tensor], Tensor]
    born: dict[str, Any]
    loss: Callable[[Any], Tensor] = squares
    more: dict[str, Any] = {}  # noqa: RUF012


def origin(stage: Any, module: str | None, operation: str) -> dict[str, Any]:
    return {"origin": NonfiniteOrigin(stage=stage, module=module, operation=operation)}


def autocast() -> Any:
    return torch.autocast("cpu", torch.float16)


def deep(reentrant: bool) -> nn.Module:
    inner = nn.Sequential()
    inner.add_module("size", Does(length))
    return around(block=Checkpointed(inner, reentrant=reentrant))


BORN = {
    "a root at zero, backward": Case(lambda: around(size=Does(length)), zero_row, origin("backward", "size", "sqrt")),
    "a logarithm of zero": Case(lambda: around(log=Does(logarithm)), zero_row, origin("forward", "log", "log")),
    "attention that may look at nothing": Case(
        lambda: Attending(closed=True), zero_row, origin("forward", "attn", "softmax")
    ),
    "overflow in float16": Case(
        lambda: around(exp=Does(exponential)),
        large,
        origin("forward", "exp", "exp"),
        more={"around_forward": autocast},
    ),
    "the loss": Case(lambda: nn.Linear(WIDTH, 2, bias=False), zero_row, {"origin": None, "loss": True}, log_of_lengths),
    "the loss that the model computes itself": Case(
        OwnLoss, zero_row, origin("backward", "criterion", "sqrt"), lambda output: output["loss"]
    ),
    "a batch with NaN": Case(
        around, lambda x: x / zero_row(x).sign().abs(), {"origin": NonfiniteOrigin(stage="inputs")}
    ),
    "weights that the optimizer spoils": Case(
        around,
        same,
        {"origin": None, "parameter": "fc1.weight", "noticed": BAD + 1},
        more={"rate": lambda step: math.inf if step == BAD else 0.01},
    ),
    "a function of one's own, backward": Case(
        lambda: around(up=Does(Upside.apply)), zero_row, origin("backward", "up", "Upside")
    ),
    "in what is checkpointed": Case(lambda: deep(False), zero_row, origin("backward", "block.inner.size", "sqrt")),
    "in what is checkpointed the old way": Case(
        lambda: deep(True), zero_row, origin("backward", "block.inner.size", "sqrt")
    ),
    "a module that runs twice": Case(lambda: Twice(Does(logarithm)), zero_row, origin("forward", "inner", "log")),
}


@pytest.mark.parametrize("delay", [0, 3])
@pytest.mark.parametrize("case", BORN.values(), ids=BORN)
def test_where_and_when_the_first_nan_is_born(case: Case, delay: int) -> None:
    model = case.make()
    pulse = train(model, batches(BAD, case.change), case.loss, delay=delay, **case.more)
    expected = Birth(step=BAD, batch=BAD, **{"noticed": BAD, **case.born})
    late = min(expected.noticed + delay, 7)
    assert pulse.birth == expected.model_copy(update={"noticed": late})


HEALTHY = {
    "infinity that is put out": (Sentinel, class_zero),
    "attention with some rows masked": (lambda: Attending(closed=False), squares),
    "a root of positive numbers": (lambda: around(size=Does(lambda x: length(x + 0.1))), squares),
}


@pytest.mark.parametrize("delay", [0, 3])
@pytest.mark.parametrize(("make", "loss"), HEALTHY.values(), ids=HEALTHY)
def test_infinity_that_is_meant_is_no_birth(make, loss, delay: int) -> None:
    assert train(make(), batches(BAD, zero_row), loss, delay=delay).birth is None
