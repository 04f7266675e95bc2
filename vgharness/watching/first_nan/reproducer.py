"""A folder that holds what it takes to show the birth of a NaN again, written while the training runs.

``reproduce.json``  what was born, where, with which versions; the command that shows it again. Written last
``weights.pt``      parameters and buffers by name, as they were before the step
``batch.pt``        what the model was given, the gradient that came to its outputs, generators, modes, autocast
``model.pkl``       the model without its tensors, where it can be pickled
``script.py``       the source of the training script or the notebook's cells, where classes of the model are its own
"""

from __future__ import annotations

import contextlib
import pickle
import platform
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal

import torch
from torch import Tensor, nn

from vgharness.formatting import in_one_line
from vgharness.records import Birth, Count, Record
from vgharness.system.files import shown, write_text
from vgharness.watching.first_nan.forward_passes import ForwardPass, copied
from vgharness.watching.first_nan.stand_in import HOOKS, is_ours, set_state, standing_in

FACTS, WEIGHTS, BATCH, MODEL, SCRIPT = "reproduce.json", "weights.pt", "batch.pt", "model.pkl", "script.py"
MAINS: Final = ("__main__", "__mp_main__")  # the training script, here and in processes that it starts
HOOK: Final = "hook"  # stands for one that is left out


class Facts(Record):
    """What ``reproduce.json`` holds.

    schema_version: of this format.
    birth: what was born, where.
    architecture: the model's class, with its module.
    device: that it trained on.
    versions: of Python and PyTorch.
    paths: folders that its modules were imported from, besides those of installed packages.
    package: of the script, where it was run as a module of one.
    pickled: why the model could not be pickled; empty: it was.
    hooks: how many of its hooks could not be, and were left out.
    command: shows it again.
    """

    schema_version: Literal[1] = 1
    birth: Birth
    architecture: str
    device: str
    versions: dict[str, str]
    paths: tuple[str, ...]
    package: str = ""
    pickled: str = ""
    hooks: Count = 0
    command: str


class Reproducer:
    """Writes the folder.

    folder: gives a fresh one, or ``None`` where there is none to write to.
    note: is called with a line where it cannot be written.
    """

    def __init__(self, folder: Callable[[], Path | None], note: Callable[[str], None]) -> None:
        self._folder, self._note = folder, note

    def write(
        self, model: nn.Module, given: ForwardPass, weights: Sequence[Tensor] | None, birth: Birth, scale: float
    ) -> str:
        """Writes all of it and returns the folder's path; an empty one, and a note, where that cannot be done."""
        where = "a folder"
        try:
            folder = self._folder()
            if folder is None:
                return ""
            where = shown(folder)
            folder.mkdir(parents=True, exist_ok=True)
            try:
                with standing_in(model, weights) as stand_in:
                    set_state(stand_in, given)
                    _write(folder, stand_in, given, birth, scale)
            except BaseException:
                for name in (FACTS, WEIGHTS, BATCH, MODEL, SCRIPT):
                    with contextlib.suppress(OSError):
                        (folder / name).unlink(missing_ok=True)
                with contextlib.suppress(OSError):
                    folder.rmdir()
                raise
        except Exception as error:  # the training is worth more
            why = (error.strerror if isinstance(error, OSError) else None) or in_one_line(error)
            self._note(f"{where}: what shows the first NaN again could not be written ({why}); the training goes on")
            return ""
        return str(folder)


def _write(folder: Path, model: nn.Module, given: ForwardPass, birth: Birth, scale: float) -> None:
    tensors = named_tensors(model)
    torch.save({name: _own(tensor.detach()) for name, tensor in tensors.items()}, folder / WEIGHTS)
    torch.save(_batch(given, scale), folder / BATCH)
    hooks = _hooks_to_leave_out(model)
    pickled = _pickle(folder / MODEL, model, tensors, hooks)
    mains = {type(module).__module__ for module in model.modules()} & set(MAINS)
    main = sys.modules.get(min(mains, default=MAINS[0]))
    source = _source_of(main) if mains and not pickled else ""
    if source:
        write_text(folder / SCRIPT, source)
    kind = type(model)
    needs_model = " --model path/file.py:make_model" if pickled else ""
    facts = Facts(
        birth=birth,
        architecture=f"{kind.__module__}.{kind.__qualname__}",
        device=str(next((x.device for x in tensors.values()), "cpu")),
        versions={"python": platform.python_version(), "torch": str(torch.__version__)},
        paths=tuple(dict.fromkeys((str(Path(sys.path[0] or ".").resolve()), str(Path.cwd())))),
        package=getattr(main, "__package__", None) or "",
        pickled=pickled,
        hooks=sum(not is_ours(hook) for hook in hooks),
        command=f"vgharness reproduce {shlex.quote(str(folder))}{needs_model}",
    )
    write_text(folder / FACTS, facts.model_dump_json(indent=1))


def named_tensors(model: nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers of ``model`` by name; those that are shared once, by their first name."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def _own(tensor: Tensor) -> Tensor:
    """A tensor whose storage is its own: of a view, the whole that it is a part of would be saved."""
    whole = tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
    return tensor if whole else tensor.clone()


def _batch(given: ForwardPass, scale: float) -> dict[str, Any]:
    args, kwargs = copied(given.inputs)
    python, (kind, keys, place, has_gauss, gauss), cpu, gpus = given.generators
    return {
        "args": args,
        "kwargs": kwargs,
        "gradients": {place_: came / scale if scale != 1 else came for place_, came in given.gradients().items()},
        "left_out": given.lacks_gradients,
        "part": given.part,
        "batch": given.batch,
        "modes": given.modes,
        "autocasts": [tuple(each) for each in given.autocasts],
        "generators": {
            "python": python,
            "numpy": (str(kind), [int(key) for key in keys], int(place), int(has_gauss), float(gauss)),
            "torch": cpu,
            "cuda": dict(gpus),
        },
    }


class _Pickler(pickle.Pickler):
    """Pickles a model, with names in place of its parameters and buffers, and without some hooks."""

    def __init__(self, file: BinaryIO, tensors: dict[str, Tensor], hooks: Sequence[Any]) -> None:
        super().__init__(file)
        self._names = {id(tensor): name for name, tensor in tensors.items()}
        self._hooks = set(map(id, hooks))

    def persistent_id(self, thing: Any) -> Any:
        if id(thing) in self._hooks:
            return HOOK
        if isinstance(thing, Tensor) and id(thing) in self._names:
            return self._names[id(thing)], thing.requires_grad, isinstance(thing, nn.Parameter)
        return None


def _hooks_to_leave_out(model: nn.Module) -> list[Any]:
    """Those of its hooks that cannot be pickled, and those that look at the training."""
    found = [
        hook for module in model.modules() for name in HOOKS for hook in (getattr(module, name, None) or {}).values()
    ]
    return [hook for hook in found if is_ours(hook) or not _can_be_pickled(hook)]


def _can_be_pickled(hook: Any) -> bool:
    if isinstance(getattr(hook, "__self__", None), nn.Module):  # a part of the model, which is pickled with it
        return True
    try:
        pickle.dumps(hook)
    except Exception:
        return False
    return True


def _pickle(path: Path, model: nn.Module, tensors: dict[str, Tensor], hooks: Sequence[Any]) -> str:
    """Returns why it cannot be done; empty where it was."""
    try:
        with path.open("wb") as file:
            _Pickler(file, tensors, hooks).dump(model)
    except OSError:
        raise
    except Exception as error:  # whatever a stranger's module holds
        path.unlink(missing_ok=True)
        return in_one_line(error)
    return ""


def _source_of(main: Any) -> str:
    """The source of the script that trains, or of the cells of a notebook that were run."""
    path = getattr(main, "__file__", None)
    if path is not None:
        with contextlib.suppress(OSError, UnicodeDecodeError):
            return Path(path).read_text(encoding="utf-8")
    cells = getattr(main, "In", None)
    if isinstance(cells, list):
        lines = "\n".join(str(cell) for cell in cells).splitlines()
        return "\n".join(line for line in lines if not line.lstrip().startswith(("%", "!")))
    return ""
