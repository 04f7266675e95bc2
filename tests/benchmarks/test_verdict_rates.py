"""The simulation of studies: that it sees wrong rules, and that the rules are as right as its table says."""

import numpy as np
import pytest
from factories import MACHINE

from vgharness.benchmarks import verdicts
from vgharness.benchmarks.verdicts import LAWS, ROWS, Law, LawRates, as_verdicts, honest_rates, law_rates, simulate

pytestmark = pytest.mark.fast

NORMAL, LOGNORMAL = LAWS[0], LAWS[2]


@pytest.mark.parametrize("law", [law for law in LAWS if not law.mixed], ids=lambda law: law.name)
def test_intervals_cover_and_false_verdicts_are_few(law: Law) -> None:
    found = law_rates(law, 5, 150, np.random.default_rng(1))
    assert found.coverage > 0.9
    assert max(found.worst_reproduced, found.worst_not_reproduced) < 0.1  # 5 %, and chance of 150 studies


def test_an_honest_number_is_seldom_refuted() -> None:
    assert honest_rates(5.0, 1.0, 5, 150, np.random.default_rng(1)).not_reproduced < 0.085


def test_it_sees_a_rule_that_is_wrong() -> None:
    plain = law_rates(LOGNORMAL._replace(scale="linear"), 5, 150, np.random.default_rng(1))
    assert plain.coverage < 0.9, "logarithms judged as they are"


def test_equal_seeds_give_equal_rows_and_each_has_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdicts, "LAWS", LAWS[:1])
    monkeypatch.setattr(verdicts, "SEEDS", (3,))
    first, again = tuple(simulate(8, 1)), tuple(simulate(8, 1))
    assert first == again
    assert first != tuple(simulate(8, 2))
    found = as_verdicts(first, 8, 1, MACHINE)
    assert (len(found.laws), len(found.many), len(found.needed)) == (1, 1, 1)
    assert len(found.laws) + len(found.honest) + len(found.many) + len(found.needed) == len(first)
    assert isinstance(first[0], LawRates)
    assert len(first) < ROWS
