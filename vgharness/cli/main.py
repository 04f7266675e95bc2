"""The command ``vgharness``: any model checked, studies run, saved runs listed, compared, shown and followed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vgharness import __version__
from vgharness.cli import bench, runs
from vgharness.cli.check import check
from vgharness.cli.errors import run as run_program
from vgharness.cli.errors import usage_errors
from vgharness.cli.full import full
from vgharness.cli.history import history
from vgharness.records import Run
from vgharness.storage.store import load
from vgharness.system.files import check_folder, shown
from vgharness.system.terminal import say

SESSION_PAGE = "gradflow.html"

app = typer.Typer(no_args_is_help=True, add_completion=False)
app.command()(full)
app.command()(check)
runs.register(app)
app.command()(history)
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
    """Is what is said about a network's gradients true?"""


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="a saved run: .gradflow/…/NNNN_name.json or a run.json")],
    out: Annotated[Path, typer.Option(help="where the page, the figures and run.json go")] = Path("reports"),
) -> None:
    """Write the page of a saved run: a study's as index.html, a pytest session's as gradflow.html.

    Exit status: 0 written, 2 bad input.
    """
    with usage_errors("vgharness report"):
        loaded = load(run)
        if isinstance(loaded, Run):
            from vgharness.report.study_page import FILES, write_report  # matplotlib is slow to import

            check_folder(out, "--out", FILES)
            page = write_report(loaded, out)
        else:
            from vgharness.report.session_page import write_session_page

            check_folder(out, "--out", [SESSION_PAGE])
            page = write_session_page(loaded, out / SESSION_PAGE)
        say(f"page written to {shown(page)}")


def main() -> None:
    """Entry point of the command ``vgharness``."""
    run_program(app)
