"""The gallery in an installed package."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import vgharness

pytestmark = pytest.mark.processes

PACKAGE = Path(vgharness.__file__).parent


def test_the_gallery_needs_nothing_but_the_package(tmp_path: Path) -> None:
    """As from a wheel: the package is alone in its folder, and nothing of the repository is near."""
    shutil.copytree(PACKAGE, tmp_path / "site" / "vgharness", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "elsewhere").mkdir()
    program = """
import vgharness
from vgharness.benchmarks.gallery import HEALTHY, SICK
from vgharness.benchmarks.gallery.peers import judge_cases
print(vgharness.__file__)
print(*(judged.judgements["vgharness"] for judged in judge_cases([SICK[0], HEALTHY[5]], ["vgharness"])))
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path / "elsewhere",
        env={**os.environ, "PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(tmp_path / "site" / "vgharness" / "__init__.py"), "named", "quiet"]
