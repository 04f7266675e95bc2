"""What is shown of things that are counted."""

import io

import pytest
from rich.console import Console

from vgharness.cli.progress import counted

pytestmark = pytest.mark.fast


@pytest.mark.parametrize("terminal", [True, False])
def test_what_is_counted_is_passed_on_with_a_bar_on_a_terminal_only(terminal: bool) -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=120)
    assert list(counted(console, "checking", iter("abc"), 3)) == ["a", "b", "c"]
    assert ("checking" in out.getvalue()) == terminal
    assert ("100 %" in out.getvalue()) == terminal
