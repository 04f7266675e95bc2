"""Flips, crops and normalisation against a plain loop over the images."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.transforms.functional import normalize, to_tensor

from vgharness.data.augmentation import MEAN, STD, augment, normalise, pad

pytestmark = pytest.mark.fast


def plain_augment(image: Tensor, top: int, left: int, flip: bool) -> Tensor:
    """One image [3, 32, 32]: mirrored, put in the middle of a black 40×40, cut out."""
    if flip:
        image = torch.stack([image[:, :, 31 - column] for column in range(32)], dim=2)
    black = torch.zeros(3, 40, 40, dtype=torch.uint8)
    black[:, 4:36, 4:36] = image
    return black[:, top : top + 32, left : left + 32]


def random_images(count: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(256, (count, 3, 32, 32), generator=generator, dtype=torch.uint8)


@settings(max_examples=40)
@given(
    st.integers(1, 5).flatmap(
        lambda count: st.tuples(
            st.just(count),
            st.lists(
                st.tuples(st.integers(0, count - 1), st.integers(0, 8), st.integers(0, 8), st.booleans()),
                min_size=1,
                max_size=6,
            ),
        )
    )
)
def test_augmenting_a_batch_equals_augmenting_each_image(case: tuple[int, list[tuple[int, int, int, bool]]]) -> None:
    count, choices = case
    images = random_images(count)
    augmented = augment(
        pad(images),
        torch.tensor([index for index, *_ in choices]),
        torch.tensor([[top, left] for _, top, left, _ in choices]),
        torch.tensor([flip for *_, flip in choices]),
    )
    expected = torch.stack([plain_augment(images[index], top, left, flip) for index, top, left, flip in choices])
    assert augmented.dtype == torch.uint8
    assert torch.equal(augmented, expected)


def test_every_crop_and_flip_is_the_plain_one() -> None:
    image = random_images(1)
    choices = [(top, left, flip) for top in range(9) for left in range(9) for flip in (False, True)]
    augmented = augment(
        pad(image),
        torch.zeros(len(choices), dtype=torch.int64),
        torch.tensor([[top, left] for top, left, _ in choices]),
        torch.tensor([flip for *_, flip in choices]),
    )
    assert torch.equal(augmented, torch.stack([plain_augment(image[0], *choice) for choice in choices]))


def test_normalise_equals_torchvisions() -> None:
    images = random_images(4)
    expected = torch.stack([normalize(to_tensor(x.permute(1, 2, 0).numpy()), MEAN, STD) for x in images])
    before = images.clone()
    normalised = normalise(images)
    assert normalised.dtype == torch.float32
    assert torch.equal(normalised, expected)
    assert torch.equal(images, before)


def test_statistics_are_the_documents() -> None:
    assert MEAN == (0.4914, 0.4822, 0.4465)
    assert STD == (0.2470, 0.2435, 0.2616)


def test_padding_is_black_before_normalisation() -> None:
    """So the border is (0 − mean) / std, which no pixel undercuts, and not 0."""
    white = torch.full((1, 3, 32, 32), 255, dtype=torch.uint8)
    corner = normalise(augment(pad(white), torch.tensor([0]), torch.tensor([[0, 0]]), torch.tensor([False])))
    border = corner[0, :, :4, :].flatten(1)
    expected = torch.tensor([-m / s for m, s in zip(MEAN, STD, strict=True)])[:, None].expand_as(border)
    torch.testing.assert_close(border, expected)
