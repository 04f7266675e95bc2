"""What a training's page says first, made from its log: what went wrong, where and at which step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

from vgharness.formatting import count, escaped, shorten
from vgharness.records import Birth, NonfiniteOrigin, TrainingLog, TrainingProblem

LONGEST_NAME: Final = 60
_MOST_NAMED: Final = 3
# What is said of a problem with a place, and of one of the model as a whole.
_OF_LAYER: Final = {
    "nonfinite": "first value that is not finite in {}",
    "missing": "no gradient reaches {}",
    "not optimized": "no optimizer has {}",
    "dead": "{} is dead",
    "exploding": "gradients explode at {}",
    "vanishing": "gradients vanish at {}",
    "spike": "the gradient spikes at {}",
    "stopped": "{} stops moving",
    "update too large": "updates too large for {}",
    "update too small": "updates too small for {}",
    "loss scale": "the loss scale falls at {}",
}
_OF_MODEL: Final = {
    "nonfinite": "first value that is not finite",
    "missing": "no gradient arrives",
    "not optimized": "no optimizer has its parameters",
    "dead": "it is dead",
    "exploding": "gradients explode",
    "vanishing": "gradients vanish",
    "spike": "the gradient norm spikes",
    "stopped": "it stops moving",
    "update too large": "updates too large",
    "update too small": "updates too small",
    "loss scale": "the loss scale falls",
}
_ENDED: Final = {
    "running": "so far; the training goes on or was killed",
    "failed": "before it ended in an exception",
    "interrupted": "before it was interrupted",
    "finished": "",
}


class Event(NamedTuple):
    """A problem, or a birth, in words: ``conv1 stops moving at step 1,200``."""

    step: int
    text: str
    is_nonfinite: bool


def headline(log: TrainingLog) -> str:
    """One sentence, without its full stop: ``conv1 stops moving at step 1,200; first NaN at step 3,417 in the backward
    pass of layer4``; ``No problem in 20,000 steps``."""
    problems, warnings = (_events(log, severity) for severity in ("problem", "warning"))
    if problems:
        return _capital(_told(problems))
    taken = max(model.steps for model in log.models)
    steps = max(taken, max((log.last_step(model.name) + 1 - log.first_step for model in log.models), default=0))
    if not log.snapshots and not taken:
        return "No step was watched"
    text = " ".join(filter(None, [f"No problem in {count(steps, 'step')}", _ENDED[log.status]]))
    return f"{text}; {count(len(warnings), 'warning')}: {_told(warnings)}" if warnings else text


def in_words(problem: TrainingProblem) -> str:
    """``conv1 stops moving``."""
    if problem.layer:
        # A Sequential's own names are numbers.
        name = f"layer {problem.layer}" if problem.layer.isdecimal() else problem.layer
        return _OF_LAYER[problem.kind].format(shorten(escaped(name), LONGEST_NAME))
    return _OF_MODEL[problem.kind]


def birth_in_words(birth: Birth) -> str:
    """``first NaN in the backward pass of layer4 (MulBackward0)``."""
    origin = birth.origin
    if birth.parameter:
        return f"first NaN in the optimizer's step, of {shorten(escaped(birth.parameter), LONGEST_NAME)}"
    if origin is None:
        return "first value that is not finite" + (" in the loss or its gradient" if birth.loss else "")
    return f"first NaN {_where(origin)}"


def spanned(problem: TrainingProblem) -> str:
    """``at step 300``, ``from step 300 to 400``, ``from step 300, 4 times``."""
    times = f", {problem.times} times" if problem.times > 1 else ""
    if problem.ended is None:
        return f"from step {problem.began:,} on{times}"
    return f"from step {problem.began:,} to {problem.ended:,}{times}"


def _where(origin: NonfiniteOrigin) -> str:
    if origin.stage == "inputs":
        return "in what the model was given"
    module = "the model" if origin.module == "" else shorten(escaped(origin.module or ""), LONGEST_NAME)
    operation = f" ({shorten(escaped(origin.operation), LONGEST_NAME)})" if origin.operation else ""
    if not module:
        return f"in the {origin.stage} pass{operation}"
    return f"in the {origin.stage} pass of {module}{operation}"


def _events(log: TrainingLog, severity: str) -> list[Event]:
    """In the order of the steps. A birth says more than the problem that it is the beginning of."""
    several = len(log.models) > 1
    found: list[Event] = []
    for model in log.models:
        birth = next((birth for birth in log.births if birth.model in ("", model.name)), None)
        for problem in log.problems_of(model.name):
            if problem.severity != severity:
                continue
            of = f"{shorten(escaped(problem.model), LONGEST_NAME)}: " if several and problem.model else ""
            step, words = problem.began, in_words(problem)
            if problem.kind == "nonfinite" and birth is not None:
                step, words, birth = birth.step, birth_in_words(birth), None
            found.append(Event(step, f"{of}{_at_step(words, step)}", problem.kind == "nonfinite"))
    return sorted(dict.fromkeys(found), key=lambda event: event.step)


def _at_step(words: str, step: int) -> str:
    first, place, rest = words.partition(" in the ")
    return f"{first} at step {step:,}{place}{rest}"


def _told(events: Sequence[Event]) -> str:
    """The first few, and among them the first value that is not finite: it ends what a training is worth."""
    shown = list(events[:_MOST_NAMED])
    broken = next((event for event in events if event.is_nonfinite), None)
    if broken is not None and broken not in shown:
        shown[-1] = broken
    left = len(events) - len(shown)
    return "; ".join([*(event.text for event in shown), *([f"{left:,} more"] if left else [])])


def _capital(text: str) -> str:
    """As a sentence begins, but for a name, which stays as it is."""
    return text[:1].upper() + text[1:] if text.startswith(_WORDS) else text


# How what is said begins, where that is not the name of a layer.
_WORDS: Final = (
    "first NaN",
    "layer ",
    *(text.split("{}")[0] for text in (*_OF_LAYER.values(), *_OF_MODEL.values()) if not text.startswith("{")),
)
