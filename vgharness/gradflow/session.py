"""What was measured just now → a session that can be saved, shown and compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from vgharness.records import Sample, Session, SessionStatus
from vgharness.system.environment import commit_of, describe


def as_session(
    samples: Sequence[Sample],
    *,
    command: str,
    folder: Path,
    extra: Mapping[str, Any],
    status: SessionStatus = "finished",
    left_out: str = "",
) -> Session:
    """A session of ``samples``, measured just now on this machine by ``command``.

    ``folder``: the measured project's; the commit that it is at is kept. ``extra``: JSON values by name, to be saved
    with the session. ``status``, ``left_out``: as :class:`Session` has them.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return Session(
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        status=status,
        commit=commit_of(folder),
        command=command,
        left_out=left_out,
        machine=describe(device),
        samples=tuple(samples),
        extra={"precision": f"float32 at {torch.get_float32_matmul_precision()}", **extra},
    )
