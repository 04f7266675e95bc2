"""Names that every tracker takes, the same for one layer each time and never for two."""

import re

import pytest
from watched_steps import DEAD, LINES, METRICS, OTHERS, OVER, ROWS, snapshot

from vgharness.errors import UsageError
from vgharness.integrations.metrics import Problems, metric_part, metrics_of
from vgharness.integrations.packages import required

pytestmark = pytest.mark.fast


def test_each_value_that_was_measured_has_a_name_and_no_other() -> None:
    metrics = metrics_of(snapshot(7), ROWS)
    assert set(metrics) == {*METRICS, *OTHERS}
    assert {name: metrics[name] for name in METRICS} == {name: 7 + more for name, more in METRICS.items()}


def test_the_name_of_a_model_stands_before_its_quantities() -> None:
    metrics = metrics_of(snapshot(7, model="the generator"), ROWS)
    assert all(re.match(r"gradflow/the_generator-[0-9a-f]{6}/\w+", name) for name in metrics)
    assert len(metrics) == len({*METRICS, *OTHERS})


def test_names_that_would_be_the_same_stay_apart() -> None:
    plain = ["conv1", "encoder.layers.0.self_attn", "a-b_c"]
    odd = ["down/conv", "down conv", "down:conv", "down_conv", "", "root", "größe", "rnn-pass1", "a" * 300, "a" * 301]
    parts = [metric_part(name) for name in (*plain, *odd)]
    assert parts[: len(plain)] == plain
    assert len(set(parts)) == len(parts)
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]{1,120}", part) for part in parts)


def test_problems_go_on_until_they_end() -> None:
    problems = Problems()
    problems.add(DEAD)
    assert problems.going_on == 1
    problems.add(OVER)
    assert problems.going_on == 0
    assert problems.lines == LINES
    assert problems.kinds == ["dead (down/conv)"]


def test_a_package_that_is_not_there_is_one_line_that_names_it() -> None:
    with pytest.raises(UsageError, match=r"^A sink needs nothing-here: pip install nothing-here$") as caught:
        required("nothing_here.at_all", "A sink", "nothing-here")
    assert isinstance(caught.value, ImportError)
