"""What a reading can measure: the quantities by name, and what can be made of one over layers and epochs."""

from __future__ import annotations

import math
from typing import Final, Literal, NamedTuple

from vgharness.records import TRAINING_PROBLEM_KINDS
from vgharness.statistics import Scale

Kind = Literal["epoch", "layer", "flow", "theory", "count", "step", "problem"]
Holder = Literal["study", "session", "training"]
TakeLayers = Literal[
    "factor", "largest_factor", "least_factor", "total", "spread", "slope", "mean", "greatest", "least"
]
TakeEpochs = Literal["mean", "spread", "greatest", "least", "rises", "sum"]


class Quantity(NamedTuple):
    """Something that a study's run, a pytest session or a training log holds a value of for each seed.

    words: its name in words.
    kind: where it stands: ``epoch``: one value per epoch of a training; ``layer``: one per layer at each moment;
        ``flow``: one at each moment; ``theory``: one per layer at initialisation; ``count``: one per network; ``step``:
        one per step of a training; ``problem``: how many of a training's problems are meant.
    scale: on which its values are averaged over the seeds.
    unit: of its values.
    most: the most that a value can be.
    least: the least.
    held_by: which of the three; a user's own quantities are a session's.
    has_error: whether the precision of the arithmetic bears on it, as a study measures that.
    figure: the part of a study's page whose figures show it; empty: none does.
    """

    words: str
    kind: Kind
    scale: Scale = "log"
    unit: str = ""
    most: float = math.inf
    least: float = 0.0
    held_by: tuple[Holder, ...] = ("study",)
    has_error: bool = False
    figure: str = ""


# Who holds what a probe measures, and what it measures beside that.
_GRADIENT: Final[tuple[Holder, ...]] = ("study", "session", "training")
_PROBED: Final[tuple[Holder, ...]] = ("session", "training")
_WATCHED: Final[tuple[Holder, ...]] = ("training",)
_ACCURACY, _GRADIENTS, _NETWORKS, _THEORY = "accuracy", "gradients", "networks", "theory"
QUANTITIES: Final[dict[str, Quantity]] = {
    "test_accuracy": Quantity("test accuracy", "epoch", "logit", "%", 100, figure=_ACCURACY),
    "train_accuracy": Quantity("accuracy on the training images", "epoch", "logit", "%", 100, figure=_ACCURACY),
    "test_loss": Quantity("test loss", "epoch", unit="nats", figure=_ACCURACY),
    "train_loss": Quantity("training loss", "epoch", unit="nats", figure=_ACCURACY),
    "signal_l2": Quantity("error signal ‖∂L/∂h‖₂", "layer", held_by=_GRADIENT, has_error=True, figure=_GRADIENTS),
    "signal_rms": Quantity("error signal ‖∂L/∂h‖₂ ÷ √n", "layer", held_by=_GRADIENT, has_error=True),
    "weight_l2": Quantity("‖∂L/∂W‖₂", "layer", held_by=_GRADIENT, has_error=True),
    "weight_mean_abs": Quantity("mean |∂L/∂W|", "layer", held_by=_GRADIENT, has_error=True, figure=_GRADIENTS),
    "saturated": Quantity("share of saturated units", "layer", "linear", most=1, held_by=_PROBED),
    "output_rms": Quantity("‖h‖₂ ÷ √n of the output", "layer", held_by=_PROBED),
    "output_zeros": Quantity("share of zeros in the output", "layer", "linear", most=1, held_by=_PROBED),
    "output_spread": Quantity("spread of the outputs over the samples", "flow", held_by=_PROBED),
    "relative_update": Quantity("update ratio ‖ΔW‖₂ ÷ ‖W‖₂", "layer", held_by=_WATCHED),
    "weight_norm": Quantity("‖W‖₂", "layer", held_by=_WATCHED),
    "idle_rows": Quantity("share of rows of ∂L/∂W that are zero", "layer", "linear", most=1, held_by=_WATCHED),
    "dead_units": Quantity("share of dead units", "layer", "linear", most=1, held_by=_WATCHED),
    "total_norm": Quantity("total gradient norm before clipping", "step", held_by=_WATCHED),
    "clipped_norm": Quantity("total gradient norm after clipping", "step", held_by=_WATCHED),
    "loss": Quantity("loss of the batch", "step", "linear", least=-math.inf, held_by=_WATCHED),
    "loss_scale": Quantity("loss scale", "step", held_by=_WATCHED),
    "learning_rate": Quantity("learning rate, the greatest of the groups", "step", held_by=_WATCHED),
    "problems": Quantity("problems", "problem", "linear", held_by=_WATCHED),
    "warnings": Quantity("warnings", "problem", "linear", held_by=_WATCHED),
    "mean_field_factor": Quantity("mean field's factor √χ", "theory", unit="×", figure=_THEORY),
    "chi": Quantity("mean field's χ", "theory", unit="×", figure=_THEORY),
    "mean_field_ratio": Quantity("measured factor ÷ mean field's √χ", "theory", unit="×", figure=_THEORY),
    "bound": Quantity("the greatest factor that the weights allow", "theory", unit="×", figure=_THEORY),
    "twin_factor": Quantity("factor of the twin with average pools", "theory", unit="×", figure=_THEORY),
    "twin_mean_field_factor": Quantity("mean field's factor √χ of that twin", "theory", unit="×", figure=_THEORY),
    "twin_mean_field_ratio": Quantity("that twin's factor ÷ mean field's √χ", "theory", unit="×", figure=_THEORY),
    "parameters": Quantity("parameters", "count", "linear", figure=_NETWORKS),
    "rows_that_differ": Quantity("rows of the table of shapes that differ", "count", "linear", figure=_NETWORKS),
    "network_differences": Quantity("modules and initial weights that differ", "count", "linear", figure=_NETWORKS),
}
LAYER_WORDS: Final[dict[str, str]] = {
    "factor": "factor per layer toward the input",
    "largest_factor": "the largest of the factors toward the input",
    "least_factor": "the least of the factors toward the input",
    "total": "first layer ÷ last layer",
    "spread": "greatest ÷ least over the layers",
    "slope": "slope toward the input",
    "mean": "mean over the layers",
    "greatest": "greatest over the layers",
    "least": "least over the layers",
}
EPOCH_WORDS: Final[dict[str, str]] = {
    "mean": "mean",
    "spread": "greatest ÷ least",
    "greatest": "greatest",
    "least": "least",
    "rises": "share of rises",
    "sum": "sum",
}
RATIOS: Final = ("factor", "largest_factor", "least_factor", "total", "spread")
MOST_EPOCHS: Final = 100_000
MOST_STEPS: Final = 10**12
SLOPE_UNIT: Final = "decades per layer"
CUSTOM: Final = "custom:"
PROBLEM_QUANTITIES: Final = ("problems", "warnings")


def problem_kind(name: str) -> tuple[str, str] | None:
    """``problems:dead`` → ``("problems", "dead")``: those of one kind; ``None``: the name means no such thing."""
    quantity, colon, kind = name.partition(":")
    return (quantity, kind) if colon and quantity in PROBLEM_QUANTITIES and kind in TRAINING_PROBLEM_KINDS else None


def quantity_of(name: str) -> Quantity | None:
    """What is measured by that name, ``custom:NAME`` and ``problems:KIND`` too; ``None``: nothing is."""
    if name in QUANTITIES:
        return QUANTITIES[name]
    if name.startswith(CUSTOM) and len(name) > len(CUSTOM):
        return Quantity(name.removeprefix(CUSTOM), "layer", held_by=("session",))
    if (found := problem_kind(name)) is not None:
        quantity, kind = found
        return QUANTITIES[quantity]._replace(words=f"{quantity} of the kind {kind}")
    return None
