"""Markup of one element, with whatever it holds escaped: what all charts are made of."""

from __future__ import annotations

from markupsafe import Markup, escape

from vgharness.formatting import escaped


def element(name: str, *children: object, **attributes: object) -> Markup:
    """Makes an element of SVG: ``<name attributes>children</name>``.

    children: markup as it is; anything else as text, its control characters shown escaped.
    attributes: ``x1=5`` gives ``x1="5"``; an underscore stands for a hyphen, and one at the end is left out, so
        ``class_`` is ``class``. Numbers are given to a tenth, ``None`` leaves an attribute out.
    """
    given = Markup("").join(
        Markup(' {}="{}"').format(key.rstrip("_").replace("_", "-"), _value(value))
        for key, value in attributes.items()
        if value is not None
    )
    inside = joined(*children)
    return Markup("<{0}{1}>{2}</{0}>" if inside else "<{0}{1}/>").format(Markup(name), given, inside)


def joined(*children: object) -> Markup:
    """Markup and texts, one after the other."""
    return Markup("").join(child if isinstance(child, Markup) else escape(escaped(str(child))) for child in children)


def described(title: str, description: str) -> Markup:
    """What a chart says, for those who do not see it: its first two children."""
    return element("title", title) + (element("desc", description) if description else Markup(""))


def _value(value: object) -> object:
    if isinstance(value, float):
        return f"{value:.1f}".removesuffix(".0")
    return value if isinstance(value, Markup) else escaped(str(value))
