"""The mark ``gradflow``: what it can say, and what is wrong with one."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import Any, Final, NamedTuple

import pytest

from vgharness.errors import UsageError
from vgharness.formatting import listing

SIGNATURE: Final = (
    "gradflow(seeds=5, min_factor=None, max_factor=None, min_total=None, max_total=None, quantity='signal_l2', "
    "expect=None, compare_fail=None): what each measurement of the fixture gradflow must keep to"
)
LIMITS: Final = ("min_factor", "max_factor", "min_total", "max_total")


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and not math.isnan(value)


def _is_seeds(value: Any) -> bool:
    numbers = list(value) if isinstance(value, list | tuple | range) else [value]
    return bool(numbers) and all(isinstance(x, int) and not isinstance(x, bool) for x in numbers)


class _Value(NamedTuple):
    """What a keyword takes: whether it ``fits``, and that in words."""

    fits: Callable[[Any], bool]
    text: str


_KEYWORDS: Final[Mapping[str, _Value]] = {
    "seeds": _Value(_is_seeds, "a number, such as 5, or a list of numbers"),
    **dict.fromkeys(LIMITS, _Value(_is_number, "a number")),
    "quantity": _Value(lambda value: isinstance(value, str), "a quantity's name, such as 'signal_l2'"),
    "expect": _Value(lambda value: isinstance(value, str), "'healthy' or a problem, such as 'vanishing'"),
    "compare_fail": _Value(
        lambda value: isinstance(value, str) or (isinstance(value, list | tuple) and all(map(_is_text, value))),
        "a limit, such as 'signal_l2:-20%', or a list of them",
    ),
}


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def marked(item: pytest.Item) -> dict[str, Any]:
    """The values of a test's marks ``gradflow``; of several marks the closest wins, that of a parameter before all, and
    None takes a value back."""
    values: dict[str, Any] = {}
    of_parameters = [mark for mark in _marks_of_parameters(item) if mark.name == "gradflow"]
    for mark in (*reversed(list(item.iter_markers("gradflow"))), *of_parameters):
        values |= mark.kwargs
    return {key: value for key, value in values.items() if value is not None}


def _marks_of_parameters(item: pytest.Item) -> Sequence[pytest.Mark]:
    """Marks given by ``pytest.param(..., marks=...)``, which pytest lists after those of the function."""
    return getattr(getattr(item, "callspec", None), "marks", ())


def compare_limits(values: Mapping[str, Any]) -> tuple[str, ...]:
    """The limits of ``compare_fail``, as they were written."""
    given = values.get("compare_fail", ())
    return (given,) if isinstance(given, str) else tuple(given)


def mistake_in(item: pytest.Item) -> str | None:
    """What is wrong with one of a test's marks ``gradflow``, in one line that names what can be given."""
    for mark in item.iter_markers("gradflow"):
        if mark.args:
            return f"mark gradflow: give its values by name: {listing(_KEYWORDS)}"
        for key, value in mark.kwargs.items():
            if key not in _KEYWORDS:
                return f"mark gradflow: unknown keyword {key!r}, use {listing(_KEYWORDS)}"
            if value is not None and not _KEYWORDS[key].fits(value):
                return f"mark gradflow: {key}={value!r}: give {_KEYWORDS[key].text}"
    return _mistake_in_words(marked(item))


def _mistake_in_words(values: Mapping[str, Any]) -> str | None:
    if "expect" in values:
        from vgharness.gradflow.diagnosis import PROBLEM_KINDS

        known = ("healthy", *reversed(PROBLEM_KINDS))
        if values["expect"] not in known:
            return f"mark gradflow: expect={values['expect']!r}: use {listing(known)}"
    if "compare_fail" in values:
        from vgharness.gradflow.limits import parse_failures

        try:
            parse_failures(compare_limits(values))
        except UsageError as error:
            return f"mark gradflow: compare_fail: {error}"
    return None
