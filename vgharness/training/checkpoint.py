"""What it takes for a network to go on from the end of an epoch: its weights, its optimizer's state, its generators'.

As bytes it is what ``torch.save`` writes, read with ``weights_only=True``: tensors and plain values, nothing that runs.
"""

from __future__ import annotations

import io
from typing import Any, NamedTuple

import torch
from torch import Tensor

from vgharness.formatting import in_one_line
from vgharness.training.pack import Pack


class CheckpointError(Exception):
    """A network of a pack cannot go on from what was kept of it.

    number: the network's, in the pack.
    reason: why, in one line.
    """

    def __init__(self, number: int, reason: str) -> None:
        super().__init__(number, reason)  # so that another process can be sent it
        self.number, self.reason = number, reason


class _State(NamedTuple):
    """model: by name, parameters and buffers. optimizer: of each parameter, in order. generators: as
    ``Batches.states`` gives them."""

    model: dict[str, Tensor]
    optimizer: list[dict[str, Any]]
    generators: tuple[Tensor, ...]


def state_of(pack: Pack, number: int) -> bytes:
    """Copies the state of one of the pack's networks."""
    model = pack.models[number]
    state = _State(
        model=dict(model.state_dict()),
        optimizer=[dict(pack.optimizer.state[parameter]) for parameter in model.parameters()],
        generators=pack.batches.states(number),
    )
    file = io.BytesIO()
    torch.save(_moved(state._asdict(), torch.device("cpu")), file)
    return file.getvalue()


def restore(pack: Pack, number: int, content: bytes) -> None:
    """Makes one of the pack's networks go on from where :func:`state_of` found it, before the pack trains.

    Raises :class:`CheckpointError` for what is damaged or of another network.
    """
    model = pack.models[number]
    device = pack.images.device
    try:
        state = _State(**torch.load(io.BytesIO(content), map_location=device, weights_only=True))
        model.load_state_dict(state.model)
        for parameter, own in zip(model.parameters(), state.optimizer, strict=True):
            if any(value.shape not in ((), parameter.shape) for value in own.values() if isinstance(value, Tensor)):
                raise ValueError("the optimizer's state is of other parameters")
            pack.optimizer.state[parameter] = dict(own)
        pack.batches.restore(number, [each.cpu() for each in state.generators])
    except Exception as error:  # whatever it was, this is no state of this network
        raise CheckpointError(number, f"not a state of this network ({in_one_line(error)})") from error


def _moved(value: Any, device: torch.device) -> Any:
    """``value`` with all tensors in it on ``device``."""
    if isinstance(value, Tensor):
        return value.detach().to(device).clone()  # of a part of a larger tensor the whole would be saved
    if isinstance(value, dict):
        return {name: _moved(each, device) for name, each in value.items()}
    return type(value)(_moved(each, device) for each in value) if isinstance(value, list | tuple) else value
