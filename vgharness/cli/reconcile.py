"""``vgharness reconcile RUN``: which networks of a run could have given the studied README's numbers.

    vgharness run reconcile --device cuda
    vgharness reconcile reconcile

Exit status: 0; 2 bad input.
"""

from __future__ import annotations

from typing import Annotated

import typer

from vgharness.cli.errors import usage_errors
from vgharness.cli.runs import Storage, load_saved
from vgharness.errors import UsageError
from vgharness.formatting import escaped
from vgharness.records import Run
from vgharness.storage.store import DEFAULT_ROOT
from vgharness.system.files import shown
from vgharness.system.terminal import console, say


def reconcile(
    run: Annotated[str, typer.Argument(help="file, number or name of a study's run")] = "reconcile",
    storage: Storage = DEFAULT_ROOT,
) -> None:
    """Say which networks of a run could have given each of the studied README's accuracies, as one run of theirs, and
    which numbers none could. The study reconcile trains the plausible readings of it.
    """
    with usage_errors("vgharness reconcile"):
        path, found = load_saved(storage, run)
        if not isinstance(found, Run):
            raise UsageError(f"{shown(path)}: a pytest session, not a study's run; train one: vgharness run reconcile")
        from vgharness.report.reconcile import conclusions, reconciled, reconciled_table

        said = reconciled(found)
    say(f"{shown(path)}, on {escaped(found.data.description)}")
    console().print(reconciled_table(said))
    for line in conclusions(said):
        console().print(escaped(line), soft_wrap=True)
