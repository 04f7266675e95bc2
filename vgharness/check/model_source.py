"""Loads a model, or a function, by the name that was given on a command line.

``package.module:Name``, ``path/file.py:Name``, ``torchvision:NAME``, ``timm:NAME`` or ``hf:NAME``. Whatever goes wrong
is a :class:`~vgharness.errors.UsageError` of one line that says what to do.
"""

from __future__ import annotations

import importlib
import inspect
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import nn

from vgharness.errors import UsageError
from vgharness.formatting import in_one_line
from vgharness.system.user_code import load_callable, not_imported, required_arguments, suggestion, typed

Factory = Callable[[], nn.Module]

FORMS = "package.module:Name, path/file.py:Name, torchvision:NAME, timm:NAME or hf:NAME"


def load_factory(spec: str) -> Factory:
    """Finds what makes the model that ``spec`` names, with random weights; no model is made yet.

    Raises :class:`~vgharness.errors.UsageError` where there is no such model. So does the factory that is returned,
    where it fails or gives no ``nn.Module``.
    """
    source, colon, name = spec.partition(":")
    if not (colon and source and name):
        raise UsageError(f"{spec}: name a model as {FORMS}")
    if source in _SOURCES:
        return _checked(spec, _SOURCES[source](name))
    factory = load_callable(spec)
    if isinstance(factory, nn.Module):
        raise UsageError(f"{spec} is a model that is made already: name its class, or a function that makes a new one")
    needed = required_arguments(factory)
    if needed:
        first = ", ".join(f"{argument}=…" for argument in needed)
        wrapped = getattr(factory, "__name__", name)
        raise UsageError(
            f"{spec} needs arguments ({', '.join(needed)}): name a callable that needs none, "
            f"such as a function of yours that returns {wrapped}({first})"
        )
    return _checked(spec, factory)


def _checked(spec: str, make: Callable[..., Any]) -> Factory:
    """Wraps ``make`` so that it gives a new module, or raises a one-line error."""
    last: list[weakref.ref[nn.Module]] = []

    def factory() -> nn.Module:
        try:
            model = make()
        # A script that is loaded as a module may well call sys.exit.
        except (Exception, SystemExit) as error:
            raise UsageError(f"{spec} could not be made, it raised {in_one_line(error)}") from error
        if isinstance(model, type) and issubclass(model, nn.Module):
            raise UsageError(f"{spec} gives the class {model.__name__}, not a model: let it return {model.__name__}()")
        if not isinstance(model, nn.Module):
            raise UsageError(f"{spec} gives {typed(model)}, not a torch.nn.Module: name what makes the model itself")
        if last and last[0]() is model:
            raise UsageError(f"{spec} gives the same model each time: let it make a new one on each call")
        last[:] = [weakref.ref(model)]
        return model

    return factory


# --- collections of models ---------------------------------------------------------------------------


def _import_collection(spec: str, name: str) -> Any:
    """Imports a package of models, or says how to install it."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or name.partition(".")[0] != error.name:
            raise not_imported(spec, name, error) from error
        raise UsageError(f"{spec} needs {error.name}: pip install {error.name}") from error
    except Exception as error:
        raise not_imported(spec, name, error) from error


def _torchvision(name: str) -> Callable[..., Any]:
    models = _import_collection(f"torchvision:{name}", "torchvision.models")
    if name.lower() not in models.list_models():
        raise UsageError(f"torchvision:{name}: torchvision has no such model{suggestion(name, models.list_models())}")
    # A model that is built around a backbone would download the backbone's weights.
    takes = inspect.signature(models.get_model_builder(name)).parameters
    without = {"weights_backbone": None} if "weights_backbone" in takes else {}
    return lambda: models.get_model(name, weights=None, **without)


def _timm(name: str) -> Callable[..., Any]:
    timm = _import_collection(f"timm:{name}", "timm")
    if not timm.is_model(name):
        raise UsageError(f"timm:{name}: timm has no such model{suggestion(name, timm.list_models())}")
    return lambda: timm.create_model(name, pretrained=False)


def _hf(name: str) -> Callable[..., Any]:
    spec = f"hf:{name}"
    transformers = _import_collection(spec, "transformers")
    config = transformers.AutoConfig
    if name in transformers.CONFIG_MAPPING and not Path(name).is_dir():  # a type of model: needs no network
        loaded = config.for_model(name)
    else:
        try:
            # Code that a stranger uploaded is not run, and the user is not asked whether to run it.
            loaded = config.from_pretrained(name, trust_remote_code=False)
        except Exception as error:
            raise UsageError(
                f"{spec} is no folder with a config.json and no type of model that transformers has"
                f"{suggestion(name, transformers.CONFIG_MAPPING)}; its hub gave {in_one_line(error)}"
            ) from error
    return lambda: transformers.AutoModel.from_config(loaded)


_SOURCES: dict[str, Callable[[str], Callable[..., Any]]] = {"torchvision": _torchvision, "timm": _timm, "hf": _hf}
