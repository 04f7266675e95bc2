"""What is closed at the start, and what a few training steps make of it: which of it is said, and how."""

import copy
import subprocess
import sys
from collections.abc import Sequence

import pytest
import torch
from kinds_case import Calls, cross_entropy, vectors, zeroed
from test_diagnosis import flow, row
from torch import nn

import vgharness
from vgharness.gradflow.diagnosis import Diagnosis, diagnose
from vgharness.gradflow.opening import flows_after_steps
from vgharness.records import GradientFlow, Steps

OPEN = flow(1, 1, 1)
SHUT = flow(row("l0", 0, state="zero", weight_l2=0.0), row("l1", 0, state="zero", weight_l2=0.0), 1)
LOST = flow(1e-12, 1e-12, 1)


def after(sgd: Sequence[GradientFlow], adam: Sequence[GradientFlow]) -> tuple[Steps, ...]:
    return tuple(Steps(optimizer=name, seed=42, flows=tuple(flows)) for name, flows in (("SGD", sgd), ("Adam", adam)))


def said(diagnosis: Diagnosis) -> list[tuple[str, str, str]]:
    return [(x.kind, x.layer, x.severity) for x in diagnosis.problems]


@pytest.mark.fast
def test_what_every_optimizer_opens_is_a_note_with_the_steps_it_took() -> None:
    opened = diagnose([SHUT], after([SHUT, OPEN], [SHUT, SHUT, OPEN]))
    assert opened.problems == ()
    assert opened.notes == (
        "dead from l1 at the start, opens after 2 steps",
        "closed at the start, opens after 2 steps: l0, l1",
    )


@pytest.mark.fast
def test_what_one_optimizer_opens_is_a_warning() -> None:
    opened = diagnose([SHUT], after([SHUT, SHUT, SHUT], [SHUT, OPEN]))
    assert said(opened) == [("dead", "l1", "warning")]
    assert opened.problems[0].evidence.endswith("; opens after 1 step of Adam")


@pytest.mark.fast
def test_what_nothing_opens_is_a_problem() -> None:
    assert said(diagnose([SHUT], after([SHUT, SHUT], [SHUT, SHUT]))) == [("dead", "l1", "problem")]


@pytest.mark.fast
def test_what_was_hidden_behind_it_is_a_problem() -> None:
    hidden = diagnose([SHUT], after([SHUT, LOST], [SHUT, LOST]))
    assert said(hidden) == [("vanishing", "l1", "problem")]
    assert hidden.problems[0].evidence.startswith("after 1 step: ")
    assert said(diagnose([SHUT], after([SHUT, LOST], [SHUT, OPEN]))) == []  # Adam's steps open the way


@pytest.mark.fast
def test_a_part_that_stays_at_zero_beside_others_is_a_warning() -> None:
    rows = row("stem", 1), row("b", 0, state="zero", weight_l2=0.0), row("head", 1)
    feeds = (rows[1].key, rows[2].key), (rows[2].key,), ()
    linked = GradientFlow(layers=tuple(x.model_copy(update={"feeds": fed}) for x, fed in zip(rows, feeds, strict=True)))
    stays = diagnose([linked], after([linked] * 4, [linked] * 4))
    assert said(stays) == [("dead", "b", "warning")]
    assert stays.problems[0].evidence == "the gradient is exactly zero at the start and after 3 steps: b"
    assert said(diagnose([linked, OPEN, OPEN], after([linked] * 4, [linked] * 4))) == []  # one seed of three


@pytest.mark.fast
def test_a_head_at_zero_opens_after_one_step() -> None:
    diagnosis = vgharness.measure(
        lambda: nn.Sequential(nn.Linear(8, 16), nn.ReLU(), zeroed(nn.Linear(16, 4))), vectors(), cross_entropy, seeds=2
    ).diagnosis
    assert diagnosis.healthy
    assert "closed at the start, opens after 1 step: 0" in diagnosis.notes


@pytest.mark.fast
def test_a_vanishing_body_under_a_head_at_zero_is_found() -> None:
    def body() -> nn.Module:
        inner = [layer for _ in range(14) for layer in (nn.Linear(16, 16), nn.Sigmoid())]
        return nn.Sequential(nn.Linear(8, 16), *inner, zeroed(nn.Linear(16, 4)))

    diagnosis = vgharness.measure(body, vectors(), cross_entropy, seeds=2).diagnosis
    assert [(x.kind, x.severity) for x in diagnosis.problems] == [("vanishing", "problem")]


@pytest.mark.fast
def test_steps_leave_the_model_its_gradients_and_its_batch_norm_alone() -> None:
    made, given = [], vectors()(42)

    def make() -> nn.Module:
        made.append(nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), zeroed(nn.Linear(16, 4))))
        return made[-1]

    before = torch.get_rng_state()
    largest = {"largest": lambda gradient: gradient.abs().max()}
    sample = vgharness.measure(make, given, cross_entropy, seeds=1, quantities=largest)
    assert [len(steps.flows) for steps in sample.record.later] == [2, 2]
    assert len(made) == 1
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(42)
    again = make()
    cross_entropy(again(given[0]), given[1]).backward()
    for kept, fresh in zip(made[0].state_dict().values(), again.state_dict().values(), strict=True):
        assert torch.equal(kept, fresh)
    for kept, fresh in zip(made[0].parameters(), again.parameters(), strict=True):
        assert torch.equal(kept.grad, fresh.grad)


@pytest.mark.fast
@pytest.mark.parametrize("name", ["SGD", "Adam"])
def test_steps_are_those_of_pytorchs_optimizer(name: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), zeroed(nn.Linear(4, 2)))
    other = copy.deepcopy(model)
    inputs, targets = torch.randn(5, 3), torch.tensor([0, 1, 0, 1, 1])
    weights = []

    def measure() -> GradientFlow:
        weights.append(model[1].weight.detach().clone())
        model.zero_grad()
        cross_entropy(model(inputs), targets).backward()
        return SHUT

    cross_entropy(model(inputs), targets).backward()
    flows_after_steps(model, SHUT, measure, 42)
    made = {"SGD": torch.optim.SGD(other.parameters(), lr=0.1), "Adam": torch.optim.Adam(other.parameters(), lr=1e-3)}
    for kept in weights[:3] if name == "SGD" else weights[3:]:
        made[name].zero_grad()
        cross_entropy(other(inputs), targets).backward()
        made[name].step()
        assert torch.equal(kept, other[1].weight)


@pytest.mark.processes
def test_no_compiler_is_imported_for_them() -> None:
    code = (
        "import sys, torch, vgharness; from torch import nn; "
        "found = vgharness.measure(lambda: nn.Linear(3, 2), (torch.ones(4, 3), None), lambda o: 0 * o.sum(), seeds=1); "
        "sys.exit(not found.record.later or 'torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.fast
def test_a_step_that_raises_leaves_the_flow_at_the_start() -> None:
    class Once(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(8, 16)
            self.head = zeroed(nn.Linear(16, 4))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if self.head.weight.any():
                raise RuntimeError("once is enough")
            return self.head(self.fc(x))

    assert said(vgharness.measure(Once, vectors(), cross_entropy, seeds=1).diagnosis) == [("dead", "fc", "problem")]


@pytest.mark.fast
def test_a_branch_that_stays_closed_is_the_same_in_either_order() -> None:
    def make(first: bool) -> nn.Module:
        def run(s, x):
            h = s.stem(x).relu()
            a, b = (s.a(h), s.b(h)) if first else (s.b(h), s.a(h))[::-1]
            return s.head(a + 0 * b)

        return Calls(run, stem=nn.Linear(8, 16), a=nn.Linear(16, 16), b=nn.Linear(16, 16), head=nn.Linear(16, 4))

    one, other = (
        vgharness.measure(lambda first=first: make(first), vectors(), cross_entropy, seeds=1).diagnosis
        for first in (True, False)
    )
    assert said(one) == said(other) == [("dead", "b", "warning")]
