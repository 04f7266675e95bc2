"""When a problem of a training begins and when it ends, from what is seen of it time after time.

A soft kind begins once it was seen in some of the last few snapshots, a hard one at once; each ends only after several
looks at which nothing of it was seen, so that nothing flickers. What was not looked at counts for neither. Layers in
which a kind begins at the same time are one problem, named by the first of them.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Mapping
from typing import Final, Literal, NamedTuple

from vgharness.gradflow.course.advice import ADVICE
from vgharness.records import TrainingProblem, TrainingProblemKind

# A training of any length keeps so many problems, and of each kind in one model so many; the last quarter is kept for
# what is more than a warning.
MOST_PROBLEMS: Final = 200
MOST_WARNINGS: Final = 150
MOST_OF_A_KIND: Final = 20
# What comes and goes is told so often; later times are counted in the last of these.
TOLD: Final = 3


class Change(NamedTuple):
    """What became of one problem.

    number: its place in :attr:`Course.problems`.
    problem: as it is now.
    what: ``began`` (also: a warning has become a problem, or where it comes from is known now), ``ended``, or
        ``again``: the record is another, and nobody needs to be told.
    """

    number: int
    problem: TrainingProblem
    what: Literal["began", "ended", "again"]


class Sighting(NamedTuple):
    """One kind of problem as it is seen at one step.

    layer: where; empty: the model as a whole.
    evidence: what was measured.
    severe: whether the training goes wrong; else it is a warning.
    at_once: whether it need not be seen again.
    since: the step where it began, where that is known.
    advice: what helps against this one; empty: what usually does.
    """

    layer: str
    evidence: str
    severe: bool = True
    at_once: bool = False
    since: int | None = None
    advice: str = ""


class Rule(NamedTuple):
    """A kind begins when it was seen ``seen`` times in the last ``of`` looks, and ends after ``good`` good ones."""

    seen: int
    of: int
    good: int


# 2 of 3 and 3 good ones: the fewest with which one odd batch neither begins nor ends anything. Updates follow the
# learning rate and come back more often: 3 of 4. Kinds that are decided elsewhere, over several looks or
# many steps, begin at once. What is read off the model and the optimizer is no estimate: two good looks.
RULES: Final[dict[TrainingProblemKind, Rule]] = {
    "nonfinite": Rule(1, 1, 2),
    "missing": Rule(1, 1, 2),
    "not optimized": Rule(1, 1, 2),
    "dead": Rule(2, 3, 3),
    "exploding": Rule(2, 3, 3),
    "vanishing": Rule(1, 1, 3),
    "spike": Rule(1, 1, 1),
    "stopped": Rule(1, 1, 2),
    "update too large": Rule(3, 4, 3),
    "update too small": Rule(5, 5, 3),
    "loss scale": Rule(1, 1, 1),
}
# While one of these goes on, those that follow from it are not looked at: one cause, one report. Once something is not
# finite, nothing else is.
_FOLLOWS: Final[dict[TrainingProblemKind, tuple[TrainingProblemKind, ...]]] = {
    "exploding": ("update too large",),
    "vanishing": ("dead", "update too large"),
    "spike": ("exploding", "update too large", "loss scale"),
    "stopped": ("loss scale",),
    "update too large": ("exploding",),
    "update too small": ("loss scale", "vanishing", "dead", "stopped"),
}
Key = tuple[str, TrainingProblemKind]  # model, kind


class _Track:
    """What was seen of one kind at one layer."""

    def __init__(self, rule: Rule) -> None:
        self.looks: deque[tuple[int, bool, bool]] = deque(maxlen=rule.of)  # step, whether seen, whether severe
        self.good = 0  # looks in a row
        self.good_since = 0

    def seen(self, step: int, *, severe: bool) -> None:
        self.looks.append((step, True, severe))
        self.good = 0

    def well(self, step: int) -> None:
        self.looks.append((step, False, False))
        self.good_since = self.good_since if self.good else step
        self.good += 1

    def due(self, rule: Rule) -> bool:
        return sum(seen for _, seen, _ in self.looks) >= rule.seen

    def grave(self, rule: Rule) -> bool:
        return sum(severe for *_, severe in self.looks) >= rule.seen

    @property
    def first(self) -> int:
        return next(step for step, seen, _ in self.looks if seen)


class _Open:
    """A problem that goes on; ``number`` is ``None`` where there was no room to keep it."""

    def __init__(self, number: int | None, names: set[str]) -> None:
        self.number, self.names = number, names


class Ledger:
    """The problems of a training, and what was last seen of each."""

    def __init__(self) -> None:
        self.problems: list[TrainingProblem] = []
        self._tracks: dict[Key, dict[str, _Track]] = {}
        self._open: dict[Key, list[_Open]] = {}
        self._of_a_kind: Counter[Key] = Counter()

    def goes_on(self, model: str, kind: TrainingProblemKind) -> bool:
        """Whether a problem of that kind has begun and has not ended."""
        return bool(self._open.get((model, kind)))

    def hidden(self, model: str, kind: TrainingProblemKind) -> bool:
        """Whether a problem goes on of which ``kind`` would only be a consequence."""
        return any(self.goes_on(model, cause) for cause in _FOLLOWS.get(kind, ()))

    def look(
        self,
        model: str,
        step: int,
        kind: TrainingProblemKind,
        seen: Mapping[str, Sighting],
        good: Collection[str] = (),
    ) -> list[Change]:
        """Adds one look at a kind: where it was seen, and where all was good, by name of what was looked at.

        Of several names that are seen at once the first gives the problem its layer. Returns what changed.
        """
        key, rule = (model, kind), RULES[kind]
        if self.hidden(model, kind):
            seen = {}
        over = kind != "nonfinite" and self.goes_on(model, "nonfinite")  # nothing is to be had from such gradients
        if over or not (seen or key in self._tracks):
            return []
        tracks = self._tracks.setdefault(key, {})
        for name, sighting in seen.items():
            tracks.setdefault(name, _Track(rule)).seen(step, severe=sighting.severe)
        for name in good:
            if name in tracks and name not in seen:
                tracks[name].well(step)
        changes = [*self._graver(key, step, seen), *self._begin(key, seen), *self._end(key)]
        covered = {name for each in self._open.get(key, ()) for name in each.names}
        for name in [name for name, track in tracks.items() if track.good >= rule.of and name not in covered]:
            del tracks[name]
        return changes

    def rewrite(self, model: str, kind: TrainingProblemKind, layer: str, evidence: str, advice: str) -> list[Change]:
        """Gives the problem of a kind that goes on other words: more is known now, and is told."""
        numbers = [each.number for each in self._open.get((model, kind), ()) if each.number is not None]
        words = {"layer": layer, "evidence": evidence, "advice": advice or ADVICE[kind]}
        return [self._replace(number, self._told(number, "began"), **words) for number in numbers[:1]]

    # --- begin and end -----------------------------------------------------------------------------------

    def _begin(self, key: Key, seen: Mapping[str, Sighting]) -> list[Change]:
        rule, tracks, going_on = RULES[key[1]], self._tracks[key], self._open.setdefault(key, [])
        covered = {name for each in going_on for name in each.names}
        new = [n for n, x in seen.items() if n not in covered and (x.at_once or tracks[n].due(rule))]
        if not new:
            return []
        first = seen[new[0]]
        began = first.since if first.since is not None else tracks[new[0]].first
        change = self._add(key, first, began)
        # Those that are seen as well and would be due in a moment are the same problem.
        going_on.append(_Open(change and change.number, {name for name in seen if name not in covered}))
        return [change] if change else []

    def _add(self, key: Key, sighting: Sighting, began: int) -> Change | None:
        model, kind = key
        before = [
            i
            for i, x in enumerate(self.problems)
            if (x.model, x.kind, x.layer) == (model, kind, sighting.layer) and x.ended is not None
        ]
        if any(
            each.number is not None and self.problems[each.number].layer == sighting.layer for each in self._open[key]
        ):
            return None  # another part of a layer of which this is said already
        room = MOST_PROBLEMS if sighting.severe else MOST_WARNINGS
        full = len(self.problems) >= room or self._of_a_kind[key] >= MOST_OF_A_KIND
        if len(before) >= TOLD or (before and full):
            times = self.problems[before[-1]].times + 1
            return self._replace(before[-1], "again", ended=None, times=times)
        if full:
            return None
        self._of_a_kind[key] += 1
        problem = TrainingProblem(
            kind=kind,
            model=model,
            layer=sighting.layer,
            began=began,
            evidence=sighting.evidence,
            advice=sighting.advice or ADVICE[kind],
            severity="problem" if sighting.severe else "warning",
        )
        self.problems.append(problem)
        return Change(len(self.problems) - 1, problem, "began")

    def _graver(self, key: Key, step: int, seen: Mapping[str, Sighting]) -> list[Change]:
        """A warning that has become a problem."""
        rule, changes = RULES[key[1]], []
        for each in self._open.get(key, ()):
            grave = [n for n, x in seen.items() if n in each.names and x.severe and self._tracks[key][n].grave(rule)]
            if each.number is None or not grave or self.problems[each.number].severity == "problem":
                continue
            evidence = f"{self.problems[each.number].evidence}; from step {step:,} on: {seen[grave[0]].evidence}"
            changes.append(
                self._replace(each.number, self._told(each.number, "began"), severity="problem", evidence=evidence)
            )
        return changes

    def _end(self, key: Key) -> list[Change]:
        rule, tracks, changes = RULES[key[1]], self._tracks[key], []
        for each in list(self._open.get(key, ())):
            if not all(tracks[name].good >= rule.good for name in each.names):
                continue
            self._open[key].remove(each)
            if each.number is not None:
                problem = self.problems[each.number]
                ended = max(problem.began, *(tracks[name].good_since for name in each.names))
                changes.append(self._replace(each.number, self._told(each.number, "ended"), ended=ended))
        return changes

    def _told(self, number: int, what: Literal["began", "ended"]) -> Literal["began", "ended", "again"]:
        return what if self.problems[number].times == 1 else "again"

    def _replace(self, number: int, what: Literal["began", "ended", "again"], **fields: object) -> Change:
        self.problems[number] = TrainingProblem(**{**dict(self.problems[number]), **fields})
        return Change(number, self.problems[number], what)
