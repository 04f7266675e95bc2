"""Which networks a reading speaks of: factors of a study's cells, or a test of a pytest session."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeVar

from pydantic import Field, model_validator

from vgharness.formatting import listing
from vgharness.records import Cell, Record

Value = str | int | float | bool
Factors = Mapping[str, Value]
_ANY_SEED: Final = 0

# The factors of a study's cells that a claims file may use without declaring them.
KNOWN_FACTORS: Final = tuple(name for name in Cell.model_fields if name not in ("seed", "epochs"))
NO_NORM: Final = "none"


class Subject(Record):
    """The networks of one reading.

    factors: by name, what sets them apart from others of the document, such as ``activation``.
    test: the node id of a test whose gradients a pytest session holds; empty: they are cells of a study.
    name: of one of the test's measurements, where it has several.
    """

    factors: dict[str, Value] = Field(default_factory=dict)
    test: str = ""
    name: str = ""

    @model_validator(mode="after")
    def _cell_or_test(self) -> Subject:
        if self.test and self.factors:
            raise ValueError(f"no run can hold it: {next(iter(self.factors))} is of a study's cells, test of a session")
        if self.name and not self.test:
            raise ValueError("name needs test")
        return self

    @property
    def label(self) -> str:
        """The label of a session's sample."""
        return f"{self.test} {self.name}".strip()

    def __str__(self) -> str:
        if self.test:
            return self.label
        words = [str(value) if name == "activation" else _in_words(name, value) for name, value in self.factors.items()]
        return ", ".join(words) or "the network"


def check_factor(name: str, value: object, declared: Mapping[str, tuple[Value, ...]]) -> None:
    """Raises ``ValueError`` for a factor that no run can hold: neither a study's own, nor one that the claims file
    declares, or with a value that it cannot have."""
    if name in declared:
        if not any(_same(value, known) for known in declared[name]):
            raise ValueError(f"{name}: {value!r} is not among those declared: {listing(map(_shown, declared[name]))}")
        return
    if name not in KNOWN_FACTORS:
        known = listing([*KNOWN_FACTORS, *declared, "test", "name"])
        raise ValueError(f"{name}: unknown key; known: {known}; another factor is declared under [factors]")
    fields: dict[str, Any] = {"architecture": "script", "activation": "relu", "seed": _ANY_SEED}
    given = None if name == "norm" and value == NO_NORM else value
    try:
        Cell.model_validate({**fields, name: given}, strict=True)
    except ValueError as error:
        detail = error.errors()[0]["msg"] if hasattr(error, "errors") else str(error)
        raise ValueError(f"{name}: {value!r}: {detail}; another value is declared under [factors]") from None


def missing_factors(cell: Cell, wanted: Factors) -> list[str]:
    """Names of those factors of ``wanted`` in which the cell differs, or which it does not have."""
    return [name for name, value in wanted.items() if not _same(_of_cell(cell, name), value)]


Item = TypeVar("Item")


def pick(cells: Iterable[tuple[Cell, Item]], wanted: Factors) -> tuple[dict[int, Item], str]:
    """Finds, by seed, what belongs to the cells that have all the factors in ``wanted``.

    Returns it and, where there is nothing or more than one kind of network fits, why. Of one network trained for
    several numbers of epochs the longest counts.
    """
    fitting: dict[int, tuple[Cell, Item]] = {}
    cells = list(cells)
    for cell, item in cells:
        if missing_factors(cell, wanted):
            continue
        other = fitting.get(cell.seed)
        if other and not cell.same_network(other[0]):
            differ = [name for name in KNOWN_FACTORS if getattr(cell, name) != getattr(other[0], name)]
            return {}, f"several kinds of network fit: say which {differ[0]}, for the subject or in [recipe]"
        if other is None or cell.epochs > other[0].epochs:
            fitting[cell.seed] = cell, item
    if not fitting:
        # What the nearest cell lacks; of several as near, in what the subject says rather than the recipe.
        places = list(wanted)
        lacks = (missing_factors(cell, wanted) for cell, _ in cells)
        nearest = min(lacks, key=lambda names: (len(names), -max(map(places.index, names))), default=places)
        return {}, f"needs networks with {listing(_in_words(name, wanted[name]) for name in nearest)}"
    return {seed: item for seed, (_, item) in sorted(fitting.items())}, ""


def _of_cell(cell: Cell, name: str) -> Value | None:
    value = getattr(cell, name, None) if name in KNOWN_FACTORS else None
    return NO_NORM if name == "norm" and value is None else value


def _same(a: object, b: object) -> bool:
    return a == b and isinstance(a, bool) == isinstance(b, bool)


def _in_words(name: str, value: Value) -> str:
    return f"{name.replace('_', ' ')} {_shown(value)}"


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
