"""``vgharness history``: how each value went from one saved session, run or training to the next."""

from __future__ import annotations

import json as json_format
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vgharness.cli.errors import usage_errors
from vgharness.cli.runs import Storage
from vgharness.errors import UsageError
from vgharness.formatting import escaped
from vgharness.records import Session
from vgharness.storage.entries import FINISHED, Entry
from vgharness.storage.store import DEFAULT_ROOT, RunStore, load_session
from vgharness.storage.training_log import load_training_log
from vgharness.system.files import check_file, shown
from vgharness.system.terminal import say, say_json

if TYPE_CHECKING:
    from vgharness.records import TrainingLog
    from vgharness.report.history import Saved
    from vgharness.report.past.digest import Digest

GITHUB = "github-action-benchmark"


def history(
    test: Annotated[
        str | None, typer.Argument(help="only of tests, networks of a study, or trainings, with this in the name")
    ] = None,
    html: Annotated[Path | None, typer.Option(help="write a page with a chart for each value")] = None,
    json: Annotated[bool, typer.Option("--json", help="every point as JSON")] = False,
    export: Annotated[str | None, typer.Option(help=f"the latest session in another format: {GITHUB}")] = None,
    storage: Storage = DEFAULT_ROOT,
) -> None:
    """Show how saved values went, oldest first, and where they changed, with the commits."""
    with usage_errors("vgharness history"):
        if json and export is not None:
            raise UsageError("--json and --export: give one of them")
        if export not in (None, GITHUB):
            raise UsageError(f"--export {export}: use {GITHUB}")
        if html is not None:
            check_file(html, "--html")
        saved = _loaded(storage)
        from vgharness.report.history import github_action_benchmark, history_lines, history_of

        found = history_of(saved, test)
        if not found.series:
            what = f"no value of {escaped(test)!r} is" if test is not None else "nothing is"
            raise UsageError(f"{shown(storage)}: {what} saved here; `vgharness list` shows what there is")
        if html is not None:
            from vgharness.report.history_page import write_history_page

            write_history_page(found, html)
    if export is not None:
        latest = next((x.record for x in reversed(saved) if isinstance(x.record, Session)), None)
        entries = github_action_benchmark(latest) if latest is not None else []
        say(json_format.dumps([x for x in entries if test is None or test in x["name"]], indent=1))
    elif json:
        say_json(found)
    else:
        for line in history_lines(found):
            say(line)
        if html is not None:
            say(f"page written to {shown(html)}")


def _loaded(storage: Path) -> list[Saved]:
    """All that is saved and can be read, oldest first; of the rest it is said why not."""
    from vgharness.report.history import Saved  # scipy is slow to import

    saved: list[Saved] = []
    entries, skipped = RunStore(storage).entries()
    for path, reason in skipped:
        say(f"skipped {shown(path)}: {escaped(reason)}", stderr=True)
    for entry in entries:
        if entry.kind == "training" and entry.status != FINISHED:
            say(f"skipped {shown(entry.path)}: the training is {entry.status}, not {FINISHED}", stderr=True)
            continue
        try:
            saved.append(Saved(entry.number, entry.name, _record(entry)))
        except UsageError as error:
            say(f"skipped {escaped(str(error))}", stderr=True)
    return saved


def _record(entry: Entry) -> Session | Digest | TrainingLog:
    from vgharness.report.past.digest import digest_at  # scipy is slow to import

    if entry.kind == "training":
        return load_training_log(entry.path)
    return digest_at(entry.path) if entry.kind == "run" else load_session(entry.path)
