"""Where ``run_study`` shows its progress, and how a notebook shows it."""

import os
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from factories import failure, make_result, make_run

from vgharness.records import Cell, Study
from vgharness.study import shown_here
from vgharness.study.shown_here import notebook_progress, progress_here

RELU, TANH = (Cell(architecture="script", activation=name, seed=42, epochs=1) for name in ("relu", "tanh"))
STUDY = Study(preset="script", cells=(RELU, TANH))
CODE = """
import threading
from factories import make_result, make_run
from vgharness.study.shown_here import progress_here
from test_shown_here import RELU, STUDY, train

progress = progress_here("auto")
thread = threading.Thread(target=train, args=(progress,))  # as cells train in threads
thread.start()
thread.join()
"""

fast = pytest.mark.fast


def train(progress: Any) -> None:
    with progress:
        progress.study_started(make_run([make_result()]).model_copy(update={"study": STUDY}), 60.0)
        progress.cell_started(RELU)
        progress._show()
        result = make_result("relu", curve=[50.0], epochs=1).model_copy(update={"cell": RELU})
        progress.epoch_done(RELU, result.epochs[0])
        progress.cell_done(result)


@fast
def test_in_a_notebook_one_text_is_changed_in_place() -> None:
    texts: list[str] = []
    train(notebook_progress(texts.append))
    assert texts[0].startswith("2 networks to train; expected to take about 1 min 0 s here")
    lines = texts[-1].splitlines()
    assert lines[1] == "[1/2] script relu seed 42: train loss 2.000, test accuracy 50.0 %, 1 s"
    assert "50 %" in lines[2]
    assert len(lines) == 3, "no network is under way"


@fast
def test_auto_is_silent_in_a_test_in_a_pipe_and_asks_for_a_terminal_or_a_notebook(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen = SimpleNamespace(is_terminal=True)
    monkeypatch.setattr(shown_here, "console", lambda stderr: screen)
    monkeypatch.setattr(shown_here, "StudyProgress", lambda *given: given)
    assert progress_here("auto") is None
    assert progress_here(False) is None
    assert progress_here(True) == (screen,)
    monkeypatch.delenv("PYTEST_CURRENT_TEST")
    assert progress_here("auto") == (screen,)
    screen.is_terminal = False
    assert progress_here("auto") is None
    assert progress_here(True) == (screen,)
    monkeypatch.setattr(shown_here, "_cell_of_a_notebook", lambda: print)
    assert progress_here("auto") is not None
    assert failure(lambda: progress_here("yes")) == "progress 'yes': use True, False or 'auto'"  # type: ignore[arg-type]


@fast
def test_ipython_in_a_terminal_is_no_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    ipython = ModuleType("IPython")
    ipython.get_ipython = object  # type: ignore[attr-defined]  # a shell without a kernel
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    assert shown_here._cell_of_a_notebook() is None


@pytest.mark.notebook
def test_the_cell_of_a_real_notebook_ends_with_what_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))
    monkeypatch.delenv("PYTEST_CURRENT_TEST")
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CODE)])
    nbclient.NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    (output,) = notebook.cells[0].outputs
    assert "script relu seed 42: train loss 2.000, test accuracy 50.0 %" in output["data"]["text/plain"]
