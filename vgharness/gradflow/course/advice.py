"""What usually helps against each kind of problem of a training."""

from __future__ import annotations

from typing import Final

from vgharness.records import Birth, TrainingProblemKind

ADVICE: Final[dict[TrainingProblemKind, str]] = {
    "nonfinite": "Go back to weights from before this step. Look for a root, a norm, a logarithm or a division at "
    "zero, and for exponentials of large numbers, at this layer and just after it; in float16 compute those in "
    "float32. Where the gradient's norm grew before, lower the learning rate or clip the norm.",
    "missing": "Look for detach, no_grad, .data or .item between this layer and the loss, also in a branch that only "
    "runs from some epoch on; for a module that forward does not call, or a loss whose backward is not called. Set "
    "requires_grad to False where that is meant.",
    "not optimized": "Give the optimizer all of model.parameters(), and make it after the last layer was added or "
    "replaced; after unfreezing use add_param_group. Set requires_grad to False where these weights are to stay.",
    "dead": "Look for units that never switch on any more (lower the learning rate, warm it up, use LeakyReLU or "
    "GELU), a weight, scale or loss of exactly zero above, or float16 that underflows (scale the loss, use bfloat16).",
    "exploding": "Lower the learning rate or warm it up longer, clip the gradient's norm, and use an initialisation "
    "that keeps the scale, normalisation or residual connections. Look whether zero_grad is called before each step's "
    "backward pass.",
    "vanishing": "Use He or Glorot initialisation, normalisation or residual connections, ReLU or GELU in place of "
    "sigmoid and tanh. Adam copes with more of it than SGD.",
    "spike": "Look at the batch of this step: labels, outliers, a sequence that is too long. Clip the gradient's norm "
    "so that one batch moves the weights no further than others.",
    "stopped": "Look whether requires_grad, the optimizer's groups or their learning rates were changed here; in "
    "bfloat16 or float16 a step can be too small to change a weight: keep the weights in float32.",
    "update too large": "Lower the learning rate, ten times to begin with, or warm it up; clip the gradient's norm. "
    "Look whether zero_grad is called before each step's backward pass.",
    "update too small": "Raise the learning rate, ten times to begin with, and look whether a schedule or a clipped "
    "norm takes it away.",
    "loss scale": "Look for what is not finite in the forward pass, compute it in float32, clip after unscale_, or use "
    "bfloat16, which needs no scale.",
}

ON_WHAT_IS_GIVEN: Final = (
    "Look at what this layer is given: data that were not loaded or were scaled to nothing, a mask that leaves nothing."
)
_GO_BACK: Final = "Go back to weights from before this step."


def advice_on(birth: Birth, *, grown: bool) -> str:
    """What helps against a first NaN, by what made it; empty: what usually does.

    grown: whether the gradient's norm had grown far before.
    """
    if birth.parameter:
        return (
            f"{_GO_BACK} Look at the optimizer: an eps too small for the weights' type (keep the weights in float32), "
            "or a learning rate that is too high or not finite itself."
        )
    if grown:
        return (
            f"{_GO_BACK} The norm grew first, so lower the learning rate or warm it up longer, clip the norm, and look "
            "at the sign of the loss and that zero_grad is called before each step's backward pass."
        )
    if birth.loss:
        return (
            f"{_GO_BACK} Look at this batch's targets (missing values, a class that is out of range), and in the loss "
            "for a logarithm, a root or a division at zero and an exponential of a large number."
        )
    if birth.origin is not None and birth.origin.stage == "inputs":
        return (
            f"{_GO_BACK} Look at this batch where it is read and scaled: missing values, a division by a standard "
            "deviation of zero, numbers too large for float16."
        )
    return ""
