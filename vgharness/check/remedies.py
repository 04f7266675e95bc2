"""Which remedies suit a model: what the advice on its problem says, with the names of the modules that it is for.

A remedy that changes the model is a function of :mod:`vgharness.check.remedy_code` with its arguments, so that what is
tried and what is printed are one. Others change the inputs or the step.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pprint import pformat
from typing import Any, Final, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd
from torch.nn.utils import parametrize

from vgharness.check import remedy_code as code
from vgharness.gradflow.arguments import call_model
from vgharness.probe.saturation import is_activation
from vgharness.records import GradientFlow

# In the order in which they are applied where two are combined: a layer is found by its name before it is wrapped.
Kind = Literal["activation", "recurrent", "normalisation", "residual", "initialisation", "gates", "inputs", "step"]
KINDS: Final[tuple[Kind, ...]] = (
    *("activation", "recurrent", "normalisation", "residual", "initialisation", "gates", "inputs", "step"),
)
CLIPPED_TO: Final = 1.0
SMALL_EPSILON: Final = 1e-15  # Adam's; 1e-8 by default
_TINY: Final = 1e-8  # a gradient below Adam's default ε
_FAR_FROM_UNIT: Final = 3.0  # inputs of a standard deviation beyond 3, or under 1/3, are scaled
_BIAS_OF_LONG_MEMORY: Final = 4.0  # keeps 98 % of the state at each step
_CODE_WIDTH: Final = 100
_GAIN_OF_RELU: Final = 1.414  # √2: half of its units are off
_LIKE_RELU = (nn.ReLU, nn.LeakyReLU, nn.GELU, nn.SiLU)
_NORMS = (nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, _NormBase)
_Part = Callable[..., Any]


class Change(NamedTuple):
    """One call that changes a model.

    function: of :mod:`vgharness.check.remedy_code`.
    arguments: besides the model.
    needs: other parts of that module that the function uses.
    """

    function: Callable[..., None]
    arguments: tuple[Any, ...] = ()
    needs: tuple[_Part, ...] = ()

    def apply(self, model: nn.Module) -> None:
        self.function(model, *self.arguments)

    @property
    def call(self) -> str:
        arguments = (pformat(x, width=_CODE_WIDTH, compact=True) for x in self.arguments)
        return f"{self.function.__name__}({', '.join(['model', *arguments])})"


class Remedy(NamedTuple):
    """One thing to try, or two together.

    name: in words.
    kinds: what is changed; one remedy of each kind can be combined with others.
    changes: of the model.
    scales_inputs: whether floating inputs are divided by their standard deviation.
    clips: whether the gradient's norm is clipped to 1.
    epsilon: Adam's.
    """

    name: str
    kinds: tuple[Kind, ...]
    changes: tuple[Change, ...] = ()
    scales_inputs: bool = False
    clips: bool = False
    epsilon: float = 1e-8

    @property
    def of_the_step(self) -> bool:
        """Whether it changes nothing but the optimizer's step, which leaves the gradients at initialisation alone."""
        return self.kinds == ("step",)

    def apply(self, model: nn.Module) -> nn.Module:
        """Changes ``model`` itself, and returns it."""
        for change in self.changes:
            change.apply(model)
        return model

    def with_other(self, other: Remedy) -> Remedy:
        """Both together, for remedies of different kinds."""
        first, second = sorted((self, other), key=lambda remedy: KINDS.index(remedy.kinds[0]))
        return Remedy(
            name=f"{first.name} + {second.name}",
            kinds=(*first.kinds, *second.kinds),
            # An initialisation would close the gates again.
            changes=tuple(sorted((*first.changes, *second.changes), key=lambda x: x.function is code.open_gates)),
            scales_inputs=first.scales_inputs or second.scales_inputs,
            clips=first.clips or second.clips,
            epsilon=min(first.epsilon, second.epsilon),
        )

    @property
    def code(self) -> str:
        """Python lines that do it to ``model``, to ``inputs``, or in the training loop."""
        parts = dict.fromkeys(part for change in self.changes for part in (*change.needs, change.function))
        blocks = ["\n".join(["import torch", "from torch import nn"])] if parts else []
        blocks += [inspect.getsource(part).rstrip() for part in parts]
        lines = [change.call for change in self.changes]
        if self.scales_inputs:
            lines.append("inputs = inputs / inputs.std()")
        if self.clips:
            lines.append(f"torch.nn.utils.clip_grad_norm_(model.parameters(), {CLIPPED_TO})  # before optimizer.step()")
        if self.epsilon == SMALL_EPSILON:
            lines.append(f"optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, eps={SMALL_EPSILON})")
        return "\n\n\n".join([*blocks, "\n".join(lines)])


UNCHANGED: Final = Remedy("unchanged", ())


class Structure(NamedTuple):
    """What one forward pass shows of a model.

    layers: names of the linear and convolution layers that ran, in that order.
    unnormalised: those of them that no norm follows, but for the last.
    residual: pairs of a layer, but for the last, and the activation right after it (empty: none is a module of its
        own), whose input and output have one shape.
    input_spread: standard deviation of the floating inputs; None: there are none.
    """

    layers: tuple[str, ...]
    unnormalised: tuple[str, ...]
    residual: tuple[tuple[str, str], ...]
    input_spread: float | None


class _Pass(NamedTuple):
    name: str
    module: nn.Module
    same_shape: bool
    follows: int | None  # the index of the pass whose output is this one's input


def find_structure(model: nn.Module, inputs: Any) -> Structure:
    """Runs ``model`` once, without a graph, and lists what remedies can be applied to."""
    passes: list[_Pass] = []
    last: list[Tensor] = []

    def record(name: str, module: nn.Module, given: tuple[Any, ...], output: Any) -> None:
        if len(given) == 1 and isinstance(given[0], Tensor) and isinstance(output, Tensor):
            follows = len(passes) - 1 if last and given[0] is last[0] else None
            passes.append(_Pass(name, module, given[0].shape == output.shape, follows))
            last[:] = [output]

    watched = (nn.Linear, _ConvNd, *_NORMS)
    hooks = [
        module.register_forward_hook(lambda m, given, output, name=name: record(name, m, given, output))
        for name, module in model.named_modules()
        if name and (isinstance(module, watched) or is_activation(module)) and not parametrize.is_parametrized(module)
    ]
    try:
        with torch.no_grad():
            call_model(model, inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return _structure(passes, inputs)


def _structure(passes: Sequence[_Pass], inputs: Any) -> Structure:
    ran: dict[str, int] = {}
    for x in passes:
        ran[x.name] = ran.get(x.name, 0) + 1
    layers = [x for x in passes if isinstance(x.module, nn.Linear | _ConvNd)]
    names = tuple(dict.fromkeys(x.name for x in layers))
    inner = [name for name in names if name != layers[-1].name]
    next_of = {passes[x.follows].name: x for x in passes if x.follows is not None}
    residual = []
    for x in layers:
        following = next_of.get(x.name)
        if x.same_shape and x.name in inner and ran[x.name] == 1:
            activation = following.name if following is not None and is_activation(following.module) else ""
            residual.append((x.name, activation if ran.get(activation) == 1 else ""))
    normed = {name for name, x in next_of.items() if isinstance(x.module, _NORMS)}
    return Structure(names, tuple(x for x in inner if x not in normed), tuple(residual), _spread(inputs))


def _spread(inputs: Any) -> float | None:
    values = inputs.values() if isinstance(inputs, Mapping) else inputs if isinstance(inputs, tuple) else [inputs]
    floating = [x.detach().float().flatten() for x in values if isinstance(x, Tensor) and x.is_floating_point()]
    joined = torch.cat(floating) if floating else torch.empty(0)
    return float(joined.std()) if len(joined) > 1 else None


def scaled_inputs(inputs: Any) -> Any:
    """Divides each floating tensor of ``inputs`` by its standard deviation."""
    if isinstance(inputs, Mapping):
        return {name: scaled_inputs(x) for name, x in inputs.items()}
    if isinstance(inputs, tuple):
        return tuple(map(scaled_inputs, inputs))
    if isinstance(inputs, Tensor) and inputs.is_floating_point():
        return inputs / inputs.std()
    return inputs


def suitable_remedies(model: nn.Module, structure: Structure, flows: Sequence[GradientFlow]) -> tuple[Remedy, ...]:
    """Lists the single remedies for a model with these gradient flows, one per seed."""
    found = [
        *_initialisations(model),
        *_replacements(model),
        *_additions(structure),
        *_of_inputs_and_step(structure, flows),
    ]
    return tuple(found)


def _initialisations(model: nn.Module) -> Iterator[Remedy]:
    modules = list(model.modules())
    recurrent = any(isinstance(m, nn.RNNBase | nn.RNNCellBase) for m in modules)
    changes = (Change(code.initialise_recurrent),) if recurrent else ()
    if any(isinstance(m, nn.Linear | _ConvNd) for m in modules):
        gain = _GAIN_OF_RELU if any(isinstance(m, _LIKE_RELU) for m in modules) else 1.0
        for name, change in (
            ("He init", Change(code.initialise_he)),
            ("Glorot init", Change(code.initialise_glorot)),
            ("orthogonal init", Change(code.initialise_orthogonal, (gain,))),
        ):
            yield Remedy(name, ("initialisation",), (change, *changes))
    elif recurrent:
        yield Remedy("orthogonal init", ("initialisation",), changes)


def _replacements(model: nn.Module) -> Iterator[Remedy]:
    modules = {name: m for name, m in model.named_modules(remove_duplicate=False) if name}

    def names_of(*types: type[nn.Module]) -> list[str]:
        return [name for name, module in modules.items() if isinstance(module, types)]

    if squashing := names_of(nn.Sigmoid, nn.Tanh):
        kinds = " and ".join(sorted({type(modules[name]).__name__.lower() for name in squashing}))
        yield Remedy(f"ReLU for {kinds}", ("activation",), (Change(code.replace_with_relu, (squashing,)),))
        yield Remedy(f"GELU for {kinds}", ("activation",), (Change(code.replace_with_gelu, (squashing,)),))
    if relus := names_of(nn.ReLU):
        yield Remedy("LeakyReLU for ReLU", ("activation",), (Change(code.replace_with_leaky_relu, (relus,)),))
        yield Remedy("GELU for ReLU", ("activation",), (Change(code.replace_with_gelu, (relus,)),))
    gated = names_of(nn.LSTM, nn.LSTMCell, nn.GRU, nn.GRUCell)
    if plain := names_of(nn.RNN, nn.RNNCell):
        to_gru = Change(code.replace_with_gru, (plain,))
        yield Remedy("GRU for RNN", ("recurrent",), (to_gru,))
        opened = Change(code.open_gates, (_BIAS_OF_LONG_MEMORY,))
        yield Remedy("GRU, gates open, for RNN", ("recurrent",), (to_gru, opened))
    for bias in (1.0, _BIAS_OF_LONG_MEMORY) if gated else ():
        yield Remedy(f"bias {bias:g} of keeping gates", ("gates",), (Change(code.open_gates, (bias,)),))


def _additions(structure: Structure) -> Iterator[Remedy]:
    if names := list(structure.unnormalised):
        yield Remedy("LayerNorms", ("normalisation",), (Change(code.add_layer_norm, (names,)),))
        yield Remedy("BatchNorms", ("normalisation",), (Change(code.add_batch_norm, (names,)),))
    if structure.residual:
        change = Change(code.add_residuals, (list(structure.residual),), (code.Residual,))
        yield Remedy("residuals", ("residual",), (change,))


def _of_inputs_and_step(structure: Structure, flows: Sequence[GradientFlow]) -> Iterator[Remedy]:
    spread = structure.input_spread
    if spread and not 1 / _FAR_FROM_UNIT <= spread <= _FAR_FROM_UNIT:
        yield Remedy("inputs ÷ their std", ("inputs",), scales_inputs=True)
    rows = [layer for flow in flows for layer in flow.layers]
    if any(_norm(flow) > CLIPPED_TO for flow in flows):
        yield Remedy(f"clipping to norm {CLIPPED_TO:g}", ("step",), clips=True)
    if any(0 < (layer.weight_mean_abs or 0) < _TINY for layer in rows):
        yield Remedy(f"Adam's ε {SMALL_EPSILON:g}", ("step",), epsilon=SMALL_EPSILON)


def _norm(flow: GradientFlow) -> float:
    """The norm of the whole gradient; a layer's stands in each of its rows. Zero without any."""
    return math.hypot(*{layer.name: layer.weight_l2 or 0.0 for layer in flow.layers}.values())
