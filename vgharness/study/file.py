"""Reads study files: TOML, of which nothing is evaluated.

    name = "norm-against-depth"
    data = "cifar10"
    epochs = 5
    seeds = 3
    claims = "claims.toml"

    [grid]
    activation = ["sigmoid", "relu"]
    depth = [2, 4, 8]
    norm = ["none", "batch"]

Several ``[[grid]]`` are put together; each may have ``epochs`` of its own. Networks of one's own::

    data = "rows.py:rows"
    network = "networks.py:make"
    loss = "binary_cross_entropy_with_logits"
    optimizer = { name = "SGD", lr = 0.1 }

    [grid]
    skip = [true, false]
    batch_size = [8, 128]
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from vgharness.claims.source import WrongError, read_table
from vgharness.errors import UsageError
from vgharness.formatting import escaped, listing, shorten
from vgharness.records import FIRST_SEED, PRECISIONS, Cell, first_of
from vgharness.storage.store import check_name
from vgharness.study.design import MOST_SEEDS, Design
from vgharness.study.grid import FACTORS, NO_NORM, Grid, check_size
from vgharness.study.own_file import OWN_KEYS, beside, own_grid

READY: Final = (
    "depth",
    "remedies",
    "theory",
    "reconcile",
    "normalisation",
    "two-pipelines",
    "he-2015",
)  # the ready-made studies, by name
_MOST_EPOCHS: Final = 1_000_000
_LONGEST_NAME: Final = 100  # it becomes part of a file's
_LONGEST_LINE: Final = 1000
_DEFAULTS: Final[dict[str, tuple[Any, ...]]] = {"architecture": ("script",), "activation": ("sigmoid", "relu")}
_NOT_IN_NAMES: Final = re.compile(r"[^\w.-]")  # of saved runs
_SOURCES: Final = ("cifar10", "synthetic")


def ready_file(name: str) -> Path:
    """Where the ready-made study ``name`` lies, one of ``READY``."""
    return Path(str(files("vgharness.study") / "ready" / f"{name}.toml"))


def load_design(path: Path | str) -> Design:
    """Reads a study file.

    Paths in it are relative to its folder. Raises :class:`~vgharness.errors.UsageError`, one line with the file and
    the key, where it is not valid.
    """
    path = Path(path)
    try:
        return _design(read_table(path), path)
    except WrongError as error:
        line = escaped(" ".join(f"{path}: {error}".split()))
        raise UsageError(shorten(line, _LONGEST_LINE)) from None


def _design(table: Mapping[str, Any], path: Path) -> Design:
    _check_keys("", table, (*_READERS, "grid", *OWN_KEYS))
    given = {key: read(table[key]) for key, read in _READERS.items() if key in table}
    epochs = given.pop("epochs", 20)
    seeds = given.pop("seeds", range(FIRST_SEED, FIRST_SEED + 5))
    grids = _grids(table, epochs, path.parent)
    try:
        check_size(grids, len(seeds))
    except UsageError as error:
        raise WrongError(str(error)) from None
    source = given.pop("data", "cifar10")
    if source not in _SOURCES:
        source = beside(path.parent, source)
    if "claims" in given:
        given["claims"] = path.parent / given["claims"]
    name = given.pop("name", _NOT_IN_NAMES.sub("-", path.stem).lstrip(".")[:_LONGEST_NAME] or "study")
    return Design(name=name, grids=grids, seeds=seeds, source=source, **given)


def _grids(study: Mapping[str, Any], epochs: int, folder: Path) -> tuple[Grid, ...]:
    found, of_all = study.get("grid"), {key: study[key] for key in OWN_KEYS if key in study}
    if of_all and found is None:  # one network
        found = {}
    tables = found if isinstance(found, tuple) else () if found is None else (found,)
    if not tables:
        raise WrongError('grid: there is none; it begins with [grid] and has lines such as activation = ["relu"]')
    return tuple(
        _grid(table, f"grid {number}: " if len(tables) > 1 else "grid: ", epochs, of_all, folder)
        for number, table in enumerate(tables, 1)
    )


def _grid(table: object, where: str, epochs: int, of_all: Mapping[str, Any], folder: Path) -> Grid:
    if not isinstance(table, dict):
        raise WrongError(f'{where}it is no table with lines such as activation = ["relu"]')
    if of_all or "network" in table:
        given = {**of_all, **table}
        try:
            length = _epochs(given.pop("epochs", epochs))
            return own_grid(given, length, folder)
        except WrongError as error:
            raise WrongError(f"{where}{error}") from None
    if not table:
        raise WrongError(f'{where}it is empty; give at least one factor, as activation = ["relu"]')
    _check_keys(where, table, (*FACTORS, "epochs"))
    try:
        own = _epochs(table["epochs"]) if "epochs" in table else epochs
        factors = {name: _values(name, value) for name, value in table.items() if name != "epochs"}
    except WrongError as error:
        raise WrongError(f"{where}{error}") from None
    if "momentum" in factors and "sgd" not in factors.get("optimizer", ()):
        raise WrongError(f'{where}momentum: only SGD has one: optimizer = "sgd"')
    return Grid({**_DEFAULTS, **factors}, own)


def _values(name: str, given: object) -> tuple[Any, ...]:
    """The values of a factor, one or a list of them, each held against what a cell can have."""
    values = given if isinstance(given, tuple) else (given,)
    if not values:
        raise WrongError(f"{name}: it is empty; give at least one value")
    return tuple(dict.fromkeys(_value(name, value) for value in values))


def _value(name: str, value: Any) -> Any:
    if isinstance(value, dict | tuple):
        raise WrongError(f"{name}: give one value, or a list of them")
    given = None if name == "norm" and value == NO_NORM else value
    fields = {"architecture": "script", "activation": "relu", "seed": FIRST_SEED}
    fields |= {"optimizer": "sgd"} if name == "momentum" else {}
    try:
        Cell.model_validate({**fields, name: given}, strict=True)
    except ValidationError as error:
        raise WrongError(f"{first_of(error)}, not {shorten(repr(value), 100)}") from None
    return given


def _text(key: str) -> Callable[[object], str]:
    def read(value: object) -> str:
        if not isinstance(value, str) or not value.strip():
            raise WrongError(f"{key}: it is no text, or empty")
        return " ".join(value.split())

    return read


def _name(value: object) -> str:
    name = _text("name")(value)
    if len(name) > _LONGEST_NAME:
        raise WrongError(f"name: it has {len(name)} letters; {_LONGEST_NAME} are the most")
    try:
        check_name(name)
    except UsageError as error:
        raise WrongError(f"name: {error}") from None
    return name


def _whole(key: str, least: int, most: int) -> Callable[[object], int]:
    def read(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise WrongError(f"{key}: give a whole number, {least:,} to {most:,}, not {shorten(repr(value), 100)}")
        return value

    return read


def _precision(value: object) -> str:
    if value not in PRECISIONS:
        raise WrongError(f"precision: use {', '.join(PRECISIONS)}, not {shorten(repr(value), 100)}")
    return str(value)


def _seeds(value: object) -> Sequence[int]:
    if isinstance(value, tuple):
        if not value:
            raise WrongError("seeds: it is empty; give how many, or a list of them")
        return tuple(dict.fromkeys(_whole("seeds", 0, 2**63 - 1)(seed) for seed in value))
    return range(FIRST_SEED, FIRST_SEED + _whole("seeds", 1, MOST_SEEDS)(value))


_epochs: Final = _whole("epochs", 0, _MOST_EPOCHS)
# By key, how its value is read.
_READERS: Final[dict[str, Callable[[Any], Any]]] = {
    "name": _name,
    "data": _text("data"),
    "epochs": _epochs,
    "seeds": _seeds,
    "precision": _precision,
    "train_images": _whole("train_images", 1, 2**63 - 1),
    "test_images": _whole("test_images", 1, 2**63 - 1),
    "claims": _text("claims"),
}


def _check_keys(where: str, table: Mapping[str, Any], known: Sequence[str]) -> None:
    for key in table:
        if key not in known:
            raise WrongError(f"{where}{key}: unknown key; known: {listing(known, most=20)}")
