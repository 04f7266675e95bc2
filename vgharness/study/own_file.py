"""What a study file says of networks of the user's own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from vgharness.claims.source import WrongError
from vgharness.formatting import shorten
from vgharness.records import ACTIVATIONS
from vgharness.study.grid import RECIPE, OwnGrid

OWN_KEYS: Final = (*RECIPE, "architecture")  # those that stand for all grids of the file, or in one


def beside(folder: Path, place: str) -> str:
    """A file of ``folder``, or of one of its own where ``place`` names something in it: ``nets.py:make``. A module's
    name, and an image set of torchvision, stay as they are."""
    source, colon, _ = place.rpartition(":")
    return place if colon and not source.endswith(".py") else str(folder / place)


def own_grid(table: Mapping[str, Any], epochs: int, folder: Path) -> OwnGrid:
    """Reads a grid of networks of the user's own; ``table`` has the keys of the whole file too, ``folder`` is the
    file's. Raises :class:`~vgharness.claims.source.WrongError`."""
    if "network" not in table:
        raise WrongError('network: it is missing; give what makes the network: network = "networks.py:make"')
    factors = {name: _several(name, value, folder) for name, value in table.items()}
    return OwnGrid(factors, epochs)


def _several(name: str, given: object, folder: Path) -> tuple[Any, ...]:
    values = given if isinstance(given, tuple) else (given,)
    if not values:
        raise WrongError(f"{name}: it is empty; give at least one value")
    read = (_value(name, value, folder) for value in values)
    return tuple({(type(value), value): value for value in read}.values())  # for 1 equals true


def _value(name: str, value: Any, folder: Path) -> Any:
    if name in ("optimizer", "schedule"):
        return _with_arguments(name, value)
    if isinstance(value, dict | tuple) or not isinstance(value, bool | int | float | str):
        raise WrongError(f"{name}: give one value, or a list of them: numbers, texts, true and false")
    if name in ("network", "loss", "architecture") and not (isinstance(value, str) and value.strip()):
        raise WrongError(f"{name}: it is no text, or empty")
    if name in ("outputs", "batch_size") and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
        raise WrongError(f"{name}: give a whole number, 1 or more, not {shorten(repr(value), 100)}")
    if name == "activation" and value not in ACTIVATIONS:
        raise WrongError(f"activation: {shorten(repr(value), 100)} is not known; use {', '.join(ACTIVATIONS)}")
    if name == "network" and ":" not in str(value):
        raise WrongError(f"network: {shorten(repr(value), 100)}: name a callable as module:name or file.py:name")
    return beside(folder, str(value)) if name == "network" or (name == "loss" and ":" in str(value)) else value


def _with_arguments(name: str, value: Any) -> tuple[str, tuple[tuple[str, Any], ...]]:
    """``"SGD"``, or ``{ name = "SGD", lr = 0.1 }``."""
    table = {"name": value} if isinstance(value, str) else value
    if not isinstance(table, dict) or not isinstance(table.get("name"), str):
        raise WrongError(f'{name}: give a name, or a table with one: {name} = {{ name = "SGD", lr = 0.1 }}')
    arguments = {key: argument for key, argument in table.items() if key != "name"}
    for key, argument in arguments.items():
        if not isinstance(argument, bool | int | float | str):
            raise WrongError(f"{name}: {key}: give a number, a text, true or false")
    return table["name"], tuple(arguments.items())
