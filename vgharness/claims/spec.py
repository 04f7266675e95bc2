"""Claims: sentences of a document, with an accepted interval for each value that they stand for.

They are data, read from TOML. ``load_claims()`` gives those of the studied README; ``verdicts.judge`` judges them by
a run.
"""

from __future__ import annotations

import itertools
import math
import tomllib
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from vgharness.claims.accept import Accept
from vgharness.claims.measures import MEASURES
from vgharness.errors import UsageError
from vgharness.records import Activation, Architecture, Quantity, Record
from vgharness.statistics import Scale, on_scale

Moment = Literal["init", "epoch 1", "last"]
_MOMENT_WORDS = {"init": "at initialisation", "epoch 1": "over epoch 1", "last": "over epoch 20"}
_QUANTITY_WORDS = {"signal_l2": "error signal ‖∂L/∂h‖₂", "weight_mean_abs": "README's own mean |∂L/∂W|"}


class Subject(Record):
    """The networks that a reading speaks of: the published recipe but for these.

    activation: after every convolution.
    depth: number of convolutions.
    """

    activation: Activation
    depth: int = 4

    def __str__(self) -> str:
        return self.activation + (f" at depth {self.depth}" if self.depth != 4 else "")


class ReadingSpec(Record):
    """One value of a claim: what is measured, of what, and what is accepted.

    label: what is read, in words.
    measure: one of ``claims.measures.MEASURES``; it says which of the fields below it needs.
    accept: the accepted interval.
    of: the networks that it is measured of.
    against: those that they are compared with.
    epoch: the epochs that it is measured at.
    threshold: the test accuracy, percent, that is to be exceeded.
    quantity: the gradient quantity.
    moment: when gradients are taken.
    unit: of the values.
    either: of a claim's readings with the same word here one is enough.
    """

    label: str
    measure: str
    accept: Accept
    of: Subject | None = None
    against: Subject | None = None
    epoch: Annotated[tuple[int, ...], Field(min_length=1)] | Literal["last"] | None = None
    threshold: float | None = None
    quantity: Quantity | None = None
    moment: Moment | None = None
    unit: str = ""
    either: str | None = None

    @model_validator(mode="after")
    def _known_and_complete(self) -> ReadingSpec:
        if self.measure not in MEASURES:
            raise ValueError(f"unknown measure {self.measure!r}: use one of {', '.join(MEASURES)}")
        for name in MEASURES[self.measure].needs:
            if getattr(self, name) is None:
                raise ValueError(f"measure {self.measure!r} needs {name!r}")
        return self


class Claim(Record):
    """A sentence of the document and the readings that all have to hold for it to be true.

    id: a name of small letters, digits and hyphens.
    sentences: of the document, word for word.
    readings: what is measured.
    about_cifar10: whether it speaks of results on CIFAR-10, so that other images say nothing of it.
    architecture: the one that it speaks of; ``None``: each.
    document_epochs: how long the document's networks were trained.
    """

    id: str = Field(pattern=r"^[a-z0-9-]+$")
    sentences: tuple[str, ...] = Field(min_length=1)
    readings: tuple[ReadingSpec, ...] = Field(min_length=1)
    about_cifar10: bool = False
    architecture: Architecture | None = None
    document_epochs: int

    @property
    def sentence(self) -> str:
        """All that is quoted, as one text."""
        return " … ".join(self.sentences)


def load_claims(path: Path | None = None) -> tuple[Claim, ...]:
    """Reads the claims in a TOML file, by default those of the studied README.

    Raises :class:`~vgharness.errors.UsageError` with the claim's id where one is not valid.
    """
    source = path or files("vgharness.claims") / "document" / "claims.toml"
    try:
        table = tomllib.loads(source.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not valid TOML: {error}") from error
    entries = table.get("claim")
    if not isinstance(entries, list) or not entries:
        raise UsageError(f"{path}: no claims in it; each begins with [[claim]]")
    claims = []
    for entry in entries:
        try:
            readings = [one for reading in entry.get("reading", []) for one in _each_reading(reading)]
            fields = {key: value for key, value in entry.items() if key != "reading"}
            claims.append(Claim.model_validate({**fields, "readings": readings, "document_epochs": table["epochs"]}))
        except KeyError as error:
            raise UsageError(f"claim {entry.get('id', '?')!r}: {error.args[0]} is missing") from error
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            raise UsageError(f"claim {entry.get('id', '?')!r}: {where}: {first['msg']}") from error
    ids = [claim.id for claim in claims]
    if twice := sorted({i for i in ids if ids.count(i) > 1}):
        raise UsageError(f"claim {twice[0]!r} is there twice: give each its own id")
    return tuple(claims)


def _each_reading(reading: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yields, of a reading with lists of quantities or moments, one reading for each combination, labelled with it."""
    epoch = reading.get("epoch")
    fields = {**reading, "epoch": (epoch,) if isinstance(epoch, int) else epoch}
    lists = {key: value for key in ("quantity", "moment") if isinstance(value := reading.get(key), list)}
    for combination in itertools.product(*lists.values()):
        words = [_QUANTITY_WORDS.get(x) or _MOMENT_WORDS.get(x) or str(x) for x in combination]
        yield {**fields, **dict(zip(lists, combination, strict=True)), "label": ", ".join([reading["label"], *words])}
