"""The definitions of a training script that its model needs, without the training."""

from __future__ import annotations

import ast
import builtins
import dis
import sys
from collections.abc import Iterator
from types import CodeType, ModuleType
from typing import Any, Final

from vgharness.errors import UsageError
from vgharness.formatting import in_one_line

GIVE_MODEL: Final = "give --model path/file.py:make_model, a function that makes the model"

_NAME: Final = "_vgharness_script"
_DEFINING = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign)


class ScriptPart:
    """Runs, of a script, those definitions that a name needs: imports, functions, classes, and assignments to what they
    use; no loop, no bare call, nothing under ``if __name__ == "__main__"``.

    source: of the script.
    place: its path, for messages.
    package: that its relative imports start from.
    """

    def __init__(self, source: str, place: str, package: str = "") -> None:
        self._place = place
        try:
            tree = ast.parse(source)
        except SyntaxError as error:
            raise UsageError(f"{place} is not valid Python ({error.msg}): {GIVE_MODEL}") from None
        self._statements = list(_definitions(tree.body))
        self._future = [x for x in tree.body if isinstance(x, ast.ImportFrom) and x.module == "__future__"]
        self._run: set[int] = set()
        self._module = ModuleType(_NAME)
        self._module.__file__ = place
        if package:
            self._module.__package__ = package
        sys.modules[_NAME] = self._module  # where dataclasses and pickle look

    def find(self, name: str) -> Any:
        """What the script calls ``name``. Raises :class:`~vgharness.errors.UsageError`."""
        for place in sorted(self._needed(name) - self._run):
            self._run.add(place)
            part = ast.Module(body=[*self._future, self._statements[place]], type_ignores=[])
            try:
                exec(compile(part, self._place, "exec"), vars(self._module))
            except (Exception, SystemExit) as error:
                line = self._statements[place].lineno
                raise UsageError(
                    f"{self._place}, line {line}, which {name} needs, raised {in_one_line(error)}: {GIVE_MODEL}"
                ) from error
        try:
            return vars(self._module)[name]
        except KeyError:
            raise UsageError(f"{self._place} does not define {name} at its top level: {GIVE_MODEL}") from None

    def _needed(self, name: str) -> set[int]:
        """The statements that bind ``name`` and what these use, directly or not."""
        found: set[int] = set()
        waiting, seen = [name], set(dir(builtins))
        while waiting:
            wanted = waiting.pop()
            if wanted in seen:
                continue
            seen.add(wanted)
            for place, statement in enumerate(self._statements):
                if place not in found and wanted in _bound(statement):
                    found.add(place)
                    waiting += _used(compile(ast.Module([statement], []), self._place, "exec"))
        return found


def _used(code: CodeType) -> Iterator[str]:
    """The script's names that it reads; what a function calls by its own name is none of them."""
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_NAME", "LOAD_GLOBAL"):
            yield str(instruction.argval)
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _used(inner)


def _definitions(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for statement in body:
        if isinstance(statement, _DEFINING):
            yield statement
        elif isinstance(statement, ast.Try) or (isinstance(statement, ast.If) and not _is_guard(statement)):
            yield statement  # such as an import that may fail


def _is_guard(statement: ast.If) -> bool:
    return any(isinstance(x, ast.Name) and x.id == "__name__" for x in ast.walk(statement.test))


def _bound(statement: ast.stmt) -> set[str]:
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return {statement.name}
    if isinstance(statement, ast.Import | ast.ImportFrom):
        return {(x.asname or x.name).partition(".")[0] for x in statement.names}
    if isinstance(statement, ast.Try | ast.If):
        bodies = [statement.body, statement.orelse]
        if isinstance(statement, ast.Try):
            bodies += [statement.finalbody, *(handler.body for handler in statement.handlers)]
        return {
            name
            for body in bodies
            for each in body
            if isinstance(each, (*_DEFINING, ast.Try, ast.If))
            for name in _bound(each)
        }
    return {x.id for x in ast.walk(statement) if isinstance(x, ast.Name) and isinstance(x.ctx, ast.Store)}
