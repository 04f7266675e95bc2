"""The options ``--gradflow-*``, each of which is an ini setting too: ``--gradflow-seeds`` is ``gradflow_seeds``.

What the command line gives wins; of what it leaves out the ini file's value is taken, and then the default. A path is
relative to the folder in which pytest was started, as for the command ``vgharness``; in the ini file to that file's.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import pytest

from vgharness.errors import UsageError
from vgharness.formatting import listing

AUTO: Final = "auto"
COLUMNS: Final = ("seeds", "layers", "first", "last", "total", "factor", "min", "max", "diagnosis")
DEFAULT_COLUMNS: Final = ("total", "min", "max", "diagnosis")

Kind = Literal["text", "flag", "list", "path", "place"]


class Option(NamedTuple):
    """One option.

    name: after ``--gradflow-``; in the ini file with ``_`` for ``-``.
    kind: ``text``, ``flag``, ``path``, ``place`` (a path, or the name or number of what is in the store), or ``list``
        of what is given several times, in the ini file a line each.
    default: where neither the command line nor the ini file has it.
    alone: its value where the option stands without one; None: it needs one.
    choices: the words that it takes; empty: any.
    """

    name: str
    kind: Kind
    help: str
    metavar: str | None = None
    default: Any = None
    alone: str | None = None
    choices: tuple[str, ...] = ()

    @property
    def dest(self) -> str:
        return f"gradflow_{self.name.replace('-', '_')}"


OPTIONS: Final = (
    Option("save", "text", "save this session's gradient flows under NAME", "NAME"),
    Option("autosave", "flag", "save them under the time and the commit", default=False),
    Option("json", "path", "write the whole session to this file too", "PATH"),
    Option("html", "path", "write a page of them to this file", "PATH"),
    Option("storage", "path", "where runs are saved: .gradflow", "DIR", default=Path(".gradflow")),
    Option(
        "compare",
        "place",
        "compare with a saved run, by default the latest that finished; where there is none yet, that is said once",
        "NUM|NAME|PATH",
        alone="",
    ),
    Option("require-baseline", "flag", "an error where there is nothing to compare with", default=False),
    Option(
        "update",
        "place",
        "write what was measured by the tests that passed into this baseline file, by default the one compared with, "
        "and leave its other tests as they are; changes fail nothing then, for they are accepted",
        "PATH",
        alone="",
    ),
    Option(
        "compare-fail",
        "list",
        "fail tests with a value that changed by more: signal_l2:20%%, signal_l2:-50%% (a decrease only), factor:0.1 "
        "(absolute); or `vanished`, `new`, `renamed`: where a test or a layer is not on both sides under one name",
        "QUANTITY:CHANGE",
        default=(),
    ),
    Option(
        "seeds",
        "text",
        "how many seeds each measurement takes, 5 by default, whatever number a test says; `auto`: more until every "
        "limit of the comparison is decided, at most 50",
        "N|auto",
    ),
    Option("skip", "flag", "leave out the tests that measure gradient flow", default=False),
    Option("only", "flag", "run only the tests that measure gradient flow", default=False),
    Option("disable", "flag", "measure one seed, compare and save nothing: a quick look", default=False),
    Option(
        "sort",
        "text",
        "the order of the summary: as run, by name, or the smallest first of min, total and factor, or problems first",
        "BY",
        default="run",
        choices=("run", "name", "min", "total", "factor", "problem"),
    ),
    Option("columns", "text", f"a table with a row per measurement and these columns: {','.join(COLUMNS)}", "LIST"),
    Option(
        "group-by",
        "text",
        "a table with a row per measurement: one table for each test function (func), each value of its parameters "
        "(param), or each name= (name)",
        "param|name|func",
        choices=("param", "name", "func"),
    ),
    Option(
        "name",
        "text",
        "how tests are named in the summary: long with their file (the default), normal without, short without `test_` "
        "too",
        "FORM",
        default="long",
        choices=("short", "normal", "long"),
    ),
)


# What compares or saves, and so is off where ``--gradflow-disable`` is on.
_OF_DISK: Final = ("save", "autosave", "json", "html", "compare", "compare-fail", "require-baseline", "update")


class Seeds(NamedTuple):
    """How many seeds a measurement takes: a number or ``auto``.

    always: the command line's, which wins over a number in a test; None: it gives none.
    usual: where a test gives none; None: neither does the ini file.
    """

    always: int | str | None
    usual: int | str | None


SEEDS: Final = pytest.StashKey[Seeds]()


def add_options(parser: pytest.Parser) -> None:
    """Adds all of them to pytest's own."""
    group = parser.getgroup("gradflow", "gradient flow (vgharness)")
    for option in OPTIONS:
        settings: dict[str, Any] = {"help": option.help, "default": None}
        if option.kind == "flag":
            settings["action"] = "store_true"
        else:
            settings["metavar"] = option.metavar
        if option.kind == "list":
            settings["action"] = "append"
        if option.kind == "path":
            settings["type"] = Path
        if option.alone is not None:
            settings |= {"nargs": "?", "const": option.alone}
        group.addoption(f"--gradflow-{option.name}", **settings)
        ini: Any = {"flag": "bool", "list": "linelist"}.get(option.kind, "string")
        parser.addini(option.dest, f"as --gradflow-{option.name}", type=ini, default=None)


def settle(config: pytest.Config) -> None:
    """Gives each option in ``config.option`` the value that counts: the command line's, the ini file's or the default.

    Raises :class:`~vgharness.errors.UsageError` for a value that it cannot have.
    """
    option = config.option
    always = _seeds(option.gradflow_seeds, "--gradflow-seeds")
    config.stash[SEEDS] = Seeds(always, _seeds(config.getini("gradflow_seeds"), "gradflow_seeds"))
    for each in OPTIONS:
        if each.dest == "gradflow_seeds":  # a worker of pytest-xdist is to know the ini file's from the command line's
            continue
        origin, folder = f"--gradflow-{each.name}", config.invocation_params.dir
        value = getattr(option, each.dest)
        if value is None and (value := config.getini(each.dest)) is not None:
            origin, folder = each.dest, config.rootpath
        if value is None:
            value = each.default
        if each.choices and value is not None and value not in each.choices:
            raise UsageError(f"{origin} {value!r}: use {listing(each.choices)}")
        if value is not None and each.kind in ("path", "place"):
            value = folder / value if each.kind == "path" else _place(value, folder)
        setattr(option, each.dest, value)
    option.gradflow_columns = _columns(option.gradflow_columns)
    if option.gradflow_skip and option.gradflow_only:
        raise UsageError("--gradflow-skip and --gradflow-only: give one of them")
    if option.gradflow_disable:
        for each in OPTIONS:
            if each.name in _OF_DISK:
                setattr(option, each.dest, each.default)


def with_values_apart(args: Sequence[str]) -> list[str]:
    """The command line with what follows an option that can stand alone, and is a test or a folder, kept for pytest:
    ``--gradflow-compare tests/`` names no run."""
    alone = {f"--gradflow-{each.name}" for each in OPTIONS if each.alone is not None}
    pairs = zip(args, [*args[1:], ""], strict=True)
    return [f"{arg}=" if arg in alone and _is_of_tests(after) else arg for arg, after in pairs]


def _is_of_tests(arg: str) -> bool:
    return "::" in arg or arg.endswith(".py") or (bool(arg) and Path(arg).is_dir())


def _place(value: str, folder: Path) -> str:
    """A path as an absolute one; a name as it is."""
    is_path = Path(value).name != value or value.endswith(".json")
    return str(folder / value) if value and is_path else value


def _seeds(text: str | None, origin: str) -> int | str | None:
    if text is None or text == AUTO:
        return text
    if not text.isdecimal() or not int(text[:9]) > 0 or len(text) > 9:
        raise UsageError(f"{origin} {text!r}: give a number of seeds, such as 5, or auto")
    return int(text)


def _columns(text: str | Sequence[str] | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    names = [name.strip() for name in text.split(",")] if isinstance(text, str) else list(text)
    unknown = [name for name in names if name not in COLUMNS]
    if unknown or not names:
        raise UsageError(f"--gradflow-columns {listing(unknown)!r}: use {','.join(COLUMNS)}")
    return tuple(names)
