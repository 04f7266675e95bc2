"""``vgharness report RUN``: writes the page of a saved run again, judged anew where that is asked for; of two runs, the
page that compares them.

    vgharness report .gradflow/…/0003_script.json
    vgharness report 3 --claims claims.toml --out page
    vgharness report 3 5

Exit status: 0 written; 2 bad input.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vgharness.cli.errors import usage_errors
from vgharness.cli.runs import Storage, check_report, load_saved, past_runs
from vgharness.cli.verdicts import README_CLAIMS, chosen_claims
from vgharness.errors import UsageError
from vgharness.records import Run
from vgharness.storage.store import DEFAULT_ROOT
from vgharness.system.files import check_folder, shown
from vgharness.system.terminal import say

if TYPE_CHECKING:
    from vgharness.claims.spec import Claim
    from vgharness.records import Session

SESSION_PAGE = "gradflow.html"


def report(
    run: Annotated[str, typer.Argument(help="file, number or name of a study's run or of a pytest session")],
    other: Annotated[str | None, typer.Argument(help="a later study's run, to be compared with the first")] = None,
    out: Annotated[Path, typer.Option(help="where the page, its figures and its files for programs go")] = Path(
        "reports"
    ),
    claims: Annotated[
        Path | None,
        typer.Option(
            help="judge this claims file, in place of what the run was held against; the word readme: the studied "
            "README's own claims"
        ),
    ] = None,
    storage: Storage = DEFAULT_ROOT,
) -> None:
    """Write the page of a saved run: a study's as index.html, with the earlier runs of its store, a pytest session's as
    gradflow.html. Of two studies' runs, write compare.html: which verdicts changed, and what else differs.

    Where a study's run holds no verdicts, as one saved by an earlier version, the studied README's claims are
    judged anew. Exit status: 0 written, whatever changed; 2 bad input.
    """
    with usage_errors("vgharness report"):
        chosen = None if claims is None else chosen_claims(None if str(claims) == README_CLAIMS else claims)
        path, loaded = load_saved(storage, run)
        try:
            if other is not None:
                page = _compare((path, loaded), load_saved(storage, other), chosen, out)
            elif isinstance(loaded, Run):
                page = _write_run(path, loaded, chosen, out)
            else:
                page = _write_session(loaded, chosen, out)
        except OSError as error:
            raise UsageError(f"--out {shown(out)}: the page was not written ({error.strerror or error})") from error
        say(f"page written to {shown(page)}")


def _write_run(path: Path, run: Run, claims: tuple[Claim, ...] | None, out: Path) -> Path:
    from vgharness.report.study_page import write_report  # matplotlib is slow to import

    check_report(out)
    run = _with_verdicts(run, claims)
    return write_report(run, out, past_runs(path, run, out))


def _with_verdicts(run: Run, claims: tuple[Claim, ...] | None) -> Run:
    from vgharness.study.judging import judged

    if claims is not None:
        return judged(run, claims)
    if not run.verdicts:
        say("the run holds no verdicts: judged anew by the studied README's claims")
        return judged(run, chosen_claims(None))
    return run


def _compare(
    before: tuple[Path, Run | Session], after: tuple[Path, Run | Session], claims: tuple[Claim, ...] | None, out: Path
) -> Path:
    """Says what changed and writes the page."""
    (old_path, old), (new_path, new) = before, after
    if not (isinstance(old, Run) and isinstance(new, Run)):
        if isinstance(old, Run) or isinstance(new, Run):
            session = new_path if isinstance(old, Run) else old_path
            raise UsageError(f"{shown(session)}: a pytest session, and the other is a study's run; name two runs")
        raise UsageError("these are two pytest sessions: `vgharness compare` compares those")
    from vgharness.report.versus.page import PAGE, write_comparison
    from vgharness.report.versus.pairs import comparison_lines, versus

    check_folder(out, "--out", [PAGE])
    found = versus(_with_verdicts(old, claims), _with_verdicts(new, claims))
    say(f"before: {shown(old_path)}\nafter:  {shown(new_path)}")
    for line in comparison_lines(found):
        say(line)
    return write_comparison(found, old_path.name, new_path.name, out / PAGE)


def _write_session(session: Session, claims: tuple[Claim, ...] | None, out: Path) -> Path:
    from vgharness.report.session_page import write_session_page
    from vgharness.study.judging import judge

    check_folder(out, "--out", [SESSION_PAGE])
    page = out / SESSION_PAGE
    if claims is None:
        return write_session_page(session, page)
    return write_session_page(session, page, document=claims[0].document, verdicts=judge(claims, session))
