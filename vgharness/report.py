"""stub"""

from __future__ import annotations

from pathlib import Path

from vgharness.records import Reading, Run


def measured(reading: Reading) -> str:
    return f"{reading.mean}"


def write_report(run: Run, out: Path) -> Path:
    (out / "run.json").write_text(run.model_dump_json(indent=1))
    return out
