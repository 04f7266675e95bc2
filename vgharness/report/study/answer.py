"""What a run found, in words made by rule from its figures and verdicts: the first thing on its page.

A kind of network's gradients *shrink* toward the input at a moment where the interval of the factor per layer, at the
confidence of the run's claims, lies below 1/2, *grow* where it lies above 2, are *steady* where it lies within; else
that is *open*.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Final, Literal, NamedTuple

from vgharness.claims.decision import FEWEST_SEEDS
from vgharness.formatting import count, duration, percent, together, with_span
from vgharness.gradflow.summary import SIGNAL
from vgharness.records import Activation, Run, Verdict, tally_line
from vgharness.report.kinds import Kind, Series, factor_series, numerical_errors, trained_groups
from vgharness.report.rounds import rounds_line
from vgharness.report.verdict_table import deciding
from vgharness.statistics import Summary
from vgharness.theory import FUNCTIONS

State = Literal["shrink", "grow", "steady", "open"]
LEAST, MOST = 0.5, 2.0
_MOST_NAMED: Final = 3
_WORDS: Final[dict[State, str]] = {
    "shrink": "shrink",
    "grow": "grow",
    "steady": f"stay within ×{LEAST:g} to ×{MOST:g} per layer",
}


class Finding(NamedTuple):
    """The factor toward the input of one activation's error signal.

    first, last: its mean at the first moment and over the last epoch; the same where nothing was trained.
    epoch: the last.
    """

    activation: Activation
    name: str
    first: Summary
    last: Summary
    epoch: int


class Answer(NamedTuple):
    """What stands at the head of a run's page.

    headline: what was found.
    settings: of the networks that it speaks of.
    findings: the figures that it rests on.
    sure: what it all rests on, part by part.
    """

    headline: str
    settings: str
    findings: tuple[Finding, ...]
    sure: tuple[str, ...]


def answer_of(run: Run) -> Answer:
    """The answer of ``run``."""
    settings, spoken_of = _spoken_of(run)
    series = [found for kind in spoken_of if (found := factor_series(kind, SIGNAL, run.study.confidence)).means]
    said = [(found, text) for found in series if (text := way(found))]
    if said:
        headline = _sentence(said[:_MOST_NAMED])
    elif run.verdicts:
        headline = f"Of {count(len(run.verdicts), 'claim')}: {tally_line(run.verdicts)}"
    else:
        headline = f"Gradients of {count(len(run.results), 'network')}, measured"
    return Answer(
        headline=headline,
        settings=settings if said else "",
        findings=tuple(_finding(found) for found, _ in said[:_MOST_NAMED]),
        sure=tuple(_sure(run)),
    )


def activation_name(activation: Activation) -> str:
    """As PyTorch writes it: ``ReLU``."""
    return FUNCTIONS[activation].module.__name__


def state_of(factor: Summary) -> State:
    """Where the interval of a factor lies."""
    if factor.low is None or factor.high is None:
        return "open"
    if factor.high < LEAST:
        return "shrink"
    if factor.low > MOST:
        return "grow"
    return "steady" if factor.low >= LEAST and factor.high <= MOST else "open"


def _spoken_of(run: Run) -> tuple[str, tuple[Kind, ...]]:
    """The trained networks that claims about gradients are judged on, all of the same settings but the activation; of a
    run that was held against nothing the first that were trained."""
    groups = trained_groups(run)
    judged = [*_judged_on_gradients(run.verdicts)]
    activations = list(dict.fromkeys(activation for _, activation in judged))
    for settings in dict.fromkeys([*(settings for settings, _ in judged), *groups]):
        if chosen := [kind for kind in groups.get(settings, ()) if kind.activation in activations]:
            return settings, tuple(sorted(chosen, key=lambda kind: activations.index(kind.activation)))
    return ("", ()) if run.verdicts else next(iter(groups.items()), ("", ()))


def _judged_on_gradients(verdicts: Iterable[Verdict]) -> Iterable[tuple[str, Activation]]:
    """Settings and activation of the networks of each deciding reading of the error signal."""
    for verdict in verdicts:
        for reading in deciding(verdict):
            if reading.quantity == SIGNAL and reading.activation:
                yield reading.networks, reading.activation


def way(series: Series) -> str:
    """How the factor went, as what follows “gradients”; empty where the seeds do not tell that of its first moment.

    ``shrink toward the input at initialisation, no longer from epoch 2 on``.
    """
    states = [state_of(mean) for mean in series.means]
    first, last, epoch = states[0], states[-1], series.last
    start = "at initialisation" if series.first == 0 else f"over epoch {series.first}"
    if first == "open" or len(series.seeds) < FEWEST_SEEDS:
        return ""
    text = f"{_WORDS[first]} toward the input"
    if len(states) == 1:
        return f"{text} {start}"
    if set(states) == {first}:
        return f"{text} throughout"
    if last == first:
        return f"{text} {start} and over epoch {epoch}, not always between"
    if last == "open":
        return f"{text} {start}; over epoch {epoch} that is open"
    # From when on the last state holds without a moment of another, or of doubt.
    since = series.first + max(place for place, state in enumerate(states) if state != last) + 1
    return f"{text} {start}, {'no longer' if last == 'steady' else last} from epoch {since} on"


def _sentence(said: Sequence[tuple[Series, str]]) -> str:
    """One sentence: each activation with the way that its gradients went, as far as that differs from the one
    before."""
    ways: dict[str, list[str]] = {}
    for series, each in said:
        ways.setdefault(each, []).append(f"{activation_name(series.kind.activation)}’s")
    parts: list[str] = []
    before: list[str] = []
    for each, names in ways.items():
        clauses = each.split(", ")
        # What the one before said already is not said again, where something is left.
        same = len(clauses) > 1 and clauses[0] == before[0] if before else False
        parts.append(f"{together(names)} {', '.join(clauses[1:]) if same else f'gradients {each}'}")
        before = clauses
    return "; ".join(parts)


def _finding(series: Series) -> Finding:
    activation = series.kind.activation
    return Finding(activation, activation_name(activation), series.means[0], series.means[-1], series.last)


def _sure(run: Run) -> Iterable[str]:
    seeds = {result.cell.seed for result in run.results}
    if seeds:
        few = f", and a verdict needs {FEWEST_SEEDS}" if len(seeds) < FEWEST_SEEDS else ""
        yield count(len(seeds), "seed") + few
    if looked := rounds_line(run.study):
        yield looked
    yield f"{run.data.description} ({run.data.train_images:,} images)"
    yield f"{run.study.precision}{_worst_error(run)}"
    yield f"{duration(run.seconds)} on {run.machine.hardware}"
    yield run.created[:10]


def _worst_error(run: Run) -> str:
    known = [error for error in numerical_errors(run, SIGNAL) if math.isfinite(error)]
    return f", gradients at most {percent(max(known))} from float64’s" if known else ""


def interval_words(summary: Summary) -> str:
    """``0.127 (0.126 to 0.128)``."""
    return with_span(summary.value, summary.low, summary.high)
