"""``vgharness reproduce FOLDER``: runs again the pass in which a training's first NaN was born.

    vgharness reproduce .gradflow/Linux-x86_64-py3.12-cpu/0007_training_nan
    vgharness reproduce FOLDER --model train.py:make_model

Exit status: 1 it shows again; 0 all is finite now; 2 bad input.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vgharness.cli.errors import usage_errors
from vgharness.errors import UsageError
from vgharness.formatting import count, escaped
from vgharness.system.files import shown
from vgharness.system.terminal import say


def reproduce(
    folder: Annotated[Path, typer.Argument(help="that the first NaN of a training was written to")],
    model: Annotated[
        str | None,
        typer.Option(help="what makes the model, where it could not be pickled: path/file.py:make_model"),
    ] = None,
    device: Annotated[str | None, typer.Option(help="to run on; without it, the one that it trained on")] = None,
) -> None:
    """Run again the pass in which a training's first NaN was born, from the folder that `vgharness.watch` wrote, and
    say where it is born.

    This runs code: the model is unpickled, its modules are imported, and of a training script the definitions that the
    model needs are run, not the training. Give only folders that you trust.

    Exit status: 1 it shows again, 0 all is finite now, 2 bad input.
    """
    with usage_errors("vgharness reproduce"):
        from vgharness.check.model_source import load_factory
        from vgharness.watching.first_nan.reproduction import show_again

        found = show_again(folder, None if model is None else load_factory(model), device)
        birth, cause = found.facts.birth, found.cause
        if not cause.known and not cause.repeated:
            raise UsageError(f"{shown(folder)}: {cause.remark}")
    say(f"{shown(folder)}: {escaped(found.facts.architecture)}, step {birth.step}, batch {birth.batch}")
    say(f"then: {escaped(birth.cause)}{escaped(f' ({birth.remark})' if birth.remark else '')}")
    if not cause.known:
        ran = "" if found.device == found.facts.device else f" on {found.device}, not on {found.facts.device} as then"
        hooks = found.facts.hooks if model is None else 0
        left_out = f"; {count(hooks, 'hook')} of the model's could not be kept" if hooks else ""
        say(f"now: all is finite{ran}{left_out}")
        raise typer.Exit(0)
    now = birth.model_copy(update={"origin": cause.origin, "loss": cause.loss, "parameter": cause.parameter})
    say(f"now: {escaped(now.cause)}")
    raise typer.Exit(1)
