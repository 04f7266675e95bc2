"""Runs trainings with ``vgharness.watch`` and holds what it says first against their labels."""

from __future__ import annotations

import contextlib
import io
import math
import re
import time
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext
from types import TracebackType
from typing import Any, Final, Literal, NamedTuple, Self

import vgharness
from vgharness.benchmarks.trainings.cases import ANYWHERE, EVERY, Label, Severity, Training, Watching
from vgharness.formatting import in_one_line, listing
from vgharness.records import Birth, Count, Machine, Name, Record, TrainingProblem, TrainingProblemKind

# Of a training that goes wrong, "right", or what is not right of the first report; "missed": there was none. Of a
# healthy one, "quiet" or "alarm". Of either, "crashed": an exception, other losses than without a watch, or a watch
# that gave up.
Outcome = Literal[
    "right", "another kind", "another place", "too early", "too late", "missed", "quiet", "alarm", "crashed"
]
_Z: Final = 1.96
_PASS: Final = re.compile(r"\[.*\]$")  # which pass of a layer that runs more than once


class Report(Record):
    """A problem as it was told when it began.

    kind: of which kind.
    model: in which model, of several.
    layer: where; empty: the model as a whole.
    began: the step at which it began, as it was told.
    told: at which step it was told.
    severity: as it was told.
    evidence: what was measured.
    """

    kind: TrainingProblemKind
    model: Name
    layer: Name
    began: Count
    told: Count
    severity: Severity
    evidence: Name

    @property
    def text(self) -> str:
        """In a few words: kind, place and step."""
        return f"{self.kind}{_at((self.model, self.layer))}, step {self.began}"


class JudgedTraining(Record):
    """What was said of one training.

    training: its name.
    seed: of its weights and batches.
    expected: what is right, in words; ``None`` for a healthy training.
    outcome: whether the first report is right, or a healthy training was quiet.
    reports: all problems that were told, in order.
    birth: where the first non-finite value was born, as the log says.
    birth_right: whether that is the step, the place and the pass of the label; ``None`` where it names none.
    seconds: how long it took.
    error: of a crash.
    notes: of the log.
    """

    training: Name
    seed: int
    expected: Name | None
    outcome: Outcome
    reports: tuple[Report, ...]
    birth: Birth | None = None
    birth_right: bool | None = None
    seconds: float
    error: str = ""
    notes: tuple[Name, ...] = ()

    @property
    def first(self) -> Report | None:
        """The report that decided: the first problem; where there is none, the first warning."""
        return next((x for x in self.reports if x.severity == "problem"), next(iter(self.reports), None))

    @property
    def warnings(self) -> int:
        """How many warnings were told."""
        return sum(report.severity == "warning" for report in self.reports)


class JudgedTrainings(Record):
    """What ``bench trainings --json`` writes.

    machine: where it was measured.
    every: steps from one snapshot to the next.
    trainings: what was said of each.
    """

    machine: Machine
    every: Count
    trainings: tuple[JudgedTraining, ...]


class Rates(NamedTuple):
    """How right the reports are.

    wrong: how many trainings go wrong.
    right: of how many of them the first report is right.
    seen: of how many of them a problem was told at all.
    healthy: how many trainings are healthy.
    alarms: in how many of them a problem was told, or the watch raised.
    warned: in how many of them a warning was told.
    """

    wrong: int
    right: int
    seen: int
    healthy: int
    alarms: int
    warned: int


def judge_trainings(trainings: Iterable[Training], every: int = EVERY) -> Iterator[JudgedTraining]:
    """Runs each of ``trainings`` without a watch and with one, a snapshot at each ``every`` steps, and judges what is
    said."""
    for training in trainings:
        yield _judged(training, every)


def rates(judged: Sequence[JudgedTraining]) -> Rates:
    """Counts what was right."""
    wrong = [x for x in judged if x.expected is not None]
    healthy = [x for x in judged if x.expected is None]
    outcomes = Counter(x.outcome for x in judged)
    return Rates(
        wrong=len(wrong),
        right=outcomes["right"],
        seen=sum(any(report.severity == "problem" for report in x.reports) or x.outcome == "right" for x in wrong),
        healthy=len(healthy),
        alarms=sum(x.outcome != "quiet" for x in healthy),
        warned=sum(x.warnings > 0 for x in healthy),
    )


def share_interval(part: int, whole: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share. Needs a ``whole`` of one or more."""
    share, z = part / whole, _Z
    middle = (share + z * z / (2 * whole)) / (1 + z * z / whole)
    half = z / (1 + z * z / whole) * math.sqrt(share * (1 - share) / whole + z * z / (4 * whole * whole))
    return 0.0 if part == 0 else middle - half, 1.0 if part == whole else middle + half


def outcome_of(label: Label | None, reports: Sequence[Report]) -> Outcome:
    """Judges reports, in the order in which they were told: the first problem decides, or before it a warning that is
    an answer."""
    for report in reports:
        if label is None:
            if report.severity == "problem":
                return "alarm"
            continue
        fault = _fault(label, report)
        if fault is None and report.severity in label.severities:
            return "right"
        if report.severity == "problem":
            return fault or "another kind"
    return "quiet" if label is None else "missed"


def _fault(label: Label, report: Report) -> Outcome | None:
    if report.began < label.first:
        return "too early"
    if report.kind not in label.answers:
        return "another kind"
    layers = label.answers[report.kind]
    layer = _PASS.sub("", report.layer)
    if report.model != label.model or (layers != ANYWHERE and layer not in layers):
        return "another place"
    return "too late" if max(report.began, report.told) > label.last else None


def birth_is_right(label: Label | None, birth: Birth | None) -> bool | None:
    """Whether step, place and pass of the birth are those of the label; ``None`` where it names none."""
    if label is None or label.stage is None:
        return None
    if birth is None or birth.origin is None or birth.step != label.first:
        return False
    return birth.origin.stage == label.stage and birth.origin.module in label.answers["nonfinite"]


def label_text(label: Label) -> str:
    """What is right, in words."""
    kinds = listing(
        kind if layers == ANYWHERE else f"{kind}{_at((label.model, ' or '.join(sorted(layers)[:2])))}"
        for kind, layers in label.answers.items()
    )
    return f"{kinds}; steps {label.first} to {label.last}"


def _at(names: Iterable[str]) -> str:
    where = ", ".join(filter(None, names))
    return f" ({where})" if where else ""


class _Listener:
    """Is given to a training in place of ``vgharness.watch``: passes all on, and keeps what is told and when."""

    def __init__(self, every: int) -> None:
        self.every, self.reports, self.steps, self.calls = every, list[Report](), 0, 0
        self.watching: Any = None

    def __call__(self, model: Any, optimizer: Any = None, **options: Any) -> Watching:
        first = optimizer[0] if isinstance(optimizer, list) else optimizer
        first.register_step_post_hook(self._count)
        self.watching = vgharness.watch(model, optimizer, every=self.every, on_problem=self._hear, log=False, **options)
        return self

    def _count(self, *_: object) -> None:
        self.steps += 1

    def _hear(self, problem: TrainingProblem) -> None:
        if problem.ended is None:
            self.reports.append(
                Report(
                    kind=problem.kind,
                    model=problem.model,
                    layer=problem.layer,
                    began=problem.began,
                    told=max(self.steps - 1, self.calls),  # hooks of the optimizer run before step() is called
                    severity=problem.severity,
                    evidence=problem.evidence,
                )
            )

    def __enter__(self) -> Self:
        self.watching.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        left: bool | None = self.watching.__exit__(kind, error, trace)
        return left

    def step(self, loss: Any = None) -> None:
        self.watching.step(loss)
        self.calls += 1


class _Unwatched(nullcontext[Any]):
    """Takes the place of a watch that does nothing."""

    def __init__(self, model: Any, optimizer: Any = None, **options: Any) -> None:
        super().__init__()

    def __enter__(self) -> Self:
        return self

    def step(self, loss: Any = None) -> None:
        """Does nothing."""


def _judged(training: Training, every: int) -> JudgedTraining:
    listener, label, error = _Listener(every), training.expected, ""
    alone = training.run(_Unwatched)
    started = time.perf_counter()
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            if repr(training.run(listener)) != repr(alone):  # NaN is not equal to itself
                error = "the training goes another way than without a watch"
        except Exception as raised:  # whatever the watch raises
            error = in_one_line(raised)
    log = None if listener.watching is None else listener.watching.log
    if log is not None and not error and min(model.steps for model in log.models) < listener.steps:
        error = listing(log.notes) or "the watch did not see all steps"
    births = () if log is None else log.births
    birth = next((x for x in births if label is None or x.model == label.model), None)
    return JudgedTraining(
        training=training.name,
        seed=training.variant.seed,
        expected=None if label is None else label_text(label),
        outcome="crashed" if error else outcome_of(label, listener.reports),
        reports=tuple(listener.reports),
        birth=birth,
        birth_right=birth_is_right(label, birth),
        seconds=time.perf_counter() - started,
        error=error,
        notes=() if log is None else log.notes,
    )
