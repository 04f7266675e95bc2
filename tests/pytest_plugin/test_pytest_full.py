"""``pytest -m full`` over saved runs and sessions, through pytest itself."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from factories import MACHINE, make_flow, make_result, make_run
from training_logs import make_log, save_log

from vgharness.claims.loading import load_claims
from vgharness.records import ACTIVATIONS, Architecture, Run, Sample, Session

pytestmark = pytest.mark.processes

REPOSITORY = Path(__file__).parents[2]
CLAIMS = """
[document]
title = "A paper"
[[claim]]
id = "learns"
sentences = ["It learns well."]
words = ["learns"]
[[claim.reading]]
quantity = "test_accuracy"
of = { activation = "gelu" }
at = 1
accept = { at_least = 90 }
[[claim]]
id = "shrinks"
sentences = ["Its gradient halves."]
[[claim.reading]]
quantity = "signal_l2"
of = { test = "test_it" }
layers = { match = "conv*", take = "factor" }
at = "init"
accept = { at_most = 0.6 }
[[claim]]
id = "moves"
sentences = ["Its layers move."]
[[claim.reading]]
quantity = "relative_update"
of = { training = "net" }
layers = { take = "least" }
at = "last"
accept = { above = 1e-4 }
"""


def pytest_full(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pytest", "-m", "full", "-rA", "-p", "no:cacheprovider", "--color=no"]
    test = "tests/claims/test_claims_of_a_run.py"
    return subprocess.run([*command, *arguments, test], capture_output=True, text=True, cwd=REPOSITORY, check=False)


def save(path: Path, record: Run | Session) -> str:
    path.write_text(record.model_dump_json())
    return f"--run={path}"


def outcomes(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    lines = re.findall(r"^(PASSED|FAILED) .*\[([\w-]+)\]", done.stdout, re.MULTILINE)
    return {name: outcome for outcome, name in lines}


def test_each_claim_of_each_architecture_is_a_test_named_by_its_id(tmp_path: Path) -> None:
    architectures: tuple[Architecture, ...] = ("script", "readme")
    factors = dict.fromkeys(ACTIVATIONS, 0.3) | {"identity": 0.5}
    results = [
        make_result(activation, seed, architecture=architecture, factor=factors[activation] * seed / 42, epochs=0)
        for architecture in architectures
        for seed in (42, 43, 44, 45, 46)
        for activation in ACTIVATIONS
    ]
    done = pytest_full(save(tmp_path / "run.json", make_run(results)))
    assert done.returncode == 1, done.stdout
    named = outcomes(done)
    assert named["tanh-squashes-readme"] == "PASSED"
    assert named["architecture-script"] == "FAILED"
    assert "✗ rows of the table of shapes that differ: 2, exact, 5 seeds; expected exactly 0" in done.stdout
    count = sum(1 if claim.variant else len(architectures) for claim in load_claims())
    assert re.search(rf"{count - len(named)} skipped", done.stdout)
    assert "needs 20 epochs" in done.stdout


def test_claims_of_a_file_are_judged_on_a_run_a_session_and_trainings_together(tmp_path: Path) -> None:
    (tmp_path / "claims.toml").write_text(CLAIMS)
    learned = make_run([make_result("gelu", seed, curve=[30.0 + seed / 10]) for seed in range(42, 47)])
    sample = Sample(test="test_it", seeds=(1, 2, 3), flows=tuple(make_flow(0.5 + i / 100) for i in range(3)))
    session = Session(created="2026", command="pytest", commit=None, machine=MACHINE, samples=(sample,))
    both = save(tmp_path / "run.json", learned), save(tmp_path / "session.json", session)
    logs = [f"--run={save_log(make_log(scatter=x / 100), 'net', tmp_path / 'store')}" for x in range(3)]
    done = pytest_full(f"--claims={tmp_path / 'claims.toml'}", *both, *logs)
    assert outcomes(done) == {"learns": "FAILED", "shrinks": "PASSED", "moves": "PASSED"}
    assert "It «learns» well." in done.stdout


def test_bad_input_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "claims.toml").write_text("[[claim]]")
    (tmp_path / "run.json").write_text("{")
    for option, complaint in (("claims", "claims.toml: document"), ("run", "run.json: not a whole JSON file")):
        done = pytest_full(f"--{option}={tmp_path / complaint.split(':')[0]}")
        assert done.returncode == 2  # nothing could be collected
        assert complaint in done.stderr + done.stdout
        assert "Traceback" not in done.stderr + done.stdout
