"""Snapshots and problems made up for tests."""

from typing import Any

from vgharness.records import LogRow, ParameterSnapshot, Snapshot, TrainingProblem

ROWS = (LogRow(name="down/conv"), LogRow(name="rnn"), LogRow(name="rnn", forward_pass=1), LogRow(name="head"))


def snapshot(step: int, **changes: Any) -> Snapshot:
    """One at this step, whose values tell step, quantity and row."""
    fields: dict[str, Any] = {
        "step": step,
        "batch": 2 * step,
        "states": ("ok", "ok", "zero", "nonfinite"),
        "values": {
            "signal_l2": (step + 0.1, step + 0.2, 0.0, None),
            "relative_update": (1e-3, None, None, 1e-2),
        },
        "parameters": {"head.weight": ParameterSnapshot(grad_l2=step + 0.5, norm=2.0)},
        "total_norm": step + 0.75,
        "learning_rates": (0.1, 0.01),
    }
    return Snapshot(**{**fields, **changes})


DEAD = TrainingProblem(kind="dead", layer="down/conv", began=3, evidence="all gradients are 0", advice="look there")
OVER = TrainingProblem(**{**dict(DEAD), "ended": 5})
LINES = [  # of both
    "step 3: dead (down/conv): all gradients are 0. look there",
    "step 5: dead (down/conv) has ended, which began at step 3",
]
METRICS = {  # of a snapshot: what its values have more than its step
    "gradflow/signal_l2/down_conv-57e2ed": 0.1,
    "gradflow/signal_l2/rnn": 0.2,
    "gradflow/parameter_grad_l2/head.weight": 0.5,
    "gradflow/total_norm": 0.75,
}

OTHERS = {
    "gradflow/signal_l2/rnn-pass1",
    "gradflow/relative_update/down_conv-57e2ed",
    "gradflow/relative_update/head",
    "gradflow/parameter_norm/head.weight",
    "gradflow/learning_rate/0",
    "gradflow/learning_rate/1",
}
