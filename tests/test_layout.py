"""The house: modules import downward only."""

import ast
from pathlib import Path

import pytest

import vgharness

pytestmark = pytest.mark.fast

PACKAGE = Path(vgharness.__file__).parent
FLOORS = (
    {"errors", "records", "text"},
    {"files", "process", "sites", "saturation", "tensors", "listening", "samples"},
    {"calls"},
    {
        "nets",
        "data",
        "augmentation",
        "probe",
        "statistics",
        "machine",
        "theory",
        "claims",
        "presets",
        "loading",
        "guesses",
        "diagnosis",
    },
    {"numerics", "measures", "store", "losses"},
    {"prediction", "verdicts", "compare", "peers"},
    {"flow_sample", "packs", "timing", "usual"},
    {"sampling", "train"},
    {"executors"},
    {"study", "speed"},
    {"inputs", "figures", "wording", "tables", "pages"},
    {"report", "session_page"},
    {"progress", "terminal"},
    {"full", "bench", "check", "runs", "plugin_hooks", "gradflow_session"},
    {"cli", "plugin", "pytest_options"},
)


def imported(module: Path) -> set[str]:
    """Modules of this package that ``module`` imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "vgharness":
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("vgharness."):
            names.add(str(node.module).split(".")[1])
    return names


def test_every_module_has_its_floor() -> None:
    modules = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"}
    assert modules == set.union(*FLOORS)
    assert sum(map(len, FLOORS)) == len(modules)


@pytest.mark.parametrize("floor", range(len(FLOORS)))
def test_imports_go_down(floor: int) -> None:
    below = set().union(*FLOORS[:floor])
    for name in FLOORS[floor]:
        assert imported(PACKAGE / f"{name}.py") <= below, name


def test_modules_can_be_read_in_one_sitting() -> None:
    lengths = {path.name: len(path.read_text(encoding="utf-8").splitlines()) for path in PACKAGE.glob("*.py")}
    assert {name: length for name, length in lengths.items() if length > 370} == {}
