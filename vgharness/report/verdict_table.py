"""Verdicts and their readings in words, the same in the terminal, on the page and in every file; and the terminal's
table of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from rich import box
from rich.table import Table
from rich.text import Text

from vgharness.claims.combination import has_run, is_decided, standing_after_holm
from vgharness.formatting import count, escaped, level, number, percent, span
from vgharness.records import SYMBOLS, Outcome, Reading, SeedValue, Verdict, tally_line

_STYLES: Final[dict[Outcome, str]] = {
    "reproduced": "green",
    "mixed": "bold cyan",
    "not reproduced": "bold red",
    "inconclusive": "yellow",
    "not run": "dim",
    "error": "bold magenta",
}
_MOST_READINGS: Final = 4  # of a claim in the terminal; the page has all
_CLAIM_WIDTH: Final = 26


# --- a reading -------------------------------------------------------------------------------------------


def expected(reading: Reading) -> str:
    """What is accepted, with its unit where it is a number: ``45 ± 3 %``."""
    has_number = any(char.isdigit() for char in reading.expected)
    return f"{reading.expected} {reading.unit}".rstrip() if has_number else reading.expected


def measured(reading: Reading) -> str:
    """The value over the seeds with its unit, ``52.9 %``; ``≥`` and ``≤`` where its interval has no other end."""
    if not reading.values:
        return "–"
    if reading.value is None:
        return "not finite"
    bound = ""
    if (reading.low is None) != (reading.high is None):
        bound = "≥ " if reading.high is None else "≤ "
    return f"{bound}{number(reading.value)} {reading.unit}".rstrip()


def interval(reading: Reading) -> str:
    """``95 % in 51.8 to 54.0, 3 seeds``; without an interval the number of seeds alone."""
    seeds = count(len(reading.values), "seed")
    if reading.method == "exact":
        return f"exact, {seeds}"
    ends = _ends(reading.low, reading.high)
    if ends and _is_distance_of_a_curve(reading):
        return f"our seeds' own: {level(reading.confidence)} {ends}, {seeds}"
    return f"{level(reading.confidence)} {ends}, {seeds}" if ends else seeds


def _ends(low: float | None, high: float | None) -> str:
    if low is not None and high is not None:
        return f"in {span(low, high)}"
    if low is not None:
        return f"above {number(low)}"
    return f"below {number(high)}" if high is not None else ""


def _is_distance_of_a_curve(reading: Reading) -> bool:
    """Whether its value is a published curve's, and its interval that of our seeds'."""
    return not reading.printed and reading.could_be_one_run is not None


def seed_value(value: SeedValue) -> str:
    """One seed's value: ``42: 52.9``; one that is known to lie between bounds: ``42: 6 to 7``, ``42: ≥ 20``."""
    if value.bounds is None or value.value is None:
        return f"{value.seed}: {number(value.value, missing='diverged')}"
    low, high = value.bounds.low, value.bounds.high
    if low is not None and high is not None:
        return f"{value.seed}: {span(low, high)}"
    if low is None and high is None:
        return f"{value.seed}: not known"
    return f"{value.seed}: ≤ {number(high)}" if low is None else f"{value.seed}: ≥ {number(low)}"


def remarks(reading: Reading) -> list[str]:
    """What else is to be said of a reading: the two answers for what the document prints, each with the interval that
    it rests on; the reason of its outcome; its numerical error."""
    found = []
    printed = " to ".join(f"{x:,.6g}" for x in reading.printed) or "it"
    if reading.mean_is_printed and reading.method != "exact":
        found.append(f"is our mean {printed}? {reading.mean_is_printed}")
    if reading.could_be_one_run is not None:
        answer = "yes" if reading.could_be_one_run else "no"
        runs = _ends(reading.further_low, reading.further_high)
        shown = (
            f" ({level(reading.confidence)} of runs {runs}{f' {reading.unit}' if reading.unit else ''})" if runs else ""
        )
        found.append(f"could {printed} be one run of ours? {answer}{shown}")
    if reading.reason:
        found.append(reading.reason)
    if reading.numerical_error is not None:
        found.append(f"numerical error up to {percent(reading.numerical_error)}")
    return found


def reading_line(reading: Reading) -> str:
    """A reading with all that is said of it, in one line."""
    parts = [f"expected {expected(reading)}"]
    if reading.values:
        parts = [f"{measured(reading)}, {interval(reading)}", *parts]
    return escaped(f"{SYMBOLS[reading.outcome]} {reading.label}: {'; '.join([*parts, *remarks(reading)])}")


# --- a verdict -------------------------------------------------------------------------------------------


def named(verdict: Verdict) -> str:
    """``sigmoid-final-script``: the claim's id, and the variant where there is one."""
    return f"{verdict.claim}-{verdict.variant}" if verdict.variant else verdict.claim


def short_name(verdict: Verdict, *, several: bool) -> str:
    """Its id, with the variant where there are ``several`` of those."""
    return named(verdict) if several else verdict.claim


def several_variants(verdicts: Iterable[Verdict]) -> bool:
    """Whether they are not all of one variant."""
    return len({verdict.variant for verdict in verdicts}) > 1


def deciding(verdict: Verdict) -> list[Reading]:
    """The readings that decide."""
    return [reading for reading in verdict.readings if not reading.context]


def beside(verdict: Verdict) -> list[Reading]:
    """The readings that are only shown beside those that decide."""
    return [reading for reading in verdict.readings if reading.context]


def leading(verdict: Verdict) -> Reading:
    """The first deciding reading that came out as the whole claim did; else the first that ran."""
    found = deciding(verdict)
    ran = [reading for reading in found if reading.outcome != "not run"]
    return next((r for r in found if r.outcome == verdict.outcome), (ran or found)[0])


def marked(sentence: str, words: Iterable[str]) -> list[tuple[str, bool]]:
    """Divides ``sentence`` into parts, each with whether it is among the ``words`` that are judged.

    Of words that it has several times the first counts; no words stand for all of it.
    """
    wanted = list(words)
    if not wanted:
        return [(sentence, True)]
    is_judged = [False] * len(sentence)
    for each in wanted:
        at = sentence.find(each)
        if at >= 0:
            is_judged[at : at + len(each)] = [True] * len(each)
    parts: list[tuple[str, bool]] = []
    for char, judged in zip(sentence, is_judged, strict=True):
        if parts and parts[-1][1] == judged:
            parts[-1] = (parts[-1][0] + char, judged)
        else:
            parts.append((char, judged))
    return parts


def in_lines(verdict: Verdict) -> str:
    """A verdict in plain text: the sentence with its judged words in « », the outcome and why, then every reading."""
    quoted = "".join(f"«{part}»" if judged else part for part, judged in marked(verdict.sentence, verdict.words))
    lines = [escaped(quoted), escaped(f"{verdict.outcome}{f': {verdict.reason}' if verdict.reason else ''}")]
    lines += [f"  {reading_line(reading)}" for reading in deciding(verdict)]
    lines += [f"  beside it: {reading_line(reading)}" for reading in beside(verdict)]
    return "\n".join(lines)


# --- all of them -----------------------------------------------------------------------------------------


def standing_line(verdicts: Sequence[Verdict]) -> str:
    """How many verdicts stand when all claims that ran are taken together; empty where none was decided."""
    decided = [verdict for verdict in verdicts if is_decided(verdict)]
    if not decided:
        return ""
    corrected = standing_after_holm(verdicts)
    ran = sum(map(has_run, verdicts))
    standing = sum((verdict.claim, verdict.variant) in corrected for verdict in decided)
    were, stand = ("was", "stands") if len(decided) == 1 else ("were", "stand")
    return (
        f"of {len(decided)} that {were} decided, {standing} {stand if standing != 1 else 'stands'} after Holm's "
        f"correction over the {count(ran, 'claim')} that ran"
    )


def verdict_tables(verdicts: Sequence[Verdict]) -> Iterator[Table]:
    """For each variant a table of its claims: the sentence, what was read and why it is so."""
    for variant in dict.fromkeys(verdict.variant for verdict in verdicts):
        title = escaped(variant) or None
        table = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False, leading=1)
        table.add_column("claim", max_width=_CLAIM_WIDTH, overflow="fold")
        table.add_column("verdict", no_wrap=True)
        table.add_column("the judged words in « », what was read, and why")
        for verdict in verdicts:
            if verdict.variant == variant:
                outcome = Text(f"{SYMBOLS[verdict.outcome]} {verdict.outcome}", _STYLES[verdict.outcome])
                table.add_row(Text(escaped(verdict.claim)), outcome, Text("\n").join(_lines(verdict)))
        yield table


def _lines(verdict: Verdict) -> Iterator[Text]:
    sentence = Text(style="dim")
    for part, judged in marked(verdict.sentence, verdict.words):
        sentence.append(f"«{escaped(part)}»" if judged else escaped(part), "not dim bold" if judged else None)
    yield sentence
    first = _first(verdict)
    if verdict.reason and verdict.reason not in (reading.reason for reading in first):
        yield Text(escaped(verdict.reason), _STYLES[verdict.outcome])
    rest = [reading for reading in deciding(verdict) if reading not in first]
    if rest and verdict.outcome == "mixed":  # which hold and which do not is what it is about
        for reading in deciding(verdict):
            shown = measured(reading) if reading.values else reading.outcome
            yield Text(escaped(f"{SYMBOLS[reading.outcome]} {reading.label}: {shown}"))
    else:
        for reading in first:
            yield Text(reading_line(reading))
        if rest and first:
            yield Text(f"and {count(len(rest), 'reading')} more: {tally_line(rest)}")
    for reading in beside(verdict):
        if reading.outcome != "not run":
            yield Text(f"beside it: {reading_line(reading)}", "dim")


def _first(verdict: Verdict) -> list[Reading]:
    """As many deciding readings that ran as the terminal has room for, those first that came out as the claim did."""
    ran = [reading for reading in deciding(verdict) if reading.outcome != "not run"]
    return sorted(ran, key=lambda reading: reading.outcome != verdict.outcome)[:_MOST_READINGS]
