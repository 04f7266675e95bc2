"""Lists the image files of a folder, and refuses what would hang, never end or be counted wrongly.

Links are followed, but for those that lead back to a folder that they are in. What is no regular file (a pipe would
wait for a writer), a link to nothing, what this user may not read and a name that is no text are errors: to leave one
out without a word would change what is trained on.
"""

from __future__ import annotations

import os
import stat
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from torchvision.datasets.folder import IMG_EXTENSIONS

from vgharness.errors import UsageError
from vgharness.formatting import shorten
from vgharness.system.files import kind_of, shown

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_WANTED: Final = "it needs train/<class>/ and test/<class>/ with 32×32 RGB images"
_LONGEST: Final = 100  # of a name in a message

LabelledFile = tuple[str, int]


class Files(NamedTuple):
    """The image files of a folder.

    train: path and label of those to train on, sorted by class and name.
    test: of those to test on.
    classes: their names, in the order of the labels.
    """

    train: list[LabelledFile]
    test: list[LabelledFile]
    classes: tuple[str, ...]

    @property
    def look_like_cifar10(self) -> bool:
        """Whether they have CIFAR-10's classes, and as many images of each."""
        counts = [set(Counter(label for _, label in files).values()) for files in (self.train, self.test)]
        return self.classes == CIFAR10_CLASSES and counts == [{5000}, {1000}]


def list_folder(folder: Path) -> Files:
    """Lists the image files. Raises :class:`~vgharness.errors.UsageError` that says what the folder lacks, or what in
    it is in the way."""
    if not _is_folder(folder, folder):
        raise UsageError(f"--data {shown(folder)}: no such folder; give an existing one, 'cifar10' or 'synthetic'")
    if not _entries(folder, folder):
        raise _refusal(folder, f"the folder is empty; {_WANTED}")
    classes: dict[str, list[str]] = {}
    for split in ("train", "test"):
        if not _is_folder(folder, folder / split):
            raise _refusal(folder, f"there is no {split}/ in it; {_WANTED}")
        classes[split] = [entry.name for entry in _entries(folder, folder / split) if _is_folder(folder, entry)]
    for here, there in (("train", "test"), ("test", "train")):
        if alone := sorted(set(classes[here]) - set(classes[there])):
            raise _refusal(
                folder,
                f"class {alone[0]!r} is in {here}/ but not in {there}/; every class needs images in both",
            )
    if len(classes["train"]) < 2:
        raise _refusal(folder, f"fewer than two class folders in train/; {_WANTED}")
    train, test = ([*_of_split(folder, folder / split, classes["train"])] for split in ("train", "test"))
    return Files(train, test, tuple(classes["train"]))


def _of_split(folder: Path, split: Path, classes: list[str]) -> Iterator[LabelledFile]:
    """In the order of ``torchvision.datasets.ImageFolder``: by class, by folder in it, by name."""
    for label, name in enumerate(classes):
        found = sorted(_images(folder, split / name, ()))
        if not found:
            raise _refusal(folder, f"no image in {split.name}/{shown(name)}/; put some there")
        yield from ((os.path.join(*path), label) for path in found)  # noqa: PTH118 - a Path takes ten times as long


def _images(folder: Path, inside: Path, above: tuple[Path, ...]) -> Iterator[tuple[str, str]]:
    """Gives each image's folder and name. ``above``: the folders that this one was come to by, without links in their
    paths."""
    real = inside.resolve()
    if any(here.is_relative_to(real) for here in (folder.resolve(), *above)):
        raise refusal(folder, inside, "is a link that leads back to a folder it is in; remove it")
    for entry in _entries(folder, inside):
        if _is_folder(folder, entry):
            yield from _images(folder, Path(entry), (*above, real))
        elif entry.name.lower().endswith(IMG_EXTENSIONS):
            yield str(inside), entry.name


def _entries(folder: Path, inside: Path) -> list[os.DirEntry[str]]:
    """All that is in a folder, sorted by name."""
    try:
        with os.scandir(inside) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise _unreadable(folder, inside, error) from error


def _is_folder(folder: Path, entry: Path | os.DirEntry[str]) -> bool:
    """Whether it is a folder or leads to one; ``False`` where the folder of images itself is not there. Raises
    :class:`~vgharness.errors.UsageError` for what is neither folder nor regular file, and for a name that is no
    text."""
    if isinstance(entry, os.DirEntry) and entry.is_file(follow_symlinks=False) and entry.name.isascii():
        return False  # nearly all are: the system has said so already
    path = Path(entry)
    try:
        path.name.encode()
        mode = path.stat().st_mode
    except UnicodeEncodeError as error:
        raise refusal(folder, path, "has a name that is not UTF-8; rename it") from error
    except FileNotFoundError as error:
        if not path.is_symlink():
            return False
        raise refusal(folder, path, "is a link to nothing; remove it") from error
    except (OSError, ValueError) as error:
        raise _unreadable(folder, path, error) from error
    if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
        raise refusal(folder, path, f"is {kind_of(mode)}, not a file; remove it")
    return stat.S_ISDIR(mode)


def _unreadable(folder: Path, path: Path, error: Exception) -> UsageError:
    why = (error.strerror if isinstance(error, OSError) else None) or str(error)
    fix = "give another folder" if path == folder else "remove or repair it"
    if isinstance(error, PermissionError):
        fix = "let this user read it"
    return refusal(folder, path, f"cannot be read ({why}); {fix}")


def refusal(folder: Path, path: Path, why: str) -> UsageError:
    """The one line on ``path``, which is in ``folder`` or is that: ``--data DIR: train/cat/1.png is …``."""
    name = "the folder" if path == folder else shorten(shown(path.relative_to(folder)), _LONGEST)
    return _refusal(folder, f"{name} {why}")


def _refusal(folder: Path, why: str) -> UsageError:
    return UsageError(f"--data {shorten(shown(folder), 2 * _LONGEST)}: {why}")
