"""The folder that shows a birth again: what is in it, what it does where it cannot be written."""

import os
from pathlib import Path

import pytest
import torch
from pulsed_trainings import WIDTH, Does, around, batches, length, logarithm, same, train, zero_row
from torch import Tensor, nn

from vgharness.errors import UsageError
from vgharness.records import NonfiniteOrigin
from vgharness.watching.first_nan.reproducer import BATCH, MODEL, WEIGHTS
from vgharness.watching.first_nan.reproduction import load_facts, show_again

pytestmark = pytest.mark.fast

BAD = 3


class Dropping(nn.Module):
    """Gives birth to NaN only where its dropout leaves nothing of a row, and its weights are as they were."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(WIDTH, WIDTH)
        self.again = self.fc  # tied
        self.norm = nn.BatchNorm1d(WIDTH)
        self.drop = nn.Dropout(0.5)
        self.size = Does(length)
        self.head = nn.Linear(WIDTH, 2)

    def forward(self, x: Tensor, *, scale: float = 1.0) -> Tensor:
        return self.head(self.size(self.drop(self.norm(self.again(x)))) * scale)


@pytest.mark.parametrize("delay", [0, 3])
def test_weights_batch_and_generators_are_those_of_the_pass(delay: int, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Dropping()
    before: list[dict[str, Tensor]] = []

    def given() -> object:
        for x in batches(None, same, 40):
            before.append({name: tensor.detach().clone() for name, tensor in model.state_dict().items()})
            yield x

    pulse = train(model, given(), delay=delay, rate=lambda step: 0.03, folder=lambda: tmp_path / "born")
    assert pulse.birth is not None
    assert 0 < pulse.birth.step < 30  # so that weights are no longer the first ones
    assert pulse.birth.reproducer == str(tmp_path / "born")
    saved = torch.load(tmp_path / "born" / WEIGHTS, weights_only=True)
    then = before[pulse.birth.step]
    assert saved.keys() == {name for name in then if not name.startswith("again.")}
    assert all(torch.equal(saved[name], then[name]) for name in saved)
    batch = torch.load(tmp_path / "born" / BATCH, weights_only=True)
    assert torch.equal(batch["args"][0], batches(None, same, 40)[pulse.birth.step])
    for make_model in (None, Dropping):
        shown = show_again(tmp_path / "born", make_model)
        assert (
            shown.cause.origin
            == pulse.birth.origin
            == NonfiniteOrigin(stage="backward", module="size", operation="sqrt")
        )
    batch["generators"]["torch"] = torch.Generator().get_state()
    torch.save(batch, tmp_path / "born" / BATCH)
    assert not show_again(tmp_path / "born", None).cause.known  # with other dropout it is not born


def test_what_the_facts_say(tmp_path: Path) -> None:
    pulse = train(around(log=Does(logarithm)), batches(BAD, zero_row), folder=lambda: tmp_path / "born")
    facts = load_facts(tmp_path / "born")
    assert facts.birth == pulse.birth.model_copy(update={"reproducer": ""})
    assert facts.versions["torch"] == str(torch.__version__)
    assert facts.command == f"vgharness reproduce {tmp_path / 'born'}"
    assert facts.pickled == ""


def test_a_model_that_cannot_be_pickled_is_made_by_a_function(tmp_path: Path) -> None:
    def make() -> nn.Module:
        return around(log=Does(lambda x: x.abs().log()))

    train(make(), batches(BAD, zero_row), folder=lambda: tmp_path / "born")
    facts = load_facts(tmp_path / "born")
    assert "lambda" in facts.pickled
    assert facts.command.endswith("--model path/file.py:make_model")
    assert not (tmp_path / "born" / MODEL).exists()
    with pytest.raises(UsageError, match="give --model"):
        show_again(tmp_path / "born", None)
    assert show_again(tmp_path / "born", make).cause.origin.operation == "log"
    with pytest.raises(UsageError, match=r"another one; they differ in fc3\.bias, fc3\.weight"):
        show_again(tmp_path / "born", lambda: around(log=Does(logarithm), fc3=nn.Linear(WIDTH, WIDTH)))
    with pytest.raises(UsageError, match="make the same model"):
        show_again(tmp_path / "born", _wider)


def test_hooks_that_cannot_be_pickled_are_left_out_and_counted(tmp_path: Path) -> None:
    model = around(log=Does(logarithm))
    seen: list[Tensor] = []
    model.fc1.register_forward_hook(lambda module, inputs, output: seen.append(output.detach()))
    train(model, batches(BAD, zero_row), folder=lambda: tmp_path / "born")
    facts = load_facts(tmp_path / "born")
    assert (facts.pickled, facts.hooks) == ("", 1)
    assert show_again(tmp_path / "born", None).cause.origin.operation == "log"


def _wider() -> nn.Module:
    model = around(log=Does(logarithm))
    model.fc2 = nn.Linear(WIDTH, 3)
    return model


def test_a_part_of_a_large_tensor_is_saved_alone(tmp_path: Path) -> None:
    images = torch.cat([*batches(BAD, zero_row), torch.randn(100_000, WIDTH)])
    model = around(log=Does(logarithm))
    model.register_buffer("part", images[:WIDTH])
    train(model, images[:40].split(5), folder=lambda: tmp_path / "born")
    assert (tmp_path / "born" / BATCH).stat().st_size < 50_000
    assert (tmp_path / "born" / WEIGHTS).stat().st_size < 50_000


def test_inputs_of_ones_own_class_are_kept(tmp_path: Path) -> None:
    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = nn.Linear(WIDTH, 2)

        def forward(self, batch: "Named") -> Tensor:
            return self.fc(batch.x.abs().log())

    train(Model(), map(Named, batches(BAD, zero_row)), folder=lambda: tmp_path / "born")
    assert show_again(tmp_path / "born", Model).cause.origin.operation == "log"


class Named:
    def __init__(self, x: Tensor) -> None:
        self.x = x


def test_a_folder_that_cannot_be_written_is_said_once_and_the_training_goes_on(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    notes: list[str] = []
    pulse = train(
        around(log=Does(logarithm)),
        batches(BAD, zero_row),
        folder=lambda: tmp_path / "file" / "born",
        note=notes.append,
    )
    assert pulse.birth.origin.operation == "log"
    assert pulse.birth.reproducer == ""
    assert len(notes) == 1
    assert "could not be written (Not a directory); the training goes on" in notes[0]


def test_a_disk_that_fills_leaves_no_half_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("vgharness.watching.first_nan.reproducer.write_text", full)
    notes: list[str] = []
    pulse = train(
        around(log=Does(logarithm)), batches(BAD, zero_row), folder=lambda: tmp_path / "born", note=notes.append
    )
    assert pulse.birth.origin.operation == "log"
    assert "No space left" in notes[0]
    assert list(tmp_path.iterdir()) == []
