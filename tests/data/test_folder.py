"""A folder of images: what is decoded, what is kept, and what is refused."""

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from image_files import Load, assert_same_images, files_in, make_folder, random_pixels, write_image

from vgharness.data.folder import KNOWN_FOLDERS
from vgharness.data.image_set import Arrays, digest_of
from vgharness.data.images import load_images
from vgharness.errors import UsageError

pytestmark = pytest.mark.fast


def test_a_folder_is_decoded_exactly(folder: Path, load: Load) -> None:
    images, decoded = load(folder)

    # make_folder writes cats first, labels sort by name: ants first.
    for pixels, seeds in ((images.train_images, (4, 5, 6, 1, 2, 3)), (images.test_images, (9, 10, 7, 8))):
        expected = np.stack([random_pixels(seed) for seed in seeds]).transpose(0, 3, 1, 2)
        np.testing.assert_array_equal(pixels.numpy(), expected)
    assert images.train_labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert images.test_labels.tolist() == [0, 0, 1, 1]
    assert images.provenance.classes == ("ant", "cat")
    assert (images.provenance.kind, images.provenance.cifar10) == ("folder", "no")
    assert "animals" in images.provenance.description
    assert decoded == 10


def test_the_second_load_decodes_nothing(folder: Path, load: Load) -> None:
    first, _ = load(folder)
    again, decoded = load(folder)
    assert decoded == 0
    assert_same_images(again, first)


def _rewrite(folder: Path) -> None:
    write_image(folder / "test" / "cat" / "cat1.png", random_pixels(99))


def _touch(folder: Path) -> None:
    path = folder / "test" / "cat" / "cat1.png"
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))


def _add(folder: Path) -> None:
    write_image(folder / "train" / "cat" / "cat3.png", random_pixels(99))


def _remove(folder: Path) -> None:
    (folder / "train" / "cat" / "cat0.png").unlink()


def _move_to_the_other_class(folder: Path) -> None:
    (folder / "train" / "ant" / "ant2.png").rename(folder / "train" / "cat" / "ant2.png")


@pytest.mark.parametrize("change", [_rewrite, _touch, _add, _remove, _move_to_the_other_class])
def test_a_changed_folder_is_decoded_again(
    folder: Path, tmp_path: Path, load: Load, change: Callable[[Path], None]
) -> None:
    load(folder)
    change(folder)
    images, decoded = load(folder)
    assert decoded == len(images.train_images) + len(images.test_images)
    assert_same_images(images, load_images(str(folder), cache=tmp_path / "another cache"))


def test_folders_that_agree_in_names_sizes_and_times_are_told_apart(tmp_path: Path, load: Load) -> None:
    """Bitmaps of one size, unpacked from archives with normalised times: only the place differs."""
    loaded = []
    for seed in (0, 100):
        folder = make_folder(tmp_path / str(seed), seed=seed, suffix="bmp")
        for path in files_in(folder):
            os.utime(path, ns=(0, 0))
        loaded.append(load(folder)[0])
    assert not torch.equal(loaded[0].train_images, loaded[1].train_images)


def _change_a_pixel(content: bytes) -> bytes:
    image = random_pixels(4).transpose(2, 0, 1).tobytes()
    assert image in content
    return content.replace(image, bytes([image[0] ^ 1]) + image[1:])


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        _change_a_pixel,
        lambda content: b"",
        lambda content: b"no tensors at all",
        lambda content: content.replace(b"sha256", b"sha257"),
        lambda content: content.replace(b"arrays", b"array\xff"),
    ],
    ids=["truncated", "pixel changed", "empty", "garbage", "key renamed", "key not text"],
)
def test_a_damaged_file_of_tensors_is_decoded_again(
    folder: Path, tmp_path: Path, load: Load, damage: Callable[[bytes], bytes]
) -> None:
    first, _ = load(folder)
    (kept,) = files_in(tmp_path / "cache")
    sound = kept.read_bytes()
    kept.write_bytes(damage(sound))
    assert kept.read_bytes() != sound

    images, decoded = load(folder)
    assert decoded == 10
    assert_same_images(images, first)
    assert load(folder)[1] == 0


def test_a_cache_that_cannot_be_written_is_a_warning(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.warns(UserWarning, match="not kept"):
        images = load_images(str(folder), cache=tmp_path / "file")
    assert len(images.train_images) == 6


def test_an_interrupted_decoding_leaves_no_file(folder: Path, tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_images(str(folder), cache=tmp_path / "cache", progress=interrupt)
    assert files_in(tmp_path / "cache") == []


def _no_folder(folder: Path) -> None:
    folder.rename(folder.with_name("elsewhere"))


def _empty_folder(folder: Path) -> None:
    _no_folder(folder)
    folder.mkdir()


def _no_split(split: str) -> Callable[[Path], object]:
    return lambda folder: (folder / split).rename(folder / "validation")


def _class_in_one_split(split: str) -> Callable[[Path], None]:
    return lambda folder: write_image(folder / split / "bee" / "0.png", random_pixels(0))


def _empty_class(folder: Path) -> None:
    (folder / "train" / "bee").mkdir()
    write_image(folder / "test" / "bee" / "0.png", random_pixels(0))


def _one_class(folder: Path) -> None:
    for split in ("train", "test"):
        (folder / split / "cat").rename(folder / f"{split} cats")


def _spoil(pixels: np.ndarray[Any, Any]) -> Callable[[Path], None]:
    return lambda folder: write_image(folder / "train" / "cat" / "cat1.png", pixels)


def _spoil_bytes(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        path = folder / "train" / "cat" / "cat1.png"
        path.write_bytes(change(path.read_bytes()))

    return spoil


def _enormous(content: bytes) -> bytes:
    """A PNG whose header claims 30,000×30,000 pixels."""
    header = b"IHDR" + struct.pack(">II5B", 30_000, 30_000, 8, 2, 0, 0, 0)
    return content[:12] + header + struct.pack(">I", zlib.crc32(header)) + content[33:]


SPOILT = str(Path("train", "cat", "cat1.png"))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        pytest.param(_no_folder, ["no such folder", "'cifar10' or 'synthetic'"], id="missing"),
        pytest.param(_empty_folder, ["is empty", "train/<class>/"], id="empty"),
        pytest.param(_no_split("test"), ["no test/", "test/<class>/"], id="no test"),
        pytest.param(_no_split("train"), ["no train/", "train/<class>/"], id="no train"),
        pytest.param(_class_in_one_split("train"), ["'bee' is in train/ but not in test/"], id="class in train only"),
        pytest.param(_class_in_one_split("test"), ["'bee' is in test/ but not in train/"], id="class in test only"),
        pytest.param(_empty_class, ["no image in train/bee/"], id="empty class"),
        pytest.param(_one_class, ["fewer than two class folders"], id="one class"),
        pytest.param(_spoil(random_pixels(0, 32, 31, 3)), [SPOILT, "31×32 RGB", "not 32×32 RGB"], id="narrow"),
        pytest.param(_spoil(random_pixels(0, 64, 32, 3)), [SPOILT, "32×64 RGB", "not 32×32 RGB"], id="tall"),
        pytest.param(_spoil(random_pixels(0, 32, 32)), [SPOILT, "32×32 L", "not 32×32 RGB"], id="grey"),
        pytest.param(_spoil(random_pixels(0, 32, 32, 4)), [SPOILT, "32×32 RGBA", "not 32×32 RGB"], id="with alpha"),
        pytest.param(_spoil_bytes(lambda x: x[:500]), [SPOILT, "cannot be read"], id="truncated"),
        pytest.param(_spoil_bytes(lambda x: b"hello"), [SPOILT, "cannot be read"], id="not an image"),
        pytest.param(_spoil_bytes(lambda x: b""), [SPOILT, "cannot be read"], id="empty file"),
        pytest.param(_spoil_bytes(_enormous), [SPOILT], id="enormous"),
        pytest.param(lambda x: (x / "train/cat/up").symlink_to(".."), ["leads back to a folder"], id="loop"),
        pytest.param(lambda x: (x / "train/cat/x.png").symlink_to("nowhere"), ["No such file"], id="dangling link"),
        pytest.param(
            lambda x: (x / "train/cat/x.png").symlink_to("x.png"), ["x.png cannot be read"], id="link to itself"
        ),
        pytest.param(lambda x: os.mkfifo(x / "train/cat/x.png"), ["this is no regular file"], id="pipe"),
    ],
)
def test_a_bad_folder_is_refused_in_one_line_that_names_it(
    folder: Path, load: Load, spoil: Callable[[Path], object], words: list[str]
) -> None:
    spoil(folder)
    with pytest.raises(UsageError) as caught:
        load(folder)
    message = str(caught.value)
    assert not [word for word in (f"--data {folder}", *words) if word not in message], message
    assert "\n" not in message


def test_a_folder_of_known_pixels_says_what_they_are(folder: Path, load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    images, _ = load(folder)
    monkeypatch.setitem(KNOWN_FOLDERS, images.provenance.sha256, "two animals")
    known, _ = load(folder)
    assert known.provenance.description == "image folder “animals”: two animals"
    assert known.provenance.sha256 == images.provenance.sha256


def test_links_that_lead_elsewhere_and_names_that_are_no_text_are_followed(folder: Path, load: Load) -> None:
    before, _ = load(folder)
    (folder / "train/cat").rename(folder / "cats")
    (folder / "train/cat").symlink_to("../cats")
    odd = os.fsencode(folder / "cats" / "cat1.png")
    os.rename(odd, odd.replace(b"cat1", b"cat1\xff"))  # noqa: PTH104
    after, _ = load(folder)
    assert_same_images(after, before)


def test_tensors_with_the_right_hash_and_other_labels_are_decoded_again(
    folder: Path, tmp_path: Path, load: Load
) -> None:
    first, _ = load(folder)
    (kept,) = files_in(tmp_path / "cache")
    arrays = Arrays(first.train_images, first.train_labels + 50, first.test_images, first.test_labels)
    torch.save({"arrays": list(arrays), "sha256": digest_of(arrays)}, kept)
    images, decoded = load(folder)
    assert decoded == 10
    assert_same_images(images, first)
