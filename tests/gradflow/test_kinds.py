"""Networks of five kinds, labelled before the code was tried on them: what is said of each is its label."""

import re
from collections.abc import Sequence
from typing import Any

import pytest
from kinds_case import HEALTHY, Kind
from kinds_graph import GRAPH
from kinds_nan import NAN
from kinds_opening import OPENING
from kinds_parameters import PARAMETERS
from kinds_time import TIME

import vgharness

KINDS = {"parameters": PARAMETERS, "graph": GRAPH, "nan": NAN, "time": TIME, "opening": OPENING}
TWICE = ["a vanishing branch", "a cut branch"]


def shown(kinds: dict[str, Sequence[Kind]]) -> list[Any]:
    return [
        pytest.param(case, id=f"{kind}: {case.name}", marks=marks(case))
        for kind, cases in kinds.items()
        for case in cases
    ]


def marks(case: Kind) -> list[Any]:
    return [pytest.mark.deep if case.deep else pytest.mark.fast]


@pytest.mark.parametrize("case", shown(KINDS))
def test_what_is_said_is_the_label(case: Kind) -> None:
    diagnosis = vgharness.measure(case.make, case.batch, case.loss, seeds=2).diagnosis
    said = [(problem.kind, re.sub(r"\[\d+\]| pass \d+", "", problem.layer)) for problem in diagnosis.problems]
    if case.label == HEALTHY:
        assert diagnosis.healthy, diagnosis.problems
        return
    named = [layer for kind, layer in said if kind == case.label]
    assert named, (said, diagnosis.notes)
    assert named[0] in case.layers, diagnosis.problems
    if case.born:
        evidence = next(x.evidence for x in diagnosis.problems if x.kind == case.label)
        assert ("the forward pass is finite" in evidence) == (case.born == "backward"), evidence


@pytest.mark.fast
@pytest.mark.parametrize(("first", "second"), [(f"{x}, called last", f"{x}, called first") for x in TWICE], ids=TWICE)
def test_the_order_of_calls_changes_no_word(first: str, second: str) -> None:
    by_name = {case.name: case for case in GRAPH}
    said = [vgharness.measure(x.make, x.batch, x.loss, seeds=2).diagnosis for x in (by_name[first], by_name[second])]
    assert said[0] == said[1]


@pytest.mark.fast
def test_each_kind_has_ten_and_healthy_ones_among_them() -> None:
    for cases in KINDS.values():
        names = [case.name for case in cases]
        assert len(set(names)) == len(names) >= 10
        assert sum(case.label == HEALTHY for case in cases) >= 4
