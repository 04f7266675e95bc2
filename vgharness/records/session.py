"""What is measured of anybody's own model: gradient flows over seeds, and a session's file of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, get_args

from pydantic import Field, model_validator

from vgharness.display.html import HtmlTable
from vgharness.display.shown import Shown
from vgharness.formatting import count, listing
from vgharness.records.base import JsonObject, Name, Record, nan_if_none
from vgharness.records.flow import LAYER_QUANTITIES, GradientFlow, LayerKey, factors_toward_input
from vgharness.records.flow_tables import flow_line, flow_records, flows_html
from vgharness.records.provenance import Machine
from vgharness.records.run_tables import session_html, session_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from vgharness.records.theory import ModelTheory

SESSION_VERSION: Final = 3

# How a test ended; of one that was run again, the last time.
TestOutcome = Literal["passed", "failed", "xfailed", "xpassed", "skipped", "error"]
# How a session ended. What was measured stands in each; only a finished one is compared with unasked.
SessionStatus = Literal["finished", "partial", "stopped", "interrupted", "crashed"]
SESSION_STATUSES: tuple[SessionStatus, ...] = get_args(SessionStatus)

Seed = Annotated[int, Field(ge=-(2**63), lt=2**64)]  # what PyTorch takes


class Steps(Record):
    """What a few training steps on its batch made of one of a sample's models.

    optimizer: ``SGD`` (plain, learning rate 0.1) or ``Adam`` (1e-3).
    seed: of the model.
    flows: before the first step, and after each.
    """

    optimizer: str
    seed: Seed
    flows: tuple[GradientFlow, ...] = Field(min_length=2)


class MarkLimits(Record):
    """What a test's mark ``gradflow`` asks of each of its measurements; ``None``: nothing.

    min_factor: least factor toward the input of ``quantity``, at every layer.
    max_factor: the greatest.
    min_total: least factor over the whole path.
    max_total: the greatest.
    quantity: whose factor.
    expect: ``healthy``, or the problem that the diagnosis is to name.
    """

    min_factor: float | None = None
    max_factor: float | None = None
    min_total: float | None = None
    max_total: float | None = None
    quantity: Name = "signal_l2"
    expect: Name | None = None


class Sample(Shown[GradientFlow], Record):  # type: ignore[misc]  # flows, not pydantic's fields
    """One model's gradient flow over seeds, as one measurement of a test gave it.

    Its rows are its flows, one for each seed: ``for flow in sample``, ``sample[0]``.

    test: the test's node id.
    name: sets several measurements of one test apart; ``test`` and ``name`` together are the sample's label.
    outcome: how the test ended; ``None``: it was measured outside of a test, or by an older version.
    failure: what the test raised, where it failed or was expected to; the beginning of a long message.
    limits: what the test's mark asked for; ``None``: there was none, or it asked for nothing.
    seeds: the seeds.
    flows: one flow per seed.
    custom: by the name of a user's quantity, per seed and layer (in the order of that seed's flow) what the user's
        callable gave; ``None``: nothing, or nothing finite.
    later: what steps made of one seed's model, by each optimizer, where something was closed at initialisation.
    extra_info: whatever the user adds.
    """

    test: Name
    name: Name = ""
    outcome: TestOutcome | None = None
    failure: Name = ""
    limits: MarkLimits | None = None
    seeds: tuple[Seed, ...]
    flows: tuple[GradientFlow, ...]
    custom: dict[Name, tuple[tuple[float | None, ...], ...]] = Field(default_factory=dict)
    later: tuple[Steps, ...] = ()
    extra_info: JsonObject = Field(default_factory=dict)

    @model_validator(mode="after")
    def _one_flow_per_seed(self) -> Sample:
        if not self.seeds or len(self.seeds) != len(self.flows):
            raise ValueError(f"{len(self.seeds)} seeds and {len(self.flows)} flows: give one flow per seed")
        for name, values in self.custom.items():
            if [len(row) for row in values] != [len(flow.layers) for flow in self.flows]:
                raise ValueError(f"custom quantity {name!r}: give one value per seed and layer")
        return self

    def plot(
        self,
        ax: Axes | None = None,
        *,
        quantity: str = "signal_l2",
        theory: ModelTheory | None = None,
        label: str = "",
    ) -> Figure:
        """Draws ``quantity`` layer by layer: each seed thin, their geometric mean thick; as
        :meth:`GradientFlow.plot`."""
        from vgharness.records.plots import plot_flows  # matplotlib is slow to import

        return plot_flows(self.flows, ax, quantity, theory, label, self.label or "gradient flow")

    _noun = "seed"

    def _items(self) -> tuple[GradientFlow, ...]:
        return self.flows

    def _called(self, row: GradientFlow) -> str:
        return str(self.seeds[next(at for at, flow in enumerate(self.flows) if flow is row)])

    def _line(self) -> str:
        label = f"{self.label}, " if self.label else ""
        return f"{label}{count(len(self.seeds), 'seed')}; of seed {self.seeds[0]}: {flow_line(self.flows[0])}"

    def _records(self) -> list[dict[str, Any]]:
        return [
            {"seed": seed, **row}
            for seed, flow in zip(self.seeds, self.flows, strict=True)
            for row in flow_records(flow)
        ]

    def _html(self) -> HtmlTable:
        return flows_html(self.label or "gradient flow", self.flows, self.seeds)

    @property
    def label(self) -> str:
        return f"{self.test} {self.name}".strip()

    @property
    def can_be_baseline(self) -> bool:
        """Whether others may be held against it: not what a test measured that did not pass."""
        return self.outcome in (None, "passed", "xpassed")

    @property
    def keys(self) -> tuple[LayerKey, ...]:
        """Every row of every seed's flow, in the order of the first seed's."""
        return tuple(dict.fromkeys(layer.key for flow in self.flows for layer in flow.layers))

    @property
    def quantities(self) -> tuple[str, ...]:
        """Names of the quantities that some layer has for some seed, a user's own last."""
        layers = [layer for flow in self.flows for layer in flow.layers]
        measured = [name for name in LAYER_QUANTITIES if any(getattr(layer, name) is not None for layer in layers)]
        return (*measured, *self.custom)

    def values(self, quantity: str) -> dict[LayerKey, tuple[float, ...]]:
        """Of each row, one value per seed: NaN where it was not measured or not finite."""
        by_seed = [self._of_seed(index, quantity) for index in range(len(self.seeds))]
        return {key: tuple(values.get(key, math.nan) for values in by_seed) for key in self.keys}

    def factors(self, quantity: str = "signal_l2") -> dict[tuple[LayerKey, LayerKey], tuple[float, ...]]:
        """The factors toward the input of ``quantity``, one per seed: as :func:`factors_toward_input` gives them, by
        (the layer nearer the input, the layer nearer the output)."""
        values = self.values(quantity)
        by_seed = [
            factors_toward_input({k: v[i] for k, v in values.items()}, flow.links())
            for i, flow in enumerate(self.flows)
        ]
        steps = dict.fromkeys(step for factors in by_seed for step in factors)
        return {step: tuple(factors.get(step, math.nan) for factors in by_seed) for step in steps}

    def _of_seed(self, index: int, quantity: str) -> dict[LayerKey, float]:
        layers = self.flows[index].layers
        found = self.custom[quantity][index] if quantity in self.custom else [getattr(x, quantity) for x in layers]
        return {layer.key: nan_if_none(value) for layer, value in zip(layers, found, strict=True)}


class Session(Shown[Sample], Record):  # type: ignore[misc]  # samples, not pydantic's fields
    """What one pytest session, or one ``vgharness check``, measured: the content of one JSON file in the store.

    Its rows are its samples: ``for sample in session``, ``session["test_model.py::test_flow"]``.

    schema_version: of this format.
    kind: sets the file apart from a study's run.
    created: when it was measured, ISO 8601, UTC; empty of a baseline file, which does not say.
    status: ``partial``: some tests were left out; ``stopped``: before all had run, as ``-x`` does; ``interrupted``: by
        Ctrl-C; ``crashed``: by an error of pytest or a plugin; ``finished``: none of these.
    commit: that the tested project was at, with ``-dirty`` where files differ; ``None`` outside a repository.
    command: what was typed.
    left_out: by what tests were left out, such as ``-k relu``; empty: none were.
    machine: where it was measured.
    samples: in the order of the tests.
    extra: ``precision`` of float32 products, and what the user's hooks added.
    """

    # The first five are what a list reads of each file.
    schema_version: Literal[3] = SESSION_VERSION
    kind: Literal["session"] = "session"
    created: str
    status: SessionStatus = "finished"
    commit: str | None
    command: Name
    left_out: Name = ""
    machine: Machine
    samples: tuple[Sample, ...]
    extra: JsonObject = Field(default_factory=dict)

    @model_validator(mode="after")
    def _every_sample_once(self) -> Session:
        seen: set[str] = set()
        for sample in self.samples:
            if sample.label in seen:
                raise ValueError(f"two samples are called {sample.label!r}: give them names")
            seen.add(sample.label)
        return self

    _noun = "sample"

    def _items(self) -> tuple[Sample, ...]:
        return self.samples

    def _called(self, row: Sample) -> str:
        return row.label

    def _line(self) -> str:
        return session_line(self)

    def _records(self) -> list[dict[str, Any]]:
        return [
            {"test": sample.test, "name": sample.name, "outcome": sample.outcome, **row}
            for sample in self.samples
            for row in sample._records()
        ]

    def _html(self) -> HtmlTable:
        return session_html(self)

    @property
    def caveats(self) -> tuple[str, ...]:
        """Why it should not be compared with as if it were whole, a line each."""
        ended = f"{self.status} ({self.left_out})" if self.left_out else self.status
        failed = [f"{sample.label} ({sample.outcome})" for sample in self.samples if not sample.can_be_baseline]
        return (
            *([f"the session is {ended}: not all tests are in it"] if self.status != "finished" else []),
            *([f"of tests that did not pass: {listing(failed, most=5)}"] if failed else []),
        )

    def as_baseline(self) -> Session:
        """The same without what tests measured that did not pass."""
        kept = tuple(sample for sample in self.samples if sample.can_be_baseline)
        return self.model_copy(update={"samples": kept})

    def sample(self, label: str) -> Sample | None:
        return next((sample for sample in self.samples if sample.label == label), None)
