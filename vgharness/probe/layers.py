"""Where gradients are measured: the modules of any model that have weights of their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import NamedTuple

from torch import nn
from torch.nn.parameter import UninitializedParameter
from torch.nn.utils import parametrize

LayerChoice = str | type[nn.Module] | Sequence[str | type[nn.Module]]


class ProbedLayer(NamedTuple):
    """A module with parameters of its own.

    name: in ``named_modules()``.
    module: the module.
    kinds: its parameters, those that stand for it first: its matrices (parameters of two or more dimensions called a
        weight), its other parameters of as many dimensions, its one-dimensional weight, all of them; empty kinds left
        out. Those of a parametrized module (``weight_norm``) are the tensors that are trained.
    parameters: all parameters of its own, by their names in the model.
    aliases: other names of modules that hold one of the weights, being this module or tied to it.
    """

    name: str
    module: nn.Module
    kinds: tuple[tuple[nn.Parameter, ...], ...]
    parameters: dict[str, nn.Parameter]
    aliases: tuple[str, ...]

    @property
    def weights(self) -> tuple[nn.Parameter, ...]:
        """What its weight gradient is of, several as one long vector: the first kind of its parameters of which any is
        trained, or the first where none is."""
        for kind in self.kinds:  # plain loops, as it is asked many times in every training step
            for parameter in kind:
                if parameter.requires_grad:
                    return kind
        return self.kinds[0]


def find_layers(model: nn.Module, layers: LayerChoice | None) -> list[ProbedLayer]:
    """The layers that ``layers`` picks, by default every module with a parameter of its own.

    Raises ``ValueError`` for a name or a pattern that fits nothing, for a model without layers to measure, and for one
    on which hooks do not work.
    """
    _refuse_what_cannot_be_hooked(model)
    modules = dict(model.named_modules())
    if layers is None:
        inner = {child for m in modules.values() if isinstance(m, nn.MultiheadAttention) for child in m.children()}
        inner |= {m for m in modules.values() if isinstance(m, parametrize.ParametrizationList)}  # their owner's
        chosen = [name for name, m in modules.items() if m not in inner and _has_parameters(m)]
        if not chosen:
            raise ValueError("nothing to probe: no module of this model has a parameter")
    else:
        wanted = [layers] if isinstance(layers, str | type) else layers
        if not wanted:
            raise ValueError("nothing to probe: no layers were named")
        chosen = list(dict.fromkeys(name for which in wanted for name in _matching(modules, which)))
    holders: dict[int, list[str]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        for weight in _kinds(module)[0] if _has_parameters(module) else ():
            holders.setdefault(id(weight), []).append(name)
    return [_layer(name, modules[name], holders) for name in chosen]


def _layer(name: str, module: nn.Module, holders: Mapping[int, Sequence[str]]) -> ProbedLayer:
    kinds = _kinds(module)
    others = [other for weight in kinds[0] for other in holders[id(weight)] if other != name]
    own = {f"{name}.{own}".removeprefix("."): parameter for own, parameter in _named_parameters(module)}
    return ProbedLayer(name, module, kinds, own, tuple(dict.fromkeys(others)))


def uninitialised_parameters(model: nn.Module) -> list[str]:
    """Names the parameters of lazy layers, which have no shape until the model is called on a batch."""
    return [name for name, parameter in model.named_parameters() if isinstance(parameter, UninitializedParameter)]


def _matching(modules: Mapping[str, nn.Module], which: str | type[nn.Module]) -> list[str]:
    """Names of the modules that ``which`` stands for."""
    if isinstance(which, str) and which in modules:
        if not _has_parameters(modules[which]):
            raise ValueError(f"layer {which!r} has no parameter of its own: name the layers inside it")
        return [which]
    if isinstance(which, str):
        found = [name for name in modules if fnmatchcase(name, which)]
    else:
        found = [name for name, module in modules.items() if isinstance(module, which)]
    if not found:
        said = f"no layer named {which!r}" if isinstance(which, str) else f"no layer of type {which.__name__}"
        raise ValueError(f"{said}: the model has {', '.join(filter(None, modules))}")
    with_weights = [name for name in found if _has_parameters(modules[name])]
    if not with_weights:
        raise ValueError(f"{which!r} fits only layers without parameters of their own: name the layers inside them")
    return with_weights


def _has_parameters(module: nn.Module) -> bool:
    return any(True for _ in _named_parameters(module))


def _kinds(module: nn.Module) -> tuple[tuple[nn.Parameter, ...], ...]:
    own = list(_named_parameters(module))
    kinds = (
        tuple(p for name, p in own if "weight" in name and p.dim() >= 2),
        tuple(p for _, p in own if p.dim() >= 2),
        tuple(p for name, p in own if name == "weight"),
        tuple(p for _, p in own),
    )
    return tuple(kind for kind in kinds if kind)


def _named_parameters(module: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """The module's own parameters, of attention's the output projection's too, which never runs as a module."""
    yield from _own_parameters(module)
    if isinstance(module, nn.MultiheadAttention):
        for name, parameter in _own_parameters(module.out_proj):
            yield f"out_proj.{name}", parameter


def _own_parameters(module: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    for name, parameter in module._parameters.items():
        if parameter is not None:
            yield name, parameter
    if parametrize.is_parametrized(module):
        for name, originals in module.parametrizations.items():  # type: ignore[union-attr, operator]
            for own, parameter in originals.named_parameters(recurse=False):
                yield f"parametrizations.{name}.{own}", parameter


def _refuse_what_cannot_be_hooked(model: nn.Module) -> None:
    if hasattr(model, "_orig_mod"):
        raise ValueError(
            "this model is compiled, and hooks added after compiling never run: probe the module that was "
            "given to torch.compile (model._orig_mod), uncompiled"
        )
    if isinstance(model, nn.DataParallel):
        raise ValueError(
            "DataParallel runs copies of the model, which carry no gradients of their own: probe model.module "
            "on one device, or use DistributedDataParallel"
        )
    lazy = uninitialised_parameters(model)
    if lazy:
        raise ValueError(f"{lazy[0]} has no shape yet: call the model on a batch once, then probe it")
