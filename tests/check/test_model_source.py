"""Models by name: every form of name, and every way in which it fails, in one line."""

import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from factories import failure
from torch import nn

from vgharness.check.model_source import load_factory
from vgharness.system.user_code import load_callable

pytestmark = pytest.mark.fast

SOURCE = """
from torch import nn

class Net(nn.Linear):
    def __init__(self, width=3):
        super().__init__(width, 2)

class Wide(nn.Linear):
    def __init__(self, width, depth, *rest, bias=True, **more):
        super().__init__(width, depth)

class Zoo:
    class Small(Net): pass

    @staticmethod
    def make(): return Net(5)

def fails(): raise ValueError("no\\nweights")
def leaves(): raise SystemExit(3)
def number(): return 3
def nothing(): return None
made = Net()
size = 3
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty folder to start in; what is imported from it is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "own_nets.py").write_text(SOURCE)
    (tmp_path / "types.py").write_text(SOURCE)  # called as a module that is imported already
    (tmp_path / "pack" / "deep").mkdir(parents=True)
    (tmp_path / "pack" / "deep" / "nets.py").write_text("from beside import Net\n")
    (tmp_path / "pack" / "deep" / "beside.py").write_text(SOURCE)
    (tmp_path / "pack" / "within.py").write_text("from .deep import beside\nNet = beside.Net\n")
    yield tmp_path
    own = {path.stem for path in tmp_path.rglob("*")} - {"types"}
    for name in [name for name in sys.modules if name.partition(".")[0] in own or name.startswith("_vgharness")]:
        del sys.modules[name]


@pytest.mark.parametrize(
    ("spec", "width"),
    [
        ("own_nets:Net", 3),
        ("own_nets:Zoo.Small", 3),
        ("own_nets:Zoo.make", 5),
        ("pack.within:Net", 3),
        ("own_nets.py:Net", 3),
        ("types.py:Zoo.make", 5),
        ("pack/deep/nets.py:Net", 3),
    ],
)
def test_a_module_or_a_file_of_ones_own(spec: str, width: int) -> None:
    factory = load_factory(spec)
    first, second = factory(), factory()
    assert isinstance(first, nn.Linear)
    assert first.in_features == width
    assert first is not second


def test_a_file_by_its_whole_path(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder / "pack")
    assert isinstance(load_factory(f"{folder}/own_nets.py:Net")(), nn.Linear)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("own_nets", "own_nets: name a model as package.module:Name, path/file.py:Name, torchvision:NAME"),
        ("own_nets:", "name a model as"),
        (":Net", "name a model as"),
        ("own_netz:Net", "no module 'own_netz' in this folder or installed: start where"),
        ("pack.none:Net", "no module 'pack.none'"),
        ("pack/deep:Net", "a file's name ends in .py"),
        ("own_net.py:Net", "there is no file own_net.py: did you mean own_nets.py?"),
        ("nowhere/nets.py:Net", "there is no file nowhere/nets.py"),
        ("own_nets:net", "own_nets has no 'net': did you mean Net?"),
        ("own_nets:Zoo.Smal", "Zoo has no 'Smal': did you mean Small?"),
        ("own_nets:Transformer", "own_nets has no 'Transformer': it has Net, Wide, Zoo, fails, leaves, …"),
        ("own_nets:size", "own_nets:size is not callable but an int"),
        ("own_nets:made", "is a model that is made already"),
        ("own_nets:Wide", "needs arguments (width, depth): name a callable that needs none, such as a function of "
         "yours that returns Wide(width=…, depth=…)"),
        ("torchvision:resnet19", "torchvision has no such model: did you mean resnet18"),
        ("pack/within.py:Net", "it is part of a package, so name it as package.module:Name"),
    ],
)  # fmt: skip
def test_what_cannot_be_loaded(spec: str, said: str) -> None:
    assert said in failure(lambda: load_factory(spec))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("fails", "own_nets:fails could not be made, it raised ValueError: no weights"),
        ("leaves", "could not be made, it raised SystemExit: 3"),
        ("number", "own_nets:number gives an int, not a torch.nn.Module"),
        ("nothing", "own_nets:nothing gives None, not a torch.nn.Module"),
    ],
)
def test_what_cannot_be_made(name: str, said: str) -> None:
    factory = load_factory(f"own_nets:{name}")
    assert said in failure(factory)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("1 / 0", "raised ZeroDivisionError: division by zero"),
        ("def (", "raised SyntaxError"),
        ("import sys; sys.exit(4)", "raised SystemExit: 4"),
        ("import nobodys_package.part", "raised ModuleNotFoundError: No module named 'nobodys_package': install "),
        ("raise KeyError('x' * 5000)", "…"),
        ("raise ValueError('\\x1b[31mred')", "raised ValueError: \\x1b[31mred"),
    ],
)
@pytest.mark.parametrize("spec", ["broken:Net", "broken.py:Net"])
def test_a_module_that_fails_on_import(folder: Path, spec: str, code: str, said: str) -> None:
    (folder / "broken.py").write_text(code)
    line = failure(lambda: load_factory(spec))
    assert line.startswith(f"{spec}: importing broken")
    assert said in line
    assert len(line) < 500
    assert sys.modules.keys().isdisjoint({"broken", "_vgharness_broken"})


def test_a_package_that_imports_what_is_asked_of_it(folder: Path) -> None:
    (folder / "lazy.py").write_text("def __getattr__(name):\n    raise ImportError('torch is too old')")
    assert "importing Net of lazy raised ImportError: torch is too old" in failure(lambda: load_factory("lazy:Net"))


def test_a_callable_may_need_arguments(folder: Path) -> None:
    assert load_callable("own_nets:Wide")(4, 2).in_features == 4
    assert load_callable("torch.nn.functional:mse_loss") is torch.nn.functional.mse_loss
    assert "name a callable as" in failure(lambda: load_callable("own_nets"))
    assert "is not callable" in failure(lambda: load_callable("own_nets.py:size"))


def test_torchvision_is_asked_for_no_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segmentation builds on a backbone whose weights it downloads by default."""
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", lambda *args, **kwargs: pytest.fail("a download"))
    with torch.device("meta"):
        assert type(load_factory("torchvision:squeezenet1_1")()).__name__ == "SqueezeNet"
        assert type(load_factory("torchvision:lraspp_mobilenet_v3_large")()).__name__ == "LRASPP"


# --- collections that are not installed here -----------------------------------------------------------


@pytest.mark.parametrize(("spec", "package"), [("timm:resnet10t", "timm"), ("hf:bert", "transformers")])
def test_a_collection_that_is_not_installed(spec: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "meta_path", [Absent(package), *sys.meta_path])
    monkeypatch.delitem(sys.modules, package, raising=False)
    assert failure(lambda: load_factory(spec)) == f"{spec} needs {package}: pip install {package}"


class Absent:
    """An importer that says of one package that it is not there."""

    def __init__(self, package: str) -> None:
        self.package = package

    def find_spec(self, name: str, *args: object) -> None:
        if name == self.package:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


def test_timm(monkeypatch: pytest.MonkeyPatch) -> None:
    def create_model(name: str, *, pretrained: bool) -> nn.Module:
        assert (name, pretrained) == ("vit_tiny", False)
        return nn.Linear(2, 2)

    timm = types.SimpleNamespace(
        is_model=lambda name: name == "vit_tiny", list_models=lambda: ["vit_tiny"], create_model=create_model
    )
    monkeypatch.setitem(sys.modules, "timm", timm)  # type: ignore[arg-type]
    assert isinstance(load_factory("timm:vit_tiny")(), nn.Linear)
    line = failure(lambda: load_factory("timm:vit_tinny"))
    assert line == "timm:vit_tinny: timm has no such model: did you mean vit_tiny?"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A transformers without a network that knows one type of model, ``bert``; what configurations were read of."""
    read: list[str] = []

    def from_pretrained(name: str, *, trust_remote_code: bool) -> str:
        assert trust_remote_code is False
        read.append(name)
        if not Path(name).is_dir():
            raise OSError("we could not\nconnect")
        return f"folder {name}"

    def from_config(config: str) -> nn.Module:
        return nn.Sequential() if config in ("type bert", "folder own", "folder bert") else pytest.fail(config)

    transformers = types.SimpleNamespace(
        CONFIG_MAPPING={"bert": None},
        AutoConfig=types.SimpleNamespace(from_pretrained=from_pretrained, for_model=lambda name: f"type {name}"),
        AutoModel=types.SimpleNamespace(from_config=from_config),
    )
    monkeypatch.setitem(sys.modules, "transformers", transformers)  # type: ignore[arg-type]
    return read


def test_transformers_by_type_needs_no_network(hub: list[str]) -> None:
    assert isinstance(load_factory("hf:bert")(), nn.Sequential)
    assert hub == []


@pytest.mark.parametrize("name", ["own", "bert"])
def test_transformers_from_a_folder(hub: list[str], folder: Path, name: str) -> None:
    (folder / name).mkdir()
    assert isinstance(load_factory(f"hf:{name}")(), nn.Sequential)
    assert hub == [name]


def test_transformers_without_a_network(hub: list[str]) -> None:
    line = failure(lambda: load_factory("hf:bertt"))
    assert "did you mean bert?" in line
    assert "OSError: we could not connect" in line
