"""Claims: sentences of a document, with what is measured and accepted of each value that they stand for.

They are data, read from TOML by :func:`vgharness.claims.loading.load_claims`; ``claims.verdicts`` judges them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator

from vgharness.claims.accept import Accept
from vgharness.claims.quantities import (
    EPOCH_WORDS,
    LAYER_WORDS,
    QUANTITIES,
    RATIOS,
    SLOPE_UNIT,
    Quantity,
    TakeEpochs,
    TakeLayers,
)
from vgharness.claims.subject import Subject, Value
from vgharness.formatting import listing
from vgharness.records import Document, Record
from vgharness.statistics import Scale

MOST_EPOCHS = 100_000
EpochNumber = Annotated[int, Field(ge=1, le=MOST_EPOCHS)]
Moment = Literal["init", "last"] | EpochNumber
ANY_DATA = "any"


class Spec(Record):
    """A part of a claims file: a wrong type is an error, not converted."""

    model_config = ConfigDict(strict=True)


class Layers(Spec):
    """Of which layers a quantity is read, and what is made of them.

    match: a glob of their names.
    take: the geometric mean of the ``factor`` toward the input, its ``largest_factor`` or ``least_factor``; the
        ``total``, first layer ÷ last; the ``spread``, greatest ÷ least; the ``slope`` of its logarithm toward the
        input, in decades per layer; or ``mean``, ``greatest`` or ``least``.
    """

    match: str = "*"
    take: TakeLayers


class Epochs(Spec):
    """What is made of a quantity over several epochs.

    epochs: the first and the last of them.
    take: their ``mean``, ``greatest``, ``least``, or ``spread``: greatest ÷ least.
    """

    epochs: tuple[EpochNumber, EpochNumber | Literal["last"]]
    take: TakeEpochs

    @model_validator(mode="after")
    def _in_order(self) -> Epochs:
        first, last = self.epochs
        if last != "last" and last < first:
            raise ValueError(f"its ends are swapped: epochs {first} to {last}")
        return self


class Passes(Spec):
    """The threshold that a quantity is to pass, where the epoch in which it does is read.

    above: the quantity comes over it.
    below: it comes under it.
    """

    above: float | None = None
    below: float | None = None

    @model_validator(mode="after")
    def _one(self) -> Passes:
        if (self.above is None) == (self.below is None):
            raise ValueError("give above or below")
        return self

    def by(self, value: float) -> bool:
        """Says whether ``value`` is past the threshold; the threshold itself is not."""
        return value > self.above if self.above is not None else self.below is not None and value < self.below

    def __str__(self) -> str:
        return f"over {self.above:g}" if self.above is not None else f"under {self.below:g}"


class Row(Spec):
    """One row of a table of shapes.

    layers: a glob of the names of layers.
    shapes: what they put out for one image; each must be the output of one of them.
    """

    layers: str
    shapes: tuple[tuple[int, ...], ...] = Field(min_length=1)


class ReadingSpec(Spec):
    """One value of a claim: what is measured, of what, and what is accepted.

    label: what is read, in words; empty: made from the rest.
    quantity: one of ``quantities.QUANTITIES``, or ``custom:NAME``, one that a pytest session's user added.
    of: the networks that it is measured of.
    against: those that they are compared with, seed by seed.
    by: how: ``ratio`` of the two, or ``difference``.
    layer: of which layer.
    layers: of which layers, and what is made of them.
    at: when: ``init``, the number of an epoch (gradients are averaged over it), or ``last``: the recipe's last.
    over: over which epochs, and what is made of them.
    passes: read the epoch in which the quantity first passes this.
    curve: a published curve, one value per epoch of the recipe: the distance to it is read.
    rows: of the document's table of shapes.
    ignoring: a glob of layers whose difference does not count.
    accept: what is accepted.
    context: whether it is only shown beside those that decide.
    either: of a claim's readings with the same word here one is enough.
    words: of the claim's sentence, those that this reading judges.
    """

    label: str = ""
    quantity: str
    of: Subject
    against: Subject | None = None
    by: Literal["ratio", "difference"] | None = None
    layer: str | None = None
    layers: Layers | None = None
    at: Moment | None = None
    over: Epochs | None = None
    passes: Passes | None = None
    curve: tuple[float, ...] | None = None
    rows: tuple[Row, ...] | None = None
    ignoring: str | None = None
    accept: Accept | None = None
    context: bool = False
    either: str | None = None
    words: str = ""

    @model_validator(mode="before")
    @classmethod
    def _known(cls, fields: Any) -> Any:
        name = fields.get("quantity") if isinstance(fields, dict) else None
        if isinstance(name, str) and name not in QUANTITIES and not _is_custom(name):
            raise ValueError(f"quantity: {name!r} is unknown; known: {listing(QUANTITIES)}, custom:NAME")
        return fields

    @model_validator(mode="after")
    def _complete(self) -> ReadingSpec:
        what = self.what
        if (self.accept is None) == (self.curve is None):
            raise ValueError("accept: a reading needs what is accepted, or a published curve to be held against")
        if self.quantity == "network_differences":
            self._needs("against")
        elif (self.against is None) != (self.by is None):
            raise ValueError('by: give against and by = "ratio" or "difference", or neither')
        if self.against and bool(self.of.test) != bool(self.against.test):
            raise ValueError("against: no run can hold it: one is a study's network, the other of a session")
        self._refuse_what_does_not_go_with(what)
        if what.kind in ("layer", "theory") and (self.layer is None) == (self.layers is None):
            raise ValueError(f"layers: {self.quantity!r} needs layer, or layers = {{ match, take }}")
        if self.quantity == "rows_that_differ":
            self._needs("rows")
        if self.layers and what.kind == "theory" and self.layers.take in RATIOS[:-2]:
            raise ValueError(f"layers.take: {self.quantity!r} is a factor already; use mean, greatest, least or spread")
        moments = [name for name in ("at", "over", "passes", "curve") if getattr(self, name) is not None]
        if what.kind in ("epoch", "layer", "flow") and len(moments) != 1:
            raise ValueError(f"at: {self.quantity!r} needs one of at, over, passes, curve")
        if self.is_slope and self.by == "ratio":
            raise ValueError("by: slopes are compared by difference")
        if self.of.test and self.at != "init":
            raise ValueError("at: a test of a session is measured at init only")
        if what.kind == "epoch" and self.at == "init":
            raise ValueError(f"at: {self.quantity!r} is measured after an epoch: give its number, or last")
        if self.curve is not None and (self.quantity != "test_accuracy" or self.against):
            raise ValueError("curve: a published curve is one of test_accuracy, of one network")
        return self

    @property
    def what(self) -> Quantity:
        """What is measured."""
        if _is_custom(self.quantity):
            return Quantity(self.quantity.removeprefix("custom:"), "layer")
        return QUANTITIES[self.quantity]

    @property
    def is_ratio(self) -> bool:
        """Whether its values are ratios, of two networks or of the layers of one."""
        over = self.over is not None and self.over.take == "spread"
        return self.by == "ratio" or over or (self.layers is not None and self.layers.take in RATIOS)

    @property
    def is_slope(self) -> bool:
        """Whether its values are slopes over the layers."""
        return self.layers is not None and self.layers.take == "slope"

    @property
    def scale(self) -> Scale:
        """On which its values are averaged over the seeds."""
        if self.by == "difference" or self.is_slope:
            return "linear"
        if self.is_ratio or self.passes or self.curve is not None:
            return "log"
        return self.what.scale

    @property
    def unit(self) -> str:
        """Of its values."""
        if self.by == "ratio" or (self.is_ratio and not self.passes):
            return "×"
        if self.passes:
            return "epochs"
        if self.is_slope:
            return SLOPE_UNIT
        of_accuracies = self.what.unit == "%" and (self.by == "difference" or self.curve is not None)
        return "points" if of_accuracies else self.what.unit

    @property
    def in_words(self) -> str:
        """Its label, or one made from what is measured."""
        if self.label:
            return self.label
        sign = {"ratio": "÷", "difference": "−", None: "against"}[self.by]
        parts = [f"{self.of} {sign} {self.against}" if self.against else str(self.of)]
        if self.layers:
            parts.append(LAYER_WORDS[self.layers.take])
        if self.over:
            parts.append(f"{EPOCH_WORDS[self.over.take]} over epochs {self.over.epochs[0]} to {self.over.epochs[1]}")
        name = self.what.words + (f" of {self.layer}" if self.layer else "")
        parts.append(f"epochs to {name} {self.passes}" if self.passes else name)
        if self.curve is not None:
            parts.append("mean absolute difference from the published curve")
        if self.at is not None:
            parts.append(moment_words(self.at))
        return ", ".join(parts)

    def _needs(self, name: str) -> None:
        if getattr(self, name) is None:
            raise ValueError(f"{name}: {self.quantity!r} needs it")

    def _refuse_what_does_not_go_with(self, what: Quantity) -> None:
        of_layers, of_epochs = what.kind in ("layer", "theory"), what.kind in ("epoch", "layer", "flow")
        allowed = {
            "layer": of_layers,
            "layers": of_layers,
            "at": of_epochs or (what.kind == "theory" and self.at == "init"),
            "over": of_epochs,
            "passes": of_epochs,
            "curve": what.kind == "epoch",
            "rows": self.quantity == "rows_that_differ",
            "ignoring": self.quantity == "network_differences",
        }
        for name, goes in allowed.items():
            if getattr(self, name) is not None and not goes:
                raise ValueError(f"{name}: it does not go with {self.quantity!r}")
        if self.of.test and what.kind not in ("layer", "flow"):
            raise ValueError(f"of: no run can hold it: a test of a session has no {what.words}")
        if _is_custom(self.quantity) and not self.of.test:
            raise ValueError(f"of: no run can hold it: {self.quantity!r} is measured in a session: name its test")


class Recipe(Spec):
    """How the document's networks were trained: what the cells must have that its claims are judged on.

    factors: of the cells, where a reading's subject does not say otherwise.
    epochs: how long; ``None``: it does not say, and ``last`` is each network's own last epoch.
    data: the images, ``CIFAR-10`` or their own name; ``any``: its claims can be judged on whatever images there are.
    """

    factors: dict[str, Value] = Field(default_factory=dict)
    epochs: EpochNumber | None = None
    data: str = ANY_DATA


class Claim(Spec):
    """A sentence of the document and the readings that decide whether it is true.

    id: a name of small letters, digits and hyphens.
    sentences: of the document, word for word.
    words: of the sentences, those that are judged; empty: all.
    readings: what is measured.
    document: that the sentences are from.
    recipe: of the document; its ``data`` may be the claim's own.
    for_each: the factor for each of whose values it is judged by itself; empty: none.
    variant: the one of those values that it speaks of; empty: each.
    diverged_holds: whether the sentence covers networks that diverge: those then count as holding.
    """

    id: str = Field(pattern=r"^[a-z0-9-]+$")
    sentences: tuple[str, ...] = Field(min_length=1)
    words: tuple[str, ...] = ()
    readings: tuple[ReadingSpec, ...] = Field(min_length=1)
    document: Document
    recipe: Recipe = Recipe()
    for_each: str = ""
    variant: str = ""
    diverged_holds: bool = False

    @model_validator(mode="after")
    def _words_are_quoted(self) -> Claim:
        for words in (*self.words, *(reading.words for reading in self.readings)):
            if words and words not in self.sentence:
                raise ValueError(f"words: {words!r} is in none of its sentences")
        if all(reading.context for reading in self.readings):
            raise ValueError("reading: every one is context: one must decide")
        return self

    @property
    def sentence(self) -> str:
        """All that is quoted, as one text."""
        return " … ".join(self.sentences)


def moment_words(at: Moment) -> str:
    """``at initialisation``, ``over epoch 3``, ``over the last epoch``."""
    return {"init": "at initialisation", "last": "over the last epoch"}.get(str(at), f"over epoch {at}")


def _is_custom(name: str) -> bool:
    return name.startswith("custom:") and len(name) > len("custom:")
