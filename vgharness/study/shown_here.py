"""How ``run_study`` shows its progress where it is called: in a notebook, on a terminal, in lines, or not at all."""

from __future__ import annotations

import io
import os
import sys
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Literal

from rich.console import Console

from vgharness.errors import UsageError
from vgharness.study.progress import StudyProgress
from vgharness.study.under_way import StudyBar
from vgharness.system.terminal import console

Progress = bool | Literal["auto"]

_WIDTH: Final = 110
_REFRESH: Final = 0.5  # seconds
_ENDED: Final = 12  # networks whose lines stay in sight


def progress_here(progress: Progress) -> StudyProgress | None:
    """What shows a study's progress here; ``None``: nothing does.

    progress: ``True``: in a notebook in the cell, else on stderr, as lines where that is no terminal. ``auto``: the
        same but for lines: nothing in a pipe, and nothing in a test. ``False``: never.

    Raises :class:`~vgharness.errors.UsageError` for another value.
    """
    if progress not in (True, False, "auto"):
        raise UsageError(f"progress {progress!r}: use True, False or 'auto'")
    if progress is False or (progress == "auto" and "PYTEST_CURRENT_TEST" in os.environ):
        return None
    if (shows := _cell_of_a_notebook()) is not None:
        return notebook_progress(shows)
    screen = console(stderr=True)
    return StudyProgress(screen) if progress is True or screen.is_terminal else None


def notebook_progress(shows: Callable[[str], None]) -> StudyProgress:
    """Progress as one text that changes; ``shows`` puts it in place of the one before."""
    ended = _LastLines()
    screen = Console(file=ended, width=_WIDTH, force_terminal=True, force_jupyter=False, color_system=None,
                     highlight=False, markup=False, emoji=False)  # fmt: skip
    return StudyProgress(screen, NotebookBar(ended, shows))


class NotebookBar(StudyBar):
    """The networks that have ended, those under way and the bar, as one text."""

    def __init__(self, ended: _LastLines, shows: Callable[[str], None]) -> None:
        self._ended, self._shows, self._shown = ended, shows, 0.0
        super().__init__(Console(file=io.StringIO(), width=_WIDTH, force_terminal=False, force_jupyter=False))

    def update(self, task_id: Any, **changes: Any) -> None:
        super().update(task_id, **changes)
        if time.monotonic() - self._shown > _REFRESH:
            self.show()

    def stop(self) -> None:
        super().stop()
        self.lines = ()
        self.show()

    def show(self) -> None:
        """Puts what there is in place of what was shown."""
        self._shown = time.monotonic()
        out = io.StringIO()
        Console(file=out, width=_WIDTH, height=100, color_system=None, force_jupyter=False).print(
            *self.get_renderables()
        )
        self._shows("\n".join([*self._ended.lines, out.getvalue().rstrip()]))


class _LastLines(io.StringIO):
    """What is printed, of which the last lines are kept."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: deque[str] = deque(maxlen=_ENDED)

    def write(self, text: str) -> int:
        self.lines.extend(line for line in text.splitlines() if line)
        return len(text)


def _cell_of_a_notebook() -> Callable[[str], None] | None:
    """What shows a text in the cell that runs, always at the same place; ``None`` outside of a notebook."""
    module = sys.modules.get("IPython")
    shell = module.get_ipython() if module is not None else None
    if shell is None or not hasattr(shell, "kernel"):  # IPython in a terminal has none
        return None
    from IPython.display import display

    handle = display({"text/plain": ""}, raw=True, display_id=True)
    return lambda text: handle.update({"text/plain": text}, raw=True)
