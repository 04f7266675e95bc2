"""What users import: listed, imported on first use, and known to type checkers."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import vgharness

pytestmark = pytest.mark.fast


def test_every_name_is_imported_on_first_use_and_the_same_for_type_checkers() -> None:
    tree = ast.parse(Path(vgharness.__file__).read_text(encoding="utf-8"))
    guarded = next(node for node in tree.body if isinstance(node, ast.If))
    checked = {
        alias.name: str(node.module)
        for node in guarded.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert checked.pop("theory") == "vgharness"
    assert checked == {name: f"vgharness.{home}" for name, home in vgharness._HOMES.items()}
    for name in vgharness.__all__:
        assert getattr(vgharness, name) is not None
    assert dir(vgharness) == vgharness.__all__
    with pytest.raises(AttributeError, match="'nothing'; it has Callback, "):
        vgharness.nothing  # noqa: B018


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["-m", "vgharness", "--version"], f"vgharness {vgharness.__version__}"),
        (["-m", "vgharness.full", "--help"], "--preset"),
        (["-m", "vgharness.bench", "--help"], "gallery"),
        (["-m", "vgharness", "check", "--help"], "Exit status: 0 healthy"),
    ],
)
def test_commands_run_as_modules(command: list[str], expected: str) -> None:
    done = subprocess.run([sys.executable, *command], capture_output=True, text=True, check=True, timeout=60)
    assert expected in done.stdout


def test_a_package_that_is_no_command_does_not_exit_in_silence() -> None:
    for name in ("study", "cli", "report", "cli.full", "study.run"):
        done = subprocess.run(
            [sys.executable, "-m", f"vgharness.{name}", "--help"],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode != 0, name
        assert done.stderr, name
