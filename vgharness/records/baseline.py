"""What later runs are held against: the content of a baseline file, made to be kept in a repository and reviewed.

It holds what is compared and nothing else: no times, commits or commands, six significant digits, tests by name, a
line for each layer with a value per seed. So an unchanged model writes an unchanged file, and a changed one a diff that
can be read.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final, Literal, TypeVar

from pydantic import Field, model_validator

from vgharness.records.base import Name, Record, State
from vgharness.records.flow import LAYER_QUANTITIES, GradientFlow, LayerGradient, LayerKey
from vgharness.records.provenance import Machine
from vgharness.records.session import Sample, Session

BASELINE_VERSION: Final = 1
# Another number of threads, or another processor, moves the last of float32's seven digits.
_SAME: Final = 1e-5

_Value = TypeVar("_Value")
Kept = float | Literal["nonfinite"] | None


class BaselineLayer(Record):
    """One row of a sample's flows. What may differ between seeds is a list: of one for all seeds, or one per seed.

    layer: the layer's name.
    passes: which forward and backward pass, from 0.
    state: as :class:`LayerGradient` has it; ``None``: that seed's flow lacks the row.
    feeds: the forward passes that it feeds; ``None``: not followed.
    values: by quantity, one per seed; ``None``: not measured.
    custom: the same of a user's own quantities.
    """

    layer: Name
    passes: tuple[int, int] = (0, 0)
    state: tuple[State | None, ...]
    feeds: tuple[tuple[LayerKey, ...] | None, ...]
    values: dict[Name, tuple[Kept, ...]]
    custom: dict[Name, tuple[float | None, ...]] = Field(default_factory=dict)

    @property
    def key(self) -> LayerKey:
        return LayerKey(self.layer, *self.passes)

    def is_as(self, other: BaselineLayer) -> bool:
        """Whether nothing differs but the last digit of values."""
        mine, others = ({**x.values, **{f"own {k}": v for k, v in x.custom.items()}} for x in (self, other))
        described = [x.model_dump(exclude={"values", "custom"}) for x in (self, other)]
        return (
            described[0] == described[1]
            and mine.keys() == others.keys()
            and all(len(mine[k]) == len(others[k]) and all(map(_is_same, mine[k], others[k])) for k in mine)
        )


class BaselineSample(Record):
    """One sample.

    test: the test's node id.
    name: as :class:`Sample` has it.
    seeds: the seeds.
    layers: a row for each, in forward order.
    """

    test: Name
    name: Name = ""
    seeds: tuple[int, ...]
    layers: tuple[BaselineLayer, ...]

    @model_validator(mode="after")
    def _one_value_per_seed(self) -> BaselineSample:
        seeds = len(self.seeds)
        for layer in self.layers:
            lists = [*layer.values.values(), *layer.custom.values()]
            if any(len(each) != seeds for each in lists) or not {len(layer.state), len(layer.feeds)} <= {1, seeds}:
                raise ValueError(f"layer {layer.layer!r}: give one value per seed")
        return self

    @property
    def label(self) -> str:
        return f"{self.test} {self.name}".strip()

    @classmethod
    def of(cls, sample: Sample) -> BaselineSample:
        """``sample`` as a baseline keeps it."""
        rows = [{layer.key: layer for layer in flow.layers} for flow in sample.flows]
        own = {name: sample.values(name) for name in sample.custom}
        layers = []
        for key in sample.keys:
            by_seed = [row.get(key) for row in rows]
            values = {name: tuple(_kept(row, name) for row in by_seed) for name in LAYER_QUANTITIES}
            layers.append(
                BaselineLayer(
                    layer=key.name,
                    passes=key[1:],
                    state=_shared([row.state if row is not None else None for row in by_seed]),
                    feeds=_shared([row.feeds if row is not None else None for row in by_seed]),
                    values={name: kept for name, kept in values.items() if any(x is not None for x in kept)},
                    custom={name: tuple(map(_short, of[key])) for name, of in own.items()},
                )
            )
        return cls(test=sample.test, name=sample.name, seeds=sample.seeds, layers=tuple(layers))

    def as_sample(self) -> Sample:
        """The sample, as far as it was kept."""
        flows, present = [], []
        for seed in range(len(self.seeds)):
            layers = [layer for layer in self.layers if _of_seed(layer.state, seed) is not None]
            flows.append(GradientFlow(layers=tuple(_row(layer, seed) for layer in layers)))
            present.append(layers)
        names = dict.fromkeys(name for layer in self.layers for name in layer.custom)
        missing = (None,) * len(self.seeds)
        custom = {
            name: tuple(tuple(x.custom.get(name, missing)[i] for x in layers) for i, layers in enumerate(present))
            for name in names
        }
        return Sample(test=self.test, name=self.name, seeds=self.seeds, flows=tuple(flows), custom=custom)

    def merged(self, new: BaselineSample) -> BaselineSample:
        """``new``, with the rows of this one where only the last digit differs."""
        if new.seeds != self.seeds:
            return new
        old = {layer.key: layer for layer in self.layers}
        kept = (old[x.key] if x.key in old and x.is_as(old[x.key]) else x for x in new.layers)
        return new.model_copy(update={"layers": tuple(kept)})


class Baseline(Record):
    """The content of a baseline file.

    schema_version: of this format.
    kind: sets the file apart from sessions and runs.
    machine: the id of the machine that it was measured on; of several, all.
    torch: PyTorch's version.
    precision: of float32 products.
    samples: sorted by label.
    """

    schema_version: Literal[1] = BASELINE_VERSION
    kind: Literal["baseline"] = "baseline"
    machine: Name = ""
    torch: Name = ""
    precision: Name = ""
    samples: tuple[BaselineSample, ...] = ()

    @model_validator(mode="after")
    def _every_sample_once(self) -> Baseline:
        labels = [sample.label for sample in self.samples]
        twice = next((label for label in labels if labels.count(label) > 1), None)
        if twice is not None:
            raise ValueError(f"two samples are called {twice!r}")
        return self

    def updated(self, session: Session, gone: Collection[str]) -> Baseline:
        """With the samples of ``session`` in the place of those of the same label, without those that are ``gone``,
        and with the others as they were."""
        old = {sample.label: sample for sample in self.samples if sample.label not in gone}
        new = {sample.label: BaselineSample.of(sample) for sample in session.samples}
        others = old.keys() - new.keys()
        merged = {label: old[label].merged(sample) if label in old else sample for label, sample in new.items()}
        samples = {**old, **merged}
        machine, torch = session.machine.id, session.machine.versions.get("torch", "")
        precision = str(session.extra.get("precision", ""))
        if others:  # which may have been measured elsewhere
            machine, torch = _joined(self.machine, machine), _joined(self.torch, torch)
            precision = _joined(self.precision, precision)
        ordered = tuple(samples[label] for label in sorted(samples))
        return Baseline(machine=machine, torch=torch, precision=precision, samples=ordered)

    def as_session(self) -> Session:
        """As what it can be compared, shown and drawn."""
        versions = {"torch": self.torch} if self.torch else {}
        nowhere = Machine(
            id=self.machine, system="", processor="", cores=0, threads=0, device="", python="", versions=versions
        )
        return Session(
            created="",
            commit=None,
            command="",
            machine=nowhere,
            samples=tuple(sample.as_sample() for sample in self.samples),
            extra={"precision": self.precision} if self.precision else {},
        )

    def to_text(self) -> str:
        """The file's content: JSON with a line for each layer."""
        head = {name: getattr(self, name) for name in ("schema_version", "kind", "machine", "torch", "precision")}
        lines = [f" {_json(name)}: {_json(value)}," for name, value in head.items()]
        samples = ",\n".join(_sample_text(sample) for sample in self.samples)
        return "\n".join(["{", *lines, ' "samples": [', *([samples] if samples else []), " ]", "}", ""])


def _sample_text(sample: BaselineSample) -> str:
    fields = sample.model_dump(mode="json", exclude={"layers"}, exclude_defaults=True)
    head = _json(fields).removesuffix("}")
    layers = ",\n".join(f"   {_json(x.model_dump(mode='json', exclude_defaults=True))}" for x in sample.layers)
    return f'  {head}, "layers": [\n{layers}\n  ]}}'


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _short(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(f"{value:.6g}")


def _kept(row: LayerGradient | None, quantity: str) -> Kept:
    if row is not None and quantity in row.nonfinite:
        return "nonfinite"
    return None if row is None else _short(getattr(row, quantity))


def _row(layer: BaselineLayer, seed: int) -> LayerGradient:
    values = {name: kept[seed] for name, kept in layer.values.items()}
    fields: dict[str, Any] = {name: None if value == "nonfinite" else value for name, value in values.items()}
    return LayerGradient.model_validate(
        {
            **layer.key._asdict(),
            "state": _of_seed(layer.state, seed),
            "feeds": _of_seed(layer.feeds, seed),
            "nonfinite": tuple(name for name, value in values.items() if value == "nonfinite"),
            **fields,
        }
    )


def _shared(by_seed: Sequence[_Value]) -> tuple[_Value, ...]:
    """One where all seeds have the same."""
    return tuple(by_seed[:1]) if all(each == by_seed[0] for each in by_seed) else tuple(by_seed)


def _of_seed(shared: Sequence[_Value], seed: int) -> _Value:
    return shared[0] if len(shared) == 1 else shared[seed]


def _is_same(a: Kept, b: Kept) -> bool:
    return a == b or (isinstance(a, float) and isinstance(b, float) and math.isclose(a, b, rel_tol=_SAME))


def _joined(*texts: str) -> str:
    parts: Iterable[str] = (part for text in texts for part in text.split(", ") if part)
    return ", ".join(sorted(set(parts)))
