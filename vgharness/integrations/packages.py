"""Packages that only some users have."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from vgharness.errors import UsageError


class MissingPackageError(UsageError, ImportError):
    """What was asked for needs a package that is not installed."""


def required(module: str, asked_by: str, package: str) -> Any:
    """Imports ``module``.

    Raises :class:`MissingPackageError` that names ``package`` where it, or what it needs, is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingPackageError(f"{asked_by} needs {package}: pip install {package}") from error
