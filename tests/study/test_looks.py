"""When a study in rounds of seeds is judged, and how much error each look may make."""

import pytest
from factories import failure

from vgharness.claims.decision import FEWEST_SEEDS
from vgharness.records import ONE_LOOK_CONFIDENCE, Look, Rounds
from vgharness.statistics import CONFIDENCE
from vgharness.study.looks import FIRST_LOOK, planned_looks

pytestmark = pytest.mark.fast


@pytest.mark.parametrize(
    ("most", "seeds"),
    [
        (5, [5]),
        (6, [5, 6]),
        (10, [5, 7, 10]),
        (20, [5, 7, 10, 14, 20]),
        (24, [5, 8, 12, 17, 24]),
        (40, [5, 7, 10, 14, 20, 28, 40]),
    ],
)
def test_looks_are_fixed_beforehand_and_share_the_error_of_one(most: int, seeds: list[int]) -> None:
    looks = planned_looks(most)
    assert [look.seeds for look in looks] == seeds
    assert sum(look.error for look in looks) == pytest.approx(1 - CONFIDENCE)
    spent = 0.0
    for look in looks:  # in proportion to the seeds
        spent += look.error
        assert spent == pytest.approx((1 - CONFIDENCE) * look.seeds / most)


def test_the_first_look_has_enough_seeds_for_a_verdict() -> None:
    assert FIRST_LOOK >= FEWEST_SEEDS
    assert ONE_LOOK_CONFIDENCE == CONFIDENCE
    assert "most seeds 4: give 5 or more" in failure(lambda: planned_looks(4))


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"looks": (Look(seeds=5, error=0.02), Look(seeds=5, error=0.02))}, "at more seeds than the one before"),
        ({"looks": (Look(seeds=5, error=0.05), Look(seeds=7, error=0.05))}, "spend more than 5% of error"),
        ({"looks": planned_looks(10), "at": 4}, "look 4 of 3"),
    ],
)
def test_rounds_that_cannot_be_are_refused(fields: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Rounds.model_validate(fields)
