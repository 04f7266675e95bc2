"""The lesson in ``reports/lesson``: it runs as it stands, and what it says is what its cells print.

``python tests/test_lesson.py`` runs it and writes what came out into the notebook.
"""

import re
import sys
from pathlib import Path
from typing import Any

import pytest

LESSON = Path(__file__).parents[1] / "reports" / "lesson" / "sigmoid_depth_20.ipynb"
MOST_BYTES = 500_000
NOTEBOOK_WORDS = re.compile(r"/(home|root|tmp|work|usr|Users)/|[A-Z]:\\\\")

pytestmark = pytest.mark.notebook


def executed() -> Any:
    """The notebook as it is when its cells are run by this Python."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(LESSON, as_version=4)
    NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # when it ran: other bytes each time
    notebook.metadata["language_info"] = {"name": "python"}  # not which version of it
    return notebook


def printed(notebook: Any) -> str:
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    return "".join(output.text for output in outputs if output.output_type == "stream")


@pytest.fixture(scope="module")
def kept() -> Any:
    return pytest.importorskip("nbformat").read(LESSON, as_version=4)


@pytest.fixture(scope="module")
def now() -> Any:
    pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    return executed()


def test_the_plain_network_does_not_learn_and_each_remedy_does(now: Any, kept: Any) -> None:
    learned = "5 of 6 learned in 500 steps: ReLU, He; tanh, Glorot; sigmoid, batch norm; "
    assert "sigmoid, as it comes: did not learn (" in printed(now)
    assert f"{learned}sigmoid, skip connections; sigmoid, for its slope." in printed(now)
    assert printed(kept).splitlines()[-1] == printed(now).splitlines()[-1]


def test_theory_says_what_is_measured(now: Any) -> None:
    (said,) = re.findall(r"measured ([\d.]+), theory ([\d.]+), at most ([\d.]+)\.", printed(now))
    measured, theory, most = map(float, said)
    assert measured == pytest.approx(theory, rel=0.15)
    assert measured < most < 1


def test_sentences_hold_no_number_that_no_cell_printed(kept: Any) -> None:
    for cell in kept.cells:
        if cell.cell_type == "markdown":
            numbers = re.findall(r"\d+", re.sub(r"^\d\.|20-layer", "", cell.source, flags=re.MULTILINE))
            assert numbers == [], cell.source


def test_the_file_is_whole_small_and_of_no_machine(kept: Any) -> None:
    content = LESSON.read_text(encoding="utf-8")
    assert len(content) < MOST_BYTES
    assert NOTEBOOK_WORDS.search(content) is None
    assert all(cell.execution_count for cell in kept.cells if cell.cell_type == "code")
    streams = [output.get("name") for cell in kept.cells if cell.cell_type == "code" for output in cell.outputs]
    assert "stderr" not in streams


if __name__ == "__main__":
    import nbformat

    nbformat.write(executed(), LESSON)
    sys.stdout.write(printed(nbformat.read(LESSON, as_version=4)))
