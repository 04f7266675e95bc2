"""How ``full`` ends: the run saved, its verdicts printed, its page written; and what is true of it whenever that is
interrupted or fails."""

from __future__ import annotations

import shlex
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from vgharness.cli.runs import past_runs
from vgharness.cli.verdicts import print_verdicts
from vgharness.errors import UsageError
from vgharness.records import Run
from vgharness.storage.store import RunStore, to_json
from vgharness.system.files import shown, write_whole
from vgharness.system.terminal import complain

if TYPE_CHECKING:
    from vgharness.cli.watched_page import WatchedPage

_PROGRAM = "vgharness.full"


class Conclusion:
    """The end of one study.

    store: where its run is saved.
    is_incomplete: whether something of the run could not be saved or written.
    """

    def __init__(self, screen: Console, store: RunStore, out: Path) -> None:
        """``out``: where the page goes."""
        self._screen, self.store, self._out = screen, store, out
        self._run: Run | None = None
        self._saved: Path | None = None
        self._error = ""  # why it is not saved
        self.is_incomplete = False

    def save(self, run: Run) -> None:
        """Saves the run, and forgets what was kept of its cells where it is finished. Raises nothing, prints
        nothing."""
        self._run = run
        try:
            self._saved = self.store.save(run, run.study.preset)
        except UsageError as error:
            self._error, self.is_incomplete = str(error), True
            return
        if run.status == "finished":
            self.store.forget_work(run)

    def show(self, run: Run, page: WatchedPage | None) -> None:
        """Prints the verdicts, and writes the page of a finished run. What could not be saved is written elsewhere."""
        print_verdicts(self._screen, run.verdicts)
        if run.study.rounds:
            from vgharness.report.rounds import rounds_lines  # scipy is slow to import

            self._screen.print(*rounds_lines(run), sep="\n", soft_wrap=True)
        if self._saved:
            self._say(f"run saved as {shown(self._saved)}")
        left = f"{shown(self._out)}/ is left as it was"
        written = False
        if run.status == "interrupted":
            left = page.interrupted(run) if page else left
        else:
            written = self._write_page(run)
            if written and page:
                page.replaced()
        if not self._saved:
            self._keep_elsewhere(run, written)
        if run.status == "interrupted":
            again = f" The page of what there is, with its figures: {self._report()}" if self._saved else ""
            self._say(
                f"interrupted: {len(run.results)} of {len(run.study.cells)} cells were begun; {left}. The same command "
                f"goes on from there (vgharness status).{again}"
            )

    def interrupted(self) -> str:
        """What is true where Ctrl-C came before the end of all."""
        if self._run is None:
            return "interrupted before the training began"
        if self._saved is None:
            return f"interrupted: trained, but {self._error}; the same command goes on from what was kept"
        return f"interrupted: trained and saved as {shown(self._saved)}; the page was not written: {self._report()}"

    def _write_page(self, run: Run) -> bool:
        """Returns whether it stands."""
        from vgharness.report.study_page import write_report

        try:
            past = past_runs(self._saved, run, self._out) if self._saved else None
            self._say(f"page written to {shown(write_report(run, self._out, past))}")
        except (OSError, UsageError) as error:
            self.is_incomplete = True
            why = (error.strerror if isinstance(error, OSError) else None) or str(error)
            instead = f": {self._report()}" if self._saved else ""
            complain(_PROGRAM, f"the page was not written to {self._out} ({why}){instead}")
            return False
        return True

    def _keep_elsewhere(self, run: Run, has_page: bool) -> None:
        """Says where the run is, now that it is not in the store."""
        if has_page:
            complain(_PROGRAM, f"{self._error}. The whole run is in {self._out / 'run.json'}")
            return
        try:
            path = Path(tempfile.mkdtemp(prefix="vgharness-")) / "run.json"
            write_whole(path, to_json(run))
        except (OSError, UsageError) as error:
            complain(_PROGRAM, f"{self._error}; nor elsewhere ({error}). The same command goes on from what was kept")
        else:
            complain(_PROGRAM, f"{self._error}. The whole run is in {path}")

    def _report(self) -> str:
        out = "" if self._out == Path("reports") else f" --out {shlex.quote(shown(self._out))}"
        return f"vgharness report {shlex.quote(shown(self._saved or ''))}{out}"

    def _say(self, text: str) -> None:
        self._screen.print(text, soft_wrap=True)
