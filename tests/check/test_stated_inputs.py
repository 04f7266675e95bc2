"""Inputs that are stated by names, shapes and types."""

from typing import Any

import pytest
import torch
from factories import failure
from torch import Tensor, nn
from unseen_models import Recommender, backward

from vgharness.check.batch import choose_batch
from vgharness.check.stated_inputs import is_stated

pytestmark = pytest.mark.fast


class Diffusion(nn.Module):
    """Takes noise, integers and a mask, which are told apart by type."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.e = nn.Linear(4, 3), nn.Embedding(10, 3)

    def forward(self, x: Tensor, t: Tensor, *, mask: Any = None) -> Tensor:
        assert t.dtype == torch.int64
        assert mask is None or mask.dtype == torch.bool
        found = self.a(x) + self.e(t)[:, None]
        return found if mask is None else found.masked_fill(mask[..., None], 0)  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("x=8,5,4 t=8:int64:10 mask=8,5:bool",
         "x [8, 5, 4] of unit noise and t [8] below 10 and mask [8, 5] of true and false"),
        ("mask=8,5:bool t=8:long:7 x=8x5x4:float", "mask [8, 5] of true and false and t [8] below 7 and x"),
        ("8,5,4 8:int64:10", "input 1 [8, 5, 4] of unit noise and input 2 [8] below 10"),
        ("8,5,4  t=8:int64", "input 1 [8, 5, 4] of unit noise and t [8] below 10"),
        ("8,5,4 8", "input 1 [8, 5, 4] of unit noise and input 2 [8] below 10"),
    ],
)  # fmt: skip
def test_several(given: str, text: str) -> None:
    batch = choose_batch(Diffusion, given)
    assert text in batch.inputs
    inputs, _ = batch(42)
    values = inputs.values() if isinstance(inputs, dict) else inputs
    numbers = {value.dtype: value for value in values}
    assert numbers[torch.int64].unique().numel() > 1
    assert torch.bool not in numbers or 0 < numbers[torch.bool].float().mean() < 1
    assert numbers[torch.float32].shape == (8, 5, 4)
    backward(Diffusion, batch)


@pytest.mark.parametrize(
    ("given", "dtype", "low", "high"),
    [("8,3:float64", torch.float64, -5, 5), ("80,3:float:2", torch.float32, 0, 2), ("8,3", torch.float32, -5, 5)],
)
def test_types(given: str, dtype: torch.dtype, low: float, high: float) -> None:
    found = choose_batch(lambda: nn.Linear(3, 2, dtype=dtype), given)(42)[0]
    assert found.dtype == dtype
    assert low < found.min() < found.max() < high


def test_ids_of_every_table_are_in_it() -> None:
    batch = choose_batch(Recommender, "user=8:int64 item=8:int64")
    assert all(ids.min() >= 0 and ids.max() < 20 for ids in batch(42)[0].values())


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("x=8,5,4 q=8:int64", "the model's forward takes x, t, mask, no q"),
        ("x=8,5,4 masks=8,5:bool", "no masks: did you mean mask?"),
        ("x=8,5,4 x=8,5,4", "x is stated twice"),
        ("8,5,4 8 8,5:bool x=8", "takes only x, t, mask"),
        ("x=8,5,4 t=8:int63", "int63 is no type of torch"),
        ("x=8,5,4 t=8:int64:0", "leaves no number"),
        ("x=8,5,4 t=8:bool:3", "leaves no number"),
        ("x=8,5,4 t=", "such as x=8,3,32,32 t=8:int64:1000 mask=8,16:bool"),
        ("x=8,5,4 t=0", "such as x=8,3,32,32"),
        ("x=8,5,4 t=8:int64:1000:2", "such as x=8,3,32,32"),
        ("8,5,4 8:float", "of these inputs [8, 5, 4] and [8] the model says"),
    ],
)
def test_bad_input_is_one_line(given: str, words: str) -> None:
    line = failure(lambda: choose_batch(Diffusion, given))
    assert line.startswith("--input 8,5,4" if given[0] == "8" else "--input x=8,5,4")
    assert words in line


@pytest.mark.parametrize("given", ["33_detection.py:batch", "a.b:c", "path/3,4.py:f", "x.py:draw", "a=b/c.py:f"])
def test_names_are_no_shapes(given: str) -> None:
    assert not is_stated(given)


@pytest.mark.parametrize("given", ["8,3", "8x3", "8:int64", "x=8:int64:3", "8,3 t=8:int64", "t = 8:int64", "x=:int"])
def test_shapes_are_no_names(given: str) -> None:
    assert is_stated(given)
