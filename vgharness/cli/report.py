"""``vgharness report RUN``: writes the page of a saved run again, judged anew where that is asked for; of two runs, the
page that compares them; of a training log, its page.

    vgharness report .gradflow/…/0003_script.json
    vgharness report 3 --claims claims.toml --out page
    vgharness report 3 5
    vgharness report training

Exit status: 0 written; 2 bad input.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vgharness.cli.errors import usage_errors
from vgharness.cli.runs import KINDS, Storage, check_one_kind, check_report, load_any, past_runs
from vgharness.cli.verdicts import README_CLAIMS, chosen_claims, with_verdicts
from vgharness.errors import UsageError
from vgharness.records import Run, TrainingLog
from vgharness.storage.store import DEFAULT_ROOT
from vgharness.system.files import check_folder, shown
from vgharness.system.terminal import say

if TYPE_CHECKING:
    from vgharness.claims.spec import Claim
    from vgharness.cli.runs import Saved
    from vgharness.records import Session


def report(
    run: Annotated[
        str, typer.Argument(help="file, number or name of a study's run, a pytest session or a training log")
    ],
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
    gradflow.html, a training log's as training.html. Of two studies' runs, write compare.html: which verdicts changed,
    and what else differs.

    Where a study's run holds no verdicts, as one saved by an earlier version, the studied README's claims are
    judged anew. Exit status: 0 written, whatever changed; 2 bad input.
    """
    with usage_errors("vgharness report"):
        chosen = None if claims is None else chosen_claims(None if str(claims) == README_CLAIMS else claims)
        path, loaded = load_any(storage, run)
        if other is not None:
            page = _compare((path, loaded), load_any(storage, other), chosen, out)
        elif isinstance(loaded, Run):
            page = _write_run(path, loaded, chosen, out)
        elif isinstance(loaded, TrainingLog):
            page = _write_training(path, loaded, chosen, out)
        else:
            page = _write_session(loaded, chosen, out)
        say(f"page written to {shown(page)}")


def _write_run(path: Path, run: Run, claims: tuple[Claim, ...] | None, out: Path) -> Path:
    from vgharness.report.study_page import write_report  # matplotlib is slow to import

    check_report(out)
    run = with_verdicts(run, claims)
    return write_report(run, out, past_runs(path, run, out))


def _compare(
    before: tuple[Path, Saved], after: tuple[Path, Saved], claims: tuple[Claim, ...] | None, out: Path
) -> Path:
    """Says what changed and writes the page."""
    (old_path, old), (new_path, new) = before, after
    check_one_kind([before, after])
    if not (isinstance(old, Run) and isinstance(new, Run)):
        raise UsageError(f"these are two {KINDS[type(old)]}s: `vgharness compare` compares those")
    from vgharness.report.versus.page import PAGE, write_comparison
    from vgharness.report.versus.pairs import comparison_lines, versus

    check_folder(out, "--out", [PAGE])
    found = versus(with_verdicts(old, claims), with_verdicts(new, claims))
    say(f"before: {shown(old_path)}\nafter:  {shown(new_path)}")
    for line in comparison_lines(found):
        say(line)
    return write_comparison(found, old_path.name, new_path.name, out / PAGE)


def _write_training(path: Path, log: TrainingLog, claims: tuple[Claim, ...] | None, out: Path) -> Path:
    from vgharness.report.training_page import PAGE, write_training_page
    from vgharness.study.judging import evidence_at, judge

    check_folder(out, "--out", [PAGE])
    if claims is None:
        return write_training_page(log, out / PAGE)
    verdicts = judge(claims, evidence_at(path, log))
    return write_training_page(log, out / PAGE, document=claims[0].document, verdicts=verdicts)


def _write_session(session: Session, claims: tuple[Claim, ...] | None, out: Path) -> Path:
    from vgharness.report.pages import SESSION_PAGE
    from vgharness.report.session_page import write_session_page
    from vgharness.study.judging import judge

    check_folder(out, "--out", [SESSION_PAGE])
    page = out / SESSION_PAGE
    if claims is None:
        return write_session_page(session, page)
    return write_session_page(session, page, document=claims[0].document, verdicts=judge(claims, session))
