"""The commands on saved runs: ``vgharness list``, ``vgharness show`` and ``vgharness compare``. None imports torch."""

from __future__ import annotations

import csv as csv_format
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vgharness.cli.errors import usage_errors
from vgharness.errors import UsageError
from vgharness.formatting import escaped, moment
from vgharness.storage.entries import FINISHED, Skipped
from vgharness.storage.store import DEFAULT_ROOT, RunStore, load, load_session
from vgharness.system.files import check_folder, shown
from vgharness.system.terminal import console, say, say_json

if TYPE_CHECKING:
    from vgharness.gradflow.comparison import Comparison
    from vgharness.records import Run, Session
    from vgharness.report.past.runs import Past
    from vgharness.report.tables import Sheet

REGRESSION = 1

Storage = Annotated[Path, typer.Option(help="the folder of saved runs")]
Markdown = Annotated[bool, typer.Option("--markdown", help="as Markdown, for a pull-request comment")]


def register(app: typer.Typer) -> None:
    """Adds the commands ``list``, ``show`` and ``compare``."""
    app.command("list")(list_runs)
    app.command("show")(show)
    app.command("compare")(compare_runs)


def list_runs(storage: Storage = DEFAULT_ROOT) -> None:
    """List the saved runs and sessions."""
    with usage_errors("vgharness list"):
        found = RunStore(storage).entries()
    _say_skipped(found.skipped)
    # As lines of text: of some thousand rows a rich table takes two seconds to lay out.
    for machine in dict.fromkeys(entry.machine for entry in found.entries):
        say(escaped(machine))
        entries = [entry for entry in found.entries if entry.machine == machine]
        width = max(len(escaped(entry.name)) for entry in entries)
        for entry in entries:
            created = escaped(moment(entry.created))
            size = f"{entry.size / 1000:,.1f} kB"
            status = "" if entry.status == FINISHED else f"  {escaped(entry.status)}"
            say(f"  {entry.number:04}  {escaped(entry.name):{width}}  {entry.kind:7}  {created:19}  {size:>12}{status}")
    if not found.entries:
        say(f"{shown(storage)}: nothing is saved here")


def show(
    run: Annotated[str | None, typer.Argument(help="number, name or file of a session; without it the latest")] = None,
    against: Annotated[str | None, typer.Option(help="also show the change against this session")] = None,
    markdown: Markdown = False,
    storage: Storage = DEFAULT_ROOT,
) -> None:
    """Show the gradients that a saved session measured."""
    with usage_errors("vgharness show"):
        path, session = _load(storage, run)
        before = None if against is None else _load(storage, against)[1]
        from vgharness.gradflow.comparison import compare  # scipy is slow to import
        from vgharness.report.tables import session_table

        compared = None if before is None else compare(before, session)
        sheets = [session_table(sample, compared) for sample in session.samples]
    if not markdown:
        say(f"{shown(path)}, {escaped(f'{moment(session.created)}, {session.machine.id}')}")
        for caveat in session.caveats:
            say(escaped(caveat))
    _print(sheets, markdown)


def compare_runs(
    sessions: Annotated[
        list[str],
        typer.Argument(
            help="two or more: each a number, a name, a file, a commit, a git ref, or a glob of names ('nightly*'); "
            "all are held against the first, or, where it is alone, the latest is"
        ),
    ],
    fail: Annotated[
        list[str] | None,
        typer.Option(
            help="what is a regression: signal_l2:20%, signal_l2:-20% (a decrease), factor:0.1 (as a difference), "
            "vanished, new or renamed (tests and layers); may be given several times"
        ),
    ] = None,
    csv: Annotated[bool, typer.Option("--csv", help="every value as a row of CSV")] = False,
    json: Annotated[bool, typer.Option("--json", help="everything as JSON")] = False,
    markdown: Markdown = False,
    storage: Storage = DEFAULT_ROOT,
) -> None:
    """Compare saved sessions with the first of them: exit status 1 where there is a regression, 2 for bad input."""
    with usage_errors("vgharness compare"):
        if csv + json + markdown > 1:
            raise UsageError("--csv, --json and --markdown: give one of them")
        (path, old), *others = _load_all(storage, sessions)
        if (csv or json) and len(others) > 1:
            raise UsageError(f"--csv and --json are of two sessions, these are {len(others) + 1}; name two")
        from vgharness.gradflow.comparison import compare
        from vgharness.gradflow.limits import check_limits, parse_failures  # scipy is slow to import

        limits, fail_on = parse_failures(fail or [])
        for _, now in others:
            check_limits(limits, old, now)
        found = [(path_now, compare(old, now, limits, fail_on)) for path_now, now in others]
        for path_now, each in found:
            if not each.changes and not each.regressions:
                raise UsageError(
                    f"{path} and {path_now}: no test with a value is in both; compare runs of the same tests"
                )
    for path_now, each in found:
        if csv:
            _print_csv(each)
        elif json:
            say_json(each)
        else:
            _print_comparison(path, path_now, each, markdown, several=len(found) > 1)
    if any(each.regressions for _, each in found):
        raise typer.Exit(REGRESSION)


def load_saved(storage: Path, which: str) -> tuple[Path, Run | Session]:
    """Finds and loads a study's run or a session: ``which`` is its number, its name or its file's path.

    Later files of that name that cannot be read are reported on stderr. Raises
    :class:`~vgharness.errors.UsageError` where there is none, or where it cannot be read.
    """
    found = RunStore(storage).find(which, kind=None)
    _say_skipped(found.skipped)
    return found.path, load(found.path)


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
    _say_skipped(past.skipped if past else ())
    return past


def _print_comparison(before: Path, after: Path, found: Comparison, markdown: bool, *, several: bool) -> None:
    from vgharness.report.tables import as_code, comparison_table

    if not markdown:
        say(f"before: {shown(before)}\nafter:  {shown(after)}")
    elif several:
        say(f"### {as_code(after.name)}\n")
    *sheets, conclusion = comparison_table(found)
    _print([conclusion, *sheets] if markdown else [*sheets, conclusion], markdown)


def _load_all(storage: Path, sessions: Sequence[str]) -> list[tuple[Path, Session]]:
    """Two at least; the latest where one is named."""
    store = RunStore(storage)
    paths = [path for which in sessions for path in store.find_all(which)]
    loaded = [(path, load_session(path)) for path in paths]
    if len(loaded) == 1:
        loaded.append(_load(storage, None))
    for path, session in loaded:
        for caveat in session.caveats:
            say(f"{shown(path)}: {escaped(caveat)}", stderr=True)
    return loaded


def _load(storage: Path, which: str | None) -> tuple[Path, Session]:
    found = RunStore(storage).find(which)
    _say_skipped(found.skipped)
    return found.path, load_session(found.path)


def _say_skipped(skipped: Iterable[Skipped]) -> None:
    for path, reason in skipped:
        say(f"skipped {shown(path)}: {escaped(reason)}", stderr=True)


def _print(sheets: Sequence[Sheet], markdown: bool) -> None:
    from vgharness.report.tables import markdown as as_markdown

    if markdown:
        say(as_markdown(sheets), end="")
    else:
        console().print(*sheets, sep="\n")


def _print_csv(found: Comparison) -> None:
    """A row for each value, then one for each test or layer that is not on both sides under one name."""
    values = ("before", "after", "mean", "change", "low", "high", "p", "seeds_to_tell", "same_seeds")
    fields = ("sample", "layer", "quantity", "outcome", *values, "seeds_before", "seeds_after", "reason")
    writer = csv_format.DictWriter(sys.stdout, fields, lineterminator="\n")
    writer.writeheader()
    for change in found.changes:
        row = change.model_dump(exclude={"seeds", "limited"})
        row["layer"] = "" if change.layer is None else str(change.layer)
        writer.writerow({**row, "seeds_before": change.seeds[0], "seeds_after": change.seeds[1]})
    for each in found.appearances:
        layer = "" if each.layer is None else str(each.layer)
        outcome = "regression" if each.fails else each.presence
        reason = f"{each.presence}{f', now {each.now}' if each.now else ''}"
        writer.writerow({"sample": each.sample, "layer": layer, "outcome": outcome, "reason": reason})
    for note in found.notes:
        say(escaped(note), stderr=True)
