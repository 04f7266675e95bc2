"""Commands that need no torch do not import it: that takes seconds."""

import subprocess
import sys
from pathlib import Path

import pytest
from factories import make_result, make_run

pytestmark = pytest.mark.processes


def run(code: str, folder: Path) -> None:
    begin = "import sys, vgharness, vgharness.cli.main\nfrom typer.testing import CliRunner\n"
    subprocess.run([sys.executable, "-c", begin + code], check=True, cwd=folder)


def test_help_and_the_package_itself(tmp_path: Path) -> None:
    run(
        "result = CliRunner().invoke(vgharness.cli.main.app, ['full', '--help'])\n"
        "assert result.exit_code == 0 and '--preset' in result.output, result.output\n"
        "assert not {'torch', 'matplotlib', 'scipy'} & set(sys.modules)\n",
        tmp_path,
    )


def test_schemas(tmp_path: Path) -> None:
    run(
        "result = CliRunner().invoke(vgharness.cli.main.app, ['schema', 'check'])\n"
        "assert result.exit_code == 0 and 'healthy' in result.output, result.output\n"
        "assert not {'torch', 'matplotlib', 'scipy'} & set(sys.modules)\n",
        tmp_path,
    )


def test_judging(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(make_run([make_result(curve=[10.0])]).model_dump_json())
    run(
        "result = CliRunner().invoke(vgharness.cli.main.app, ['judge', 'readme', 'run.json'])\n"
        "assert result.exit_code == 1 and 'sigmoid-final' in result.output, result.output\n"
        "assert not {'torch', 'matplotlib'} & set(sys.modules)\n",
        tmp_path,
    )


def test_status(tmp_path: Path) -> None:
    run(
        "result = CliRunner().invoke(vgharness.cli.main.app, ['status'])\n"
        "assert result.exit_code == 0 and 'no study is in work' in result.output, result.output\n"
        "assert not {'torch', 'matplotlib', 'scipy'} & set(sys.modules)\n",
        tmp_path,
    )
