"""Two runs side by side for a terminal, for Markdown and for programs; and what of it fails."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, Literal, get_args

from vgharness.errors import UsageError
from vgharness.formatting import count, escaped, listing
from vgharness.records import Name, Outcome, Reading, Record
from vgharness.report.tables import Sheet
from vgharness.report.verdict_json import JudgedRun, judged_run
from vgharness.report.verdict_table import measured
from vgharness.report.versus.pairs import ClaimPair, ReadingPair, Versus, headline
from vgharness.report.versus.settings import settings_of

Rule = Literal["flipped", "changed"]
RULES: Final[tuple[Rule, ...]] = get_args(Rule)

_MOST_SETTINGS: Final = 6
_GONE: Final = "not judged"


class ComparedReading(Record):
    """One reading of a claim in both runs.

    label: what is read, in words.
    quantity: what is measured, as the claim's file has it.
    unit: of the values.
    before: the value over the seeds in the earlier run; ``None``: there is none.
    before_low: lower end of its 95 % interval; ``None``: open, or there is none.
    before_high: upper end.
    seeds_before: which seeds it is of.
    after: the value in the later run.
    after_low: lower end of its 95 % interval.
    after_high: upper end.
    seeds_after: which seeds it is of.
    difference: by how much it is another; ``None``: there is none, for the ``reason``.
    difference_low: lower end of the difference's 95 % interval; ``None``: there is no interval.
    difference_high: upper end.
    difference_is: a ``factor``, or a ``difference`` in ``unit``, of percentages in points.
    paired: whether the difference was taken seed by seed.
    clear: whether its interval leaves out no difference.
    reason: why there is no difference.
    """

    label: Name
    quantity: Name
    unit: Name
    before: float | None
    before_low: float | None
    before_high: float | None
    seeds_before: tuple[int, ...]
    after: float | None
    after_low: float | None
    after_high: float | None
    seeds_after: tuple[int, ...]
    difference: float | None
    difference_low: float | None
    difference_high: float | None
    difference_is: Literal["factor", "difference"] | None
    paired: bool
    clear: bool
    reason: Name


class ComparedClaim(Record):
    """One claim in both runs.

    claim: its id.
    variant: what sets its networks apart.
    before: what it came to in the earlier run.
    after: what it came to in the later run.
    readings: those that decide, that both runs have.
    """

    claim: Name
    variant: Name
    before: Outcome
    after: Outcome
    readings: tuple[ComparedReading, ...]


class ComparedRuns(Record):
    """What ``vgharness compare A B --json`` prints of two studies' runs.

    schema_version: of this format.
    before: the earlier run.
    after: the later one.
    claims: those that both have.
    only_before: what the claims came to that the later run does not have.
    only_after: the same of those that the earlier one does not have.
    settings: what else differs, each with what it was before and after.
    failures: what fails by the rules that were given.
    """

    schema_version: Literal[1] = 1
    before: JudgedRun
    after: JudgedRun
    claims: tuple[ComparedClaim, ...]
    only_before: dict[Name, Outcome]
    only_after: dict[Name, Outcome]
    settings: dict[Name, tuple[Name, Name]]
    failures: tuple[Name, ...]


def given_rules(texts: Sequence[str]) -> tuple[Rule, ...]:
    """What is to fail: ``flipped``, a verdict that was *reproduced* and is not any more; ``changed``, any that came to
    something else. Raises :class:`~vgharness.errors.UsageError`."""
    for text in texts:
        if text not in RULES:
            raise UsageError(f"--fail {escaped(text)}: of two studies give {' or '.join(RULES)}")
    return tuple(rule for rule in RULES if rule in texts)


def failures(found: Versus, rules: Sequence[Rule]) -> list[str]:
    """What fails, a line each. A claim that only one of the runs has came to something else too."""
    moves: list[tuple[str, str, str]] = [
        *((claim.name, claim.before.outcome, claim.after.outcome) for claim in found.changed),
        *((name, outcome, _GONE) for name, outcome in found.only_before),
        *((name, _GONE, outcome) for name, outcome in found.only_after),
    ]
    return [
        f"{name}: {before} → {after}"
        for name, before, after in moves
        if "changed" in rules or ("flipped" in rules and before == "reproduced")
    ]


def comparison_sheets(found: Versus, rules: Sequence[Rule] = ()) -> tuple[Sheet, ...]:
    """A sheet for each claim that came to something else or has a value that did, and a last one that says how many
    there are and in what else the runs differ."""
    told = [claim for claim in found.claims if claim.is_changed or _clear(claim)]
    return (*map(_claim_sheet, told), _conclusion(found, told, rules))


def as_json(found: Versus, files: tuple[str, str], rules: Sequence[Rule] = ()) -> ComparedRuns:
    """Everything that was compared; ``files``: the runs' names."""
    return ComparedRuns(
        before=judged_run(files[0], found.before),
        after=judged_run(files[1], found.after),
        claims=tuple(
            ComparedClaim(
                claim=claim.after.claim,
                variant=claim.after.variant,
                before=claim.before.outcome,
                after=claim.after.outcome,
                readings=tuple(map(_compared, claim.readings)),
            )
            for claim in found.claims
        ),
        only_before=dict(found.only_before),
        only_after=dict(found.only_after),
        settings={x.name: (x.before, x.after) for x in settings_of(found.before, found.after) if x.differs},
        failures=tuple(failures(found, rules)),
    )


def comparison_rows(found: Versus) -> tuple[tuple[str, ...], list[dict[str, Any]]]:
    """The columns and a row for each reading, then one for each claim that only one of the runs has."""
    columns = ("claim", "variant", "verdict_before", "verdict_after", *ComparedReading.model_fields)
    rows: list[dict[str, Any]] = []
    for claim in found.claims:
        first = {
            "claim": claim.after.claim,
            "variant": claim.after.variant,
            "verdict_before": claim.before.outcome,
            "verdict_after": claim.after.outcome,
        }
        for pair in claim.readings or (None,):
            row = first if pair is None else first | _compared(pair).model_dump()
            rows.append({name: listing(x) if isinstance(x, tuple) else x for name, x in row.items()})
    rows += ({"claim": name, "verdict_before": outcome} for name, outcome in found.only_before)
    rows += ({"claim": name, "verdict_after": outcome} for name, outcome in found.only_after)
    return columns, rows


def _compared(pair: ReadingPair) -> ComparedReading:
    before, after, difference = pair.before, pair.after, pair.difference
    return ComparedReading(
        label=after.label,
        quantity=after.quantity,
        unit=after.unit,
        before=before.value,
        before_low=before.low,
        before_high=before.high,
        seeds_before=_seeds(before),
        after=after.value,
        after_low=after.low,
        after_high=after.high,
        seeds_after=_seeds(after),
        difference=difference.value if difference else None,
        difference_low=difference.low if difference else None,
        difference_high=difference.high if difference else None,
        difference_is=("factor" if difference.is_factor else "difference") if difference else None,
        paired=difference is not None and difference.paired,
        clear=_is_clear(pair),
        reason=pair.why,
    )


def _seeds(reading: Reading) -> tuple[int, ...]:
    return tuple(each.seed for each in reading.values)


def _is_clear(pair: ReadingPair) -> bool:
    return pair.difference is not None and pair.difference.is_clear


def _clear(claim: ClaimPair) -> int:
    return sum(map(_is_clear, claim.readings))


def _claim_sheet(claim: ClaimPair) -> Sheet:
    pairs = claim.readings
    return Sheet(
        title=claim.in_words() if claim.is_changed else f"{claim.name}: {claim.after.outcome}, as before",
        names=(30,),
        headings=("reading", "before", "after", "change"),
        rows=tuple(
            (
                escaped(pair.after.label),
                escaped(measured(pair.before)),
                escaped(measured(pair.after)),
                escaped(pair.difference.in_words()) if pair.difference else "–",
            )
            for pair in pairs
        ),
        styles=tuple("yellow" if _is_clear(pair) else "" for pair in pairs),
        notes=tuple(dict.fromkeys(escaped(f"–: {pair.why}") for pair in pairs if pair.why)),
        wrapped=True,
    )


def _conclusion(found: Versus, told: Sequence[ClaimPair], rules: Sequence[Rule]) -> Sheet:
    return Sheet(title=headline(found), notes=tuple(map(escaped, _notes(found, told, rules))))


def _notes(found: Versus, told: Sequence[ClaimPair], rules: Sequence[Rule]) -> Iterator[str]:
    for failure in failures(found, rules):
        yield f"FAIL {failure}"
    for when, verdicts in (("before", found.only_before), ("after", found.only_after)):
        if verdicts:
            yield f"only {when}: {listing(f'{name} ({outcome})' for name, outcome in verdicts)}"
    differences = [pair.difference for claim in found.claims for pair in claim.readings if pair.difference]
    if differences:
        many = sum(map(_clear, found.claims))
        paired = {difference.paired for difference in differences}
        how = (
            "seed by seed" if paired == {True} else "of the means" if paired == {False} else "by seed where they agree"
        )
        yield f"{many} of {count(len(differences), 'value')} changed by more than chance, each at 95 % by itself, {how}"
    if left := len(found.claims) - len(told):
        yield f"{count(left, 'claim')} not shown: as before, with no value that clearly changed"
    if differing := [x.name for x in settings_of(found.before, found.after) if x.differs]:
        yield f"what else differs: {listing(differing, most=_MOST_SETTINGS)}"
