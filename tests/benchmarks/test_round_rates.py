"""The simulation of studies in rounds: that the correction keeps false verdicts at the level, and that without it there
are more."""

import io
import math

import numpy as np
import pytest
from factories import MACHINE
from rich.console import Console

from vgharness.benchmarks import rounds
from vgharness.benchmarks.rounds import AUTO, NAIVE, SCHEMES, as_rounds_rates, ended, scheme_rates, simulate_rounds
from vgharness.benchmarks.verdicts import LAWS
from vgharness.claims.accept import Accept
from vgharness.cli.diagnosis_tables import print_rounds
from vgharness.records import SeedValue

pytestmark = pytest.mark.fast

STUDIES = 300
NOMINAL = 0.025  # one side of an interval at 95 %
MOST = NOMINAL + 2.6 * math.sqrt(NOMINAL * (1 - NOMINAL) / STUDIES)  # in 99.5 of 100 simulations, at the level itself
BOTH = {scheme: SCHEMES[scheme] for scheme in (NAIVE, AUTO)}
NORMAL = LAWS[0]


def test_looking_often_is_wrong_more_often_unless_it_is_corrected_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "EFFECTS", ())
    monkeypatch.setattr("vgharness.claims.decision.seeds_to_decide", lambda *_: None)  # takes most of the time
    naive, auto = scheme_rates(NORMAL, STUDIES, np.random.default_rng(1), BOTH)
    assert max(auto.false_reproduced, auto.false_not_reproduced) <= MOST
    assert min(naive.false_reproduced, naive.false_not_reproduced) > MOST


def test_a_study_ends_once_it_is_decided_and_at_the_latest_with_its_last_look() -> None:
    looks = SCHEMES[AUTO]
    values = [SeedValue(seed=seed, value=float((-1) ** seed)) for seed in range(20)]
    found = [ended(looks, values, Accept(at_least=end), NORMAL) for end in (-9.0, -1.5, 0.0, 9.0)]
    assert [each.outcome for each in found] == ["reproduced", "reproduced", "inconclusive", "not reproduced"]
    assert found[0].seeds == found[3].seeds == 5
    assert found[0].seeds < found[1].seeds < found[2].seeds == 20


def test_equal_seeds_give_equal_rows_and_the_table_has_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rounds, "LAWS", LAWS[:1])
    monkeypatch.setattr(rounds, "SCHEMES", BOTH)
    rows = tuple(simulate_rounds(3, 1))
    assert rows == tuple(simulate_rounds(3, 1)) != tuple(simulate_rounds(3, 2))
    found = as_rounds_rates(rows, 3, 1, MACHINE)
    assert len(found.laws) == len(found.printed) == len(BOTH)
    screen = Console(file=io.StringIO(), width=160)
    print_rounds(screen, found)
    text = screen.file.getvalue()  # type: ignore[attr-defined]
    assert text.count("auto, uncorrected") == 2
