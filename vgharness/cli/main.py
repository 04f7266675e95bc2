"""The command ``vgharness``: any model checked, saved runs listed, compared and shown."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vgharness.cli import bench, runs
from vgharness.cli.check import check
from vgharness.cli.errors import usage_errors
from vgharness.cli.full import full
from vgharness.records import Run
from vgharness.storage.store import load
from vgharness.system.files import check_writable

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Is what is said about a network's gradients true?")
app.command()(full)
app.command()(check)
runs.register(app)
app.add_typer(bench.app, name="bench")


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="a saved run: .gradflow/…/NNNN_name.json or a run.json")],
    out: Annotated[Path, typer.Option(help="where the page, the figures and run.json go")] = Path("reports"),
) -> None:
    """Write the page of a saved run: a study's as index.html, a pytest session's as gradflow.html."""
    with usage_errors("vgharness report"):
        loaded = load(run)
        check_writable(out, "--out", "give another folder with --out")
        if isinstance(loaded, Run):
            from vgharness.report.study_page import write_report  # matplotlib is slow to import

            page = write_report(loaded, out)
        else:
            from vgharness.report.session_page import write_session_page

            page = write_session_page(loaded, out / "gradflow.html")
        typer.echo(f"page written to {page}")


def main() -> None:
    """Entry point of the command ``vgharness``."""
    app()


if __name__ == "__main__":
    main()
