"""The command ``vgharness``: what can be done with a saved run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vgharness import bench
from vgharness.files import check_writable
from vgharness.full import full
from vgharness.store import load_run
from vgharness.terminal import usage_errors

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Is what is said about a network's gradients true?")
app.command()(full)
app.add_typer(bench.app, name="bench")


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="a saved run: .gradflow/…/NNNN_name.json or a run.json")],
    out: Annotated[Path, typer.Option(help="where the page, the figures and run.json go")] = Path("reports"),
) -> None:
    """Write the page of a saved run."""
    with usage_errors("vgharness report"):
        from vgharness.report import write_report  # matplotlib is slow to import

        loaded = load_run(run)
        check_writable(out, "--out", "give another folder with --out")
        typer.echo(f"page written to {write_report(loaded, out)}")


def main() -> None:
    """Entry point of the command ``vgharness``."""
    app()


if __name__ == "__main__":
    main()
