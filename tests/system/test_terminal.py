"""Printing: names as text, symbols that an output lacks replaced, and an output that is gone ends nothing."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

import vgharness
from vgharness.system.terminal import complain, console, encodable, safe_output, say

pytestmark = pytest.mark.fast

PRINTING = """
import sys
from vgharness.system.terminal import console, safe_output, say
with safe_output():
    say("∂L/∂h × 0.5 – ✓ █░ 日本")
    console().print("[red]σ[/red] :smile:", style="bold")
    for number in range(20_000):
        say(f"line {number}")
    sys.stdout.flush()
print("the work went on", file=sys.stderr)
"""


def run(encoding: str, stdout: int | None = None) -> subprocess.CompletedProcess[bytes]:
    environment = {
        **os.environ,
        "PYTHONIOENCODING": encoding,
        "PYTHONPATH": str(Path(vgharness.__file__).parents[1]),
        "NO_COLOR": "1",
    }
    command = [sys.executable, "-c", PRINTING]
    return subprocess.run(
        command, stdout=stdout or subprocess.PIPE, stderr=subprocess.PIPE, env=environment, check=False, timeout=60
    )


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("utf-8", "∂L/∂h × 0.5 – ✓ █░ 日本"),
        ("cp1252", "dL/dh × 0.5 – + #. \\u65e5\\u672c"),
        ("ascii", "dL/dh x 0.5 - + #. \\u65e5\\u672c"),
    ],
)
def test_a_symbol_that_the_output_lacks_becomes_another(encoding: str, expected: str) -> None:
    done = run(encoding)
    assert done.returncode == 0, done.stderr
    first, second, *lines = done.stdout.decode(encoding).splitlines()
    assert first == expected
    assert second == f"[red]{'σ' if encoding == 'utf-8' else 'sigma'}[/red] :smile:"
    assert len(lines) == 20_000
    assert encodable("∂L/∂h × 0.5 – ✓ █░ 日本", encoding) == expected


def test_a_closed_pipe_ends_nothing() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = run("utf-8", writer)
    os.close(writer)
    assert (done.returncode, done.stderr.decode()) == (0, "the work went on\n")


class FullDisk(io.TextIOBase):
    """A stream that a full disk lies behind."""

    def write(self, text: str) -> int:
        raise OSError(28, "No space left on device")


def test_a_full_disk_is_said_once_and_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    errors = io.StringIO()
    monkeypatch.setattr(sys, "stdout", FullDisk())
    monkeypatch.setattr(sys, "stderr", errors)
    with safe_output():
        for _ in range(3):
            say("a line")
        console().print("another")
    assert errors.getvalue() == "vgharness: output cannot be written (No space left on device); the work goes on\n"


def test_a_program_without_a_terminal_prints_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    with safe_output():
        say("a line")
        complain("vgharness", "wrong")


def test_what_is_complained_of_is_one_line_whatever_it_holds(capsys: pytest.CaptureFixture[str]) -> None:
    complain("vgharness", "a name with \x1b[31m, \n, \u202e and \udc80 in it")
    assert capsys.readouterr().err == "vgharness: a name with \\x1b[31m, \\n, \\u202e and \\udc80 in it\n"
