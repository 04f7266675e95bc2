"""How long what is left takes."""

import pytest

from vgharness.records import Cell
from vgharness.study.pace import Pace

pytestmark = pytest.mark.fast


def cell(seed: int, epochs: int = 10, depth: int = 4) -> Cell:
    return Cell(architecture="script", activation="relu", seed=seed, epochs=epochs, depth=depth)


def test_before_the_first_epoch_nothing_is_known() -> None:
    assert Pace().seconds_left({cell(1): 0.5}, [cell(1)]) is None


def test_cells_side_by_side_share_the_time() -> None:
    pace, cells = Pace(), [cell(seed) for seed in range(4)]
    pace.add(cells[0], 8.0, 2)
    assert pace.seconds_left({cells[0]: 1.0, cells[1]: 1.0, cells[2]: 0.0, cells[3]: 0.0}, cells[:2]) == 4 * 38


def test_the_last_one_takes_as_long_alone() -> None:
    pace = Pace()
    pace.add(cell(1), 8.0, 2)
    assert pace.seconds_left({cell(1): 7.0, cell(2): 10.0}, [cell(1)]) == 3 * 8.0


def test_a_kind_that_ran_counts_for_itself_and_all_of_them_for_others() -> None:
    pace = Pace()
    pace.add(cell(1, depth=2), 1.0, 1)
    pace.add(cell(1, depth=4), 3.0, 1)
    assert pace.seconds_left({cell(2, depth=2): 0.0}, []) == 10
    assert pace.seconds_left({cell(2, depth=8): 0.0}, []) == 20


def test_what_is_done_takes_no_time() -> None:
    pace = Pace()
    pace.add(cell(1), 8.0, 1)
    assert pace.seconds_left({cell(1): 10.0}, []) == 0


def test_cells_that_wait_take_what_those_that_ended_took_beside_their_epochs() -> None:
    pace = Pace()
    pace.add(cell(1), 8.0, 1)
    assert pace.seconds_left({cell(2, epochs=0): 0.0}, [], [cell(2, epochs=0)]) == 0
    pace.add_cell(cell(1), 5.0, 1)
    assert pace.seconds_left({cell(2, epochs=0): 0.0}, [], [cell(2, epochs=0)]) == 5
    pace.add_cell(cell(3, epochs=0), 3.0, 2)
    waiting = [cell(2, epochs=0), cell(4)]
    assert pace.seconds_left(dict.fromkeys(waiting, 0.0), [], waiting) == 1.5 + 5 + 80
