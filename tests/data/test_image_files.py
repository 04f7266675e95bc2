"""What is in the way in a folder of images: one line that names it, no hang, no wrong labels; and packs that are not
believed."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from factories import failure
from image_files import Load, assert_same_images, files_in
from torch import Tensor

from vgharness.data.image_files import list_folder
from vgharness.data.image_set import Arrays, digest_of
from vgharness.data.images import load_images

pytestmark = pytest.mark.fast


@pytest.fixture
def ends() -> Iterator[None]:
    """What waits for a writer fails after some seconds."""

    def waited(number: int, frame: Any) -> None:
        raise TimeoutError("still waiting")

    before = signal.signal(signal.SIGALRM, waited)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def _link(at: str, to: str) -> Callable[[Path], None]:
    return lambda folder: (folder / at).symlink_to(to)


def _pipe(folder: Path) -> None:
    os.mkfifo(folder / "train" / "cat" / "z.png")


def _links_to_each_other(folder: Path) -> None:
    for here, there in (("one", "two"), ("two", "one")):
        (folder.parent / here).mkdir()
        (folder.parent / here / "on").symlink_to(folder.parent / there)
    (folder / "train" / "cat" / "one").symlink_to(folder.parent / "one")


def _odd_name(at: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        path = Path(os.fsdecode(os.fsencode(folder / at) + b"\xff"))
        try:
            path.with_name(f"{path.name}.png").touch() if "." in at else path.mkdir()
        except OSError:
            pytest.skip("this system has no such names")

    return make


@pytest.mark.usefixtures("ends")
@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_link("train/cat/loop", ".."), "train/cat/loop is a link that leads back to a folder it is in; remove it"),
        (_link("train/cat/loop", "."), "train/cat/loop is a link that leads back"),
        (_link("train/cat/loop", "../../.."), "train/cat/loop is a link that leads back"),
        (_links_to_each_other, "train/cat/one/on/on is a link that leads back"),
        (_pipe, "train/cat/z.png is a pipe, not a file; remove it"),
        (_link("train/cat/z.png", "nowhere"), "train/cat/z.png is a link to nothing; remove it"),
        (_link("train/cat/z.png", "z.png"), "train/cat/z.png cannot be read ("),
        (_link("train/bee", "nowhere"), "train/bee is a link to nothing; remove it"),
        (_odd_name("train/cat/x.png"), "train/cat/x.png\\udcff.png has a name that is not UTF-8; rename it"),
        (_odd_name("train/bee"), "train/bee\\udcff has a name that is not UTF-8; rename it"),
    ],
)
def test_what_is_in_the_way_is_named_in_one_line(folder: Path, spoil: Callable[[Path], None], words: str) -> None:
    spoil(folder)
    line = failure(lambda: list_folder(folder))
    assert line.startswith(f"--data {folder}: {words}")


@pytest.mark.parametrize("name", ["x" * 300, "a\0b", "a\udcffb"])
def test_a_name_that_no_folder_can_have_is_one_line(tmp_path: Path, name: str) -> None:
    line = failure(lambda: list_folder(tmp_path / name))
    assert line.startswith("--data ")
    assert line.isprintable()
    assert len(line) < 400


def test_what_may_not_be_read_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As root everything may be."""

    def refused(path: Path) -> Any:
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr("vgharness.data.image_files.os.scandir", refused)
        assert failure(lambda: list_folder(folder)).endswith(
            "the folder cannot be read (Permission denied); let this user read it"
        )
    monkeypatch.setattr("vgharness.data.folder.Image.open", refused)
    assert failure(lambda: load_images(str(folder), cache=folder.parent / "cache")).endswith(
        ".png cannot be read (Permission denied); let this user read it"
    )


def test_a_link_to_a_class_elsewhere_is_followed(folder: Path, load: Load) -> None:
    before, _ = load(folder)
    (folder / "train" / "cat").rename(folder.parent / "cats")
    (folder / "train" / "cat").symlink_to(folder.parent / "cats")
    after, _ = load(folder)
    assert_same_images(after, before)


# --- packs -----------------------------------------------------------------------------------------------


def _labels_of_50(arrays: list[Tensor]) -> None:
    arrays[1] = torch.full_like(arrays[1], 50)


def _other_labels(arrays: list[Tensor]) -> None:
    arrays[1] = arrays[1].flip(0)


def _floats(arrays: list[Tensor]) -> None:
    arrays[0] = arrays[0].float()


def _one_less(arrays: list[Tensor]) -> None:
    arrays[2], arrays[3] = arrays[2][1:], arrays[3][1:]


@pytest.mark.parametrize("change", [_labels_of_50, _other_labels, _floats, _one_less, list.pop, list.clear])
def test_a_pack_with_the_right_hash_of_something_else_is_made_anew(
    folder: Path, tmp_path: Path, load: Load, change: Callable[[list[Tensor]], Any]
) -> None:
    first, _ = load(folder)
    (kept,) = files_in(tmp_path / "cache")
    content = torch.load(kept, weights_only=True)
    change(content["arrays"])
    filled: Any = content["arrays"]
    content["sha256"] = digest_of(Arrays(*filled)) if len(filled) == 4 else digest_of(filled)
    torch.save(content, kept)
    images, decoded = load(folder)
    assert decoded == 10
    assert_same_images(images, first)


@pytest.mark.usefixtures("ends")
def test_a_pipe_in_place_of_a_pack_is_not_waited_for(folder: Path, tmp_path: Path, load: Load) -> None:
    load(folder)
    (kept,) = files_in(tmp_path / "cache")
    kept.unlink()
    os.mkfifo(kept)
    with pytest.warns(UserWarning, match="a pipe"):
        assert load(folder)[1] == 10


def test_a_folder_has_one_pack_and_others_keep_theirs(folder: Path, tmp_path: Path, load: Load) -> None:
    from image_files import make_folder

    load(make_folder(tmp_path / "others"))
    for time in range(3):
        os.utime(folder / "test" / "cat" / "cat1.png", ns=(0, time))
        load(folder)
    assert len(files_in(tmp_path / "cache")) == 2
    assert load(tmp_path / "others")[1] == 0
