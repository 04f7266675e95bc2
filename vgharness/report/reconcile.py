"""Which networks could have given each number that the studied README prints or plots, as one run of theirs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, Literal, NamedTuple

from rich import box
from rich.table import Table
from rich.text import Text

from vgharness.claims.loading import load_claims
from vgharness.claims.published import published_curves
from vgharness.formatting import count, escaped, listing
from vgharness.records import Activation, Run
from vgharness.report.kinds import Kind, kinds_of
from vgharness.statistics import (
    from_scale,
    grain_on,
    mean_over_seeds,
    on_scale,
    percent_grain,
    prediction_interval,
)

STUDY: Final = "reconcile"  # the ready-made study that trains the plausible readings
_PUBLISHED_EPOCHS: Final = 20
_LOST: Final = 4.0  # points of accuracy that re-encoded images may cost
Answer = Literal["yes", "only with the images' loss added", "no"]


class Number(NamedTuple):
    """A test accuracy that the README gives.

    activation: of the network.
    first: whether it is after epoch 1; else after the last epoch.
    low, high: its two ends, percent; equal, where it is no range.
    source: the README's ``table`` or its ``plots``.
    """

    activation: Activation
    first: bool
    low: float
    high: float
    source: str

    @property
    def name(self) -> str:
        """``sigmoid, after the last epoch: 72–74 % (table)``."""
        ends = f"{self.low:g}" if self.low == self.high else f"{self.low:g}–{self.high:g}"
        return f"{self.activation}, after {'epoch 1' if self.first else 'the last epoch'}: {ends} % ({self.source})"


class Possibility(NamedTuple):
    """Whether one kind of network could have given a number.

    kind: of network.
    epoch: after which it was tested.
    mean: over its seeds, percent.
    low, high: the 95 % prediction interval of one further run.
    answer: whether the number, or some of a range, lies in it; re-encoded images may cost up to 4 points.
    """

    kind: Kind
    epoch: int
    mean: float
    low: float
    high: float
    answer: Answer


def numbers() -> list[Number]:
    """The README's numbers, from its claims and from the published curves."""
    found: dict[Number, None] = {}
    for claim in load_claims():
        for reading in claim.readings:
            activation = reading.of.factors.get("activation")
            if reading.quantity == "test_accuracy" and reading.accept and reading.accept.printed and not reading.passes:
                printed, own = reading.accept.printed, _activation(str(activation))
                is_plot = any(abs(printed[0] - value) < 1e-9 for value in _plotted(own))
                source = "plots" if is_plot else "table"
                found[Number(own, reading.at == 1, min(printed), max(printed), source)] = None
    for activation_name in published_curves():
        own = _activation(activation_name)
        first, last = _plotted(own)
        found |= {Number(own, True, first, first, "plots"): None, Number(own, False, last, last, "plots"): None}
    return sorted(found, key=lambda each: (each.activation, not each.first, each.source != "table"))


def reconciled(run: Run) -> list[tuple[Number, list[Possibility]]]:
    """Each number, with what each kind of network of the run with that activation says of it: of two seeds or more, and
    trained to the end."""
    return [(each, list(_possibilities(run, each))) for each in numbers()]


def reconciled_table(found: Sequence[tuple[Number, list[Possibility]]]) -> Table:
    """A row for each number and kind of network."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("number", "network", "after", "mean", "95 % of runs in", "could be one run"):
        table.add_column(heading, overflow="fold")
    for number, possibilities in found:
        for place, each in enumerate(sorted(possibilities, key=lambda x: (x.answer != "yes", x.answer == "no"))):
            cells = (
                "" if place else number.name,
                each.kind.settings,
                f"epoch {each.epoch}",
                f"{each.mean:.1f}",
                f"{each.low:.1f} to {each.high:.1f}",
                each.answer,
            )
            style = "green" if each.answer == "yes" else "dim" if each.answer == "no" else "yellow"
            table.add_row(*(Text(escaped(cell), style) for cell in cells))
    return table


def conclusions(found: Sequence[tuple[Number, list[Possibility]]]) -> Iterator[str]:
    """A line for each number: which networks could have given it; and one for those that could have given all numbers
    of the README's table at once."""
    for number, possibilities in found:
        could = _settings(possibilities, "yes")
        perhaps = [each for each in _settings(possibilities, "only with the images' loss added") if each not in could]
        if not possibilities:
            yield f"{number.name}: no network of the run says"
            continue
        most = count(_kinds(possibilities), "network")
        line = f"{number.name}: {listing(could) if could else 'none'} of {most} could"
        yield line + _with_loss(perhaps)
    table = [possibilities for number, possibilities in found if number.source == "table" and possibilities]
    every = _in_all(table, ("yes",))
    perhaps = [each for each in _in_all(table, ("yes", "only with the images' loss added")) if each not in every]
    line = f"all numbers of the table: {listing(every) if every else 'no network could have given them all'}"
    yield line + _with_loss(perhaps)


def _with_loss(perhaps: Sequence[str]) -> str:
    return f"; {listing(perhaps)} only where the re-encoded images cost up to 4 points" if perhaps else ""


def _in_all(table: Sequence[list[Possibility]], answers: Sequence[Answer]) -> list[str]:
    """The networks that have one of the answers for each number."""
    able = [{each.kind.settings for each in own if each.answer in answers} for own in table]
    return sorted(set.intersection(*able)) if able else []


def _possibilities(run: Run, number: Number) -> Iterator[Possibility]:
    for kind in kinds_of(run):
        results = [result for result in kind.trained if result.status == "finished"]
        if kind.activation != number.activation or len(results) < 2:
            continue
        longest = min(len(result.epochs) for result in results)
        after = {_PUBLISHED_EPOCHS, longest} if longest >= _PUBLISHED_EPOCHS else {longest}
        for epoch in [1] if number.first else sorted(after):
            values = [result.epochs[epoch - 1].test_accuracy for result in results]
            known = [value for value in values if value is not None]
            if len(known) == len(values):
                yield _possibility(kind, epoch, known, number, run)


def _possibility(kind: Kind, epoch: int, values: Sequence[float], number: Number, run: Run) -> Possibility:
    mean = float(mean_over_seeds(list(values), "logit"))
    grain = grain_on("logit", mean, percent_grain(mean, run.data.test_images))
    ends = prediction_interval([on_scale("logit", value) for value in values], grain)
    low, high = (from_scale("logit", end) for end in ends)
    answer: Answer = "no"
    if number.low <= high and number.high >= low:
        answer = "yes"
    elif run.data.cifar10 == "re-encoded" and number.low <= high + _LOST and number.high >= low:
        answer = "only with the images' loss added"
    return Possibility(kind, epoch, mean, low, high, answer)


def _settings(possibilities: Sequence[Possibility], answer: Answer) -> list[str]:
    return list(dict.fromkeys(each.kind.settings for each in possibilities if each.answer == answer))


def _kinds(possibilities: Sequence[Possibility]) -> int:
    return len({each.kind.settings for each in possibilities})


def _plotted(activation: Activation) -> tuple[float, float]:
    curve = published_curves()[activation]
    return curve[0]["test_accuracy_percent"], curve[-1]["test_accuracy_percent"]


def _activation(name: str) -> Activation:
    return "sigmoid" if name == "sigmoid" else "relu"  # the README prints of no other
