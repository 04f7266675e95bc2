"""Files that claims are read from: the claims file, and those that it names beside it."""

from __future__ import annotations

import re
import tomllib
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Final

MOST_BYTES: Final = 2_000_000
_MOST_NESTED: Final = 20
_LARGEST: Final = 2**63
# tomllib takes the square of their number for the parts of a dotted key: hours for what one file can hold.
_LONG_KEY: Final = re.compile(r"""(?<![\w"'.-])(?:[\w"'-]++\s*+\.\s*+){100}""")


class WrongError(Exception):
    """Something in a claims file is wrong; the message says where, from the claim on, and what."""


def read_table(file: Traversable | Path) -> dict[str, Any]:
    """Reads a TOML file, of which nothing is evaluated; its arrays become tuples.

    Raises :class:`WrongError` where that cannot be done, or is not worth doing.
    """
    text = read_text(file)
    if _LONG_KEY.search(text):
        raise WrongError("not valid TOML: nested too deeply")
    try:
        table = tomllib.loads(text)
    except ValueError as error:  # besides TOML's own, of a number with thousands of digits
        raise WrongError(f"not valid TOML: {error}") from error
    except RecursionError:
        raise WrongError("not valid TOML: nested too deeply") from None
    return {key: _frozen(value, key) for key, value in table.items()}


def read_text(file: Traversable | Path) -> str:
    """Reads a regular file of UTF-8; what is none is not waited for. Raises :class:`WrongError`, which says why it
    cannot be read."""
    try:
        if isinstance(file, Path) and file.exists() and not file.is_file():
            raise WrongError("cannot be read (it is no regular file)")
        with file.open("rb") as opened:
            content = opened.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise WrongError(f"cannot be read (it is larger than {MOST_BYTES:,} bytes)")
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise WrongError("cannot be read (it is not UTF-8)") from None
    except (OSError, ValueError) as error:  # a name with a NUL character
        raise WrongError(f"cannot be read ({getattr(error, 'strerror', None) or error})") from None


def _frozen(value: Any, where: str, depth: int = 1) -> Any:
    if depth > _MOST_NESTED:
        raise WrongError(f"{where}: nested too deeply")
    if isinstance(value, list):
        return tuple(_frozen(each, where, depth + 1) for each in value)
    if isinstance(value, dict):
        return {key: _frozen(each, where, depth + 1) for key, each in value.items()}
    if isinstance(value, int) and not -_LARGEST <= value < _LARGEST:
        raise WrongError(f"{where}: a whole number of more than 64 bits")
    return value
