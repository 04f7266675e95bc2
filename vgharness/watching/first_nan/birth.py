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
from vgharness.watching.first_nan.forward_passes import ForwardPass, copied
from vgharness.watching.first_nan.stand_in import CannotRepeatError, as_it_ran, is_distributed, set_state, standing_in


class Cause(NamedTuple):
    """What was found.

    given: the pass that it was found in; ``None``: none is known.
    origin, loss, parameter, remark: as of a :class:`~vgharness.records.Birth`.
    repeated: whether passes were repeated at all.
    """

    given: ForwardPass | None = None
    origin: NonfiniteOrigin | None = None
    loss: bool = False
    parameter: str = ""
    remark: str = ""
    repeated: bool = True

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
    parameter = ""
    try:
        parameter = nonfinite_parameter(model, weights)
        if not passes:
            raise CannotRepeatError("since the step before the model put out nothing that a gradient could come to")
        with standing_in(model, weights) as stand_in:
            looks = [_look(stand_in, given, scale) for given in passes]
    except CannotRepeatError as error:
        return _not_repeated(passes[-1] if passes else None, parameter, str(error))
    except Exception as error:  # whatever a stranger's model raises
        return _not_repeated(passes[-1], parameter, f"repeating the pass raised {in_one_line(error)}")
    return _first(model, passes, looks, parameter)


def _not_repeated(given: ForwardPass | None, parameter: str, why: str) -> Cause:
    remark = "" if parameter else f"where it comes from was not looked for: {why}"
    return Cause(given, parameter=parameter, remark=remark, repeated=False)


def finite_without_scale(
    model: nn.Module, passes: Sequence[ForwardPass], weights: Sequence[Tensor] | None, scale: float
) -> bool:
    """Whether ``passes``, repeated from gradients that are divided by the loss ``scale``, give no NaN: that what came
    with it is not finite is then an overflow, at which a ``GradScaler`` leaves a step out and takes a smaller scale."""
    try:
        with standing_in(model, weights) as stand_in:
            return all(_gives_no_nan(stand_in, given, scale) for given in passes)
    except Exception:  # that it cannot be repeated is no sign of more than an overflow
        return True


def uses_nan(model: nn.Module, passes: Sequence[ForwardPass], weights: Sequence[Tensor] | None) -> bool:
    """Whether a gradient came to something that ``passes`` put out and that is NaN: then the loss is NaN, too, however
    finite the gradients are, as those of the logarithm of a negative number."""
    try:
        with standing_in(model, weights) as stand_in:
            return any(_uses_nan(stand_in, given) for given in passes)
    except Exception:  # nothing is said that was not seen
        return False


def _uses_nan(model: nn.Module, given: ForwardPass) -> bool:
    set_state(model, given)
    with as_it_ran(given):
        outputs = list(tensors_in(run(model, given)))
    return any(bool((outputs[place].isnan() & (came != 0)).any()) for place, came in given.gradients().items())


def _gives_no_nan(model: nn.Module, given: ForwardPass, scale: float) -> bool:
    if not given.inputs_unchanged:
        return True
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
    """What one repeated pass showed.

    loss: whether the gradients that came to its outputs are not finite.
    why_not: why it was not repeated, or not all of it.
    """

    found: Found
    loss: bool = False
    why_not: str = ""


def _look(model: nn.Module, given: ForwardPass, scale: float) -> _Look:
    if not given.inputs_unchanged:
        return _Look(Found(None), why_not="its batch was changed in place since")
    gradients = {place: came / scale if scale != 1 else came for place, came in given.gradients().items()}
    # One that is not finite may have come through another output, such as the loss that a model computes itself.
    finite = {place: came for place, came in gradients.items() if bool(torch.isfinite(came).all())}
    loss = len(finite) < len(gradients)
    set_state(model, given)
    model.zero_grad()
    with as_it_ran(given):
        found = find_origin_of_pass(model, lambda: run(model, given), lambda outputs: go_back(outputs, finite))
    if found.origin is not None:
        return _Look(found)
    if loss and given.sum is not None and not bool(torch.isfinite(given.sum)):
        return _Look(found, why_not="what the model put out was not finite then, and is when the pass is repeated")
    lacks = "a gradient of its outputs was too large to keep, or was changed in place since"
    return _Look(found, loss, lacks if given.lacks_gradients else "")


def _first(model: nn.Module, passes: Sequence[ForwardPass], looks: Sequence[_Look], parameter: str) -> Cause:
    """The cause that comes before the others: what a forward pass makes spoils the gradients of the others, too."""
    both = list(zip(passes, looks, strict=True))
    for given, look in both:
        if _stage(look) in ("inputs", "forward"):
            spoiled = _stage(look) == "forward" and not look.found.of_finite
            return Cause(given, look.found.origin, parameter=parameter if spoiled else "")
    for given, look in both:
        if look.loss:
            return Cause(given, loss=True)
    for given, look in both:
        if look.found.origin is not None:
            return Cause(given, look.found.origin)
    why_not = next((look.why_not for look in looks if look.why_not), "")
    return _not_repeated(passes[-1], "", why_not) if why_not else Cause(passes[-1], remark=_from_outside(model))


def _stage(look: _Look) -> str:
    return "" if look.found.origin is None else look.found.origin.stage


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
    return model.get_submodule(given.part)(*args, **kwargs)


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
    if ends:
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
