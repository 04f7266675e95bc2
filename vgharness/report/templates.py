"""What every page is made with: the templates' folder, and everything that came from outside escaped."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from vgharness.formatting import escaped, number, percent


def environment() -> Environment:
    """Jinja's, with the filters that every page uses; shows control characters in what came from outside escaped."""
    made = Environment(
        loader=FileSystemLoader(_templates_folder()),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_printable,
    )
    made.filters |= {"number": number, "percent": percent}
    made.globals["functions"] = {}  # the activations that a page has colours for
    return made


def _printable(value: object) -> object:
    return escaped(value) if type(value) is str else value  # Markup is a subclass, and ours


def _templates_folder() -> Path:
    """Inside an installed package; beside it in a source tree, where an editable install leaves it."""
    package = Path(__file__).parents[1]
    installed = package / "templates"
    return installed if installed.is_dir() else package.parent / "templates"
