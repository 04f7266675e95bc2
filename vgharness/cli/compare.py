"""``vgharness compare A B``: two pytest sessions, value by value, two studies' runs, verdict by verdict, or two
trainings, problem by problem and step by step.

    vgharness compare main HEAD --fail signal_l2:-20%
    vgharness compare 3 7 --fail flipped
    vgharness compare training-main training --fail problems

Exit status: 0 compared; 1 something fails by the rules of --fail; 2 bad input. Imports no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, NamedTuple

import typer

from vgharness.cli.errors import usage_errors
from vgharness.cli.runs import KINDS, Markdown, Saved, Storage, check_one_kind, print_sheets, say_skipped
from vgharness.cli.verdicts import README_CLAIMS, chosen_claims, with_verdicts
from vgharness.errors import UsageError
from vgharness.formatting import escaped
from vgharness.records import Run, Session, TrainingLog
from vgharness.report.csv_text import as_csv
from vgharness.storage.entries import Kind
from vgharness.storage.store import DEFAULT_ROOT, NotFoundError, RunStore, load
from vgharness.system.files import shown
from vgharness.system.terminal import say, say_json, say_table

if TYPE_CHECKING:
    from vgharness.gradflow.comparison import Comparison
    from vgharness.report.versus.pairs import Versus
    from vgharness.report.versus.tables import Rule

_REGRESSION: Final = 1
# As the store calls them, in the order in which a name is looked for.
_KINDS: Final[dict[type, Kind]] = {Session: "session", Run: "run", TrainingLog: "training"}


class _As(NamedTuple):
    """How it is to be printed: as one of these, else as tables for a terminal."""

    csv: bool
    json: bool
    markdown: bool


def compare_runs(
    runs: Annotated[
        list[str],
        typer.Argument(
            help="two or more sessions, studies' runs or training logs: each a number, a name, a file, a commit, a git "
            "ref, or a glob of names ('nightly*'); all are held against the first, or, where it is alone, the latest is"
        ),
    ],
    fail: Annotated[
        list[str] | None,
        typer.Option(
            help="what is a regression. Of sessions: signal_l2:20%, signal_l2:-20% (a decrease), factor:0.1 (as a "
            "difference), vanished, new or renamed (tests and layers). Of studies: flipped (a verdict that was "
            "reproduced and is not any more) or changed (any verdict). Of trainings: problems (one that the first did "
            "not have). May be given several times"
        ),
    ] = None,
    claims: Annotated[
        Path | None,
        typer.Option(help=f"hold both studies against this claims file first; the word {README_CLAIMS}: the README's"),
    ] = None,
    csv: Annotated[bool, typer.Option("--csv", help="every value as a row of CSV")] = False,
    json: Annotated[bool, typer.Option("--json", help="everything as JSON")] = False,
    markdown: Markdown = False,
    storage: Storage = DEFAULT_ROOT,
) -> None:
    """Compare saved sessions, studies' runs or training logs with the first of them: each value with the interval of
    its difference; of trainings which problems are new, gone, earlier or later, and values at the same steps. Exit
    status 1 where something fails by --fail, 2 for bad input."""
    with usage_errors("vgharness compare"):
        if csv + json + markdown > 1:
            raise UsageError("--csv, --json and --markdown: give one of them")
        loaded = _load_all(RunStore(storage), runs)
        if (csv or json) and len(loaded) > 2:
            raise UsageError(f"--csv and --json are of two, these are {len(loaded)}; name two")
        how = _As(csv, json, markdown)
        studies = [(path, record) for path, record in loaded if isinstance(record, Run)]
        trainings = [(path, record) for path, record in loaded if isinstance(record, TrainingLog)]
        if studies:
            fails = _compare_studies(studies, fail or [], claims, how)
        elif claims is not None:
            kind = KINDS[type(loaded[0][1])]
            raise UsageError(f"--claims: is for studies' runs, these are {kind}s; leave it out")
        elif trainings:
            fails = _compare_trainings(trainings, fail or [], how)
        else:
            sessions = [(path, record) for path, record in loaded if isinstance(record, Session)]
            fails = _compare_sessions(sessions, fail or [], how)
    if fails:
        raise typer.Exit(_REGRESSION)


# --- what is compared ------------------------------------------------------------------------------------


def _load_all(store: RunStore, names: Sequence[str]) -> list[tuple[Path, Saved]]:
    """Two at least, all of one kind; the latest of that kind where one is named. A name that records of several kinds
    have means what the first is, by itself the session, else the run."""
    kind: Kind = "session"
    loaded: list[tuple[Path, Saved]] = []
    for name in names:
        for path in _paths(store, name, kind):
            loaded.append((path, load(path)))
            kind = _KINDS[type(loaded[0][1])]
    if len(loaded) == 1:
        latest = store.find(None, kind)
        say_skipped(latest.skipped)
        loaded.append((latest.path, load(latest.path)))
    check_one_kind(loaded)
    for path, record in loaded:
        for caveat in record.caveats if isinstance(record, Session) else ():
            say(f"{shown(path)}: {escaped(caveat)}", stderr=True)
    return loaded


def _paths(store: RunStore, name: str, kind: Kind) -> tuple[Path, ...]:
    try:
        return store.find_all(name, kind)
    except NotFoundError as error:
        for other in (each for each in _KINDS.values() if each != kind):
            try:
                return store.find_all(name, other)
            except NotFoundError:
                continue
        raise error from None


# --- sessions --------------------------------------------------------------------------------------------


def _compare_sessions(sessions: Sequence[tuple[Path, Session]], fail: Sequence[str], how: _As) -> bool:
    """Prints how each differs from the first; whether there is a regression."""
    from vgharness.gradflow.comparison import compare
    from vgharness.gradflow.limits import check_limits, parse_failures  # scipy is slow to import

    (path, old), *others = sessions
    limits, fail_on = parse_failures(fail)
    for _, now in others:
        check_limits(limits, old, now)
    found = [(path_now, compare(old, now, limits, fail_on)) for path_now, now in others]
    for path_now, each in found:
        if not each.changes and not each.regressions:
            raise UsageError(f"{path} and {path_now}: no test with a value is in both; compare runs of the same tests")
    for path_now, each in found:
        if how.csv:
            _print_csv(each)
        elif how.json:
            say_json(each)
        else:
            from vgharness.report.tables import comparison_table

            _print_heading(path, path_now, how, several=len(found) > 1)
            *sheets, conclusion = comparison_table(each)
            print_sheets([conclusion, *sheets] if how.markdown else [*sheets, conclusion], how.markdown)
    return any(each.regressions for _, each in found)


def _print_csv(found: Comparison) -> None:
    """A row for each value, then one for each test or layer that is not on both sides under one name."""
    values = ("before", "after", "mean", "change", "low", "high", "p", "seeds_to_tell", "same_seeds")
    columns = ("sample", "layer", "quantity", "outcome", *values, "seeds_before", "seeds_after", "reason")
    rows = []
    for change in found.changes:
        row = change.model_dump(exclude={"seeds", "limited"})
        row["layer"] = "" if change.layer is None else str(change.layer)
        rows.append({**row, "seeds_before": change.seeds[0], "seeds_after": change.seeds[1]})
    for each in found.appearances:
        layer = "" if each.layer is None else str(each.layer)
        outcome = "regression" if each.fails else each.presence
        reason = f"{each.presence}{f', now {each.now}' if each.now else ''}"
        rows.append({"sample": each.sample, "layer": layer, "outcome": outcome, "reason": reason})
    say_table(as_csv(columns, rows))
    for note in found.notes:
        say(escaped(note), stderr=True)


# --- trainings -------------------------------------------------------------------------------------------


def _compare_trainings(logs: Sequence[tuple[Path, TrainingLog]], fail: Sequence[str], how: _As) -> bool:
    """Prints how each differs from the first; whether one has a problem that the first did not have."""
    from vgharness.report.training.comparison import pair
    from vgharness.report.training.comparison_tables import as_json, check_rules, comparison_rows, comparison_sheets

    fails = check_rules(fail)
    (path, old), *others = logs
    found = [(path_now, pair(old, now)) for path_now, now in others]
    for path_now, each in found:
        if how.json:
            say_json(as_json(each, (str(path), str(path_now)), fail=fails))
        elif how.csv:
            say_table(as_csv(*comparison_rows(each)))
        else:
            _print_heading(path, path_now, how, several=len(found) > 1)
            *sheets, conclusion = comparison_sheets(each, fail=fails)
            print_sheets([conclusion, *sheets] if how.markdown else [*sheets, conclusion], how.markdown)
    return fails and any(each.failures for _, each in found)


# --- studies ---------------------------------------------------------------------------------------------


def _compare_studies(runs: Sequence[tuple[Path, Run]], fail: Sequence[str], claims: Path | None, how: _As) -> bool:
    """Prints how each differs from the first; whether something fails."""
    from vgharness.report.versus.pairs import versus  # scipy is slow to import
    from vgharness.report.versus.tables import failures, given_rules

    rules = given_rules(fail)
    chosen = None if claims is None else chosen_claims(None if str(claims) == README_CLAIMS else claims)
    (path, old), *others = [(path, with_verdicts(run, chosen)) for path, run in runs]
    found = [(path_now, versus(old, now)) for path_now, now in others]
    for path_now, each in found:
        _print_studies((path, path_now), each, rules, how, several=len(found) > 1)
    return any(failures(each, rules) for _, each in found)


def _print_studies(paths: tuple[Path, Path], found: Versus, rules: Sequence[Rule], how: _As, *, several: bool) -> None:
    from vgharness.report.versus.tables import as_json, comparison_rows, comparison_sheets

    if how.json:
        say_json(as_json(found, (str(paths[0]), str(paths[1])), rules))
    elif how.csv:
        say_table(as_csv(*comparison_rows(found)))
    else:
        _print_heading(*paths, how, several=several)
        *sheets, conclusion = comparison_sheets(found, rules)
        print_sheets([conclusion, *sheets] if how.markdown else [*sheets, conclusion], how.markdown)


def _print_heading(before: Path, after: Path, how: _As, *, several: bool) -> None:
    from vgharness.report.tables import as_code

    if not how.markdown:
        say(f"before: {shown(before)}\nafter:  {shown(after)}")
    elif several:
        say(f"### {as_code(after.name)}\n")
