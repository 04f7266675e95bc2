"""Tries inputs on a model without memory or time, and only then, where they fit, for real.

A copy of the model whose tensors are fake, shapes without values, takes the inputs first. What autograd saves of that
pass for the backward one is counted, and is what a real pass will keep in memory.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeCopyMode,
    FakeTensor,
    FakeTensorMode,
    UnsupportedFakeTensorException,
    UnsupportedOperatorException,
)
from torch.utils._pytree import tree_map_only

from vgharness.gradflow.arguments import call_model
from vgharness.system.device import free_memory

MOST_KEPT = 4 * 10**9  # bytes; of inputs that were not asked for

_NOT_FOR_FAKES = (
    DataDependentOutputException,
    DynamicOutputShapeException,
    UnsupportedFakeTensorException,
    UnsupportedOperatorException,
    NotImplementedError,
)
_SAID_OF_FAKES = ("fake", "meta tensor", "data pointer", "tensor subclasses")


class TooLargeError(Exception):
    """A pass that would take more memory than it may. ``need``: bytes, as far as they were counted."""

    def __init__(self, need: int) -> None:
        super().__init__(f"{need / 1e9:.1f} GB")
        self.need = need


class UndecidedError(Exception):
    """Fake tensors cannot run this model: what it does depends on values, or an operation of it is not known."""


class Trial:
    """A model to try inputs on.

    most: bytes that a pass may keep; whatever it is, that and the weights' gradients never take more than half of the
    memory that is free.
    """

    def __init__(self, model: nn.Module, most: float = float("inf")) -> None:
        weights = [p for p in model.parameters() if p.requires_grad]
        device = weights[0].device if weights else torch.device("cpu")
        free = free_memory(device)
        gradients = sum(p.nbytes for p in weights)
        self.model = model
        self.most = most if free is None else min(most, free / 2 - gradients)
        self._mode = FakeTensorMode(allow_non_fake_inputs=True)
        self._fake: nn.Module | None = None

    def predict(self, make_inputs: Callable[[], Any]) -> tuple[Any, int]:
        """Returns what a forward pass puts out, as fake tensors, and the bytes that it keeps for the backward one
        beside the weights; nothing is computed.

        make_inputs: is called while tensors are fake.

        Raises what the model raises of these inputs; :class:`UndecidedError` where only a real pass can say.
        """
        try:
            fake = self._copy()
            with _quiet(), self._mode, _counted(fake) as counted, torch.enable_grad():
                output = call_model(fake, self._without_values(make_inputs()))
        except Exception as error:
            if _because_of_fakes(error):
                raise UndecidedError from error
            raise
        self._fake = None  # a pass may leave a state in it
        return output, counted[0]

    def run(self, inputs: Any) -> tuple[Any, int]:
        """Calls the model on ``inputs`` with gradients on; returns the output, and the bytes that are kept.

        Raises what the model raises, and :class:`TooLargeError` as soon as more is kept than may be.
        """
        with _counted(self.model, self.most) as counted, torch.enable_grad():
            return call_model(self.model, inputs), counted[0]

    def check(self, kept: float) -> None:
        """Raises :class:`TooLargeError` where a pass that keeps so many bytes is not to be run."""
        if kept > self.most:
            raise TooLargeError(int(kept))

    def _without_values(self, inputs: Any) -> Any:
        return tree_map_only(
            Tensor, lambda t: t if isinstance(t, FakeTensor) else self._mode.from_tensor(t, static_shapes=True), inputs
        )

    def _copy(self) -> nn.Module:
        if self._fake is None:
            try:
                with FakeCopyMode(self._mode):
                    self._fake = copy.deepcopy(self.model)
            except Exception as error:  # whatever a stranger's code raises
                raise UndecidedError from error
        return self._fake


@contextmanager
def _counted(model: nn.Module, most: float = float("inf")) -> Iterator[list[int]]:
    """Counts the bytes that autograd saves, in the list's one element, each storage once and the model's own not."""
    mine = (tensor for tensor in (*model.parameters(), *model.buffers()) if tensor.layout == torch.strided)
    own = {tensor.untyped_storage()._cdata for tensor in mine}
    kept: dict[int, Tensor] = {}
    total = [0]

    def pack(tensor: Tensor) -> Tensor:
        if tensor.layout != torch.strided:  # sparse: it has no storage
            return tensor
        storage = tensor.untyped_storage()
        if storage._cdata not in own and storage._cdata not in kept:
            kept[storage._cdata] = tensor.detach()  # so that the address is not used again
            total[0] += storage.nbytes()
            if total[0] > most:
                raise TooLargeError(total[0])
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield total


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps torch from logging the traceback of each input that does not fit."""
    log = logging.getLogger("torch._subclasses.fake_tensor")
    disabled, log.disabled = log.disabled, True
    try:
        yield
    finally:
        log.disabled = disabled


def _because_of_fakes(error: BaseException | None) -> bool:
    """Says whether a fake tensor is what the error is about, rather than the inputs' shapes."""
    while error is not None:
        said = str(error).lower()
        if isinstance(error, (*_NOT_FOR_FAKES, UndecidedError)) or any(words in said for words in _SAID_OF_FAKES):
            return True
        error = error.__cause__ or error.__context__
    return False
