"""From a claim's readings to its verdict, and from verdicts to those that stand after correction for their number."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from vgharness.formatting import count
from vgharness.records import Outcome, Reading, Verdict
from vgharness.statistics import CONFIDENCE, holm

# Of alternatives the best counts; an error comes before what is merely open, for it must not go unseen.
_BEST_FIRST: Final[tuple[Outcome, ...]] = ("reproduced", "error", "inconclusive", "not run", "not reproduced")


class Combined(NamedTuple):
    """What a claim's readings come to.

    outcome: its verdict.
    reason: in one line, where the outcome alone does not say it.
    p: the least level of error at which the outcome would still be what it is; ``None``: nothing was decided.
    """

    outcome: Outcome
    reason: str = ""
    p: float | None = None


def combine(readings: Sequence[Reading]) -> Combined:
    """Combines a claim's readings. Those that are only context do not count; of those that share ``either`` the best
    does.

    All hold: reproduced. Some hold and some do not: mixed. None holds and some fail: not reproduced. Else inconclusive,
    or not run where none ran; an error where a computation raised.
    """
    deciding = _deciding(readings)
    held = [each for each in deciding if each.outcome == "reproduced"]
    failed = [each for each in deciding if each.outcome == "not reproduced"]
    if errors := [each for each in deciding if each.outcome == "error"]:
        return Combined("error", errors[0].reason)
    missing = _missing(deciding)
    if len(held) == len(deciding):
        return Combined("reproduced", _common_reason(held), max(_levels(held), default=None))
    if held and failed:
        p = max(_corrected(held, len(deciding)), _corrected(failed, len(deciding)))
        return Combined("mixed", _joined(f"{len(held)} of {count(len(deciding), 'reading')} hold", missing), p)
    if failed:
        reason = _joined(_common_reason(failed) if len(deciding) == 1 else "", missing)
        return Combined("not reproduced", reason, _corrected(failed, len(deciding)))
    if all(each.outcome == "not run" for each in deciding):
        return Combined("not run", deciding[0].reason)
    undecided = next((each.reason for each in deciding if each.outcome == "inconclusive"), "")
    share = f"{len(held)} of {count(len(deciding), 'reading')} hold" if held else ""
    return Combined("inconclusive", _joined(share, undecided, missing))


def awaits_seeds(readings: Sequence[Reading]) -> bool:
    """Whether more seeds could decide a claim whose readings these are: one of those that decide is open, and none
    lacks something else."""
    unsettled = _unsettled(readings)
    return bool(unsettled) and not any(map(_lacks, unsettled))


def lacks_more_than_seeds(readings: Sequence[Reading]) -> str:
    """Says what else than more seeds it takes to decide a claim whose readings these are; empty where it takes
    nothing."""
    return next((reason for group in _unsettled(readings) if (reason := _lacks(group))), "")


def _unsettled(readings: Sequence[Reading]) -> list[list[Reading]]:
    """Those that decide and are not settled: each by itself, or with its alternatives of which none is reproduced."""
    groups = [group for group in _groups(readings) if all(each.outcome != "reproduced" for each in group)]
    left = [[each for each in group if each.outcome != "not reproduced"] for group in groups]
    return [group for group in left if group]


def _lacks(unsettled: Sequence[Reading]) -> str:
    """Why seeds settle none of these; empty where they could."""
    if any(each.outcome == "inconclusive" and not each.open_for_good for each in unsettled):
        return ""
    return unsettled[0].reason or unsettled[0].outcome


def standing_after_holm(verdicts: Iterable[Verdict]) -> frozenset[tuple[str, str]]:
    """Finds the verdicts, by claim and variant, that stand after Holm's correction (1979) over all claims that ran: the
    chance that any of them is due to chance is then 5 % at most. What ran and stayed open counts in their number."""
    found = [each for each in verdicts if has_run(each)]
    decided = [each for each in found if is_decided(each)]
    corrected = holm(_levels(decided), len(found))
    return frozenset(
        (each.claim, each.variant) for each, p in zip(decided, corrected, strict=True) if p <= 1 - CONFIDENCE
    )


def has_run(verdict: Verdict) -> bool:
    """Whether there was all that it takes to judge the claim."""
    return verdict.outcome not in ("not run", "error")


def is_decided(verdict: Verdict) -> bool:
    """Whether the measurement says something definite of the claim."""
    return verdict.outcome in ("reproduced", "mixed", "not reproduced")


def _groups(readings: Sequence[Reading]) -> list[list[Reading]]:
    """Those that decide: each by itself, or with its alternatives."""
    groups: dict[str, list[Reading]] = {}
    for index, reading in enumerate(readings):
        if not reading.context:
            groups.setdefault(reading.either or f"reading {index}", []).append(reading)
    return list(groups.values())


def _deciding(readings: Sequence[Reading]) -> list[Reading]:
    return [min(group, key=lambda each: _BEST_FIRST.index(each.outcome)) for group in _groups(readings)]


def _levels(judged: Iterable[Reading | Verdict]) -> list[float]:
    return [1.0 if each.p is None else each.p for each in judged]


def _corrected(readings: Sequence[Reading], tried: int) -> float:
    """Of several readings one is enough: the least of their levels, times how many could have been it (Bonferroni)."""
    return min(min(_levels(readings)) * tried, 1.0)


def _missing(deciding: Sequence[Reading]) -> str:
    missing = [each for each in deciding if each.outcome == "not run"]
    return f"{len(missing)} not run: {missing[0].reason}" if missing else ""


def _common_reason(readings: Sequence[Reading]) -> str:
    return next((each.reason for each in readings if each.reason), "")


def _joined(*parts: str) -> str:
    return "; ".join(part for part in parts if part)
