"""What a study's cell says of a network of the user's own, and of how it is trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, StrictBool, StrictFloat, StrictInt, StrictStr

from vgharness.records.base import Name, Record, Size

Value = StrictBool | StrictInt | StrictFloat | StrictStr


def _pairs(value: Any) -> Any:
    return tuple(value.items()) if isinstance(value, Mapping) else value


# Names with values, in an order; a mapping is taken as well. A tuple, for cells are keys of dictionaries.
Settings = Annotated[tuple[tuple[Name, Value], ...], BeforeValidator(_pairs)]


class OwnNetwork(Record):
    """A network that the user's own code makes, and the recipe that it is trained by.

    network: what makes it, ``package.module:name`` or ``path/file.py:name``.
    outputs: how many numbers it is to put out; ``None``: as many as the data have classes.
    loss: a function of ``torch.nn.functional`` by its name, or a callable of the user's own, of outputs and targets.
    optimizer: a class of ``torch.optim``.
    optimizer_settings: its arguments, by name.
    schedule: a class of ``torch.optim.lr_scheduler``, stepped after each epoch; empty: the learning rate stays.
    schedule_settings: its arguments, by name.
    factors: what sets networks of the study apart, by name: the arguments that ``network`` is called with.
    """

    network: Name = Field(min_length=3)
    outputs: Size | None = None
    loss: Name = "cross_entropy"
    optimizer: Name = "Adam"
    optimizer_settings: Settings = ()
    schedule: Name = ""
    schedule_settings: Settings = ()
    factors: Settings = ()

    def factor(self, name: str) -> bool | int | float | str | None:
        """The value of a factor; ``None`` for one that it does not have."""
        return dict(self.factors).get(name)

    @property
    def words(self) -> list[str]:
        """All that sets it apart from others of its study, as far as that is not the default: ``skip true``."""
        words = [f"{name.replace('_', ' ')} {_shown(value)}" for name, value in self.factors]
        for what, name, settings in (
            ("optimizer", self.optimizer, self.optimizer_settings),
            ("schedule", self.schedule, self.schedule_settings),
        ):
            if name not in ("", "Adam") or settings:
                words.append(" ".join([what, name, *(f"{key} {_shown(value)}" for key, value in settings)]))
        return words if self.loss == "cross_entropy" else [*words, f"loss {self.loss}"]


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
