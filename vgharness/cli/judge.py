"""``vgharness judge FILE RUN…``: holds the claims of a file against what was measured and saved.

    vgharness judge claims.toml run.json
    vgharness judge claims.toml main 12 --junit verdicts.xml
    vgharness judge claims.toml training-1 training-2 training-3

Exit status: 0 every claim that ran was reproduced; 1 some was not, or none ran; 2 bad input.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from vgharness.cli.errors import usage_errors
from vgharness.cli.runs import Storage, load_any
from vgharness.cli.verdicts import README_CLAIMS, chosen_claims, print_verdicts, verdict_status
from vgharness.errors import UsageError
from vgharness.formatting import escaped
from vgharness.records import Run
from vgharness.storage.store import DEFAULT_ROOT
from vgharness.system.files import check_file, shown, write_whole
from vgharness.system.terminal import console, say, say_json


def judge(
    file: Annotated[
        str, typer.Argument(help=f"a claims file (TOML), or the word {README_CLAIMS}: the studied README's own claims")
    ],
    runs: Annotated[
        list[str],
        typer.Argument(
            help="file, number or name of a study's run, a pytest session or a training log; several count together"
        ),
    ],
    json: Annotated[bool, typer.Option("--json", help="print everything as JSON, for other programs")] = False,
    junit: Annotated[
        Path | None, typer.Option(help="also write JUnit XML to this file: a test case for each claim")
    ] = None,
    storage: Storage = DEFAULT_ROOT,
) -> None:
    """Judge a file of claims by saved runs, pytest sessions and trainings, all together. What a file may say: README,
    "Your own claims".

    Exit status: 0 every claim that ran was reproduced, 1 some claim was not or none ran, 2 bad input.
    """
    with usage_errors("vgharness judge"):
        if junit is not None:
            check_file(junit, "--junit")
        chosen = chosen_claims(None if file == README_CLAIMS else file)
        saved = [load_any(storage, each) for each in runs]
        if junit is not None:
            _check_is_no_input(junit, [Path(file), *(path for path, _ in saved)])
        from vgharness.report.junit import junit_xml
        from vgharness.report.rounds import rounds_line
        from vgharness.report.verdict_json import as_json
        from vgharness.study.judging import evidence_at
        from vgharness.study.judging import judge as judge_claims

        verdicts = judge_claims(chosen, *(evidence_at(path, loaded) for path, loaded in saved))
        document = chosen[0].document
        if json:
            say_json(as_json(document, [(str(path), loaded) for path, loaded in saved], verdicts))
        else:
            say(f"{escaped(document.title)}, judged on {', '.join(shown(path) for path, _ in saved)}")
            print_verdicts(console(), verdicts)
            for path, loaded in saved:
                if isinstance(loaded, Run) and (looked := rounds_line(loaded.study)):
                    say(f"{shown(path)}: {looked}")
        if junit is not None:
            write_whole(junit, junit_xml(document, verdicts))
            say(f"JUnit XML written to {shown(junit)}", stderr=json)
    raise typer.Exit(verdict_status(verdicts))


def _check_is_no_input(junit: Path, inputs: Iterable[Path]) -> None:
    for path in inputs:
        if junit.exists() and path.exists() and junit.samefile(path):
            raise UsageError(f"--junit {shown(junit)}: this is what is to be judged; give another file")
