"""What a labelled network is, and the parts that several kinds of them share."""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

HEALTHY = "healthy"


class Kind(NamedTuple):
    """A network and what is right about it, written down before anything was said of it.

    label: ``healthy``, or the kind of problem that is to be found.
    layers: the names any of which is right; a pass's number does not count.
    born: of a NaN, in which pass: ``forward`` or ``backward``.
    """

    name: str
    make: Callable[[], nn.Module]
    batch: Callable[[int], Any]
    loss: Callable[[Any, Any], Tensor]
    label: str = HEALTHY
    layers: tuple[str, ...] = ()
    born: str = ""
    deep: bool = False


def vectors(size: int = 8, classes: int = 4, count: int = 32) -> Callable[[int], Any]:
    """Inputs whose class is a function of them."""

    def batch(seed: int) -> Any:
        made = torch.Generator().manual_seed(seed)
        x = torch.randn(count, size, generator=made)
        return x, (x @ torch.randn(size, classes, generator=made)).argmax(1)

    return batch


def sequences(steps: int, size: int = 4, count: int = 4, classes: int = 4) -> Callable[[int], Any]:
    def batch(seed: int) -> Any:
        made = torch.Generator().manual_seed(seed)
        x = torch.randn(count, steps, size, generator=made)
        return x, torch.randint(classes, (count,), generator=made)

    return batch


def images(size: int = 8, classes: int = 4, count: int = 8) -> Callable[[int], Any]:
    def batch(seed: int) -> Any:
        made = torch.Generator().manual_seed(seed)
        return torch.randn(count, 3, size, size, generator=made), torch.randint(classes, (count,), generator=made)

    return batch


def whole(*names: str) -> tuple[str, ...]:
    """A layer that is wrong as a whole, by its own name or by those of its parameters."""
    return tuple(f"{name}{end}" for name in names for end in ("", ".weight", ".bias"))


class Calls(nn.Module):
    """Modules by name, and a function of them and the inputs for the forward pass."""

    def __init__(self, forward: Callable[..., Any], **parts: Any) -> None:
        super().__init__()
        self.how = forward
        for name, part in parts.items():
            if isinstance(part, Tensor) and not isinstance(part, nn.Parameter):
                self.register_buffer(name, part)
            else:
                setattr(self, name, part)

    def forward(self, *inputs: Any) -> Any:
        return self.how(self, *inputs)


class Function(nn.Module):
    """A function as a module without parameters."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Any) -> Any:
        return self.function(x)


def parameter(*shape: int, scale: float = 1.0) -> nn.Parameter:
    return nn.Parameter(scale * torch.randn(*shape))


def constant(value: float, *shape: int) -> nn.Parameter:
    return nn.Parameter(torch.full(shape, value))


def zeroed(module: nn.Module) -> Any:
    for each in module.parameters():
        nn.init.zeros_(each)
    return module


def frozen(module: nn.Module) -> Any:
    return module.requires_grad_(False)


cross_entropy = F.cross_entropy
