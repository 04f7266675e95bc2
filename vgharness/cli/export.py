"""``vgharness export RUN``: a study's run as a table, for a spreadsheet, pandas, R or any other program.

    vgharness export 3 > curves.csv
    vgharness export 3 --what gradients --parquet --out gradients.parquet
    vgharness export reports/run.json --what verdicts --json

Exit status: 0 printed or written; 2 bad input.
"""

from __future__ import annotations

import json as json_format
from pathlib import Path
from typing import Annotated, Final

import typer

from vgharness.cli.errors import usage_errors
from vgharness.cli.runs import Storage, load_saved
from vgharness.errors import UsageError
from vgharness.formatting import count, escaped
from vgharness.records import TABLES, Run, Table, table_of
from vgharness.report.csv_text import as_csv
from vgharness.storage.store import DEFAULT_ROOT
from vgharness.system.files import check_file, shown, write_text, write_whole
from vgharness.system.terminal import say, say_table

_FORMATS: Final = ("csv", "parquet", "json")


def export(
    run: Annotated[str, typer.Argument(help="file, number or name of a study's run")],
    csv: Annotated[bool, typer.Option("--csv", help="as CSV, the default")] = False,
    parquet: Annotated[
        bool, typer.Option("--parquet", help="as Parquet, into --out FILE; needs the extra [frame]")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="as a JSON list with an object for each row")] = False,
    what: Annotated[
        str,
        typer.Option(
            help="curves: a row for each network and epoch; gradients: for each network, moment and layer; verdicts: "
            "for each reading of each verdict"
        ),
    ] = TABLES[0],
    out: Annotated[Path | None, typer.Option(help="write into this file, in place of printing")] = None,
    storage: Storage = DEFAULT_ROOT,
) -> None:
    """Export a study's run as a table: every row has all settings of its network, each as a column. In Python:
    vgharness.load_run(FILE).to_frame("curves").

    Exit status: 0 printed or written, 2 bad input.
    """
    with usage_errors("vgharness export"):
        chosen = _format({"csv": csv, "parquet": parquet, "json": json}, out)
        table = next((each for each in TABLES if each == what), None)
        if table is None:
            raise UsageError(f"--what {escaped(what)}: use {', '.join(TABLES)}")
        if out is not None:
            check_file(out, "--out")
        path, loaded = load_saved(storage, run)
        if not isinstance(loaded, Run):
            raise UsageError(f"{shown(path)}: a pytest session; export is of a study's run")
        if out is not None and out.exists() and out.samefile(path):
            raise UsageError(f"--out {shown(out)}: this is the run itself; give another file")
        found = table_of(loaded, table)
        if chosen == "parquet":
            assert out is not None
            write_whole(out, found.to_parquet())
        elif out is not None:
            write_text(out, _text(found, chosen))
        else:
            say_table(_text(found, chosen))
            return
        say(f"{count(len(found.rows), 'row')} of {table} written to {shown(out)}")


def _format(given: dict[str, bool], out: Path | None) -> str:
    """The one that was asked for; else the one that the file's name ends in; else CSV."""
    asked = [name for name in _FORMATS if given[name]]
    if len(asked) > 1:
        raise UsageError("--csv, --parquet and --json: give one of them")
    ending = "" if out is None else out.suffix.removeprefix(".").lower()
    chosen = asked[0] if asked else ending if ending in _FORMATS else _FORMATS[0]
    if chosen == "parquet" and out is None:
        raise UsageError("--parquet: give the file too, as --out FILE")
    return chosen


def _text(table: Table, form: str) -> str:
    if form == "json":
        return json_format.dumps(table.records(), indent=1) + "\n"
    flat = table.flat()
    return as_csv(flat.columns, flat.rows)
