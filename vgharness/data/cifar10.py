"""CIFAR-10's canonical files, downloaded once into the user's cache."""

from __future__ import annotations

import os
import tempfile
from http.client import HTTPException
from pathlib import Path

import torch
from torch import Tensor
from torchvision import datasets
from torchvision.datasets.utils import calculate_md5, download_url, extract_archive

from vgharness.data.image_set import Arrays, ImageSet, with_provenance
from vgharness.errors import UsageError
from vgharness.system.files import shown

DESCRIPTION = "CIFAR-10, the canonical files"


def load_cifar10(cache: Path) -> ImageSet:
    """Reads CIFAR-10 from the folder ``cache``; downloads and unpacks it there where it is missing or damaged.

    Raises :class:`~vgharness.errors.UsageError` where it cannot be downloaded or unpacked.
    """

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
        try:
            splits = read()
        except (OSError, RuntimeError) as error:
            folder = shown(cache / datasets.CIFAR10.base_folder)
            raise UsageError(f"{folder}: cannot be read as CIFAR-10 ({error}): remove it and run again") from error
    arrays: list[Tensor] = []
    for split in splits:
        arrays += [torch.from_numpy(split.data).permute(0, 3, 1, 2).contiguous(), torch.tensor(split.targets)]
    return with_provenance(Arrays(*arrays), tuple(splits[0].classes), "cifar10", "canonical", DESCRIPTION)


def _fetch_cifar10_archive(cache: Path) -> Path:
    """Downloads the archive unless it is there; returns its path.

    It gets its name only once it is complete, so that an interrupted download leaves no file behind.
    """
    name, md5 = datasets.CIFAR10.filename, datasets.CIFAR10.tgz_md5
    archive: Path = cache / name
    if os.path.lexists(archive):
        if not archive.is_file():  # a folder, a pipe, which would wait for a writer, or a link to nothing
            raise UsageError(f"{shown(archive)}: this is no file, so not CIFAR-10's archive: remove it and run again")
        try:
            found = calculate_md5(archive)
        except OSError as error:
            raise UsageError(f"{shown(archive)}: cannot be read ({error.strerror}); let this user read it") from error
        if found != md5:
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
