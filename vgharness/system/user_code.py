"""Imports what a command line or a file names of the user's own code: ``package.module:name`` or ``path/file.py:name``.

Whatever goes wrong is a :class:`~vgharness.errors.UsageError` of one line that says what to do.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from vgharness.errors import UsageError
from vgharness.formatting import in_one_line


def load_callable(spec: str) -> Callable[..., Any]:
    """Imports the callable that ``MODULE:NAME`` or ``path/file.py:NAME`` names, as :func:`load_object` does.

    Raises :class:`~vgharness.errors.UsageError` where there is none.
    """
    found = load_object(spec)
    if not callable(found):
        raise UsageError(f"{spec} is not callable but {typed(found)}: name a class or a function")
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
            raise UsageError(f"{spec}: {holder} has no {part!r}{suggestion(part, _public_names(found))}") from None
        except Exception as error:  # a package that imports what is asked of it
            raise not_imported(spec, f"{part} of {holder}", error) from error
    return found


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
        raise not_imported(spec, name, error) from error
    except (Exception, SystemExit) as error:
        raise not_imported(spec, name, error) from error


def _import_file(spec: str, place: str) -> ModuleType:
    path = Path(place).expanduser().resolve()
    if not path.is_file():
        beside = [other.name for other in path.parent.glob("*.py")] if path.parent.is_dir() else []
        raise UsageError(f"{spec}: there is no file {place}{suggestion(path.name, beside)}")
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
        raise not_imported(spec, place, error) from error
    return module


def not_imported(spec: str, place: str, error: BaseException) -> UsageError:
    fix = ""
    if isinstance(error, ModuleNotFoundError) and error.name:
        fix = f": install {error.name.partition('.')[0]}, or start where it can be imported"
    elif isinstance(error, ImportError) and "relative import" in str(error):
        fix = ": it is part of a package, so name it as package.module:Name"
    return UsageError(f"{spec}: importing {place} raised {in_one_line(error)}{fix}")


def _add_to_path(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def required_arguments(function: Callable[..., Any]) -> list[str]:
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


def suggestion(wanted: str, names: Iterable[str]) -> str:
    """Ends a message with ``: did you mean …?``; where no name is like it with the first ones that there are."""
    folded: dict[str, str] = {}
    for name in names:
        folded.setdefault(name.casefold(), name)
    near = difflib.get_close_matches(wanted.casefold(), folded, n=3, cutoff=0.6)
    if near:
        return f": did you mean {' or '.join(folded[name] for name in near)}?"
    listed = list(folded.values())[:5]
    return f": it has {', '.join(listed)}{', …' if len(folded) > 5 else ''}" if listed else ""


def typed(thing: Any) -> str:
    """Names the type of ``thing``: ``an int``, ``a Net``, ``None``."""
    kind = type(thing).__name__
    return "None" if thing is None else f"{'an' if kind[0] in 'aeiouAEIOU' else 'a'} {kind}"
