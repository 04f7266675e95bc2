"""``vgharness export RUN``: a study's run or a training log as a table, for a spreadsheet, pandas or any other program.

    vgharness export 3 > curves.csv
    vgharness export 3 --what gradients --parquet --out gradients.parquet
    vgharness export reports/run.json --what verdicts --json
    vgharness export training --what problems

Exit status: 0 printed or written; 2 bad input.
"""

from __future__ import annotations

import json as json_format
from pathlib import Path
from typing import Annotated, Final, TypeVar

import typer

from vgharness.cli.errors import usage_errors
from vgharness.cli.runs import Storage, load_any
from vgharness.errors import UsageError
from vgharness.formatting import count, escaped
from vgharness.records import LOG_TABLES, TABLES, Run, Session, Table, TrainingLog, log_table_of, table_of
from vgharness.report.csv_text import as_csv
from vgharness.storage.store import DEFAULT_ROOT
from vgharness.system.files import check_file, shown, write_text, write_whole
from vgharness.system.terminal import say, say_table

AnyName = TypeVar("AnyName", bound=str)

_FORMATS: Final = ("csv", "parquet", "json")


def export(
    run: Annotated[str, typer.Argument(help="file, number or name of a study's run or of a training log")],
    csv: Annotated[bool, typer.Option("--csv", help="as CSV, the default")] = False,
    parquet: Annotated[
        bool, typer.Option("--parquet", help="as Parquet, into --out FILE; needs the extra [frame]")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="as a JSON list with an object for each row")] = False,
    what: Annotated[
        str | None,
        typer.Option(
            help="of a study curves (the default): a row for each network and epoch; gradients: for each network, "
            "moment and layer; verdicts: for each reading of each verdict. Of a training log snapshots (the default): "
            "for each snapshot and layer; parameters: for each snapshot and parameter; problems: for each problem"
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="write into this file, in place of printing")] = None,
    storage: Storage = DEFAULT_ROOT,
) -> None:
    """Export a study's run as a table: every row has all settings of its network, each as a column; or a training log.
    In Python: vgharness.load_run(FILE).to_frame("curves"), vgharness.load_training_log(FILE).to_frame("snapshots").

    Exit status: 0 printed or written, 2 bad input.
    """
    with usage_errors("vgharness export"):
        chosen = _format({"csv": csv, "parquet": parquet, "json": json}, out)
        if what not in (None, *TABLES, *LOG_TABLES):
            raise UsageError(
                f"--what {escaped(what or '')}: use {', '.join(TABLES)}; of a training log {', '.join(LOG_TABLES)}"
            )
        if out is not None:
            check_file(out, "--out")
        path, loaded = load_any(storage, run)
        if isinstance(loaded, Session):
            raise UsageError(f"{shown(path)}: a pytest session; export is of a study's run or a training log")
        if out is not None and out.exists() and out.samefile(path):
            raise UsageError(f"--out {shown(out)}: this is the run itself; give another file")
        table, found = _table(loaded, what)
        if chosen == "parquet":
            assert out is not None
            write_whole(out, found.to_parquet())
        elif out is not None:
            write_text(out, _text(found, chosen))
        else:
            say_table(_text(found, chosen))
            return
        say(f"{count(len(found.rows), 'row')} of {table} written to {shown(out)}")


def _table(record: Run | TrainingLog, what: str | None) -> tuple[str, Table]:
    """The one that was asked for, or the record's first, with its name."""
    if isinstance(record, Run):
        name = _named(what, TABLES, "a study's run")
        return name, table_of(record, name)
    of_log = _named(what, LOG_TABLES, "a training log")
    return of_log, log_table_of(record, of_log)


def _named(what: str | None, names: tuple[AnyName, ...], record: str) -> AnyName:
    for name in names:
        if what in (None, name):
            return name
    raise UsageError(f"--what {what}: this is {record}; use {', '.join(names)}")


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
