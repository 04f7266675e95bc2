"""The command ``vgharness``: models checked, studies run, claims judged, saved runs listed, compared and shown."""

from __future__ import annotations

from typing import Annotated

import typer

from vgharness import __version__
from vgharness.cli import bench, runs
from vgharness.cli.check import check
from vgharness.cli.compare import compare_runs
from vgharness.cli.errors import run as run_program
from vgharness.cli.export import export
from vgharness.cli.full import full, run
from vgharness.cli.history import history
from vgharness.cli.judge import judge
from vgharness.cli.reconcile import reconcile
from vgharness.cli.report import report
from vgharness.cli.reproduce import reproduce
from vgharness.cli.schema import schema
from vgharness.cli.status import status
from vgharness.system.terminal import say

app = typer.Typer(no_args_is_help=True, add_completion=False)
app.command()(full)
app.command()(run)
app.command()(check)
app.command()(judge)
app.command()(reconcile)
app.command()(report)
app.command()(reproduce)
runs.register(app)
app.command()(status)
app.command("compare")(compare_runs)
app.command()(export)
app.command()(history)
app.command()(schema)
app.add_typer(bench.app, name="bench")


def _print_version(wanted: bool) -> None:
    if wanted:
        say(f"vgharness {__version__}")
        raise typer.Exit


@app.callback()
def vgharness(
    version: Annotated[
        bool, typer.Option("--version", help="print the version and exit", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Is what is said about a network's gradients true?

    A training is watched from Python, by vgharness.watch(model, optimizer): README, "While it trains".
    In pytest, the fixture gradflow guards a model.
    """


def main() -> None:
    """Entry point of the command ``vgharness``."""
    run_program(app)
