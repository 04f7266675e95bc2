"""Which networks a reading speaks of: factors of a study's cells, a test of a pytest session, or a watched training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final, TypeVar

from pydantic import AfterValidator, Field, model_validator

from vgharness.claims.quantities import Holder
from vgharness.formatting import listing
from vgharness.records import OF_EVERY_NETWORK, Cell, Record


def _one_line(text: str) -> str:
    words = text.split()
    if not words:
        raise ValueError("it is empty")
    return " ".join(words)


# A text of a claims file, however it is broken there.
Text = Annotated[str, AfterValidator(_one_line)]
Value = str | int | float | bool
Factors = Mapping[str, Value]
_ANY_SEED: Final = 0
# The factors of a study's cells that a claims file may use without declaring them.
KNOWN_FACTORS: Final = tuple(name for name in Cell.model_fields if name not in ("seed", "epochs", "own"))
NO_NORM: Final = "none"


class Subject(Record):
    """The networks of one reading.

    factors: by name, what sets them apart from others of the document, such as ``activation``.
    test: the node id of a test whose gradients a pytest session holds.
    training: the name under which a training's log was saved, or of a model in it, or a pattern of such names: several
        logs are several values of it. With neither ``test`` nor ``training`` they are cells of a study.
    name: of one of the test's measurements, or of the training's models, where it has several.
    """

    factors: dict[str, Value] = Field(default_factory=dict)
    test: Text | None = None
    training: Text | None = None
    name: Text | None = None

    @model_validator(mode="after")
    def _cell_test_or_training(self) -> Subject:
        for key, owner in (("test", "a session"), ("training", "a training log")):
            if getattr(self, key) and self.factors:
                of_cells = next(iter(self.factors))
                raise ValueError(f"no run can hold it: {of_cells} is of a study's cells, {key} of {owner}")
        if self.test and self.training:
            raise ValueError("no run can hold it: test is of a session, training of a training log")
        if self.name and not (self.test or self.training):
            raise ValueError("name needs test or training")
        return self

    @property
    def holder(self) -> Holder:
        """What holds it."""
        return "session" if self.test else "training" if self.training else "study"

    @property
    def label(self) -> str:
        """The label of a session's sample, or the name of a training."""
        own = str(self.test or self.training)
        return f"{own} {self.name}" if self.name else own

    def __str__(self) -> str:
        if self.holder != "study":
            return self.label
        words = [str(value) if name == "activation" else _in_words(name, value) for name, value in self.factors.items()]
        return ", ".join(words) or "the network"


def check_factor(name: str, value: object, declared: Mapping[str, tuple[Value, ...]]) -> None:
    """Raises ``ValueError`` for a factor that no run can hold: neither a study's own, nor one that the claims file
    declares, or with a value that it cannot have."""
    if name in declared:
        if not any(_same(value, known) for known in declared[name]):
            raise ValueError(f"{name}: {value!r} is not among those declared: {listing(map(shown, declared[name]))}")
        return
    if name not in KNOWN_FACTORS:
        known = listing([*KNOWN_FACTORS, *declared, "test", "training", "name"])
        raise ValueError(f"{name}: unknown key; known: {known}; another factor is declared under [factors]")
    fields: dict[str, Any] = {"architecture": "script", "activation": "relu", "seed": _ANY_SEED}
    if name == "momentum":  # which only SGD has
        fields["optimizer"] = "sgd"
    given = None if name == "norm" and value == NO_NORM else value
    try:
        Cell.model_validate({**fields, name: given}, strict=True)
    except ValueError as error:
        detail = error.errors()[0]["msg"].removeprefix("Value error, ") if hasattr(error, "errors") else str(error)
        raise ValueError(f"{name}: {value!r}: {detail}; another value is declared under [factors]") from None


def factor_of(cell: Cell, name: str) -> Value | None:
    """A cell's value of a factor; ``None`` for one that a study's cells do not have."""
    if cell.own is not None:
        own = cell.own.factor(name)
        if own is not None:
            return own
        if name in ("loss", "optimizer", "schedule"):
            named: str = getattr(cell.own, name)
            return named
        return getattr(cell, name) if name in OF_EVERY_NETWORK else None
    value: Value | None = getattr(cell, name) if name in KNOWN_FACTORS else None
    return NO_NORM if name == "norm" and value is None else value


def shown(value: object) -> str:
    """A factor's value as a claims file has it: ``true``, ``4``, ``relu``."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def missing_factors(cell: Cell, wanted: Factors) -> list[str]:
    """Names of those factors of ``wanted`` in which the cell differs, or which it does not have."""
    return [name for name, value in wanted.items() if not _same(factor_of(cell, name), value)]


Item = TypeVar("Item")


def pick(cells: Iterable[tuple[Cell, int, Item]], wanted: Factors) -> tuple[dict[int, Item], str]:
    """Finds, by seed, what belongs to the cells that have all the factors in ``wanted``.

    ``cells``: each with the epochs that it is trained for; of one network trained for several the longest counts.
    Returns it and, where there is nothing or more than one kind of network fits, why.
    """
    cells = list(cells)
    fitting = [each for each in cells if not missing_factors(each[0], wanted)]
    if not fitting:
        # What the nearest cell lacks; of several as near, in what the subject says rather than the recipe.
        places = list(wanted)
        lacks = (missing_factors(cell, wanted) for cell, *_ in cells)
        nearest = min(lacks, key=lambda names: (len(names), -max(map(places.index, names))), default=places)
        what = listing(_in_words(name, wanted[name]) for name in nearest) or "a study's cells"
        return {}, f"needs networks with {what}"
    first = fitting[0][0]
    for cell, *_ in fitting:
        if not cell.same_network(first):
            own = [name for each in (cell, first) if each.own for name, _ in each.own.factors]
            names = [*own, *KNOWN_FACTORS, "loss"]
            differ = next((name for name in names if factor_of(cell, name) != factor_of(first, name)), "recipe")
            return {}, f"several kinds of network fit: say which {differ}, for the subject or in [recipe]"
    longest: dict[int, tuple[int, Item]] = {}
    for cell, epochs, item in fitting:
        if cell.seed not in longest or epochs > longest[cell.seed][0]:
            longest[cell.seed] = epochs, item
    return {seed: item for seed, (_, item) in sorted(longest.items())}, ""


def _same(a: object, b: object) -> bool:
    return a == b and isinstance(a, bool) == isinstance(b, bool)


def _in_words(name: str, value: Value) -> str:
    return f"{name.replace('_', ' ')} {shown(value)}"
