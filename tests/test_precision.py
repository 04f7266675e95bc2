"""How float32 is computed on a GPU: set for a while, then as it was; all of PyTorch's names for it answer alike."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from vgharness.precision import float32_precision
from vgharness.records import Precision

pytestmark = pytest.mark.fast

CUDNN, MATMUL = torch.backends.cudnn, torch.backends.cuda.matmul


def asked() -> dict[str, Any]:
    """What PyTorch answers by each of its names; an error where the older and the newer ones disagree."""
    names: dict[str, Callable[[], Any]] = {
        "conv": lambda: CUDNN.conv.fp32_precision,
        "rnn": lambda: CUDNN.rnn.fp32_precision,
        "matmul": lambda: MATMUL.fp32_precision,
        "older conv": lambda: CUDNN.allow_tf32,
        "older matmul": lambda: MATMUL.allow_tf32,
        "older products": torch.get_float32_matmul_precision,
    }
    return {name: _answer(ask) for name, ask in names.items()}


def _answer(ask: Callable[[], Any]) -> Any:
    try:
        return ask()
    except RuntimeError:
        return "disagree"


def set_conv() -> None:
    CUDNN.conv.fp32_precision = "ieee"


def allow_none() -> None:
    CUDNN.allow_tf32 = MATMUL.allow_tf32 = False


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    with float32_precision("fp32"):  # which puts all of it back
        CUDNN.allow_tf32 = True
        torch.set_float32_matmul_precision("highest")
        yield


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
@pytest.mark.parametrize(
    "prepare",
    [
        lambda: None,
        lambda: torch.set_float32_matmul_precision("medium"),
        lambda: torch.set_float32_matmul_precision("high"),
        allow_none,
        set_conv,  # after which PyTorch's own older name for it raises
    ],
    ids=["default", "medium", "high", "none", "newer"],
)
def test_what_was_set_before_is_there_again(prepare: Callable[[], None], precision: Precision) -> None:
    prepare()
    before = asked()
    with float32_precision(precision):
        within = asked()
    expected = precision == "tf32"
    assert within == {
        **dict.fromkeys(("conv", "rnn", "matmul"), "tf32" if expected else "ieee"),
        **dict.fromkeys(("older conv", "older matmul"), expected),
        "older products": "high" if expected else "highest",
    }
    assert asked() == before


def test_older_contexts_work_inside() -> None:
    with float32_precision("fp32"), CUDNN.flags(enabled=True, allow_tf32=False):
        assert not CUDNN.allow_tf32
