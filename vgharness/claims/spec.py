"""Claims: sentences of a document, with what is measured and accepted of each value that they stand for.

They are data, read from TOML by :func:`vgharness.claims.loading.load_claims`; ``claims.verdicts`` judges them.
"""

from __future__ import annotations

from collections import Counter
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator

from vgharness.claims.accept import Accept
from vgharness.claims.consistency import check_in_recipe, check_reading
from vgharness.claims.quantities import (
    CUSTOM,
    EPOCH_WORDS,
    LAYER_WORDS,
    MOST_EPOCHS,
    MOST_STEPS,
    QUANTITIES,
    RATIOS,
    SLOPE_UNIT,
    Quantity,
    TakeEpochs,
    TakeLayers,
    quantity_of,
)
from vgharness.claims.subject import Subject, Text, Value
from vgharness.formatting import listing
from vgharness.records import Document, Record
from vgharness.statistics import Scale

EpochNumber = Annotated[int, Field(ge=1, le=MOST_EPOCHS)]
StepNumber = Annotated[int, Field(ge=0, le=MOST_STEPS)]
Moment = Literal["init", "first", "last"] | StepNumber
ANY_DATA = "any"


class Spec(Record):
    """A part of a claims file: a wrong type is an error, not converted."""

    model_config = ConfigDict(strict=True)


class Layers(Spec):
    """Of which layers a quantity is read, and what is made of them.

    match: a glob of their names.
    take: the geometric mean of the ``factor`` toward the input, its ``largest_factor`` or ``least_factor``; the
        ``total``, first layer ÷ last, of factors their product; the ``spread``, greatest ÷ least; the ``slope`` of its
        logarithm toward the input, in decades per layer; or ``mean`` (geometric, of shares arithmetic), ``greatest`` or
        ``least``.
    """

    match: Text = "*"
    take: TakeLayers


class Epochs(Spec):
    """What is made of a quantity over several epochs, or over a training's steps.

    epochs: the first and the last of them; ``None``: it is of steps.
    steps: of a training log, the first and the last of them: of its snapshots those that lie between count.
    take: their ``mean``, ``greatest`` or ``least``; the ``spread``, greatest ÷ least; ``rises``, the share of the
        epochs after the first in which it is more than in the epoch before; of problems their ``sum``.
    """

    epochs: tuple[EpochNumber, EpochNumber | Literal["last"]] | None = None
    steps: tuple[StepNumber, StepNumber | Literal["last"]] | None = None
    take: TakeEpochs

    @model_validator(mode="after")
    def _in_order(self) -> Epochs:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("give epochs, or of a training steps")
        first, last = self.ends
        if last != "last" and last < first:
            raise ValueError(f"its ends are swapped: {self.of} {first} to {last}")
        if self.take == "rises" and last == first:
            raise ValueError(f"rises need two {self.of}")
        return self

    @property
    def of(self) -> Literal["epochs", "steps"]:
        """Of what they are."""
        return "steps" if self.epochs is None else "epochs"

    @property
    def ends(self) -> tuple[int, int | Literal["last"]]:
        """The first and the last."""
        found = self.steps if self.epochs is None else self.epochs
        assert found is not None
        return found


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

    layers: Text
    shapes: tuple[tuple[Annotated[int, Field(ge=1)], ...], ...] = Field(min_length=1)


class ReadingSpec(Spec):
    """One value of a claim: what is measured, of what, and what is accepted.

    label: what is read, in words; empty: made from the rest.
    quantity: one of ``quantities.QUANTITIES``; ``custom:NAME``, one that a pytest session's user added; or
        ``problems:KIND``, of a training's problems those of one kind.
    of: the networks that it is measured of.
    against: those that they are compared with, seed by seed.
    by: how: ``ratio`` of the two, or ``difference``.
    layer: of which layer.
    layers: of which layers, and what is made of them.
    at: when: ``init``, the number of an epoch (gradients are averaged over it), or ``last``: the recipe's last; of a
        training log the number of a step, ``first`` or ``last``.
    over: over which epochs or steps, and what is made of them.
    passes: read the epoch, or the step, in which the quantity first passes this.
    curve: a published curve, one value per epoch of the recipe: the distance to it is read.
    rows: of the document's table of shapes.
    ignoring: a glob of layers whose difference does not count.
    accept: what is accepted.
    context: whether it is only shown beside those that decide.
    either: of a claim's readings with the same word here one is enough.
    words: of the claim's sentence, those that this reading judges.
    """

    label: Text = ""
    quantity: str
    of: Subject
    against: Subject | None = None
    by: Literal["ratio", "difference"] | None = None
    layer: Text | None = None
    layers: Layers | None = None
    at: Moment | None = None
    over: Epochs | None = None
    passes: Passes | None = None
    curve: tuple[float, ...] | None = None
    rows: tuple[Row, ...] | None = Field(default=None, min_length=1)
    ignoring: Text | None = None
    accept: Accept | None = None
    context: bool = False
    either: Text | None = None
    words: Text = ""

    @model_validator(mode="before")
    @classmethod
    def _known(cls, fields: Any) -> Any:
        name = fields.get("quantity") if isinstance(fields, dict) else None
        if isinstance(name, str) and quantity_of(name) is None:
            known = listing([*QUANTITIES, "custom:NAME", "problems:KIND"])
            raise ValueError(f"quantity: {name!r} is unknown; known: {known}")
        return fields

    @model_validator(mode="after")
    def _consistent(self) -> ReadingSpec:
        check_reading(self)
        return self

    @property
    def is_custom(self) -> bool:
        """Whether it is of a quantity that a session's user added."""
        return self.quantity.startswith(CUSTOM)

    @property
    def what(self) -> Quantity:
        """What is measured."""
        found = quantity_of(self.quantity)
        assert found is not None
        return found

    @property
    def is_ratio(self) -> bool:
        """Whether its values are ratios, of two networks or of the layers or epochs of one."""
        if self.by == "ratio":
            return True
        of_layers = self.layers is not None and self.layers.take in RATIOS
        of_epochs = self.over is not None and self.over.take == "spread"
        return (of_layers or of_epochs) and not (self.passes or self._is_rises)

    @property
    def is_slope(self) -> bool:
        """Whether its values are slopes over the layers."""
        return self.layers is not None and self.layers.take == "slope" and not (self.passes or self._is_rises)

    @property
    def scale(self) -> Scale:
        """On which its values are averaged over the seeds."""
        if self.by == "difference" or self.is_slope or (self._is_rises and not self.by):
            return "linear"
        if self.is_ratio or self.passes or self.curve is not None:
            return "log"
        return self.what.scale

    @property
    def unit(self) -> str:
        """Of its values."""
        if self.passes and self.by != "ratio":
            return self._counted
        if self.is_ratio or self.is_slope:
            return "×" if self.is_ratio else SLOPE_UNIT
        if self._is_rises:
            return ""
        of_accuracies = self.what.unit == "%" and (self.by == "difference" or self.curve is not None)
        return "points" if of_accuracies else self.what.unit

    @property
    def _counted(self) -> str:
        return "steps" if self.of.training else "epochs"

    @property
    def _is_rises(self) -> bool:
        return self.over is not None and self.over.take == "rises"

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
            first, last = self.over.ends
            parts.append(f"{EPOCH_WORDS[self.over.take]} over {self.over.of} {first} to {last}")
        name = self.what.words + (f" of {self.layer}" if self.layer else "")
        parts.append(f"{self._counted} to {name} {self.passes}" if self.passes else name)
        if self.curve is not None:
            parts.append("mean absolute difference from the published curve")
        if self.at is not None:
            parts.append(moment_words(self.at, of_training=self.of.training is not None))
        return ", ".join(parts)


class Recipe(Spec):
    """How the document's networks were trained: what the cells must have that its claims are judged on.

    factors: of the cells, where a reading's subject does not say otherwise.
    epochs: how long; ``None``: it does not say, and ``last`` is each network's own last epoch.
    data: the images, ``CIFAR-10`` or their own name; ``any``: its claims can be judged on whatever images there are.
    """

    factors: dict[str, Value] = Field(default_factory=dict)
    epochs: EpochNumber | None = None
    data: Text = ANY_DATA


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

    id: str = Field(pattern=r"^[a-z0-9-]+$", max_length=100)
    sentences: tuple[Text, ...] = Field(min_length=1)
    words: tuple[Text, ...] = ()
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
        return self

    @model_validator(mode="after")
    def _decides(self) -> Claim:
        if all(reading.context for reading in self.readings):
            raise ValueError("context: every reading is context: one must decide")
        groups = Counter(reading.either for reading in self.readings if reading.either)
        alone = [either for either, many in groups.items() if many == 1]
        if alone:
            raise ValueError(f"either: only one reading has {alone[0]!r}: of which others is it enough?")
        if self.variant and not self.for_each:
            raise ValueError("variant: it is one of the values of for_each, which the file does not give")
        return self

    @model_validator(mode="after")
    def _within_the_recipe(self) -> Claim:
        for reading in self.readings:
            check_in_recipe(reading, self.recipe)
        return self

    @property
    def sentence(self) -> str:
        """All that is quoted, as one text."""
        return " … ".join(self.sentences)


def moment_words(at: Moment, *, of_training: bool = False) -> str:
    """``at initialisation``, ``over epoch 3``, ``over the last epoch``; of a training ``at step 3``."""
    if of_training:
        return f"at step {at}" if isinstance(at, int) else f"at the {at} step"
    return {"init": "at initialisation", "last": "over the last epoch"}.get(str(at), f"over epoch {at}")
