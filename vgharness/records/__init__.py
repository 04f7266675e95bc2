"""The validated data that everything passes along: cells, gradient flows, verdicts, runs.

Every class is an immutable pydantic model, so what is written to disk is checked on its way out
and again on its way in. Knows nothing of torch. JSON has no NaN: a figure that was not finite is
stored as null and its name is listed in the record's ``nonfinite``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import Any, Final, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, model_validator

SCHEMA_VERSION: Final = 1

Architecture = Literal["readme", "script"]
Activation = Literal["sigmoid", "tanh", "relu", "gelu", "silu"]
Init = Literal["default", "xavier", "kaiming"]
Norm = Literal["batch"]
Precision = Literal["fp32", "tf32", "bf16"]
Quantity = Literal["weight_mean_abs", "weight_l2", "signal_l2", "signal_rms"]
State = Literal["ok", "zero", "frozen", "unused", "nonfinite"]
Outcome = Literal["reproduced", "not reproduced", "inconclusive", "not run", "error"]

ARCHITECTURES: tuple[Architecture, ...] = get_args(Architecture)
ACTIVATIONS: tuple[Activation, ...] = get_args(Activation)
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
QUANTITIES: tuple[Quantity, ...] = get_args(Quantity)
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)


class Record(BaseModel):
    """Immutable, no unknown fields, no NaN or infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Measured(Record):
    """A record of measurements: a NaN or an infinity becomes ``None`` and is named in ``nonfinite``."""

    nonfinite: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _flag_nonfinite(cls, fields: Any) -> Any:
        if not isinstance(fields, Mapping):
            return fields
        bad = [k for k, v in fields.items() if isinstance(v, float) and not math.isfinite(v)]
        if not bad:
            return fields
        return {**fields, **dict.fromkeys(bad), "nonfinite": (*fields.get("nonfinite", ()), *bad)}


# --- what is trained ---------------------------------------------------------------------------


class Cell(Record):
    """One network trained once. The defaults are the published recipe; ``epochs=0`` is measured at
    initialisation only."""

    architecture: Architecture
    activation: Activation
    seed: int = Field(ge=0, lt=2**63)
    epochs: int = Field(default=20, ge=0)
    depth: int = Field(default=4, ge=2, le=10)
    norm: Norm | None = None
    init: Init = "default"
    optimizer: Literal["adam"] = "adam"
    schedule: Literal["constant"] = "constant"
    learning_rate: float = Field(default=1e-3, gt=0)
    batch_size: int = Field(default=128, ge=1)

    @property
    def name(self) -> str:
        """Short and unique within a study: ``script sigmoid seed 42``."""
        depth = "" if self.depth == 4 else f" depth {self.depth}"
        return f"{self.architecture} {self.activation}{depth} seed {self.seed}"

    def same_network(self, other: Cell) -> bool:
        """Equal in everything but how long it was trained and from which seed."""
        return self.model_copy(update={"seed": other.seed, "epochs": other.epochs}) == other


class Study(Record):
    """A grid of cells, and how they are to be run.

    ``train_images`` / ``test_images`` limit the data to that many images (``None``: all of them).
    """

    preset: str
    cells: tuple[Cell, ...]
    precision: Precision = "fp32"
    train_images: int | None = Field(default=None, ge=1)
    test_images: int | None = Field(default=None, ge=1)


# --- what was measured -------------------------------------------------------------------------


class LayerGradient(Measured):
    """One layer's gradient quantities; what each means is told in ``vgharness.probe``.

    ``None`` where nothing was measured or the figure was not finite; ``state`` says which. A layer that is called
    several times has a row for each ``call``, and one for each ``backward`` pass that went through that call; the
    weight's gradient, which sums over all of them, stands in each. ``aliases`` are other names of its weight.
    """

    name: str
    call: int = Field(default=0, ge=0)
    backward: int = Field(default=0, ge=0)
    aliases: tuple[str, ...] = ()
    state: State
    weight_mean_abs: float | None = None
    weight_l2: float | None = None
    signal_l2: float | None = None
    signal_rms: float | None = None
    relative_update: float | None = None
    saturated: float | None = None


class GradientFlow(Record):
    """A probe's record: one row of quantities per layer, from the input to the output.

    ``missed`` names the layers that no error signal reached; ``training`` is the model's own flag in the forward
    pass (a BatchNorm's backward differs), ``None`` where there was none.
    """

    layers: tuple[LayerGradient, ...]
    missed: tuple[str, ...] = ()
    training: bool | None = None

    def select(self, pattern: str) -> GradientFlow:
        """Only the layers whose name matches the glob ``pattern``, in the same order."""
        return GradientFlow(
            layers=tuple(x for x in self.layers if fnmatchcase(x.name, pattern)),
            missed=tuple(x for x in self.missed if fnmatchcase(x, pattern)),
            training=self.training,
        )

    def factors(self, quantity: Quantity = "signal_l2") -> tuple[float, ...]:
        """What each step toward the input multiplies ``quantity`` by: for layers 1..n the n-1
        ratios layer l ÷ layer l+1, in forward order. NaN where either was not measured or 0/0.

        Each call of a layer is a step of its own; where several backward passes went through one, the last counts."""
        last = {(layer.name, layer.call): nan_if_none(getattr(layer, quantity)) for layer in self.layers}
        return tuple(_ratio(a, b) for a, b in pairwise(last.values()))

    def factor(self, quantity: Quantity = "signal_l2") -> float:
        """Geometric mean of :meth:`factors`: below 1 the quantity shrinks toward the input. NaN where
        one of them is not finite.

        Raises ``ValueError`` with fewer than two layers.
        """
        factors = self.factors(quantity)
        if not factors:
            raise ValueError(f"a factor per layer needs two layers, this flow has {len(self.layers)}")
        if not all(map(math.isfinite, factors)):
            return math.nan
        return float(math.prod(factors) ** (1 / len(factors)))


class Epoch(Measured):
    """One epoch of one cell. Losses are means per image in nats, accuracies percent; ``flow`` holds
    the quantities averaged over the epoch's batches."""

    epoch: int = Field(ge=1)
    train_loss: float | None
    train_accuracy: float | None
    test_loss: float | None
    test_accuracy: float | None
    seconds: float
    flow: GradientFlow


class LayerError(Measured):
    """Relative error of one layer's gradients on the first batch, at the run's precision against
    float64: ‖g − g64‖ ÷ ‖g64‖, in the norm that the quantity of that name is (1-norm for mean |g|)."""

    name: str
    weight_mean_abs: float | None
    weight_l2: float | None
    signal_l2: float | None
    signal_rms: float | None


class LayerPrediction(Measured):
    """By what ‖∂L/∂h‖₂ changes from layer ``above`` down to layer ``name`` on the first batch.

    ``predicted`` is mean field's √χ, ``None`` where a max-pool lies between; ``bound`` no sample can
    exceed; the twin has average pools and the same weights.
    """

    name: str
    above: str
    measured: float | None
    predicted: float | None
    bound: float
    twin_measured: float | None
    twin_predicted: float


class LayerShape(Record):
    """One module of a network and the shape that it puts out for one image."""

    name: str
    kind: str
    shape: tuple[int, ...]


class CellResult(Record):
    """What came of one cell.

    ``initial`` is the flow of the first training batch before any step, and ``numerics`` its error
    against float64; ``predictions`` holds theory beside it. ``heatmap`` is |∂L/∂h| at
    conv1's pre-activation after training, mean over channels and over the first 256 test images.
    ``diverged``: a loss was NaN or infinite; ``failed``: an exception, named in ``reason``.
    """

    cell: Cell
    status: Literal["finished", "diverged", "failed", "interrupted"]
    reason: str = ""
    parameters: int | None = None
    layers: tuple[LayerShape, ...] = ()
    initial_weights_sha256: str | None = None
    initial: GradientFlow | None = None
    numerics: tuple[LayerError, ...] = ()
    predictions: tuple[LayerPrediction, ...] = ()
    epochs: tuple[Epoch, ...] = ()
    heatmap: tuple[tuple[float, ...], ...] | None = None
    seconds: float = 0.0


class Provenance(Record):
    """Which images a run was trained on.

    ``cifar10`` is the honest part: ``canonical`` files, ``re-encoded`` (CIFAR-10's ten classes and
    image counts, from other files), ``part`` of either, or ``no``. ``sha256`` is over the pixels and labels
    themselves.
    """

    kind: Literal["cifar10", "folder", "synthetic"]
    description: str
    cifar10: Literal["canonical", "re-encoded", "part", "no"]
    sha256: str
    classes: tuple[str, ...]
    train_images: int
    test_images: int

    @property
    def is_cifar10(self) -> bool:
        """Whether what is said about CIFAR-10 can be judged on these images."""
        return self.cifar10 in ("canonical", "re-encoded")


class Machine(Record):
    """Where a run was made. ``id`` holds stable fields only and names the folder in the store."""

    id: str
    system: str
    processor: str
    cores: int
    threads: int
    device: str
    python: str
    versions: dict[str, str]
    cuda: str | None = None
    cudnn: str | None = None
    driver: str | None = None


# --- what is concluded -------------------------------------------------------------------------


class SeedValue(Measured):
    """A claim's figure for one seed. ``at_least`` marks a lower bound: the event did not come
    within the epochs that were trained."""

    seed: int
    value: float | None
    at_least: bool = False


class Reading(Measured):
    """One figure of a claim against its accepted interval, over the seeds.

    ``numerical_error`` bounds the relative error that the run's precision may have put into it.
    """

    label: str
    measure: str
    expected: str
    unit: str = ""
    outcome: Outcome
    reason: str = ""
    values: tuple[SeedValue, ...] = ()
    mean: float | None = None
    low: float | None = None
    high: float | None = None
    method: Literal["t", "bootstrap", "exact"] | None = None
    numerical_error: float | None = None
    seeds_needed: int | None = None


class Verdict(Record):
    """What the measurement says of one claim, for one architecture."""

    claim: str
    architecture: Architecture
    sentence: str
    outcome: Outcome
    reason: str = ""
    readings: tuple[Reading, ...] = ()


class Run(Record):
    """Everything a study measured: the content of one JSON file."""

    schema_version: Literal[1] = SCHEMA_VERSION
    created: str
    status: Literal["finished", "interrupted"]
    command: str
    commit: str | None
    machine: Machine
    data: Provenance
    study: Study
    results: tuple[CellResult, ...]
    verdicts: tuple[Verdict, ...] = ()
    seconds: float


def nan_if_none(value: float | None) -> float:
    """The number, or NaN for what was not measured: NaN is inside no interval."""
    return math.nan if value is None else value


def _ratio(a: float, b: float) -> float:
    if b == 0:
        return math.inf if a > 0 else math.nan
    return a / b
