"""What a study measured: one result per cell, and the run that holds them."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import Field, ValidationInfo, model_validator

from vgharness.display.html import HtmlTable
from vgharness.display.shown import Shown
from vgharness.display.table import Table
from vgharness.formatting import escaped
from vgharness.records.base import (
    FROM_FILE,
    TRAINED_ACTIVATIONS,
    Count,
    FiniteRecord,
    Name,
    NotNegative,
    Percent,
    Quantity,
    Record,
    Size,
)
from vgharness.records.flow import GradientFlow
from vgharness.records.provenance import Machine, Provenance
from vgharness.records.run_tables import run_html, run_line, run_lines
from vgharness.records.study import Cell, Study
from vgharness.records.tables import TableName, table_of
from vgharness.records.verdict import Verdict

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SCHEMA_VERSION: Final = 3

_Float32 = Annotated[float, Field(ge=0, le=1e40)]  # training is in float32, which ends at 3e38
_SIDE: Final = 32  # of the images, and so of a heatmap
_HeatmapRow = Annotated[tuple[_Float32, ...], Field(min_length=_SIDE, max_length=_SIDE)]
RunStatus = Literal["finished", "interrupted", "running"]


class Epoch(FiniteRecord):
    """One epoch of one cell.

    epoch: its number, from 1.
    train_loss: mean over the epoch's images as they were trained on, nats.
    train_accuracy: percent of those that were right at that moment.
    test_loss: mean over the test images after the epoch, nats.
    test_accuracy: percent of those.
    seconds: wall time of training and testing; of the whole pack where cells train side by side.
    flow: each quantity averaged over the epoch's batches.
    """

    epoch: Size
    train_loss: _Float32 | None
    train_accuracy: Percent | None
    test_loss: _Float32 | None
    test_accuracy: Percent | None
    seconds: NotNegative
    flow: GradientFlow


class LayerError(FiniteRecord):
    """Relative error of one layer's gradients on one batch, at the run's precision against float64:
    ‖g − g64‖ ÷ ‖g64‖.

    name: the layer's.
    weight_mean_abs: of the weight's gradient, in the 1-norm.
    weight_l2: the same in the 2-norm.
    signal_l2: of the error signal, in the 2-norm.
    signal_rms: the same.
    """

    name: str
    weight_mean_abs: NotNegative | None
    weight_l2: NotNegative | None
    signal_l2: NotNegative | None
    signal_rms: NotNegative | None


class MomentErrors(Record):
    """The gradients' numerical errors at one moment of a training.

    epoch: the epoch after which it was; 0: at initialisation.
    layers: the error of each layer with weights, in forward order.
    """

    epoch: Count
    layers: tuple[LayerError, ...] = Field(min_length=1)


class Document(Record):
    """The document whose claims a run was held against.

    title: its name.
    address: where it can be read; empty: not known.
    """

    title: str
    address: str = ""


class LayerPrediction(FiniteRecord):
    """The factor toward the input of ‖∂L/∂h‖₂ on the first batch at the initial weights, and theory's word on it.

    name: the layer nearer the input.
    above: the next layer with weights, nearer the output.
    measured: the factor.
    predicted: mean field's √χ; ``None`` where a max-pool lies between, of which it says nothing.
    bound: what no sample can exceed.
    twin_measured: the factor in a twin with the same weights and average pools.
    twin_predicted: mean field's √χ for the twin.
    """

    name: str
    above: str
    measured: NotNegative | None
    predicted: NotNegative | None
    bound: NotNegative
    twin_measured: NotNegative | None
    twin_predicted: NotNegative


class LayerShape(Record):
    """One module of a network.

    name: in ``model.named_modules()``.
    kind: its class.
    shape: what it puts out for one image.
    """

    name: str
    kind: str
    shape: tuple[Size, ...]


class CellResult(Record):
    """What came of one cell.

    cell: which.
    status: ``diverged``: a loss was NaN or infinite; ``failed``: an exception; ``interrupted``: by Ctrl-C; ``running``:
        it still trains, which no file holds.
    reason: of any status but ``finished`` and ``running``.
    parameters: number of trained numbers.
    layers: every module, in forward order.
    initial_weights_sha256: over the initial weights.
    initial: the flow of the first training batch at the initial weights.
    numerics: the gradients' errors against float64 on the first training batch: at initialisation, after epoch 1 and
        after the last one.
    predictions: theory beside it, per layer.
    epochs: those that were finished.
    heatmap: [32, 32], |∂L/∂h| at conv1's pre-activation after training, mean over channels and the first 256 test
        images.
    seconds: wall time; of the whole pack where cells train side by side; of all processes, where it was resumed.
    """

    cell: Cell
    status: Literal["finished", "diverged", "failed", "interrupted", "running"]
    reason: Name = ""
    parameters: Count | None = None
    layers: tuple[LayerShape, ...] = ()
    initial_weights_sha256: str | None = None
    initial: GradientFlow | None = None
    numerics: tuple[MomentErrors, ...] = ()
    predictions: tuple[LayerPrediction, ...] = ()
    epochs: tuple[Epoch, ...] = ()
    heatmap: Annotated[tuple[_HeatmapRow, ...], Field(min_length=_SIDE, max_length=_SIDE)] | None = None
    seconds: NotNegative = 0.0

    @model_validator(mode="after")
    def _ended(self, info: ValidationInfo) -> CellResult:
        _check_ended(self.status, info)
        return self

    @model_validator(mode="after")
    def _epochs_in_order(self) -> CellResult:
        numbers = [epoch.epoch for epoch in self.epochs]
        if numbers != list(range(1, len(numbers) + 1)):
            raise ValueError("epochs are numbered 1, 2, 3 and so on, these are not")
        if len(numbers) > self.cell.epochs:
            raise ValueError(f"{len(numbers)} epochs, of a cell with {self.cell.epochs}")
        moments = [moment.epoch for moment in self.numerics]
        if any(a >= b for a, b in pairwise(moments)) or max(moments, default=0) > len(numbers):
            raise ValueError("numerics are of moments in order, up to the last finished epoch, these are not")
        return self

    @model_validator(mode="after")
    def _same_layers_at_every_moment(self, info: ValidationInfo) -> CellResult:
        if info.context is not FROM_FILE:  # what was measured just now has them
            return self
        flows = [epoch.flow.row_keys for epoch in self.epochs]
        if any(a != b for a, b in pairwise([*([self.initial.row_keys] if self.initial else []), *flows])):
            raise ValueError("the flows are not of the same layers in every epoch")
        errors = [[layer.name for layer in moment.layers] for moment in self.numerics]
        if any(a != b for a, b in pairwise(errors)):
            raise ValueError("numerics are not of the same layers at every moment")
        return self


class Run(Shown[CellResult], Record):  # type: ignore[misc]  # results, not pydantic's fields
    """Everything a study measured: the content of one JSON file.

    Its rows are its networks: ``for result in run``, ``run["script relu seed 42"]``.

    schema_version: of this format.
    created: when the study began, ISO 8601, UTC.
    status: ``interrupted``: some cells were not trained to their end; ``running``: they still train: of a page made
        meanwhile, no file holds it.
    command: what reproduces the run.
    commit: that this package's source was at, with ``-dirty`` where it was changed; ``None`` for an installed package.
    machine: where it ran.
    data: the images.
    study: what was asked for.
    results: one per cell that was begun, in the study's order; while it runs, of those of which there is anything.
    document: whose claims were judged; ``None``: none were.
    verdicts: one per claim and variant.
    seconds: wall time of the whole study; of its last process, where it was resumed.
    """

    schema_version: Literal[3] = SCHEMA_VERSION
    created: str
    status: RunStatus
    command: Name
    commit: str | None
    machine: Machine
    data: Provenance
    study: Study
    results: tuple[CellResult, ...]
    document: Document | None = None
    verdicts: tuple[Verdict, ...] = ()
    seconds: NotNegative

    def so_far(self, status: RunStatus, results: Iterable[CellResult], seconds: float) -> Run:
        """The same run, ``seconds`` after it began, with what there is of its cells and without verdicts."""
        changes = {"status": status, "results": tuple(results), "seconds": seconds, "document": None, "verdicts": ()}
        return self.changed(**changes)

    def plot(self, ax: Axes | None = None, *, quantity: Quantity = "signal_l2") -> Figure:
        """Draws the factor toward the input of ``quantity`` by epoch: a colour for each kind of network, seeds thin,
        their geometric mean thick; gives matplotlib's figure.

        ax: to draw on; by default new ones.
        """
        from vgharness.records.plots import plot_run  # matplotlib is slow to import

        return plot_run(self, ax, quantity)

    _noun = "network"

    def _items(self) -> tuple[CellResult, ...]:
        return self.results

    def _called(self, row: CellResult) -> str:
        return row.cell.name

    def _line(self) -> str:
        return run_line(self)

    def _table(self) -> Table:
        return table_of(self, "curves")

    def _html(self) -> HtmlTable:
        return run_html(self)

    def __str__(self) -> str:
        return "\n".join(escaped(line) for line in (run_line(self), *run_lines(self)))

    def to_frame(self, what: TableName = "curves") -> pandas.DataFrame:
        """The run as a table of pandas, which the extra ``[frame]`` brings.

        what: ``curves``, a row for each network and epoch; ``gradients``, for each network, moment and layer;
            ``verdicts``, for each reading of each verdict. Every row has all settings of its network.

        Raises :class:`~vgharness.errors.UsageError` for another name, and without pandas.
        """
        return table_of(self, what).to_frame()

    @model_validator(mode="after")
    def _ended(self, info: ValidationInfo) -> Run:
        _check_ended(self.status, info)
        return self

    @model_validator(mode="after")
    def _every_result_is_of_a_planned_cell(self) -> Run:
        left = set(self.study.cells)
        for result in self.results:
            if result.cell not in left:
                planned = result.cell in self.study.cells
                raise ValueError(f"{'two results are' if planned else 'the study has no cell'} {result.cell.name}")
            left.remove(result.cell)
        return self

    @model_validator(mode="after")
    def _same_layers_in_networks_of_one_shape(self, info: ValidationInfo) -> Run:
        if info.context is not FROM_FILE:
            return self
        shapes: dict[tuple[object, ...], dict[str, object]] = {}
        for result in self.results:
            cell = result.cell
            of_its_own = cell.activation if cell.activation in TRAINED_ACTIVATIONS else None
            known = shapes.setdefault((cell.architecture, cell.depth, cell.norm, of_its_own, cell.own), {})
            for what, layers in _layers_of(result).items():
                if layers and known.setdefault(what, layers) != layers:
                    raise ValueError(
                        f"{cell.name}: {what} are not of the same layers as in another network of its shape"
                    )
        return self


def _check_ended(status: str, info: ValidationInfo) -> None:
    if status == "running" and info.context is FROM_FILE:
        raise ValueError("it still trains: what is saved has ended, this has not")


def _layers_of(result: CellResult) -> dict[str, list[object]]:
    flows = [*([result.initial] if result.initial else []), *(epoch.flow for epoch in result.epochs)]
    return {
        "gradients": [*flows[0].row_keys] if flows else [],
        "predictions": [(layer.name, layer.above) for layer in result.predictions],
    }
