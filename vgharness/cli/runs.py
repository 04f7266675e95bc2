"""The commands ``vgharness list`` and ``vgharness show``, and what all commands on saved runs share. No torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from vgharness.cli.errors import usage_errors
from vgharness.errors import UsageError
from vgharness.formatting import count, escaped, moment
from vgharness.records import Run, Session, TrainingLog, tally_of
from vgharness.storage.entries import FINISHED, Entry, Skipped, status_of
from vgharness.storage.reading import is_log, without_path
from vgharness.storage.store import DEFAULT_ROOT, Kinds, RunStore, load, load_measured, load_session
from vgharness.storage.training_reading import load_training_log, overview_of
from vgharness.system.files import check_folder, shown
from vgharness.system.terminal import console, say

if TYPE_CHECKING:
    from vgharness.report.past.runs import Past
    from vgharness.report.tables import Sheet

Saved = Run | Session | TrainingLog
# What each is called.
KINDS: Final = {Run: "study's run", Session: "pytest session", TrainingLog: "training log"}
Storage = Annotated[Path, typer.Option(help="the folder of saved runs")]
Markdown = Annotated[bool, typer.Option("--markdown", help="as Markdown, for a pull-request comment")]


def register(app: typer.Typer) -> None:
    """Adds the commands ``list`` and ``show``."""
    app.command("list")(list_runs)
    app.command("show")(show)


def list_runs(storage: Storage = DEFAULT_ROOT) -> None:
    """List the saved runs, sessions and training logs: of a study's run how many verdicts it came to and its settings,
    of a training how many steps it took and how many problems it had, and whether it goes on or was killed."""
    with usage_errors("vgharness list"):
        found = RunStore(storage).entries()
    say_skipped(found.skipped)
    # As lines of text: of some thousand rows a rich table takes two seconds to lay out.
    for machine in dict.fromkeys(entry.machine for entry in found.entries):
        say(escaped(machine))
        entries = [entry for entry in found.entries if entry.machine == machine]
        width = max(len(escaped(entry.name)) for entry in entries)
        for entry in entries:
            created = escaped(moment(entry.created))
            size = f"{entry.size / 1000:,.1f} kB"
            status = "" if entry.status == FINISHED else f"  {escaped(entry.status)}"
            say(f"  {entry.number:04}  {escaped(entry.name):{width}}  {entry.kind:8}  {created:19}  {size:>12}{status}")
            if entry.kind != "session":
                say(f"        {escaped(_study_line(entry) if entry.kind == 'run' else _training_line(entry))}")
    if not found.entries:
        say(f"{shown(storage)}: nothing is saved here")


def _study_line(entry: Entry) -> str:
    """From what is kept beside the run, or once from the run itself."""
    from vgharness.records import tally_line
    from vgharness.report.past.digest import digest_at  # scipy is slow to import

    try:
        digest = digest_at(entry.path)
    except UsageError as error:
        return f"cannot be loaded: {without_path(entry.path, error)}"
    return f"{tally_line(digest.verdicts) or 'no verdicts'}; {digest.settings}"


def _training_line(entry: Entry) -> str:
    try:
        found = overview_of(entry.path)
    except UsageError as error:
        return f"cannot be loaded: {without_path(entry.path, error)}"
    return f"{count(found.steps, 'step')}; {tally_of(found.problems, found.warnings, found.births)}"


def show(
    run: Annotated[
        str | None, typer.Argument(help="number, name or file of a session or a training log; without it the latest")
    ] = None,
    against: Annotated[str | None, typer.Option(help="also show the change against this session")] = None,
    markdown: Markdown = False,
    storage: Storage = DEFAULT_ROOT,
) -> None:
    """Show the gradients that a saved session measured, or a training log: how the training ended, its problems with
    their steps, and each layer at first and at last."""
    with usage_errors("vgharness show"):
        path, record = _load(storage, run)
        before = None if against is None else _load(storage, against)[1]
        heading, sheets = _sheets(path, record, before)
    if not markdown:
        say(f"{shown(path)}, {escaped(f'{moment(record.created)}, {record.machine.id}')}")
        for line in heading:
            say(escaped(line))
    print_sheets(sheets, markdown)


def _sheets(
    path: Path, record: Session | TrainingLog, before: Session | TrainingLog | None
) -> tuple[Sequence[str], Sequence[Sheet]]:
    """Lines above the tables, and those."""
    if isinstance(record, TrainingLog):
        if before is not None:
            raise UsageError("--against: is for sessions, this is a training log; leave it out")
        from vgharness.report.training_table import log_sheets  # scipy is slow to import

        return (), log_sheets(record, status_of(path, record.status))
    if isinstance(before, TrainingLog):
        raise UsageError("--against: this is a training log, and the other is a session; name a session")
    from vgharness.gradflow.comparison import compare
    from vgharness.report.tables import session_table

    compared = None if before is None else compare(before, record)
    return record.caveats, [session_table(sample, compared) for sample in record.samples]


def load_saved(storage: Path, which: str) -> tuple[Path, Run | Session]:
    """Finds and loads a study's run or a session: ``which`` is its number, its name or its file's path.

    Later files of that name that cannot be read are reported on stderr. Raises
    :class:`~vgharness.errors.UsageError` where there is none, or where it cannot be read.
    """
    path = _find(storage, which, ("run", "session"))
    return path, load_measured(path)


def load_any(storage: Path, which: str) -> tuple[Path, Run | Session | TrainingLog]:
    """:func:`load_saved`, or a training log."""
    path = _find(storage, which, None)
    return path, load(path)


def _find(storage: Path, which: str | None, kinds: Kinds) -> Path:
    found = RunStore(storage).find(which, kinds)
    say_skipped(found.skipped)
    return found.path


def check_one_kind(loaded: Sequence[tuple[Path, Saved]]) -> None:
    """Raises :class:`~vgharness.errors.UsageError` where they are not all studies' runs, pytest sessions, or training
    logs."""
    of_kind = {KINDS[type(record)]: path for path, record in reversed(loaded)}
    if len(of_kind) > 1:
        last, first = sorted(of_kind, key=list(KINDS.values()).index, reverse=True)[:2]
        raise UsageError(f"{shown(of_kind[last])}: a {last}, and the other is a {first}; name two of one kind")


def check_report(out: Path) -> None:
    """Checks that the page of a study's run and all that goes with it can be written into ``out``. Raises
    :class:`~vgharness.errors.UsageError`."""
    from vgharness.report.past.runs import FOLDER
    from vgharness.report.study_page import FILES  # matplotlib is slow to import

    check_folder(out, "--out", FILES)
    check_folder(out / FOLDER, "--out")


def past_runs(saved: Path, run: Run, out: Path) -> Past | None:
    """What the page of ``run``, saved as ``saved``, says of the other runs of its store; files that were passed over
    are reported on stderr. A store that cannot be read costs no page: then there is nothing to say."""
    from vgharness.report.past.runs import past_of  # scipy is slow to import

    try:
        past = past_of(saved, run, out)
    except UsageError as error:
        say(f"skipped {escaped(str(error))}", stderr=True)
        return None
    say_skipped(past.skipped if past else ())
    return past


def _load(storage: Path, which: str | None) -> tuple[Path, Session | TrainingLog]:
    path = _find(storage, which, ("session", "training"))
    return path, load_training_log(path) if is_log(path) else load_session(path)


def say_skipped(skipped: Iterable[Skipped]) -> None:
    """Says on stderr which files were passed over, and why."""
    for path, reason in skipped:
        say(f"skipped {shown(path)}: {escaped(reason)}", stderr=True)


def print_sheets(sheets: Sequence[Sheet], markdown: bool) -> None:
    """Prints tables, for a terminal or as Markdown."""
    from vgharness.report.tables import markdown as as_markdown

    if markdown:
        say(as_markdown(sheets), end="")
    else:
        console().print(*sheets, sep="\n")
