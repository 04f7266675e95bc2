"""Judges the gallery by this package and by those of its peers that are installed.

Each is given the same models on the same batches, one for each seed, and applies its own gradient checks at their
defaults; what it says of most seeds counts.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.metadata import version
from typing import Any, Final, Literal, NamedTuple

import torch
from torch import Tensor, nn

from vgharness.benchmarks.gallery.cases import SEEDS, Case, measure
from vgharness.gradflow.symptoms import ProblemKind

# Of a sick network, "named": the right problem, "seen": an alarm of another name, "missed": none; of a healthy one,
# "quiet" or "alarm"; of either, "crashed": the tool raised an exception.
Judgement = Literal["named", "seen", "missed", "quiet", "alarm", "crashed"]
# What a tool says of a model on a batch; "something" is an alarm that names none of our problems.
Finding = ProblemKind | Literal["something"] | None

OURS: Final = "vgharness"


class Judged(NamedTuple):
    """What the tools made of one network.

    network: its name.
    problem: what it has; ``None`` for a healthy network.
    judgements: one for each tool, by the tool's name.
    """

    network: str
    problem: ProblemKind | None
    judgements: dict[str, Judgement]


class Tally(NamedTuple):
    """How one tool did on a gallery.

    sick: how many networks have a problem.
    named: of those, for how many it named the right one.
    seen: of those, for how many it raised any alarm.
    healthy: how many networks have no problem.
    alarms: of those, for how many it raised an alarm, or an exception.
    """

    sick: int
    named: int
    seen: int
    healthy: int
    alarms: int


class Peer(NamedTuple):
    """Another package that checks gradients.

    module: what it is imported as.
    find: says what it finds in a model, whose output is the loss, on a batch, the model's arguments.
    """

    module: str
    find: Callable[[nn.Module, Any], Finding]


def installed() -> dict[str, str]:
    """The version of this package and of each peer that is here, by name."""
    found = [name for name, peer in PEERS.items() if importlib.util.find_spec(peer.module)]
    return {name: version(name) for name in (OURS, *found)}


def judge_cases(cases: Iterable[Case], tools: Iterable[str]) -> Iterator[Judged]:
    """Judges each case by each of ``tools``, this package's or :data:`PEERS`' names."""
    names = tuple(tools)
    for case in cases:
        yield Judged(case.name, case.problem, {tool: _judgement(tool, case) for tool in names})


def tally(judged: Sequence[Judged], tool: str) -> Tally:
    """Counts how ``tool`` did."""
    sick = [found.judgements[tool] for found in judged if found.problem]
    healthy = [found.judgements[tool] for found in judged if not found.problem]
    named = sick.count("named")
    return Tally(len(sick), named, named + sick.count("seen"), len(healthy), len(healthy) - healthy.count("quiet"))


def _judgement(tool: str, case: Case) -> Judgement:
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            found = _ours(case) if tool == OURS else _of_peer(PEERS[tool], case)
    except Exception:  # whatever a peer raises
        return "crashed"
    if case.problem is None:
        return "alarm" if found else "quiet"
    return "missed" if not found else "named" if found == case.problem else "seen"


def _ours(case: Case) -> Finding:
    problems = measure(case).diagnosis.problems
    return problems[0].kind if problems else None


def _of_peer(peer: Peer, case: Case) -> Finding:
    found = Counter(peer.find(_WithLoss(case, seed), case.batch(seed)) for seed in SEEDS)
    return found.most_common(1)[0][0]


class _WithLoss(nn.Module):
    """A case's network with its loss as the output: what every peer can run, whatever the loss takes."""

    def __init__(self, case: Case, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.network, self._case = case.make(), case

    def forward(self, *batch: Any) -> Tensor:
        loss: Tensor = self._case.loss(self.network, batch)
        return loss


# --- the peers -----------------------------------------------------------------------------------------


def _pytest_torch(model: nn.Module, batch: Any) -> Finding:
    from pytest_torch.training import assert_all_params_receive_grad, assert_gradients_finite

    try:
        assert_gradients_finite(model, batch, lambda loss: loss)
    except AssertionError:
        return "nonfinite"
    try:
        assert_all_params_receive_grad(model, batch, lambda loss: loss)
    except AssertionError as error:
        return "missing" if "not connected to the loss" in str(error) else "dead"
    return None


_TORCHTEST2_CHECKS: Final = ("output_finite", "loss", "gradient_flow", "gradient_magnitude", "params_change")


def _torchtest2(model: nn.Module, batch: Any) -> Finding:
    import torchtest2

    skip = [check for check in torchtest2.CHECKS if check not in ("forward", *_TORCHTEST2_CHECKS)]
    report = torchtest2.check_model(model, batch, loss_fn=lambda loss: loss, skip=skip)
    messages = {check.name: check.message.lower() for check in (*report.failures, *report.warnings)}
    if not messages:
        return None
    text = " ".join(messages.values())
    if "nan" in text or "inf" in text.split() or "finite" in text:
        return "nonfinite"
    if "gradient_magnitude" in messages and "gradient_flow" not in messages:
        return "exploding"
    return "missing" if "no gradient" in text else "dead" if "zero" in text else "something"


def _tracetorch(model: nn.Module, batch: Any) -> Finding:
    from tracetorch import AnomalySeverity, TraceSession

    with TraceSession(model) as session:
        model(*batch).backward()
    kinds = {str(x.type.value) for x in session.anomalies if x.severity is not AnomalySeverity.INFO}
    if not kinds:
        return None
    if any("nan" in kind or "inf" in kind for kind in kinds):
        return "nonfinite"
    return "dead" if "zero_gradient" in kinds else "exploding" if "exploding_variance" in kinds else "something"


PEERS: Final = {
    "pytest-torch": Peer("pytest_torch", _pytest_torch),
    "torchtest2": Peer("torchtest2", _torchtest2),
    "tracetorch-ml": Peer("tracetorch", _tracetorch),
}
