"""Packages that only some users have."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from vgharness.errors import UsageError
from vgharness.formatting import together


class MissingPackageError(UsageError, ImportError):
    """What was asked for needs a package that is not installed."""


def required(module: str, asked_by: str, *packages: str) -> Any:
    """Imports ``module``.

    Raises :class:`MissingPackageError` that names ``packages`` where one of them, or what it needs, is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        needed = f"{asked_by} needs {together(packages)}: pip install {' '.join(packages)}"
        raise MissingPackageError(needed) from error
