"""The house: which package stands on which floor, and that imports only go down."""

import ast
from pathlib import Path

import pytest

import vgharness

pytestmark = pytest.mark.fast

PACKAGE = Path(vgharness.__file__).parent
# By floor, the packages (and modules that stand alone). One imports from the floors below and from its own rooms;
# packages of one floor know nothing of each other.
FLOORS = (
    {"errors", "statistics"},
    {"formatting"},
    {"display"},
    {"records"},
    {"system", "precision", "probe", "theory", "claims"},
    {"models", "gradflow", "data", "storage"},
    {"training", "report", "check", "watching"},
    {"study", "pytest_plugin", "integrations"},
    {"benchmarks"},
    {"cli"},
    {"__main__", "full", "bench"},
)
EMPTY = ("check", "cli", "pytest_plugin", "report")  # torch and matplotlib are slow to import
PACKAGES_TOGETHER = {"browser"}  # folders of tests of what several packages make
MOST_LINES, MOST_FUNCTION_LINES = 350, 50


def name_of(path: Path) -> str:
    """The package or lone module that the file belongs to."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


FILES = {path: name_of(path) for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"}


def imported(module: Path) -> set[str]:
    """Packages of this project that ``module`` imports from, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "vgharness":
            names |= {alias.name for alias in node.names} - {"__version__"}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("vgharness."):
            names.add(str(node.module).split(".")[1])
        elif isinstance(node, ast.Import):
            names |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("vgharness.")}
    return names


def test_every_package_has_its_floor() -> None:
    assert set(FILES.values()) == set.union(*FLOORS)
    assert sum(map(len, FLOORS)) == len(set.union(*FLOORS))


@pytest.mark.parametrize("floor", range(len(FLOORS)))
def test_imports_go_down(floor: int) -> None:
    below = set().union(*FLOORS[:floor])
    for path, name in FILES.items():
        if name in FLOORS[floor]:
            assert imported(path) <= {*below, name}, path


@pytest.mark.parametrize("name", EMPTY)
def test_what_is_slow_to_import_is_not_imported_with_its_package(name: str) -> None:
    assert (PACKAGE / name / "__init__.py").read_text(encoding="utf-8").strip() == ""


def test_records_are_imported_from_their_package() -> None:
    for path, name in FILES.items():
        if name != "records":
            assert "from vgharness.records." not in path.read_text(encoding="utf-8"), path


def test_tests_lie_beside_what_they_test() -> None:
    folders = {path.parent.name for path in (PACKAGE.parent / "tests").glob("*/test_*.py")}
    assert folders - set(FILES.values()) == PACKAGES_TOGETHER


def test_no_function_is_called_as_its_module() -> None:
    """The one would hide the other in the package that imports it. A command's module and function share its name."""
    for path in (path for path, name in FILES.items() if name != "cli"):
        names = {
            node.name
            for node in ast.parse(path.read_text(encoding="utf-8")).body
            if isinstance(node, ast.FunctionDef | ast.ClassDef)
        }
        assert path.stem not in names, path


def test_functions_fit_on_a_screen() -> None:
    lengths = {
        f"{path.relative_to(PACKAGE)}:{node.name}": (node.end_lineno or 0) - node.lineno + 1
        for path in FILES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {name: length for name, length in lengths.items() if length > MOST_FUNCTION_LINES} == {}


def test_modules_can_be_read_in_one_sitting() -> None:
    lengths = {str(path): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert {path: length for path, length in lengths.items() if length > MOST_LINES} == {}


def test_no_two_files_of_tests_have_one_name() -> None:
    """pytest imports each by its name alone, and collects neither where two have the same."""
    names = [path.name for path in (PACKAGE.parent / "tests").rglob("test_*.py")]
    assert sorted(names) == sorted(set(names))
