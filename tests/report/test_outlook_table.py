"""What a planned study can decide: a few lines, and the whole table."""

from io import StringIO

import pytest
from rich.console import Console

from vgharness.claims.outlook import Outlook
from vgharness.report.outlook_table import outlook_lines, table_of_outlooks

pytestmark = pytest.mark.fast

OUTLOOKS = (
    Outlook("shapes", "readme", 3, 3, ""),
    Outlook("shapes", "script", 3, 3, ""),
    Outlook("early", "readme", 6, 4, "needs 20 epochs", ("at initialisation", "over epoch 1")),
    Outlook("early", "script", 6, 4, "needs 20 epochs", ("at initialisation", "over epoch 1")),
    Outlook("some", "script", 2, 1, "needs networks with depth 2"),
    Outlook("some", "readme", 2, 2, ""),
    Outlook("final", "readme", 1, 0, "needs all of CIFAR-10"),
    Outlook("final", "script", 1, 0, "needs all of CIFAR-10"),
    Outlook("first", "script", 1, 0, "needs all of CIFAR-10"),
)


def test_claims_that_share_a_reason_share_a_line() -> None:
    assert list(outlook_lines(OUTLOOKS)) == [
        "these settings can decide: shapes, some (readme)",
        "in part: early: 4 of 6 readings, at initialisation and over epoch 1 only; the rest needs 20 epochs",
        "in part: some (script): 1 of 2 readings; the rest needs networks with depth 2",
        "not: final, first: needs all of CIFAR-10",
    ]


def test_where_nothing_can_be_decided_that_is_said() -> None:
    assert next(outlook_lines(OUTLOOKS[-1:])) == "these settings can decide: no claim"


def test_the_table_has_a_row_for_each_claim_and_variant() -> None:
    console = Console(file=StringIO(), width=100)
    console.print(table_of_outlooks(OUTLOOKS))
    text = console.file.getvalue()
    assert text.count("needs all of CIFAR-10") == 3
    assert "4 of 6 readings   at initialisation and over epoch 1 only; needs 20 epochs" in text
    console.print(table_of_outlooks([OUTLOOKS[0]._replace(variant="", claim="\x1b[31m")]))
    assert "\x1b" not in console.file.getvalue()
