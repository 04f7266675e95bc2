"""The rows that a sample's tables have: its layers in forward order, with what is to be said of their order.

* A row that the one above does not feed begins a branch, and says what feeds it. A factor is against the layers that
  its own layer feeds, so a row that does not feed the one below says that too.
* Of a layer that runs more than :data:`MOST_IN_FULL` times the passes between the first and the last share a row, and
  so do the steps of a recurrent module.
* Its parameters follow a layer on request.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Final, Literal, NamedTuple

from vgharness.gradflow.summary import (
    FACTOR,
    SIGNAL,
    LayerSummary,
    ParameterSummary,
    layer_summaries,
    paths_through_time,
)
from vgharness.records import LayerKey, Sample, factors_toward_input, nan_if_none
from vgharness.statistics import Summary, mean_over_seeds, scale_of, summarise

MOST_IN_FULL: Final = 4
THE_INPUT: Final = "the input"


class Row(NamedTuple):
    """One row of a table.

    kind: what it is of; ``steps`` and ``parameter`` belong to the ``layer`` above them.
    label: its name.
    state: as a layer's; of several passes all of theirs; of a parameter ``no gradient`` where it asks for one.
    value: ‖∂L/∂h‖₂, of several passes or steps the geometric mean; of a parameter ‖∂L/∂p‖₂.
    factor: toward the input, of several passes or steps the geometric mean; None where there is none.
    layer: of a single pass, all that is known of it.
    origin: where it begins a branch, the layer that feeds it, or :data:`THE_INPUT`.
    feeds_below: whether it feeds the row below, so that its factor may be read from the two.
    """

    kind: Literal["layer", "steps", "parameter"]
    label: str
    state: str
    value: Summary
    factor: Summary | None = None
    layer: LayerSummary | None = None
    origin: str | None = None
    feeds_below: bool = True


def table_rows(sample: Sample, *, parameters: bool = False, named: Collection[str] = ()) -> tuple[Row, ...]:
    """The rows of ``sample``, from the input to the output; with ``parameters`` also theirs.

    named: passes that have a row of their own, as the diagnosis speaks of them.
    """
    groups = _folded(layer_summaries(sample), named)
    rows = _with_branches(groups, _rows(groups, sample), sample)
    steps = _step_rows(sample)
    found: list[Row] = []
    shown: set[str] = set()
    for group, row in zip(groups, rows, strict=True):
        found.append(row)
        key = group[0].key
        if len(group) == 1:
            found += steps.pop(key._replace(backward_pass=0), [])
        if parameters and key.name not in shown:  # a weight's gradient sums over the passes: once is enough
            found += [_parameter_row(each, key.name) for each in group[0].parameters]
        shown.add(key.name)
    return tuple(found)


def _folded(layers: Sequence[LayerSummary], named: Collection[str]) -> list[list[LayerSummary]]:
    """What shares a row, where the first of it stands."""
    passes: dict[tuple[str, int], list[LayerSummary]] = {}
    for layer in layers:
        passes.setdefault((layer.key.name, layer.key.backward_pass), []).append(layer)
    together: dict[LayerKey, list[LayerSummary]] = {}
    for own in passes.values():
        alone = [i for i, layer in enumerate(own) if str(layer.key) in named]
        for start, stop in _shares(len(own), alone):
            together[own[start].key] = own[start:stop]
    return [together[layer.key] for layer in layers if layer.key in together]


def _shares(length: int, alone: Iterable[int] = ()) -> list[tuple[int, int]]:
    """Start and stop of what shares a row among so many; the first, the last and those ``alone`` have rows of their
    own."""
    if length <= MOST_IN_FULL:
        return [(i, i + 1) for i in range(length)]
    ends = [end for i in sorted({0, *alone, length - 1}) for end in (i, i + 1)]
    return [(start, stop) for start, stop in pairwise(ends) if start < stop]


def _rows(groups: Sequence[Sequence[LayerSummary]], sample: Sample) -> Iterator[Row]:
    signals = sample.values(SIGNAL)
    factors = {key: values for (key, _), values in sample.factors().items()}
    for group in groups:
        first, last = group[0].key, group[-1].key
        if len(group) == 1:
            yield Row("layer", str(first), group[0].state, group[0].signal, group[0].factor, group[0])
            continue
        keys = [layer.key for layer in group]
        leading = [key for key in keys if key in factors]
        backward = f" pass {first.backward_pass}" if first.backward_pass else ""
        yield Row(
            kind="layer",
            label=f"{first.name or 'model'}[{first.forward_pass}] to [{last.forward_pass}]{backward}",
            state=", ".join(dict.fromkeys(layer.state for layer in group)),
            value=_mean(SIGNAL, [signals[key] for key in keys]),
            factor=_mean(FACTOR, [factors[key] for key in leading]) if leading else None,
        )


def _mean(quantity: str, values: Iterable[Sequence[float]]) -> Summary:
    """The summary over seeds of each seed's mean of ``values``, a sequence over seeds for each pass."""
    return summarise([_mean_of(quantity, seed) for seed in zip(*values, strict=True)], scale_of(quantity))


def _mean_of(quantity: str, values: Sequence[float]) -> float:
    """The mean over passes or steps, on the quantity's scale as over seeds."""
    return float(mean_over_seeds(values, scale_of(quantity)))


# --- branches ----------------------------------------------------------------------------------------------


def _with_branches(groups: Sequence[Sequence[LayerSummary]], rows: Iterable[Row], sample: Sample) -> list[Row]:
    """``rows``, one for each group, with what is to be said of their order. A layer that no error signal reached has no
    place in it."""
    found, links = list(rows), _links(sample)
    missed = set.intersection(*(set(flow.missed) for flow in sample.flows))
    placed = [i for i, group in enumerate(groups) if group[0].key.name not in missed]
    keys = [[layer.key._replace(backward_pass=0) for layer in group] for group in groups]
    for above, below in pairwise(placed):
        fed = {key for each in keys[above] for key in links.get(each, ())}
        own = set(keys[above]) if len(keys[above]) > 1 or keys[above] == keys[below] else set()
        if not fed & {*keys[below], *own}:
            found[above] = found[above]._replace(feeds_below=False)
        # Of the passes that share rows one after the other follows from their numbers.
        if not fed.intersection(keys[below]) and keys[above] != keys[below] and not _goes_on(groups, below):
            found[below] = found[below]._replace(origin=_origin(keys[below][0], links))
    return found


def _goes_on(groups: Sequence[Sequence[LayerSummary]], at: int) -> bool:
    """Whether the row is of later passes of a layer whose passes share rows."""
    key = groups[at][0].key
    return key.forward_pass > 0 and any(len(group) > 1 and group[0].key.name == key.name for group in groups)


def _links(sample: Sample) -> dict[LayerKey, set[LayerKey]]:
    """By forward pass, those that it feeds in some seed; in forward order."""
    links: dict[LayerKey, set[LayerKey]] = {}
    for flow in sample.flows:
        for key, feeds in flow.links().items():
            links.setdefault(key, set()).update(feeds)
    return links


def _origin(key: LayerKey, links: dict[LayerKey, set[LayerKey]]) -> str:
    """The last layer that feeds this one."""
    return next((str(each) for each, feeds in reversed(links.items()) if key in feeds), THE_INPUT)


# --- what belongs to a layer -------------------------------------------------------------------------------


def _step_rows(sample: Sample) -> dict[LayerKey, list[Row]]:
    """By forward pass of a recurrent module, rows of its steps, for each layer inside it and direction."""
    passes: dict[str, list[LayerKey]] = {}
    for key in dict.fromkeys(key._replace(backward_pass=0) for key in sample.keys):
        passes.setdefault(key.name, []).append(key)
    rows: dict[LayerKey, list[Row]] = {}
    for (name, part, run), paths in paths_through_time(sample).items():
        own = passes.get(name, [])
        signals = [[nan_if_none(x) for x in path.signals] for path in paths if len(path.signals) > 1]
        if run < len(own) and signals:
            rows.setdefault(own[run], []).extend(_steps(part, signals))
    return rows


def _steps(part: str, seeds: Sequence[Sequence[float]]) -> Iterator[Row]:
    """Rows of one path through time, whose signals step by step ``seeds`` has for each seed."""
    factors = [
        list(factors_toward_input({LayerKey("", t): x for t, x in enumerate(signals)}).values()) for signals in seeds
    ]
    each = [_shares(len(signals)) for signals in seeds]  # where a seed has more steps than another, it shares as many
    for index, (start, stop) in enumerate(max(each)):
        which = f"step {stop}" if stop == start + 1 else f"steps {start + 1} to {stop}"
        own = [(seed, slice(*shares[index])) for seed, shares in enumerate(each) if index < len(shares)]
        values = [_mean_of(SIGNAL, seeds[seed][share]) for seed, share in own]
        steps = [_mean_of(FACTOR, factors[seed][share]) for seed, share in own if factors[seed][share]]
        yield Row(
            kind="steps",
            label=f"  {which}" if start else f"{part}, {which}",
            state="ok" if all(map(math.isfinite, values)) else "nonfinite",
            value=summarise(values, scale_of(SIGNAL)),
            factor=summarise(steps, scale_of(FACTOR)) if steps else None,
        )


def _parameter_row(parameter: ParameterSummary, layer: str) -> Row:
    # A dot as in Python: what stands under its layer need not repeat its name.
    label = f".{parameter.name.removeprefix(layer).removeprefix('.')}"
    return Row("parameter", label, parameter.state.replace("unused", "no gradient"), parameter.l2)
