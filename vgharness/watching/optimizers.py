"""The optimizers of one model: which parameters they have, and whose step is the model's."""

from __future__ import annotations

import gc
import math
import weakref
from collections.abc import Iterator, Sequence

from torch import nn
from torch.optim.optimizer import Optimizer

_STEPS_ALONE = 2  # of another optimizer, after which its step is the model's


class Optimizers:
    """Those that were ``given``, and any that is met. The first one's step is the model's; of those that were not
    given, one that steps ``_STEPS_ALONE`` times while the first does not takes its place."""

    def __init__(self, model: nn.Module, given: Sequence[Optimizer]) -> None:
        self._names = {id(parameter): name for name, parameter in model.named_parameters()}
        self._parameters = dict(model.named_parameters())
        self._known = [weakref.ref(optimizer) for optimizer in given]
        self._given = list(self._known)
        self._lead = self._known[0] if given else None
        self._alone = 0  # steps of others since the first one's
        self._searched = False

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __iter__(self) -> Iterator[Optimizer]:
        return (optimizer for ref in self._known if (optimizer := ref()) is not None)

    def meet(self, optimizer: Optimizer) -> bool:
        """It is about to step. Whether it is a new one beside those that were given."""
        if self.leads(optimizer):  # as nearly always
            self._alone = 0
            return False
        new = all(optimizer is not known for known in self)
        if new:
            self._known = [*(ref for ref in self._known if ref() is not None), weakref.ref(optimizer)]
        lead = self._lead() if self._lead is not None else None
        given = any(ref() is optimizer for ref in self._given)
        self._alone += 1
        if lead is None or (self._alone >= _STEPS_ALONE and not given):
            self._lead, self._alone = weakref.ref(optimizer), 0
        return new and bool(self._given)

    def leads(self, optimizer: Optimizer) -> bool:
        """Whether its step is the model's."""
        return self._lead is not None and self._lead() is optimizer

    def of(self, model: nn.Module) -> Optimizers:
        """The same, of a model whose parameters have changed."""
        found = Optimizers(model, [optimizer for ref in self._given if (optimizer := ref()) is not None])
        found._known, found._lead = self._known, self._lead
        return found

    def parameters(self) -> frozenset[str]:
        """Names of the parameters that one of them has."""
        return frozenset(name for optimizer in self for name in self._of(optimizer))

    def left_out(self) -> tuple[str, ...]:
        """Names of the parameters that ask for a gradient and that none of them has.

        Where none was given there may be some that have not stepped yet: they are looked for among all objects, once.
        """
        had = self.parameters()
        found = [name for name, p in self._parameters.items() if p.requires_grad and name not in had]
        if found and not self._given and not self._searched:
            self._searched = True
            others = [each for each in gc.get_objects() if issubclass(type(each), Optimizer)]
            new = [each for each in others if any(self._of(each)) and all(each is not known for known in self)]
            self._known += [weakref.ref(optimizer) for optimizer in new]
            return self.left_out()
        return tuple(found)

    def learning_rates(self) -> tuple[float, ...]:
        """Of all their groups; one that is no number is left out."""
        rates = [float(group["lr"]) for optimizer in self for group in optimizer.param_groups if "lr" in group]
        return tuple(rate for rate in rates if math.isfinite(rate))

    def _of(self, optimizer: Optimizer) -> Iterator[str]:
        groups = getattr(optimizer, "param_groups", ())
        ids = (id(parameter) for group in groups for parameter in group["params"])
        return (self._names[each] for each in ids if each in self._names)
