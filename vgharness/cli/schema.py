"""``vgharness schema [NAME]``: prints a JSON Schema of what is saved and printed.

    vgharness schema
    vgharness schema run > run.schema.json
    vgharness schema --out schemas

Exit status: 0 printed or written; 2 bad input.
"""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

from vgharness.cli.errors import usage_errors
from vgharness.errors import UsageError
from vgharness.formatting import escaped
from vgharness.system.files import check_folder, shown, write_text
from vgharness.system.terminal import say


def schema(
    name: Annotated[str | None, typer.Argument(help="which; without it they are listed")] = None,
    out: Annotated[
        Path | None, typer.Option(help="write all of them into this folder, made anew from this version's records")
    ] = None,
) -> None:
    """Print a JSON Schema of what is saved and printed, for programs that read it.

    Exit status: 0 printed or written, 2 bad input.
    """
    with usage_errors("vgharness schema"):
        if out is not None:
            if name is not None:
                raise UsageError(f"{escaped(name)} and --out: give one of them; --out writes all")
            _write(out)
            return
        published = {path.name.removesuffix(".json"): path for path in (files("vgharness") / "schemas").iterdir()}
        if name is None:
            for each in sorted(published):
                say(f"{each:<10}{json.loads(published[each].read_text(encoding='utf-8'))['title']}")
        elif name in published:
            say(published[name].read_text(encoding="utf-8"), end="")
        else:
            raise UsageError(f"{escaped(name)}: there is no such schema; use one of {', '.join(sorted(published))}")


def _write(out: Path) -> None:
    from vgharness.report.schemas import SCHEMAS, schema_text  # torch is slow to import

    check_folder(out, "--out", [f"{name}.json" for name in SCHEMAS])
    for name in SCHEMAS:
        write_text(out / f"{name}.json", schema_text(name))
    say(f"{len(SCHEMAS)} schemas written to {shown(out)}")
