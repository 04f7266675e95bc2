"""``vgharness report RUN``: writes the page of a saved run again, judged anew where that is asked for.

    vgharness report .gradflow/…/0003_script.json
    vgharness report 3 --claims claims.toml --out page

Exit status: 0 written; 2 bad input.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vgharness.cli.errors import usage_errors
from vgharness.cli.runs import Storage, load_saved
from vgharness.cli.verdicts import chosen_claims
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
    out: Annotated[Path, typer.Option(help="where the page, its figures and its files for programs go")] = Path(
        "reports"
    ),
    claims: Annotated[
        Path | None, typer.Option(help="judge this claims file, in place of what the run was held against")
    ] = None,
    storage: Storage = DEFAULT_ROOT,
) -> None:
    """Write the page of a saved run: a study's as index.html, a pytest session's as gradflow.html.

    Where a study's run holds no verdicts, as one saved by an earlier version, the studied README's claims are
    judged anew. Exit status: 0 written, 2 bad input.
    """
    with usage_errors("vgharness report"):
        chosen = None if claims is None else chosen_claims(claims)
        _, loaded = load_saved(storage, run)
        page = _write_run(loaded, chosen, out) if isinstance(loaded, Run) else _write_session(loaded, chosen, out)
        say(f"page written to {shown(page)}")


def _write_run(run: Run, claims: tuple[Claim, ...] | None, out: Path) -> Path:
    from vgharness.report.study_page import FILES, write_report  # matplotlib is slow to import
    from vgharness.study.judging import judged

    check_folder(out, "--out", FILES)
    if claims is not None:
        run = judged(run, claims)
    elif not run.verdicts:
        say("the run holds no verdicts: judged anew by the studied README's claims")
        run = judged(run, chosen_claims(None))
    return write_report(run, out)


def _write_session(session: Session, claims: tuple[Claim, ...] | None, out: Path) -> Path:
    from vgharness.report.session_page import write_session_page
    from vgharness.study.judging import judge

    check_folder(out, "--out", [SESSION_PAGE])
    page = out / SESSION_PAGE
    if claims is None:
        return write_session_page(session, page)
    return write_session_page(session, page, document=claims[0].document, verdicts=judge(claims, session))
