"""``full --watch``: the study's page while it trains, rewritten as epochs end, until the finished one takes its place.

The page is judged and written by a thread of its own, so that no training waits for it, and no more often than takes a
twentieth of the time. Nothing that goes wrong there ends a training. The page that was there before is kept beside it.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from vgharness.claims.interim import is_awaited
from vgharness.claims.spec import Claim
from vgharness.errors import UsageError
from vgharness.formatting import count, duration, in_one_line
from vgharness.records import Cell, CellResult, Run
from vgharness.report.study_page import INTERIM_MARK, PAGE, Interim, render
from vgharness.study.judging import judged
from vgharness.system.files import shown, write_text, write_whole
from vgharness.training.callback import Callback

_SHARE: Final = 0.05  # of the time, at most, for judging and writing
_LEAST_SECONDS: Final = 2.0  # between one page and the next
_RELOADS: Final = (5, 60)  # seconds, at least and at most
_HEAD_BYTES: Final = 4096  # of a page, which hold its mark


class WatchedPage(Callback):
    """Writes the page of what there is so far while a study trains; to be used with ``with``, around the training.

    out: the folder of the page.
    claims: to judge.
    seconds_left: says how long the training still takes; ``None`` where that is not known.
    warn: is called with one line, once, where the page cannot be written.
    """

    def __init__(
        self,
        out: Path,
        claims: Sequence[Claim],
        seconds_left: Callable[[], float | None],
        warn: Callable[[str], None],
    ) -> None:
        self._page, self._claims, self._seconds_left, self._warn = out / PAGE, claims, seconds_left, warn
        self._run: Run | None = None
        self._began = 0.0
        self._results: dict[Cell, CellResult] = {}
        self._changed, self._ended = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, name="page", daemon=True)
        self._earlier: Path | None = None  # what was there before, kept
        self._written = self._warned = False

    # --- what happens in the training ----------------------------------------------------------------------

    def study_started(self, run: Run, expected_seconds: float | None) -> None:
        self._run, self._began = run, time.monotonic() - run.seconds
        self._results |= {result.cell: result for result in run.results}
        self._changed.set()
        if not self._thread.is_alive():
            self._thread.start()

    def study_resumed(self, results: Sequence[CellResult]) -> None:
        for result in results:
            self.cell_advanced(result)

    def cell_advanced(self, result: CellResult) -> None:
        self._results[result.cell] = result
        self._changed.set()

    def cell_done(self, result: CellResult) -> None:
        self.cell_advanced(result)

    def pack_split(self, cells: Sequence[Cell], reason: str) -> None:
        for cell in cells:
            self._results.pop(cell, None)  # it begins again
        self._changed.set()

    # --- how it ends -----------------------------------------------------------------------------------------

    def __enter__(self) -> WatchedPage:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._ended.set()
        self._changed.set()
        # Nothing is to be written over what comes next. A second Ctrl-C ends the waiting: the run is yet to be saved.
        with contextlib.suppress(KeyboardInterrupt):
            if self._thread.is_alive():
                self._thread.join()
        if kind is not None:
            self._put_back()

    def replaced(self) -> None:
        """To be called once the finished run's page stands in its place: the earlier one is then what it replaced."""
        if self._earlier is not None:
            with contextlib.suppress(OSError):
                self._earlier.unlink()

    def interrupted(self, run: Run) -> str:
        """Writes the page of a run that Ctrl-C ended in place of the last one, and says in one line where it is and
        where the one is that was there before."""
        try:
            self._write(run, "what there was when the training was interrupted.")
        except Exception as error:  # the run is worth more than its page
            self._put_back()
            return f"{shown(self._page)} could not be written ({_why(error)})"
        kept = f"; the page that was there before is kept as {shown(self._earlier)}" if self._earlier else ""
        return f"{shown(self._page)} shows what there is{kept}"

    def _put_back(self) -> None:
        """Leaves the folder as it was, for there is no run."""
        with contextlib.suppress(OSError):  # then it is still there under its other name
            if self._earlier is not None:
                write_whole(self._page, self._earlier.read_bytes())
                self._earlier.unlink()
            elif self._written:
                self._page.unlink()

    # --- the page --------------------------------------------------------------------------------------------

    def _work(self) -> None:
        wait = _LEAST_SECONDS
        while self._changed.wait() and not self._ended.is_set():
            self._changed.clear()
            began = time.monotonic()
            self.write(reload_after=wait)
            wait = max(_LEAST_SECONDS, (time.monotonic() - began) * (1 / _SHARE - 1))
            self._ended.wait(wait)

    def write(self, reload_after: float = 0.0) -> None:
        """Judges and writes what there is now; the page loads itself again after about ``reload_after`` seconds."""
        assert self._run is not None
        try:
            held = self._results.copy()  # at once, for the training goes on
            results = [held[cell] for cell in self._run.study.cells if cell in held]
            run = judged(self._run.so_far("running", results, time.monotonic() - self._began), self._claims)
            least, most = _RELOADS
            if not self._ended.is_set():
                self._write(run, _notice(run, self._seconds_left()), round(min(max(reload_after, least), most)))
        except Exception as error:  # whatever it was, the training goes on
            if not self._warned:
                self._warned = True
                self._warn(f"warning: {shown(self._page)} is not rewritten ({_why(error)}); the training goes on")

    def _write(self, run: Run, notice: str, reload_seconds: int | None = None) -> None:
        self._keep_earlier()
        earlier = self._earlier.name if self._earlier else ""
        write_text(self._page, render(run, Interim(notice, reload_seconds, earlier)))
        self._written = True

    def _keep_earlier(self) -> None:
        """Copies the page that is there under a free name, before the first one of ours; not one that is interim
        itself, as a killed training leaves it."""
        if self._written or self._earlier is not None or not self._page.exists():
            return
        content = self._page.read_bytes()
        if INTERIM_MARK.encode() in content[:_HEAD_BYTES]:
            return
        kept = _free(self._page)
        write_whole(kept, content)
        self._earlier = kept


def _free(page: Path) -> Path:
    names = [page.with_name(f"{page.stem}.earlier{number}{page.suffix}") for number in ("", *range(2, 1000))]
    for path in names:
        if not path.exists():
            return path
    raise UsageError(f"{shown(names[0])} to {shown(names[-1])} are all there: remove some")


def _why(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or in_one_line(error)


def _notice(run: Run, seconds_left: float | None) -> str:
    ended = sum(result.status != "running" for result in run.results)
    cells = len(run.study.cells)
    waiting = sum(map(is_awaited, run.verdicts))
    left = f"; about {duration(seconds_left)} left" if seconds_left is not None and seconds_left >= 1 else ""
    rounds = run.study.rounds
    stays = "nothing to come changes the others" if rounds is None else f"the others are, at {rounds.look.seeds} seeds"
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return (
        f"this study is still training, {ended} of {count(cells, 'network')} done{left}. "
        f"{waiting} of {count(len(run.verdicts), 'claim')} not settled yet; {stays}. "
        f"Written {now}; the page loads itself again."
    )
