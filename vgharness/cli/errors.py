"""What every command has in common: safe output, bad input as one line with exit status 2, named precisions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer

from vgharness.errors import UsageError
from vgharness.records import PRECISIONS, Precision
from vgharness.system.terminal import complain, safe_output

USAGE = 2


def run(command: Callable[[], object]) -> None:
    """Runs a command as a program, with output that ends no work."""
    with safe_output():
        command()


@contextmanager
def usage_errors(program: str) -> Iterator[None]:
    """Bad input ends the program with its one line on stderr and exit status 2."""
    try:
        yield
    except UsageError as error:
        complain(program, error)
        raise typer.Exit(USAGE) from None


def named_precision(name: str) -> Precision:
    """``name`` as one of the known ones. Raises :class:`~vgharness.errors.UsageError` where it is none."""
    for known in PRECISIONS:
        if name == known:
            return known
    raise UsageError(f"--precision {name}: use {', '.join(PRECISIONS)}")
