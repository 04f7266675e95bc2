"""Where the first value of a training that is not finite was born: its passes are repeated, and looked at.

Nothing here raises: a training goes on, whatever is found of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from vgharness.formatting import in_one_line, listing
from vgharness.probe.graph import nodes_from
from vgharness.probe.norms import tensors_in
from vgharness.probe.origin import Found, find_origin_of_pass
from vgharness.records import NonfiniteOrigin
from vgharness.watching.forward_passes import ForwardPass, copied
from vgharness.watching.stand_in import CannotRepeatError, as_it_ran, is_distributed, set_state, standing_in

_NOT_REPEATED = "where it comes from was not looked for: "


class Cause(NamedTuple):
    """What was found.

    given: the pass that it was found in; ``None``: none is known.
    origin, loss, parameter, remark: as of a :class:`~vgharness.records.Birth`.
    """

    given: ForwardPass | None = None
    origin: NonfiniteOrigin | None = None
    loss: bool = False
    parameter: str = ""
    remark: str = ""

    @property
    def known(self) -> bool:
        """Whether the repeated passes showed it."""
        return self.origin is not None or self.loss or bool(self.parameter)


def find_cause(
    model: nn.Module, passes: Sequence[ForwardPass], weights: Sequence[Tensor] | None, *, scale: float = 1.0
) -> Cause:
    """Repeats ``passes`` of one step, and says what is not finite first.

    weights: those before that step, in the order of the model's parameters; ``None``: the model still has them.
    scale: by which the gradients that came to its outputs are to be divided.
    """
    parameter = nonfinite_parameter(model, weights)
    if not passes:
        if parameter:
            return Cause(parameter=parameter)
        said = "since the step before the model put out nothing that a gradient could come to"
        return Cause(remark=f"{_NOT_REPEATED}{said}")
    try:
        with standing_in(model, weights) as stand_in:
            found = [_look(stand_in, given, scale) for given in passes]
    except CannotRepeatError as error:
        return Cause(passes[-1], parameter=parameter, remark=f"{_NOT_REPEATED}{error}")
    except Exception as error:
        return Cause(
            passes[-1], parameter=parameter, remark=f"{_NOT_REPEATED}repeating the pass raised {in_one_line(error)}"
        )
    return _first(model, passes, found, parameter)


def finite_without_scale(
    model: nn.Module, passes: Sequence[ForwardPass], weights: Sequence[Tensor] | None, scale: float
) -> bool:
    """Whether ``passes``, repeated from gradients that are divided by the loss ``scale``, give no NaN: that what came
    with it is not finite is then an overflow, at which a ``GradScaler`` leaves a step out and takes a smaller scale."""
    try:
        with standing_in(model, weights) as stand_in:
            return bool(passes) and all(_gives_no_nan(stand_in, given, scale) for given in passes)
    except Exception:  # what it is will be said where its cause is looked for
        return False


def _gives_no_nan(model: nn.Module, given: ForwardPass, scale: float) -> bool:
    gradients = {place: came / scale for place, came in given.gradients().items()}
    overflowed = any(bool(torch.isinf(came).any()) for came in gradients.values())
    if not overflowed and any(bool(torch.isnan(came).any()) for came in gradients.values()):
        return False
    set_state(model, given)
    model.zero_grad()
    with as_it_ran(given):
        outputs = run(model, given)
        if any(bool(torch.isnan(x).any()) for x in tensors_in(outputs) if x.is_floating_point()):
            return False
        if overflowed:
            return True
        go_back(outputs, gradients)
    return not any(p.grad is not None and bool(torch.isnan(p.grad).any()) for p in model.parameters())


class _Look(NamedTuple):
    """What one repeated pass showed; ``loss``: the gradients that came to its outputs are not finite."""

    found: Found
    loss: bool = False
    said: str = ""


def _look(model: nn.Module, given: ForwardPass, scale: float) -> _Look:
    if not given.inputs_unchanged:
        return _Look(Found(None), said=f"{_NOT_REPEATED}its batch was changed in place since")
    gradients = {place: came / scale if scale != 1 else came for place, came in given.gradients().items()}
    loss = not all(bool(torch.isfinite(came).all()) for came in gradients.values())
    set_state(model, given)
    model.zero_grad()
    with as_it_ran(given):
        found = find_origin_of_pass(
            model, lambda: run(model, given), lambda outputs: None if loss else go_back(outputs, gradients)
        )
    said = (
        f"{_NOT_REPEATED}the gradient of its outputs was too large to keep"
        if given.left_out and found.origin is None
        else ""
    )
    if loss and found.origin is None and given.sum is not None and not bool(torch.isfinite(given.sum)):
        return _Look(found, said="the model's outputs were not finite then, and are when the pass is repeated")
    return _Look(found, loss and found.origin is None, said)


def _first(model: nn.Module, passes: Sequence[ForwardPass], looks: Sequence[_Look], parameter: str) -> Cause:
    """The cause that comes before the others: a backward pass of one spoils the others' gradients no more than a
    forward pass does."""
    forward = [(given, x.found) for given, x in zip(passes, looks, strict=True) if _stage(x) in ("inputs", "forward")]
    for given, found in forward:
        if parameter and not found.of_finite and _stage_of(found) == "forward":
            return Cause(given, found.origin, parameter=parameter)
        return Cause(given, found.origin)
    for given, look in zip(passes, looks, strict=True):
        if look.loss:
            return Cause(given, loss=True)
    for given, look in zip(passes, looks, strict=True):
        if look.found.origin is not None:
            return Cause(given, look.found.origin)
    said = next((look.said for look in looks if look.said), "")
    if said:
        return Cause(passes[-1], remark=said)
    return Cause(passes[-1], remark=_from_outside(model))


def _stage(look: _Look) -> str:
    return _stage_of(look.found)


def _stage_of(found: Found) -> str:
    return "" if found.origin is None else found.origin.stage


def _from_outside(model: nn.Module) -> str:
    bad = [
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is not None and not bool(torch.isfinite(parameter.grad).all())
    ]
    of = f" of {listing(bad, most=3)}" if bad else ""
    if is_distributed():
        return f"this process' own batch gives finite gradients: that{of} comes from another process' batch"
    return (
        f"the passes of this step, repeated, are finite: the gradient{of} comes from outside the model's forward pass, "
        "such as a penalty on its weights, or from an operation that gives another result each time"
    )


def nonfinite_parameter(model: nn.Module, weights: Sequence[Tensor] | None) -> str:
    """The first parameter that is not finite; empty: none."""
    held = list(model.parameters()) if weights is None else weights
    names = [name for name, _ in model.named_parameters()]
    return next((name for name, x in zip(names, held, strict=True) if not bool(torch.isfinite(x).all())), "")


# --- one pass, repeated ------------------------------------------------------------------------------------


def run(model: nn.Module, given: ForwardPass) -> Any:
    """The forward pass again; what it is given is copied, for it may be changed in place."""
    args, kwargs = copied(given.inputs)
    return model(*args, **kwargs)


def go_back(outputs: Any, gradients: dict[int, Tensor]) -> None:
    """The backward pass again, from the gradients that came to ``outputs`` from outside the model."""
    tensors = list(tensors_in(outputs))
    ends = {place: came for place, came in gradients.items() if tensors[place].requires_grad}
    inner = _that_feed_others({place: tensors[place] for place in ends})
    for place in sorted(inner, key=inner.__getitem__):  # those nearest the model's end first
        above = [
            (tensors[other], came) for other, came in ends.items() if other not in inner or inner[other] < inner[place]
        ]
        through = torch.autograd.grad(
            [tensor for tensor, _ in above],
            tensors[place],
            [came for _, came in above],
            retain_graph=True,
            allow_unused=True,
        )[0]
        if through is not None:
            rest = ends[place] - through
            # What is left of rounding is no gradient.
            ends[place] = torch.where(rest.abs() <= 1e-3 * through.abs().max(), torch.zeros_like(rest), rest)
    torch.autograd.backward([tensors[place] for place in ends], list(ends.values()))


def _that_feed_others(ends: dict[int, Tensor]) -> dict[int, int]:
    """Those from which a way leads to another of them, with how many others they feed: such as the logits beside the
    loss that a model computes itself. The gradient that came to them came through these, too."""
    found: dict[int, int] = {}
    if len(ends) > 1:
        reached = {place: set(nodes_from(tensor)) for place, tensor in ends.items()}
        for place, tensor in ends.items():
            feeds = sum(
                tensor.grad_fn in nodes
                for other, nodes in reached.items()
                if other != place and tensor.grad_fn is not None
            )
            if feeds:
                found[place] = feeds
    return found
