"""``pytest -m full`` over a saved run, through pytest itself."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from factories import make_result, make_run

from vgharness.claims.spec import load_claims
from vgharness.records import ACTIVATIONS, Architecture

pytestmark = pytest.mark.fast

REPOSITORY = Path(__file__).parents[2]


def pytest_full(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-m", "full", "-rA", "-p", "no:cacheprovider", "--color=no"]
    test = "tests/claims/test_claims_of_a_run.py"
    return subprocess.run([*command, *arguments, test], capture_output=True, text=True, cwd=REPOSITORY, check=False)


def test_each_claim_of_each_architecture_is_a_test_named_by_its_id(tmp_path: Path) -> None:
    architectures: tuple[Architecture, ...] = ("script", "readme")
    results = [
        make_result(activation, seed, architecture=architecture, factor=0.3, epochs=0)
        for architecture in architectures
        for seed in (42, 43, 44)
        for activation in ACTIVATIONS[:3]
    ]
    saved = tmp_path / "run.json"
    saved.write_text(make_run(results).model_dump_json())
    done = pytest_full(f"--run={saved}")
    assert done.returncode == 1, done.stdout
    lines = re.findall(r"^(PASSED|FAILED) .*\[([\w-]+)\]", done.stdout, re.MULTILINE)
    named = {name: outcome for outcome, name in lines}
    assert named["tanh-squashes-readme"] == "PASSED"
    assert named["architecture-script"] == "FAILED"
    assert "rows of the README's table of shapes that differ: 2.0" in done.stdout
    count = sum(1 if claim.architecture else len(architectures) for claim in load_claims())
    assert re.search(rf"{count - len(named)} skipped", done.stdout)
    assert "needs 20 epochs" in done.stdout
