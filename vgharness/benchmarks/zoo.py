"""Models that are known to be good, judged as ``vgharness check`` judges them: every alarm is a false one.

From torchvision all classification models; where timm is installed the first model of each of its families; where
transformers is, a few of its types. Weights are random. Too large ones are skipped.
"""

from __future__ import annotations

import importlib
import importlib.util
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from fnmatch import fnmatchcase
from typing import Final, Literal

import torch
from torch import nn

from vgharness.benchmarks.grades import Grade, grade_of
from vgharness.benchmarks.isolated import isolated_process
from vgharness.benchmarks.scaling import peak_memory
from vgharness.check.batch import choose_batch
from vgharness.check.model_source import load_factory
from vgharness.errors import UsageError
from vgharness.formatting import in_one_line, number
from vgharness.gradflow.diagnosis import summary
from vgharness.gradflow.measurement import measure
from vgharness.records import Machine, Name, Record

Outcome = Grade | Literal["refused", "skipped"]

MOST_PARAMETERS: Final = 150_000_000  # up to VGG; with their gradients and those of a batch of 8 some 4 GB
# Of data: a model that asks for more is refused it before it fills the machine. Not of addresses (RLIMIT_AS), of which
# CUDA reserves far more than it uses.
_MOST_MEMORY: Final = 16 * 2**30
_TRANSFORMERS: Final = (
    "bert", "convnext", "deit", "distilbert", "electra", "gpt2", "gpt_neox", "mobilenet_v2", "mobilevit", "opt",
    "resnet", "roberta", "segformer", "swin", "t5", "vit", "wav2vec2",
)  # fmt: skip


class ZooModel(Record):
    """What was said of one model.

    model: its name, as ``vgharness check`` takes it.
    outcome: ``healthy``; ``warning`` or ``problem``, which are false alarms; ``refused``, no input or no loss was
        found, or it could not be made or measured; ``skipped``, it is too large.
    text: the diagnosis in one line, or why there is none.
    batch: the inputs and the loss that were chosen; empty where there is no diagnosis.
    parameters: how many numbers its parameters hold; None where it could not be made.
    seconds: from loading to the diagnosis.
    memory: the most that its process had in use, bytes; None where the process ended before it said so.
    """

    model: Name
    outcome: Outcome
    text: Name
    batch: Name = ""
    parameters: int | None = None
    seconds: float
    memory: int | None = None


class Zoo(Record):
    """What ``bench zoo --json`` writes.

    machine: where it was measured.
    seed: of every model's weights and inputs.
    models: what was said of each.
    """

    machine: Machine
    seed: int
    models: tuple[ZooModel, ...]


def known_models(source: str = "*") -> list[str]:
    """Lists the models of the zoo that are installed here.

    source: a glob of ``torchvision``, ``timm`` and ``hf``.
    """
    return [f"{name}:{model}" for name, models in _SOURCES.items() if fnmatchcase(name, source) for model in models()]


def pick_models(patterns: str | None) -> list[str]:
    """Picks models by ``patterns``: names or globs, separated by commas; None: all of the zoo.

    A name need not be of the zoo: it may be any model that ``vgharness check`` takes. Raises
    :class:`~vgharness.errors.UsageError` for a glob that fits nothing, and for a name of which there is no model.
    """
    if patterns is None:
        return known_models()
    picked = [name for pattern in filter(None, map(str.strip, patterns.split(","))) for name in _fitting(pattern)]
    if not picked:
        raise UsageError("--models: give names or globs separated by commas, such as torchvision:resnet*")
    return list(dict.fromkeys(picked))


def _fitting(pattern: str) -> list[str]:
    if not set("*?[") & set(pattern):
        load_factory(pattern)  # says what is wrong with the name before anything is measured
        return [pattern]
    source = pattern.partition(":")[0]  # the others are not asked: timm takes half a minute
    found = [name for name in known_models(source) if fnmatchcase(name, pattern)]
    if not found:
        raise UsageError(f"--models {pattern}: no such model here; give a name or a glob such as torchvision:resnet*")
    return found


def check_models(models: Sequence[str], seed: int) -> Iterator[ZooModel]:
    """Checks each of ``models`` in a process of its own, with one initialisation and one batch of ``seed``."""
    for model in models:
        started = time.perf_counter()
        try:
            with isolated_process(configured=False) as process:  # as `vgharness check` runs
                yield process.submit(check_model, model, seed).result()
        except BrokenProcessPool:
            seconds = time.perf_counter() - started
            yield ZooModel(model=model, outcome="refused", text="its process was ended from outside", seconds=seconds)


def check_model(model: str, seed: int) -> ZooModel:
    """Checks one model in this process, whose memory it limits for good."""
    _limit_memory()
    started = time.perf_counter()
    outcome: Outcome
    parameters, batch_text = None, ""
    try:
        factory = load_factory(model)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a model's own future
            parameters = _parameters(factory())
            if parameters > MOST_PARAMETERS:
                outcome, text = "skipped", f"{number(parameters / 1e6)} million parameters"
            else:
                batch = choose_batch(factory)
                loss = batch.loss.function
                found = measure(factory, batch, loss, seeds=(seed,), saturation=True).diagnosis
                outcome, text, batch_text = grade_of(found), summary(found), batch.text
    except UsageError as error:
        outcome, text = "refused", str(error)
    except Exception as error:  # whatever a stranger's code raises
        outcome, text = "refused", in_one_line(error)
    return ZooModel(
        model=model,
        outcome=outcome,
        text=text,
        batch=batch_text,
        parameters=parameters,
        seconds=time.perf_counter() - started,
        memory=peak_memory(torch.device("cpu")),
    )


def _limit_memory() -> None:
    try:
        import resource  # no such thing on Windows
    except ImportError:
        return
    _, most = resource.getrlimit(resource.RLIMIT_DATA)
    limit = _MOST_MEMORY if most == resource.RLIM_INFINITY else min(most, _MOST_MEMORY)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, most))


def _torchvision() -> list[str]:
    from torchvision import models

    names: list[str] = models.list_models(module=models)
    return names


def _timm() -> list[str]:
    """Lists of each family, a module of its own, the first model that is not too large; none where timm is not here."""
    if not importlib.util.find_spec("timm"):
        return []
    timm = importlib.import_module("timm")
    firsts = (next(filter(_fits, timm.list_models(module=family)), None) for family in timm.list_modules())
    return [name for name in firsts if name is not None]


def _hf() -> Sequence[str]:
    return _TRANSFORMERS if importlib.util.find_spec("transformers") else ()


def _fits(name: str) -> bool:
    timm = importlib.import_module("timm")
    try:
        with torch.device("meta"):
            model = timm.create_model(name, pretrained=False)
    except Exception:  # some compute with values while they are made, which "meta" lacks
        return False
    return _parameters(model) <= MOST_PARAMETERS


def _parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


_SOURCES: Final[dict[str, Callable[[], Sequence[str]]]] = {"torchvision": _torchvision, "timm": _timm, "hf": _hf}
