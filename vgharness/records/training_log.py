"""What ``watch`` saves of a training: gradients at some of its steps, and problems with the step where each began."""

from __future__ import annotations

from functools import cached_property
from typing import Final, Literal, get_args

from pydantic import Field, model_validator

from vgharness.formatting import count, escaped, number
from vgharness.records.base import Count, FiniteRecord, JsonObject, Name, NotNegative, Record, State
from vgharness.records.flow import GradientFlow, LayerGradient, LayerKey, NonfiniteOrigin
from vgharness.records.log_shown import ShownLog, problem_line
from vgharness.records.provenance import Machine

TRAINING_VERSION: Final = 1

# How a training ended; ``running``: it has not, or it was killed.
TrainingStatus = Literal["running", "finished", "interrupted", "failed"]
TrainingProblemKind = Literal[
    "nonfinite",
    "missing",
    "not optimized",
    "dead",
    "exploding",
    "vanishing",
    "spike",
    "stopped",
    "update too large",
    "update too small",
    "loss scale",
]
TRAINING_PROBLEM_KINDS: Final[tuple[TrainingProblemKind, ...]] = get_args(TrainingProblemKind)

# What is measured of each row of a snapshot. The first seven are those of a LayerGradient.
SnapshotQuantity = Literal[
    "signal_l2",
    "signal_rms",
    "weight_l2",
    "weight_mean_abs",
    "relative_update",
    "saturated",
    "output_rms",
    "output_zeros",
    "weight_norm",
    "idle_rows",
    "dead_units",
]
SNAPSHOT_QUANTITIES: Final[tuple[SnapshotQuantity, ...]] = get_args(SnapshotQuantity)


class LogRow(Record):
    """Which forward pass of which layer a value of a snapshot is of; the fields are a :class:`LayerGradient`'s.

    A log keeps them once for all snapshots that have the same rows.

    name: the layer's name in ``model.named_modules()``.
    forward_pass: the how-manieth run of the layer, from 0.
    backward_pass: the how-manieth backward pass through that run, from 0.
    aliases: other names of the layer's weight.
    feeds: the forward passes that this one's output goes into; ``None``: that was not followed.
    """

    name: Name
    forward_pass: Count = 0
    backward_pass: Count = 0
    aliases: tuple[Name, ...] = ()
    feeds: tuple[LayerKey, ...] | None = None


class ParameterSnapshot(FiniteRecord):
    """One parameter at one step. ``None``: it has none, or it is not finite.

    grad_l2: ‖∂L/∂p‖₂.
    norm: ‖p‖₂, before the step.
    relative_update: ‖Δp‖₂ ÷ ‖p‖₂ of the step.
    idle_rows: share of the gradient's rows (its first dimension), 0 to 1, that are exactly zero.
    """

    grad_l2: NotNegative | None = None
    norm: NotNegative | None = None
    relative_update: NotNegative | None = None
    idle_rows: NotNegative | None = None


class Snapshot(FiniteRecord):
    """One model at one step of its training. ``None``: not measured, or not finite.

    model: its name among those that are watched; empty where it is the only one.
    step: how many steps its optimizer had taken before; 0: at the initial weights.
    batch: the how-manieth training batch (forward pass of the model) its last one was, from 0.
    rows: which of the log's lists of rows its values are of.
    states: of each row, as of a :class:`LayerGradient`.
    values: by name of a quantity, of each row. Beside those of a :class:`LayerGradient`: ``weight_norm``, ‖W‖₂ before
        the step; ``idle_rows``, share of the rows of ∂L/∂W that are exactly zero; ``dead_units``, share of the units
        that were saturated on every sample of this snapshot and of each of the last ones before it.
    without_gradient: names of parameters that ask for a gradient and got none.
    missed: names of the layers that no error signal reached.
    not_optimized: names of parameters that ask for a gradient and that no watched optimizer has.
    output_spread: as of a :class:`GradientFlow`.
    parameters: by name in the model, where they were asked for.
    loss: what was given to ``step``.
    total_norm: ‖∂L/∂θ‖₂ of all parameters as the backward passes left it, before clipping.
    clipped_norm: the same as the optimizer got it.
    greatest_norm: the greatest ``clipped_norm`` of the steps since the snapshot before it in the log.
    loss_scale: of a GradScaler, by which all gradients here are divided.
    learning_rates: of the optimizers' groups of parameters.
    skipped: whether the optimizer's step was left out, as a GradScaler does where gradients overflow.
    """

    model: Name = ""
    step: Count
    batch: Count = 0
    rows: Count = 0
    states: tuple[State, ...]
    values: dict[SnapshotQuantity, tuple[NotNegative | None, ...]]
    without_gradient: tuple[Name, ...] = ()
    missed: tuple[Name, ...] = ()
    not_optimized: tuple[Name, ...] = ()
    output_spread: NotNegative | None = None
    parameters: dict[Name, ParameterSnapshot] = Field(default_factory=dict)
    loss: float | None = None
    total_norm: NotNegative | None = None
    clipped_norm: NotNegative | None = None
    greatest_norm: NotNegative | None = None
    loss_scale: NotNegative | None = None
    learning_rates: tuple[float, ...] = ()
    skipped: bool = False

    def __repr__(self) -> str:
        model = f"{escaped(self.model)}, " if self.model else ""
        return f"<Snapshot: {model}step {self.step:,}, {count(len(self.states), 'row')}, loss {number(self.loss)}>"

    def __str__(self) -> str:
        return repr(self)

    @model_validator(mode="after")
    def _a_value_for_each_row(self) -> Snapshot:
        for name, values in self.values.items():
            if len(values) != len(self.states):
                raise ValueError(f"{name} has {len(values)} values for {len(self.states)} rows")
        return self


class TrainingProblem(Record):
    """One problem of a training, from the step where it began.

    kind: which.
    model: the watched model's name; empty where it is the only one.
    layer: where; empty: the model as a whole.
    began: the first step at which it was seen.
    ended: the first step at which it was seen no more; ``None``: it goes on.
    evidence: what was measured when it began.
    advice: what usually helps.
    severity: ``problem``: the training goes wrong; ``warning``: it may be meant.
    times: how often it has begun; of one that comes and goes all the time, that is counted and not told each time.
    """

    kind: TrainingProblemKind
    model: Name = ""
    layer: Name = ""
    began: Count
    ended: Count | None = None
    evidence: Name
    advice: str = ""
    severity: Literal["problem", "warning"] = "problem"
    times: Count = 1

    def __str__(self) -> str:
        return escaped(problem_line(self))


class Birth(Record):
    """The first value of a training that was not finite.

    model: in which watched model; empty where it is the only one.
    step: of which step, counted as :attr:`Snapshot.step` does.
    batch: of which training batch, from 0.
    origin: the module and the operation that made it; ``None``: repeating the batch did not show it again.
    loss: whether the model's outputs were finite and the loss, or its gradient, was not.
    parameter: where the optimizer made it: the first parameter that was not finite after ``step``, of finite gradients.
    remark: what else is known of it, a sentence or more.
    noticed: at which step it was noticed; later than ``step`` where the host does not wait for a GPU.
    reproducer: the folder that holds weights, batch and generators; empty: none was written.
    """

    model: Name = ""
    step: Count
    batch: Count = 0
    origin: NonfiniteOrigin | None = None
    loss: bool = False
    parameter: Name = ""
    remark: str = ""
    noticed: Count
    reproducer: Name = ""

    @property
    def module(self) -> str | None:
        """The module that made it (empty: the model itself); ``None``: it is not known, or it was none."""
        if self.parameter:
            return self.parameter.rpartition(".")[0]
        return None if self.origin is None else self.origin.module

    @property
    def cause(self) -> str:
        """What made it, as ``the forward pass of block.norm makes NaN or infinity, by div``."""
        if self.parameter:
            return f"the optimizer's step makes {self.parameter} NaN or infinite, of finite gradients"
        if self.loss:
            return "the model puts out finite numbers, and the loss or its gradient is not finite"
        if self.origin is None:
            return "where it comes from is not known"
        if self.origin.stage == "inputs":
            return "the batch itself holds NaN or infinity"
        of = "" if self.origin.module is None else f" of {self.origin.module or 'the model itself'}"
        by = f", by {self.origin.operation}" if self.origin.operation else ""
        return f"the {self.origin.stage} pass{of} makes NaN or infinity{by}"


class WatchedModel(Record):
    """A model whose training was watched.

    name: that it was given; empty where it is the only one.
    architecture: its class.
    parameters: how many numbers it trains.
    steps: how many its optimizer has taken while it was watched.
    """

    name: Name = ""
    architecture: Name
    parameters: Count
    steps: Count = 0


class TrainingLog(ShownLog, Record):  # type: ignore[misc]  # snapshots, not pydantic's fields
    """What was watched of one training.

    Its rows are its snapshots: ``for snapshot in log``, ``log[-1]``, ``log["step 300"]``.

    schema_version: of this format.
    kind: sets it apart from a study's run and a session.
    created: when the watching began, ISO 8601, UTC.
    status: how it ended: ``failed`` by an exception, ``interrupted`` by Ctrl-C or a signal; ``running``: it goes on or
        was killed.
    commit: that the project was at, with ``-dirty`` where files differ; ``None`` outside a repository.
    command: what was typed.
    machine: where it was trained.
    every: how many steps lie between two snapshots that were taken. Of a long training some of those are left out.
    first_step: where it began; over 0 of a training that was resumed.
    models: in the order in which they were given.
    rows: lists of rows, which snapshots refer to.
    snapshots: in the order in which they were taken.
    problems: in the order in which they began.
    births: one for each model at most.
    notes: what else is to be known, a line each.
    extra: whatever the user adds.
    """

    schema_version: Literal[1] = TRAINING_VERSION
    kind: Literal["training"] = "training"
    created: str
    status: TrainingStatus = "running"
    commit: str | None
    command: Name
    machine: Machine
    every: Count
    first_step: Count = 0
    models: tuple[WatchedModel, ...] = Field(min_length=1)
    rows: tuple[tuple[LogRow, ...], ...] = ()
    snapshots: tuple[Snapshot, ...] = ()
    problems: tuple[TrainingProblem, ...] = ()
    births: tuple[Birth, ...] = ()
    notes: tuple[Name, ...] = ()
    extra: JsonObject = Field(default_factory=dict)

    @model_validator(mode="after")
    def _snapshots_have_their_rows(self) -> TrainingLog:
        names = {model.name for model in self.models}
        for snapshot in self.snapshots:
            if snapshot.rows >= len(self.rows) or len(self.rows[snapshot.rows]) != len(snapshot.states):
                raise ValueError(f"the snapshot of step {snapshot.step} lacks its rows")
            if snapshot.model not in names:
                raise ValueError(f"the snapshot of step {snapshot.step} is of no watched model")
        return self

    @cached_property
    def healthy(self) -> bool:
        """Whether nothing but warnings was seen."""
        return not self.births and not any(problem.severity == "problem" for problem in self.problems)

    def of_model(self, name: str = "") -> tuple[Snapshot, ...]:
        """The snapshots of one model, in the order of its steps."""
        return tuple(snapshot for snapshot in self.snapshots if snapshot.model == name)

    def problems_of(self, name: str = "") -> tuple[TrainingProblem, ...]:
        """The problems of one model, and those that are of none by name, in the order in which they began; a birth that
        was saved and its problem was not, as where the training was killed in between, is one too."""
        own = [problem for problem in self.problems if problem.model in ("", name)]
        for birth in self.births:
            known = any(each.kind == "nonfinite" and each.began <= birth.noticed for each in own)
            if birth.model in ("", name) and not known:
                layer, began = birth.module or "", birth.step
                own.append(
                    TrainingProblem(kind="nonfinite", model=name, layer=layer, began=began, evidence=birth.cause)
                )
        return tuple(sorted(own, key=lambda problem: problem.began))

    def last_step(self, name: str = "") -> int:
        """The last step of one model that is known of, whether a snapshot of it was kept or not."""
        steps = next((model.steps for model in self.models if model.name == name), 0)
        seen = [snapshot.step for snapshot in self.of_model(name)]
        seen += [problem.ended or problem.began for problem in self.problems if problem.model in ("", name)]
        return max(self.first_step, self.first_step + steps - 1, *seen)

    def flow(self, snapshot: Snapshot) -> GradientFlow:
        """The gradients of one of the snapshots as a flow, as far as a flow holds them."""
        return flow_of(snapshot, self.rows[snapshot.rows])


def flow_of(snapshot: Snapshot, rows: tuple[LogRow, ...]) -> GradientFlow:
    """A snapshot and its rows → a flow, without what a flow does not hold."""
    own = [name for name in snapshot.values if name in LayerGradient.model_fields]
    return GradientFlow(
        layers=tuple(
            LayerGradient(
                name=row.name,
                forward_pass=row.forward_pass,
                backward_pass=row.backward_pass,
                aliases=row.aliases,
                feeds=row.feeds,
                state=state,
                **{name: snapshot.values[name][at] for name in own},  # type: ignore[arg-type]
            )
            for at, (row, state) in enumerate(zip(rows, snapshot.states, strict=True))
        ),
        missed=snapshot.missed,
        training=True,
        output_spread=snapshot.output_spread,
    )


def links_of(rows: tuple[LogRow, ...], match: str = "*") -> dict[LayerKey, tuple[LayerKey, ...]]:
    """By forward pass, those that it feeds, of the rows whose layer's name matches: as :meth:`GradientFlow.links`."""
    states: tuple[State, ...] = tuple("ok" for _ in rows)
    return flow_of(Snapshot(step=0, states=states, values={}), rows).select(match).links()
