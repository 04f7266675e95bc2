"""Reads a folder that :mod:`vgharness.watching.first_nan.reproducer` wrote, and runs the pass in it again."""

from __future__ import annotations

import importlib
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import torch
from pydantic import ValidationError
from torch import Tensor, nn

from vgharness.errors import UsageError
from vgharness.formatting import in_one_line, listing
from vgharness.gradflow.randomness import GeneratorStates
from vgharness.records import FROM_FILE, first_of
from vgharness.system.files import shown
from vgharness.watching.first_nan.birth import Cause, find_cause
from vgharness.watching.first_nan.forward_passes import Autocast, ForwardPass
from vgharness.watching.first_nan.reproducer import (
    BATCH,
    FACTS,
    HOOK,
    MAINS,
    MODEL,
    SCRIPT,
    WEIGHTS,
    Facts,
    named_tensors,
)
from vgharness.watching.first_nan.script_part import GIVE_MODEL, ScriptPart


class Shown(NamedTuple):
    """What came of running it again.

    facts: of the folder.
    device: that it ran on.
    cause: what was found now.
    """

    facts: Facts
    device: str
    cause: Cause


def show_again(folder: Path, make_model: Callable[[], nn.Module] | None, device: str | None = None) -> Shown:
    """Runs the pass in ``folder`` again.

    make_model: makes the model, with whatever weights; ``None``: it is unpickled, which runs code that the folder
        names.
    device: to run on; ``None``: that it trained on, or the CPU where that is not there.

    Raises :class:`~vgharness.errors.UsageError` where something is missing or damaged.
    """
    facts = load_facts(folder)
    where = _device(facts.device, device)
    tensors = _load(folder / WEIGHTS, where)
    batch = _load(folder / BATCH, where)
    model = _unpickled(folder, facts, tensors) if make_model is None else _filled(make_model(), tensors, where)
    given = _pass_of(folder / BATCH, batch, where)
    return Shown(facts, str(where), find_cause(model, [given], None))


def load_facts(folder: Path) -> Facts:
    """Reads what the folder says of itself. Raises :class:`~vgharness.errors.UsageError`."""
    path = folder / FACTS
    try:
        return Facts.model_validate_json(path.read_bytes(), context=FROM_FILE)
    except OSError as error:
        raise UsageError(
            f"{shown(path)}: cannot be read ({error.strerror}); give the folder that the first NaN was written to"
        ) from None
    except ValidationError as error:
        raise UsageError(f"{shown(path)}: {first_of(error)}; give a folder that watch has written") from None


def _device(trained_on: str, wanted: str | None) -> torch.device:
    try:
        device = torch.device(wanted or trained_on)
        torch.empty(1, device=device)
    except Exception as error:  # each backend has its own
        if wanted is not None:
            raise UsageError(f"--device {wanted}: {in_one_line(error)}; use cpu, cuda or cuda:N") from None
        return torch.device("cpu")
    return device


def _load(path: Path, device: torch.device) -> Any:
    try:
        try:
            return torch.load(path, map_location=device, weights_only=True)
        except pickle.UnpicklingError:  # a batch with things of the user's own in it
            return torch.load(path, map_location=device, weights_only=False)
    except OSError as error:
        raise UsageError(f"{shown(path)}: cannot be read ({error.strerror}); the folder is not whole") from None
    except Exception as error:
        raise UsageError(f"{shown(path)}: cannot be read ({in_one_line(error)}); the folder is damaged") from None


# --- the model -----------------------------------------------------------------------------------------------


class _Unpickler(pickle.Unpickler):
    """Puts the tensors in their places, and finds the training script's own classes in what was kept of it."""

    def __init__(self, file: BinaryIO, tensors: dict[str, Tensor], script: Callable[[], ScriptPart]) -> None:
        super().__init__(file)
        self._tensors, self._script, self._made = tensors, script, dict[str, Tensor]()
        self._part: ScriptPart | None = None

    def persistent_load(self, key: Any) -> Any:
        if key == HOOK:
            return _look_at_nothing
        name, requires_grad, is_parameter = key
        if name not in self._made:
            tensor = self._tensors[name]
            self._made[name] = nn.Parameter(tensor, requires_grad) if is_parameter else tensor
        return self._made[name]

    def find_class(self, module: str, name: str) -> Any:
        if module not in MAINS:
            return super().find_class(module, name)
        self._part = self._part or self._script()
        first, *rest = name.split(".")
        found = self._part.find(first)
        for part in rest:
            found = getattr(found, part)
        return found


def _look_at_nothing(*args: Any, **kwargs: Any) -> None:
    """In place of a hook that was left out."""


def _unpickled(folder: Path, facts: Facts, tensors: dict[str, Tensor]) -> nn.Module:
    path = folder / MODEL
    if facts.pickled:
        raise UsageError(f"{shown(folder)}: the model could not be pickled ({facts.pickled}): {GIVE_MODEL}")
    for place in reversed(facts.paths):
        if place not in sys.path:
            sys.path.insert(0, place)
    importlib.invalidate_caches()
    try:
        with path.open("rb") as file:
            model = _Unpickler(file, tensors, lambda: _script(folder, facts)).load()
    except UsageError:
        raise
    except OSError as error:
        raise UsageError(f"{shown(path)}: cannot be read ({error.strerror}): {GIVE_MODEL}") from None
    except Exception as error:  # whatever a stranger's module does when it is unpickled
        raise UsageError(f"{shown(path)}: unpickling the model raised {in_one_line(error)}: {GIVE_MODEL}") from None
    if not isinstance(model, nn.Module):
        raise UsageError(f"{shown(path)}: holds no model: {GIVE_MODEL}")
    return model


def _script(folder: Path, facts: Facts) -> ScriptPart:
    path = folder / SCRIPT
    try:
        return ScriptPart(path.read_text(encoding="utf-8"), shown(path), facts.package)
    except OSError:
        raise UsageError(
            f"{shown(folder)}: the script that defines {facts.architecture} was not kept: {GIVE_MODEL}"
        ) from None


def _filled(model: nn.Module, tensors: dict[str, Tensor], device: torch.device) -> nn.Module:
    model.to(device)
    own = named_tensors(model)
    if set(own) != set(tensors):
        odd = sorted(set(own) ^ set(tensors))
        raise UsageError(f"--model: the model that was saved is another one; they differ in {listing(odd, most=3)}")
    for name, tensor in own.items():
        if tensor.shape != tensors[name].shape:
            raise UsageError(
                f"--model: {name} is {tuple(tensor.shape)} and was saved as {tuple(tensors[name].shape)}: "
                "make the same model"
            )
        tensor.data = tensors[name]
    return model


# --- the batch -----------------------------------------------------------------------------------------------


def _pass_of(path: Path, batch: dict[str, Any], device: torch.device) -> ForwardPass:
    try:
        states = batch["generators"]
        kind, keys, place, has_gauss, gauss = states["numpy"]
        generators = GeneratorStates(
            _tuples(states["python"]),
            (kind, np.array(keys, dtype=np.uint32), place, has_gauss, gauss),
            states["torch"].cpu(),
            {gpu: state.cpu() for gpu, state in states["cuda"].items()},
        )
        given = ForwardPass(
            batch["part"],
            (tuple(batch["args"]), dict(batch["kwargs"])),
            generators,
            None,
            list(batch["modes"]),
            _autocasts(batch["autocasts"], device),
        )
        given.batch, given.left_out = batch["batch"], batch["left_out"]
        for number, gradient in batch["gradients"].items():
            given.take(number, gradient, None)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(f"{shown(path)}: {in_one_line(error)}; the folder is damaged") from None
    return given


def _autocasts(saved: list[Any], device: torch.device) -> tuple[Autocast, ...]:
    """Those of the CPU and of ``device``, which takes the place of the one that the model trained on."""
    found = [Autocast(*each) for each in saved]
    others = [each._replace(device=device.type) for each in found if each.device != "cpu" and each.enabled]
    return (*(each for each in found if each.device == "cpu"), *others)


def _tuples(state: Any) -> Any:
    version, keys, gauss = state
    return version, tuple(keys), gauss
