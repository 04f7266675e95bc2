"""What a planned study can decide, in words: a few lines before it is trained, and the whole as a table."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from vgharness.claims.outlook import Outlook
from vgharness.formatting import count, escaped, listing


def outlook_lines(outlooks: Sequence[Outlook]) -> Iterator[str]:
    """A line for the claims that can be decided, one for each reason why others can be in part, and one for each reason
    why others cannot be."""
    whole = [each for each in outlooks if each.possible == each.deciding]
    yield f"these settings can decide: {_names(whole, outlooks) or 'no claim'}"
    partly = [each for each in outlooks if 0 < each.possible < each.deciding]
    for reason in dict.fromkeys(each.reason for each in partly):
        some = [each for each in partly if each.reason == reason]
        shares = listing(dict.fromkeys(f"{each.possible} of {each.deciding} readings" for each in some))
        moments = " and ".join(dict.fromkeys(_moments(each) for each in some if each.moments))
        yield f"in part: {_names(some, outlooks)}: {shares}{_after(', ', moments)}; the rest {escaped(reason)}"
    for reason in dict.fromkeys(each.reason for each in outlooks if not each.possible):
        none = [each for each in outlooks if not each.possible and each.reason == reason]
        yield f"not: {_names(none, outlooks)}: {escaped(reason)}"


def table_of_outlooks(outlooks: Sequence[Outlook]) -> Table:
    """Each claim, for each variant, with how many of its readings can be decided, and why the others cannot."""
    variants = any(each.variant for each in outlooks)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("claim", *(["for"] if variants else []), "can be decided"):
        table.add_column(heading, overflow="fold")
    table.add_column("why not the rest")
    for each in outlooks:
        style = "green" if each.possible == each.deciding else "yellow" if each.possible else "dim"
        share = f"{each.possible} of {count(each.deciding, 'reading')}"
        why = "; ".join(part for part in (_moments(each), each.reason) if part)
        cells = (each.claim, *([each.variant] if variants else []), share, why)
        table.add_row(*(Text(escaped(cell), style) for cell in cells))
    return table


def _moments(each: Outlook) -> str:
    return f"{' and '.join(each.moments)} only" if each.moments else ""


def _names(some: Sequence[Outlook], all_of_them: Sequence[Outlook]) -> str:
    """Their claims, once where each variant is among them, else with the variants."""
    names = []
    for claim in dict.fromkeys(each.claim for each in some):
        variants = [each.variant for each in some if each.claim == claim]
        everything = [each.variant for each in all_of_them if each.claim == claim]
        names.append(claim if variants == everything else f"{claim} ({listing(variants)})")
    return escaped(listing(names))


def _after(sign: str, text: str) -> str:
    return f"{sign}{text}" if text else ""
