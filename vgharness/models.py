"""The networks that the document describes.

``DeepCNN("sigmoid")`` is the README's network; ``DeepCNN("relu", pools="script")`` is the one its
author ran. Both: ``depth`` 3×3 convolutions with bias and padding 1, φ after each, 2×2 max-pools,
one linear layer; 261,322 parameters at depth 4 with ten classes.

===========  ========  =====================================================  ======  ==========
depth        channels  output of each convolution block, height = width       linear  pools after
===========  ========  =====================================================  ======  ==========
4, readme    32-64-    32, 32→16, 16→8, 8→4                                   2048    2, 3, 4
             128-128
4, script    the same  32→16, 16→8, 8→4, 4                                    2048    1, 2, 3
2, readme    32-64     32, 32→16                                              16384   2
2, script    32-64     32→16, 16→8                                            4096    1, 2
3, readme    32-64-128 32, 32→16, 16→8                                        8192    2, 3
3, script    32-64-128 32→16, 16→8, 8→4                                       2048    1, 2, 3
5 to 10      …-128     depth 4's, then 128→128 convolutions at 4×4            2048    as depth 4
===========  ========  =====================================================  ======  ==========

So a shallow network has the README's first layers, and a deep one has more layers after the README's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

from torch import Tensor, nn

from vgharness.records import ACTIVATIONS, Activation, Architecture, Init, Norm
from vgharness.theory import FUNCTIONS, activation_of

# Numbers of the convolutions that a max-pool follows.
_POOLS_AFTER: dict[Architecture, tuple[int, ...]] = {"readme": (2, 3, 4), "script": (1, 2, 3)}


class _Chain(nn.Module):
    """Runs its children one after the other."""

    def chain(self) -> Iterable[nn.Module]:
        """Lists the modules in the order in which the forward pass runs them."""
        return self.children()

    def forward(self, x: Tensor) -> Tensor:
        for module in self.chain():
            x = module(x)
        return x


class DeepCNN(_Chain):
    """Maps float images [B, 3, 32, 32] to logits [B, num_classes]; this module's table has the layout by depth.

    activation: φ after every convolution.
    depth: how many convolutions, 2 to 10.
    pools: whose max-pools: the README's or its author's script's.
    norm: ``"batch"``: batch norm between each convolution and its φ.
    init: PyTorch's default, or Glorot's uniform (``xavier``, gain 1) or He's normal (``kaiming``, gain √2) for every
        weight with zero biases.
    num_classes: how many logits.
    width: what the channels are multiplied by, rounded to 1 or more.

    Its modules are named ``conv1``, ``norm1`` (with ``norm="batch"``), ``act1``, ``pool1`` …, ``flatten``, ``fc``.
    Raises ``ValueError`` for an unknown name, a depth outside 2..10 or a width that is not above 0.
    """

    def __init__(
        self,
        activation: Activation,
        depth: int = 4,
        pools: Architecture = "readme",
        norm: Norm | None = None,
        init: Init = "default",
        num_classes: int = 10,
        width: float = 1.0,
    ) -> None:
        _check(activation, norm, init)
        if not width > 0:
            raise ValueError(f"width {width} is not above 0")
        if not 2 <= depth <= 10:
            raise ValueError(f"depth {depth} is outside 2..10")
        if pools not in _POOLS_AFTER:
            raise ValueError(f"unknown pools {pools!r}: use one of {', '.join(_POOLS_AFTER)}")

        super().__init__()
        self._pools_early = False
        channels, size = 3, 32
        for i in range(1, depth + 1):
            wide = max(1, round(width * min(16 * 2**i, 128)))
            self.add_module(f"conv{i}", nn.Conv2d(channels, wide, kernel_size=3, padding=1))
            if norm == "batch":
                self.add_module(f"norm{i}", nn.BatchNorm2d(wide))
            self.add_module(f"act{i}", FUNCTIONS[activation].module())
            if i in _POOLS_AFTER[pools]:
                self.add_module(f"pool{i}", nn.MaxPool2d(2))
                size //= 2
            channels = wide
        self.add_module("flatten", nn.Flatten())
        self.add_module("fc", nn.Linear(channels * size * size, num_classes))
        self.apply(_INITS[init])

    def pool_early(self) -> DeepCNN:
        """Makes each max-pool run before the φ that it follows, where φ never falls; returns the network itself.

        It computes the same function, with φ of a quarter of the numbers. Modules keep their names and places. The
        gradients are the same too, but for units whose φ(h) rounds to the same number: of those the pool takes the
        greatest h, where otherwise it takes the first.
        """
        self._pools_early = True
        return self

    def chain(self) -> list[nn.Module]:
        """Lists the modules in the order in which the forward pass runs them, pools first if :meth:`pool_early`."""
        modules = list(self.children())
        if self._pools_early:
            for i, (module, following) in enumerate(pairwise(self.children())):
                if _is_monotone(module) and isinstance(following, nn.MaxPool2d):
                    modules[i : i + 2] = following, module
        return modules


class MLP(_Chain):
    """Maps [B, widths[0]] to [B, widths[-1]] by linear layers with φ between them and none after the last.

    widths: of the input, of each hidden layer and of the output.
    activation, norm, init: as in :class:`DeepCNN`.

    >>> MLP([784, 256, 256, 10], "tanh", init="xavier")

    Its modules are named ``fc1``, ``norm1`` (with ``norm="batch"``), ``act1``, ``fc2`` …. Raises
    ``ValueError`` for an unknown name, fewer than two widths or one below 1.
    """

    def __init__(
        self, widths: Sequence[int], activation: Activation, norm: Norm | None = None, init: Init = "default"
    ) -> None:
        _check(activation, norm, init)
        if len(widths) < 2 or min(widths) < 1:
            raise ValueError(
                f"widths {list(widths)}: give two or more, from the input's to the output's, each 1 or more"
            )
        super().__init__()
        for i, (wide_in, wide_out) in enumerate(pairwise(widths), 1):
            self.add_module(f"fc{i}", nn.Linear(wide_in, wide_out))
            if i < len(widths) - 1:
                if norm == "batch":
                    self.add_module(f"norm{i}", nn.BatchNorm1d(wide_out))
                self.add_module(f"act{i}", FUNCTIONS[activation].module())
        self.apply(_INITS[init])


def _is_monotone(module: nn.Module) -> bool:
    activation = activation_of(module)
    return activation is not None and FUNCTIONS[activation].monotone


def _check(activation: str, norm: str | None, init: str) -> None:
    if activation not in ACTIVATIONS:
        raise ValueError(f"unknown activation {activation!r}: use one of {', '.join(ACTIVATIONS)}")
    if norm not in (None, "batch"):
        raise ValueError(f"unknown norm {norm!r}: use 'batch' or None")
    if init not in _INITS:
        raise ValueError(f"unknown init {init!r}: use one of {', '.join(_INITS)}")


def _glorot(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        _zero_bias(module)


def _he(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        _zero_bias(module)


def _zero_bias(module: nn.Conv2d | nn.Linear) -> None:
    if module.bias is not None:
        nn.init.zeros_(module.bias)


_INITS: dict[Init, Callable[[nn.Module], None]] = {
    "default": lambda module: None,
    "xavier": _glorot,
    "kaiming": _he,
}
