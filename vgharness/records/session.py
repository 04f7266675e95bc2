"""What is measured of anybody's own model: gradient flows over seeds, and a session's file of them."""

from __future__ import annotations

from itertools import pairwise
from typing import Final, Literal, NamedTuple

from pydantic import Field, JsonValue, model_validator

from vgharness.records import GradientFlow, LayerGradient, Machine, Record, nan_if_none

SESSION_VERSION: Final = 1

# The figures of a layer that can be compared, judged and shown; others are a user's own.
FIGURES: Final = ("signal_l2", "signal_rms", "weight_l2", "weight_mean_abs", "relative_update", "saturated")


class LayerKey(NamedTuple):
    """Which row of a flow: several where a layer is called, or gone back through, several times."""

    name: str
    call: int = 0
    backward: int = 0

    def __str__(self) -> str:
        call = f"[{self.call}]" if self.call else ""
        backward = f" pass {self.backward}" if self.backward else ""
        return f"{self.name or 'model'}{call}{backward}"


def key_of(layer: LayerGradient) -> LayerKey:
    return LayerKey(layer.name, layer.call, layer.backward)


class Sample(Record):
    """One model's gradient flow over seeds, as one measurement of a test gave it.

    ``flows`` has one flow per seed. ``test`` is the test's node id, ``name`` tells several measurements of one test
    apart; together they name the sample in a run. ``custom`` holds, by the name of a user's quantity, per seed and
    layer (in the order of that seed's flow) what the user's callable gave.
    """

    test: str
    name: str = ""
    seeds: tuple[int, ...]
    flows: tuple[GradientFlow, ...]
    custom: dict[str, tuple[tuple[float | None, ...], ...]] = Field(default_factory=dict)
    extra_info: dict[str, JsonValue] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_flow_per_seed(self) -> Sample:
        if not self.seeds or len(self.seeds) != len(self.flows):
            raise ValueError(f"{len(self.seeds)} seeds and {len(self.flows)} flows: give one flow per seed")
        for name, values in self.custom.items():
            if [len(row) for row in values] != [len(flow.layers) for flow in self.flows]:
                raise ValueError(f"custom quantity {name!r}: give one value per seed and layer")
        return self

    @property
    def label(self) -> str:
        return f"{self.test} {self.name}".strip()

    @property
    def keys(self) -> tuple[LayerKey, ...]:
        """Every row of every seed's flow, in the order of the first seed's."""
        return tuple(dict.fromkeys(key_of(layer) for flow in self.flows for layer in flow.layers))

    @property
    def quantities(self) -> tuple[str, ...]:
        """Names of the figures that some layer has for some seed, a user's own last."""
        layers = [layer for flow in self.flows for layer in flow.layers]
        measured = [name for name in FIGURES if any(getattr(layer, name) is not None for layer in layers)]
        return (*measured, *self.custom)

    def values(self, quantity: str) -> dict[LayerKey, tuple[float, ...]]:
        """Of each row, one value per seed: NaN where it was not measured or not finite."""
        by_seed = [self._of_seed(index, quantity) for index in range(len(self.seeds))]
        return {key: tuple(values.get(key, nan_if_none(None)) for values in by_seed) for key in self.keys}

    def factors(self, quantity: str = "signal_l2") -> dict[tuple[LayerKey, LayerKey], tuple[float, ...]]:
        """By what ``quantity`` is multiplied on its way from each layer down to the one before it, per seed. NaN
        where either was not measured, or the upper one is 0. Where several backward passes went through a layer, the
        last counts."""
        last = {(key.name, key.call): (key, values) for key, values in self.values(quantity).items()}
        return {
            (low, high): tuple(nan_if_none(a / b if b else None) for a, b in zip(below, above, strict=True))
            for (low, below), (high, above) in pairwise(last.values())
        }

    def _of_seed(self, index: int, quantity: str) -> dict[LayerKey, float]:
        layers = self.flows[index].layers
        found = self.custom[quantity][index] if quantity in self.custom else [getattr(x, quantity) for x in layers]
        return {key_of(layer): nan_if_none(value) for layer, value in zip(layers, found, strict=True)}


class Session(Record):
    """What one pytest session measured: the content of one JSON file in the store.

    ``command`` is what was typed; ``extra`` what a hook of the user's added.
    """

    schema_version: Literal[1] = SESSION_VERSION
    kind: Literal["session"] = "session"
    created: str
    command: str
    commit: str | None
    machine: Machine
    samples: tuple[Sample, ...]
    extra: dict[str, JsonValue] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _every_sample_once(self) -> Session:
        seen: set[str] = set()
        for sample in self.samples:
            if sample.label in seen:
                raise ValueError(f"two samples are called {sample.label!r}: give them names")
            seen.add(sample.label)
        return self

    def sample(self, label: str) -> Sample | None:
        return next((sample for sample in self.samples if sample.label == label), None)
