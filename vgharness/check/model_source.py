"""Loads a model, or a function, by the name that was given on a command line.

``package.module:Name``, ``path/file.py:Name``, ``torchvision:NAME``, ``timm:NAME`` or ``hf:NAME``. Whatever goes wrong
is a :class:`~vgharness.errors.UsageError` of one line that says what to do.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import sys
import weakref
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from vgharness.errors import UsageError
from vgharness.formatting import in_one_line

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
    needed = _required_arguments(factory)
    if needed:
        first = ", ".join(f"{argument}=…" for argument in needed)
        wrapped = getattr(factory, "__name__", name)
        raise UsageError(
            f"{spec} needs arguments ({', '.join(needed)}): name a callable that needs none, "
            f"such as a function of yours that returns {wrapped}({first})"
        )
    return _checked(spec, factory)


def load_callable(spec: str) -> Callable[..., Any]:
    """Imports the callable that ``MODULE:NAME`` or ``path/file.py:NAME`` names, as :func:`load_object` does.

    Raises :class:`~vgharness.errors.UsageError` where there is none.
    """
    found = load_object(spec)
    if not callable(found):
        raise UsageError(f"{spec} is not callable but {_typed(found)}: name a class or a function")
    checked: Callable[..., Any] = found
    return checked


def load_object(spec: str) -> Any:
    """Imports what ``MODULE:NAME`` or ``path/file.py:NAME`` names; NAME may have dots.

    Raises :class:`~vgharness.errors.UsageError` where there is none.
    """
    place, colon, path = spec.rpartition(":")
    if not (colon and place and path):
        raise UsageError(f"{spec}: name a callable as package.module:name or path/file.py:name")
    module = _import_file(spec, place) if place.endswith(".py") else _import_module(spec, place)
    found: Any = module
    holder = place
    for part in path.split("."):
        try:
            found, holder = getattr(found, part), part
        except AttributeError:
            raise UsageError(f"{spec}: {holder} has no {part!r}{_suggestion(part, _public_names(found))}") from None
        except Exception as error:  # a package that imports what is asked of it
            raise _not_imported(spec, f"{part} of {holder}", error) from error
    return found


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
            raise UsageError(f"{spec} gives {_typed(model)}, not a torch.nn.Module: name what makes the model itself")
        if last and last[0]() is model:
            raise UsageError(f"{spec} gives the same model each time: let it make a new one on each call")
        last[:] = [weakref.ref(model)]
        return model

    return factory


# --- the user's own code ----------------------------------------------------------------------------


def _import_module(spec: str, name: str) -> ModuleType:
    if "/" in name or "\\" in name:
        raise UsageError(f"{spec}: {name} is no Python file; a file's name ends in .py, a module's has dots")
    _add_to_path(Path.cwd())  # as `python -m` does
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        missing = error.name or name
        if name == missing or name.startswith(f"{missing}."):
            raise UsageError(
                f"{spec}: no module {missing!r} in this folder or installed: start where it can be imported, or name "
                "its file, path/file.py:Name"
            ) from error
        raise _not_imported(spec, name, error) from error
    except (Exception, SystemExit) as error:
        raise _not_imported(spec, name, error) from error


def _import_file(spec: str, place: str) -> ModuleType:
    path = Path(place).expanduser().resolve()
    if not path.is_file():
        beside = [other.name for other in path.parent.glob("*.py")] if path.parent.is_dir() else []
        raise UsageError(f"{spec}: there is no file {place}{_suggestion(path.name, beside)}")
    _add_to_path(path.parent)  # as `python path/file.py` does, for what it imports beside it
    # Not under the file's own name: a user's types.py must not be taken for the library's, which is imported already.
    name = f"_vgharness_{path.stem}"
    found = importlib.util.spec_from_file_location(name, path)
    if found is None or found.loader is None:
        raise UsageError(f"{spec}: {place} cannot be read as a Python file")
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module  # where dataclasses and pickle look
    try:
        found.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise _not_imported(spec, place, error) from error
    return module


def _not_imported(spec: str, place: str, error: BaseException) -> UsageError:
    fix = ""
    if isinstance(error, ModuleNotFoundError) and error.name:
        fix = f": install {error.name.partition('.')[0]}, or start where it can be imported"
    elif isinstance(error, ImportError) and "relative import" in str(error):
        fix = ": it is part of a package, so name it as package.module:Name"
    return UsageError(f"{spec}: importing {place} raised {in_one_line(error)}{fix}")


def _add_to_path(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _required_arguments(function: Callable[..., Any]) -> list[str]:
    """Names the arguments that have no default."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # some functions written in C have no signature
        return []
    several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [p.name for p in parameters if p.default is p.empty and p.kind not in several]


def _public_names(holder: Any) -> list[str]:
    """Lists the names in ``holder``; of a module, those first that it defines itself."""
    names = [name for name in dir(holder) if not name.startswith("_")]
    held = getattr(holder, "__dict__", {})  # getattr would make a lazy package import everything
    own = [n for n in names if getattr(held.get(n), "__module__", None) == getattr(holder, "__name__", "")]
    return [*own, *(name for name in names if name not in own)]


def _suggestion(wanted: str, names: Iterable[str]) -> str:
    """Ends a message with ``: did you mean …?``; where no name is like it with the first ones that there are."""
    folded: dict[str, str] = {}
    for name in names:
        folded.setdefault(name.casefold(), name)
    near = difflib.get_close_matches(wanted.casefold(), folded, n=3, cutoff=0.6)
    if near:
        return f": did you mean {' or '.join(folded[name] for name in near)}?"
    listed = list(folded.values())[:5]
    return f": it has {', '.join(listed)}{', …' if len(folded) > 5 else ''}" if listed else ""


def _typed(thing: Any) -> str:
    """Names the type of ``thing``: ``an int``, ``a Net``, ``None``."""
    kind = type(thing).__name__
    return "None" if thing is None else f"{'an' if kind[0] in 'aeiouAEIOU' else 'a'} {kind}"


# --- collections of models ---------------------------------------------------------------------------


def _import_collection(spec: str, name: str) -> Any:
    """Imports a package of models, or says how to install it."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or name.partition(".")[0] != error.name:
            raise _not_imported(spec, name, error) from error
        raise UsageError(f"{spec} needs {error.name}: pip install {error.name}") from error
    except Exception as error:
        raise _not_imported(spec, name, error) from error


def _torchvision(name: str) -> Callable[..., Any]:
    models = _import_collection(f"torchvision:{name}", "torchvision.models")
    if name.lower() not in models.list_models():
        raise UsageError(f"torchvision:{name}: torchvision has no such model{_suggestion(name, models.list_models())}")
    # A model that is built around a backbone would download the backbone's weights.
    takes = inspect.signature(models.get_model_builder(name)).parameters
    without = {"weights_backbone": None} if "weights_backbone" in takes else {}
    return lambda: models.get_model(name, weights=None, **without)


def _timm(name: str) -> Callable[..., Any]:
    timm = _import_collection(f"timm:{name}", "timm")
    if not timm.is_model(name):
        raise UsageError(f"timm:{name}: timm has no such model{_suggestion(name, timm.list_models())}")
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
                f"{_suggestion(name, transformers.CONFIG_MAPPING)}; its hub gave {in_one_line(error)}"
            ) from error
    return lambda: transformers.AutoModel.from_config(loaded)


_SOURCES: dict[str, Callable[[str], Callable[..., Any]]] = {"torchvision": _torchvision, "timm": _timm, "hf": _hf}
