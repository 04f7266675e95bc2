"""The gallery of sick and healthy networks, through this package and through its peers where they are installed.

Each judges the same model on the same batch, once for each seed, by its own gradient checks at their defaults; what it
says in most seeds counts.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import warnings
from collections import Counter
from collections.abc import Callable, Iterable
from importlib.metadata import version
from typing import Any, Final, Literal, NamedTuple

import torch
from torch import Tensor, nn

from vgharness.benchmarks.gallery.models import HEALTHY, SEEDS, SICK, Case, measure
from vgharness.gradflow.diagnosis import diagnose

OURS: Final = "vgharness"
PEERS: Final = {"pytest-torch": "pytest_torch", "torchtest2": "torchtest2", "tracetorch-ml": "tracetorch"}

# "named": the right problem; "seen": an alarm of another name; "missed": none. Of a healthy one: "quiet" or "alarm".
Judgement = Literal["named", "seen", "missed", "quiet", "alarm", "crashed"]
GOOD: Final = ("named", "quiet")

_TORCHTEST2 = ("output_finite", "loss", "gradient_flow", "gradient_magnitude", "params_change")


class Judged(NamedTuple):
    """One network, its problem (``None``: healthy), and by tool what the tool made of it."""

    network: str
    problem: str | None
    judgements: dict[str, Judgement]


def installed() -> dict[str, str]:
    """Name and version of this package and of the peers that are here."""
    found = [name for name, module in PEERS.items() if importlib.util.find_spec(module)]
    return {name: version(name) for name in (OURS, *found)}


def judge_gallery(tools: Iterable[str], done: Callable[[Judged], None]) -> None:
    """Calls ``done`` with each network as it is judged."""
    for case in (*SICK, *HEALTHY):
        done(Judged(case.name, case.problem, {tool: _judgement(tool, case) for tool in tools}))


def _judgement(tool: str, case: Case) -> Judgement:
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            if tool == OURS:
                problems = diagnose([measure(case, seed) for seed in SEEDS]).problems
                said: str | None = problems[0].kind if problems else None
            else:
                said = _baseline([_SAY[tool](*_whole(case, seed)) for seed in SEEDS])
    except Exception:  # a peer's own: told as what it is
        return "crashed"
    if case.problem is None:
        return "alarm" if said else "quiet"
    return "missed" if not said else "named" if said == case.problem else "seen"


def _baseline(said: list[str | None]) -> str | None:
    return Counter(said).most_common(1)[0][0]


class _Whole(nn.Module):
    """A network with its loss: what every peer can call, whatever the loss takes."""

    def __init__(self, case: Case, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.network, self._case = case.make(), case

    def forward(self, *batch: Any) -> Tensor:
        loss: Tensor = self._case.loss(self.network, batch)
        return loss


def _whole(case: Case, seed: int) -> tuple[_Whole, Any]:
    return _Whole(case, seed), case.batch(seed)


# --- what each peer says of one model: an problem, "something", or None ------------------------------------


def _pytest_torch(model: nn.Module, batch: Any) -> str | None:
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


def _torchtest2(model: nn.Module, batch: Any) -> str | None:
    import torchtest2

    skip = [check for check in torchtest2.CHECKS if check not in ("forward", *_TORCHTEST2)]
    report = torchtest2.check_model(model, batch, loss_fn=lambda loss: loss, skip=skip)
    said = {check.name: check.message.lower() for check in (*report.failures, *report.warnings)}
    if not said:
        return None
    text = " ".join(said.values())
    if "nan" in text or "inf" in text.split() or "finite" in text:
        return "nonfinite"
    if "gradient_magnitude" in said and "gradient_flow" not in said:
        return "exploding"
    return "missing" if "no gradient" in text else "dead" if "zero" in text else "something"


def _tracetorch(model: nn.Module, batch: Any) -> str | None:
    from tracetorch import AnomalySeverity, TraceSession

    with TraceSession(model) as session:
        model(*batch).backward()
    kinds = {str(x.type.value) for x in session.anomalies if x.severity is not AnomalySeverity.INFO}
    if not kinds:
        return None
    if any("nan" in kind or "inf" in kind for kind in kinds):
        return "nonfinite"
    return "dead" if "zero_gradient" in kinds else "exploding" if "exploding_variance" in kinds else "something"


_SAY: dict[str, Callable[[nn.Module, Any], str | None]] = {
    "pytest-torch": _pytest_torch,
    "torchtest2": _torchtest2,
    "tracetorch-ml": _tracetorch,
}
