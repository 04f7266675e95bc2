"""Which units of a layer pass (almost) no gradient, whatever comes from above."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from vgharness.probe.norms import in_memory_order

SHARE_OF_SUP = 0.01  # a unit whose |φ'| is under this share of sup|φ'| is saturated

_ELEMENTWISE = (
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Softplus),
    *(nn.Sigmoid, nn.LogSigmoid, nn.Tanh, nn.Softsign, nn.Tanhshrink),
    *(nn.Hardtanh, nn.Hardsigmoid, nn.Hardswish),
)


# Where σ' is 1/100 of σ'(0), and tanh' of tanh'(0): at logit((1 + √0.99) / 2) and half of that.
_SATURATED_BEYOND = {nn.Sigmoid: 2 * math.atanh(math.sqrt(0.99)), nn.Tanh: math.atanh(math.sqrt(0.99))}


def is_activation(module: nn.Module) -> bool:
    """Whether ``module`` is an elementwise activation without parameters and without randomness."""
    return isinstance(module, _ELEMENTWISE)


_known_slopes: dict[str, float] = {}  # sup|φ'| of PyTorch's own activations, by how they print, settings included


def greatest_slope(activation: nn.Module) -> float:
    """sup|φ'|, over a grid of [-50, 50]: every activation above comes within 1e-6 of it there."""
    if type(activation) not in _ELEMENTWISE:  # a class of the user's own, which may print as another one
        return _search_slope(activation)
    name = repr(activation)
    if name not in _known_slopes:  # a probe of each seed's model asks for those of all its activations
        _known_slopes[name] = _search_slope(activation)
    return _known_slopes[name]


def _search_slope(activation: nn.Module) -> float:
    return float(_slope(activation, torch.linspace(-50, 50, 100_001, dtype=torch.float64)).max())


def saturated_units(activation: nn.Module, h: Tensor, greatest: float) -> Tensor:
    """Which units of pre-activations ``h`` [B, …] have a |φ'(h)| under 1 % of ``greatest`` on every sample of the
    batch: of a ReLU, those that are dead for this batch. Bool [units] on h's device, units as they lie in memory."""
    h = h.detach() if h.dim() else h.detach()[None]
    if type(activation) is nn.ReLU:  # as its slope says, with a tenth of the work
        return _by_sample(h).amax(0) <= 0
    if type(activation) in _SATURATED_BEYOND:
        return _by_sample(h).abs().amin(0) > _SATURATED_BEYOND[type(activation)]
    return _by_sample(_slope(activation, h)).amax(0) < SHARE_OF_SUP * greatest


def _by_sample(h: Tensor) -> Tensor:
    """[B, …] → [B, units]. Reduced over B it takes a CPU a tenth of the time where channels come last in memory."""
    if h.numel() and h.stride(0) == h.numel() // len(h):
        return in_memory_order(h).view(len(h), -1)
    return h.flatten(1) if h.dim() > 1 else h[:, None]


def _slope(activation: nn.Module, h: Tensor) -> Tensor:
    """|φ'(h)| elementwise, in at least float32."""
    # With hooks of its own: checkpointing's would take this small backward pass for the one it waits for.
    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(_itself, _itself):
        x = h.detach().to(torch.promote_types(h.dtype, torch.float32)).requires_grad_()
        # Not through the module's call, which runs whatever hooks there are; on a copy, for it may work in place.
        y = activation.forward(x.clone())
        (slope,) = torch.autograd.grad(y.sum(), x)
    return slope.abs()


def _itself(tensor: Tensor) -> Tensor:
    return tensor
