"""Known-good models: which there are, and what becomes of each."""

from concurrent.futures import ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pytest

from vgharness.benchmarks import zoo
from vgharness.benchmarks.zoo import check_model, check_models, pick_models
from vgharness.errors import UsageError

pytestmark = pytest.mark.fast

MODELS = """
from torch import nn
import torch

def good(): return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4))
def sigmoid(): return nn.Sequential(*(m for _ in range(20) for m in (nn.Linear(16, 16), nn.Sigmoid())))
def large(): return nn.Linear(15_000, 12_000)
def broken(): raise RuntimeError("no weights")

class Choosy(nn.Module):
    def __init__(self): super().__init__(); self.layer = nn.Linear(3, 3)
    def forward(self, x): raise ValueError("not this")
"""


@pytest.fixture(autouse=True)
def _no_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit on memory is for good; here it would be on the process of the tests."""
    monkeypatch.setattr(zoo, "_limit_memory", lambda: None)


@pytest.fixture
def models(tmp_path: Path) -> str:
    (tmp_path / "models.py").write_text(MODELS)
    return str(tmp_path / "models.py")


def test_a_model_is_judged_as_check_judges_it(models: str) -> None:
    good, bad = check_model(f"{models}:good", 42), check_model(f"{models}:sigmoid", 42)
    assert (good.outcome, good.text, good.parameters) == ("healthy", "healthy", 8 * 16 + 16 + 16 * 4 + 4)
    assert "of unit noise" in good.batch
    assert good.memory > 2**26
    assert bad.outcome == "problem"
    assert bad.text.startswith("vanishing from ")


@pytest.mark.parametrize(
    ("name", "outcome", "words"),
    [
        ("broken", "refused", "RuntimeError: no weights"),
        ("Choosy", "refused", "no input was found that this model takes"),
        ("missing", "refused", "has no 'missing'"),
        ("good", "skipped", "212"),
    ],
)
def test_what_is_not_judged_says_why(
    models: str, name: str, outcome: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if outcome == "skipped":
        monkeypatch.setattr(zoo, "MOST_PARAMETERS", 211)
        words = "million parameters"
    found = check_model(f"{models}:{name}", 42)
    assert found.outcome == outcome
    assert words in found.text
    assert found.batch == ""


def test_torchvisions_classification_models_are_known() -> None:
    known = zoo.known_models()
    assert {"torchvision:resnet18", "torchvision:vit_b_16", "torchvision:googlenet"} <= set(known)
    assert not any("rcnn" in name or "fcn" in name for name in known)


def test_models_are_picked_by_name_and_glob(models: str) -> None:
    assert pick_models("torchvision:resnet18, torchvision:resnet1*") == [
        f"torchvision:{name}" for name in ("resnet18", "resnet101", "resnet152")
    ]
    assert pick_models(f"{models}:good") == [f"{models}:good"]
    assert pick_models(None) == zoo.known_models()


def test_only_the_source_that_a_glob_names_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zoo, "_SOURCES", {"torchvision": lambda: ["a1", "a2", "b"], "timm": lambda: ["a1"]})
    assert pick_models("*:a1") == ["torchvision:a1", "timm:a1"]
    monkeypatch.setitem(zoo._SOURCES, "timm", None)
    assert pick_models("torchvision:a*") == ["torchvision:a1", "torchvision:a2"]


@pytest.mark.parametrize(
    ("patterns", "words"),
    [
        ("torchvision:resne?t*x", "--models torchvision:resne?t*x: no such model here"),
        ("torchvision:resnt18", "torchvision:resnt18: torchvision has no such model: did you mean"),
        (" , ", "--models: give names or globs separated by commas"),
    ],
)
def test_what_fits_nothing_is_refused(patterns: str, words: str) -> None:
    with pytest.raises(UsageError, match=words.replace("?", "[?]").replace("*", "[*]")):
        pick_models(patterns)


def test_a_process_that_is_killed_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(model: str, seed: int) -> None:
        raise BrokenProcessPool

    monkeypatch.setattr(zoo, "check_model", killed)
    monkeypatch.setattr(zoo, "isolated_process", lambda configured: ThreadPoolExecutor(1))
    (found,) = check_models(["a:b"], 42)
    assert (found.outcome, found.text, found.memory) == ("refused", "its process was ended from outside", None)
