"""Remedies: which are tried, what becomes of a model, and that the printed code is what was tried."""

from __future__ import annotations

import copy
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from vgharness.check import remedy_trials
from vgharness.check.remedies import SMALL_EPSILON, Remedy, find_structure, scaled_inputs, suitable_remedies
from vgharness.check.remedy_records import RemedyRecord, remedies_as_records
from vgharness.check.remedy_trials import (
    MOST_COMBINATIONS,
    OPTIMIZERS,
    Descent,
    Trial,
    best,
    try_remedies,
)
from vgharness.gradflow.diagnosis import Diagnosis
from vgharness.gradflow.measurement import measure

Batch = tuple[Tensor, Tensor]


def vectors(seed: int, scale: float = 1.0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(16, 12, generator=generator), torch.randint(4, (16,), generator=generator)


def images(seed: int) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(4, 3, 8, 8, generator=generator), torch.randint(4, (4,), generator=generator)


def sequences(seed: int) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(4, 6, 5, generator=generator), torch.randint(4, (4,), generator=generator)


def mlp(activation: type[nn.Module] = nn.ReLU, depth: int = 4) -> nn.Sequential:
    hidden = [layer for _ in range(depth) for layer in (nn.Linear(12, 12), activation())]
    return nn.Sequential(*hidden, nn.Linear(12, 4))


def too_small() -> nn.Sequential:
    model = mlp()
    for parameter in model.parameters():
        parameter.data *= 0.05
    return model


def cnn() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.Tanh(),
        nn.Conv2d(6, 6, 3, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(6 * 64, 4),
    )


class Recurrent(nn.Module):
    """One recurrent layer, and a head on its last output."""

    def __init__(self, kind: type[nn.RNNBase]) -> None:
        super().__init__()
        self.body, self.head = kind(5, 7, batch_first=True), nn.Linear(7, 4)  # type: ignore[call-arg, arg-type]

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.head(self.body(x)[0][:, -1])
        return logits


class Cell(nn.Module):
    """A cell that is called at each step."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.RNNCell(5, 7), nn.Linear(7, 4)

    def forward(self, x: Tensor) -> Tensor:
        state = None
        for step in x.unbind(1):
            state = self.cell(step, state)
        logits: Tensor = self.head(state)
        return logits


class Functional(nn.Module):
    """Its activation is no module."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.last = nn.Linear(12, 12), nn.Linear(12, 12), nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.last(self.second(self.first(x).tanh()).tanh())
        return logits


NETWORKS: dict[str, tuple[Callable[[], nn.Module], Callable[[int], Batch]]] = {
    "sigmoid": (lambda: mlp(nn.Sigmoid), vectors),
    "relu": (mlp, vectors),
    "cnn": (cnn, images),
    "functional": (Functional, vectors),
    "cell": (Cell, sequences),
    "rnn": (lambda: Recurrent(nn.RNN), sequences),
    "lstm": (lambda: Recurrent(nn.LSTM), sequences),
    "gru": (lambda: Recurrent(nn.GRU), sequences),
}


def made(make: Callable[[], nn.Module], seed: int = 42) -> nn.Module:
    torch.manual_seed(seed)
    return make()


def remedies_for(make: Callable[[], nn.Module], batch: Callable[[int], Batch]) -> tuple[Remedy, ...]:
    model = made(make)
    flows = measure(make, batch, functional.cross_entropy, seeds=2, saturation=True).flows
    return suitable_remedies(model, find_structure(model, batch(42)[0]), flows)


def names(remedies: tuple[Remedy, ...]) -> set[str]:
    return {remedy.name for remedy in remedies}


def named(trials: tuple[Trial, ...], name: str) -> Trial:
    (found,) = [trial for trial in trials if trial.remedy.name == name]
    return found


# --- which remedies --------------------------------------------------------------------------------------


@pytest.mark.fast
def test_remedies_suit_the_modules_that_a_model_has() -> None:
    everywhere = {"He init", "Glorot init", "orthogonal init", "LayerNorms", "BatchNorms", "residuals"}
    assert {*everywhere, "ReLU for sigmoid", "GELU for sigmoid"} <= names(remedies_for(*NETWORKS["sigmoid"]))
    assert {*everywhere, "ReLU for tanh", "LeakyReLU for ReLU"} <= names(remedies_for(*NETWORKS["cnn"]))
    assert names(remedies_for(*NETWORKS["functional"])) - {"clipping to norm 1"} == everywhere
    assert {"GRU for RNN", "GRU, gates open, for RNN"} <= names(remedies_for(*NETWORKS["rnn"]))
    assert {"bias 1 of keeping gates", "bias 4 of keeping gates"} <= names(remedies_for(*NETWORKS["lstm"]))


@pytest.mark.fast
def test_neither_the_last_layer_nor_one_with_a_norm_is_normalised() -> None:
    found = find_structure(cnn(), images(0)[0])
    assert found.layers == ("0", "3", "6")
    assert found.unnormalised == ("3",)
    assert found.residual == (("3", "4"),)  # the first convolution changes the channels


@pytest.mark.fast
def test_a_residual_goes_around_a_layer_and_its_own_activation() -> None:
    assert find_structure(mlp(depth=2), vectors(0)[0]).residual == (("0", "1"), ("2", "3"))
    assert find_structure(Functional(), vectors(0)[0]).residual == (("first", ""), ("second", ""))
    shared = nn.ReLU()
    twice = nn.Sequential(nn.Linear(12, 12), shared, nn.Linear(12, 12), shared, nn.Linear(12, 4))
    assert find_structure(twice, vectors(0)[0]).residual == (("0", ""), ("2", ""))


@pytest.mark.fast
def test_the_inputs_are_scaled_and_steps_changed_only_where_it_may_matter() -> None:
    usual = names(remedies_for(mlp, vectors))
    assert not {"inputs ÷ their std", "Adam's ε 1e-15", "clipping to norm 1"} & usual
    large = names(remedies_for(mlp, lambda seed: vectors(seed, 1e4)))
    assert {"inputs ÷ their std", "clipping to norm 1"} <= large
    assert "Adam's ε 1e-15" in names(remedies_for(too_small, vectors))
    assert float(scaled_inputs((vectors(0, 1e4)[0], torch.arange(3)))[0].std()) == pytest.approx(1)
    assert scaled_inputs({"n": torch.arange(3)})["n"].tolist() == [0, 1, 2]


# --- the code --------------------------------------------------------------------------------------------


def run(remedy: Remedy, model: nn.Module, **variables: Any) -> dict[str, Any]:
    """What the printed code leaves, pasted below ``model`` and ``variables``."""
    namespace: dict[str, Any] = {"torch": torch, "model": model, **variables}
    exec(compile(remedy.code, "<pasted>", "exec"), namespace)
    return namespace


@pytest.mark.fast
@pytest.mark.parametrize("network", NETWORKS)
def test_the_printed_code_does_what_was_tried(network: str) -> None:
    make, batch = NETWORKS[network]
    singles = [x for x in remedies_for(make, batch) if not x.of_the_step]
    pairs = [a.with_other(b) for a in singles for b in singles if a.kinds < b.kinds]
    assert pairs
    inputs = batch(42)[0]
    for remedy in (*singles, *pairs):
        pasted, tried = made(make), remedy.apply(made(make))
        torch.manual_seed(42)
        before = copy.deepcopy(pasted.state_dict())
        make()  # the state of the generator that made(make) leaves
        run(remedy, pasted)
        assert str(pasted) == str(tried), remedy.name
        assert all(torch.equal(x, y) for x, y in zip(pasted.parameters(), tried.parameters(), strict=True))
        assert torch.equal(pasted(inputs), tried(inputs))
        unchanged = len(before) == len(tried.state_dict()) and all(
            torch.equal(x, y) for x, y in zip(before.values(), tried.state_dict().values(), strict=True)
        )
        assert not unchanged or str(made(make)) != str(tried), f"{remedy.name} changes nothing"


@pytest.mark.fast
def test_the_code_of_inputs_and_steps_runs_too() -> None:
    inputs, targets = vectors(0, 1e4)
    by_name = {
        x.name: x for x in (*remedies_for(mlp, lambda seed: vectors(seed, 1e4)), *remedies_for(too_small, vectors))
    }
    model = made(mlp)
    scaled = run(by_name["inputs ÷ their std"], model, inputs=inputs)["inputs"]
    assert torch.equal(scaled, scaled_inputs(inputs))
    functional.cross_entropy(model(inputs), targets).backward()  # type: ignore[no-untyped-call]
    run(by_name["clipping to norm 1"], model)
    grads = [p.grad for p in model.parameters() if p.grad is not None]
    assert float(torch.cat([grad.flatten() for grad in grads]).norm()) == pytest.approx(1, rel=1e-3)
    assert run(by_name["Adam's ε 1e-15"], model)["optimizer"].param_groups[0]["eps"] == SMALL_EPSILON


@pytest.mark.fast
def test_initialisations_are_of_the_scale_that_they_are_named_for() -> None:
    by_name = {x.name: x for x in remedies_for(*NETWORKS["lstm"])}
    model = made(NETWORKS["lstm"][0])
    by_name["orthogonal init"].apply(model)
    hidden = model.body.weight_hh_l0
    for gate in hidden.split(7):
        assert torch.allclose(gate @ gate.T, torch.eye(7), atol=1e-5)
    assert model.body.bias_ih_l0.split(7)[1].tolist() == [1] * 7
    assert model.body.bias_ih_l0.count_nonzero() == 7
    wide = nn.Sequential(nn.Linear(400, 400), nn.ReLU(), nn.Linear(400, 4))
    flows = measure(lambda: copy.deepcopy(wide), (torch.randn(8, 400), torch.arange(8) % 4), functional.cross_entropy)
    for remedy in suitable_remedies(wide, find_structure(wide, torch.randn(8, 400)), flows.flows):
        if remedy.kinds == ("initialisation",):
            variance = {"He init": 2, "Glorot init": 1, "orthogonal init": 2}[remedy.name]
            changed = remedy.apply(copy.deepcopy(wide))
            assert float(changed[0].weight.detach().var()) * 400 == pytest.approx(variance, rel=0.03)


# --- trials ----------------------------------------------------------------------------------------------


@pytest.mark.deep
def test_an_initialisation_that_is_too_small_is_mended_by_others() -> None:
    before = torch.random.get_rng_state()
    trials = try_remedies(too_small, vectors, functional.cross_entropy, seeds=2)
    assert torch.equal(before, torch.random.get_rng_state())
    unchanged, first, *_ = trials
    assert unchanged.remedy.name == "unchanged"
    assert not unchanged.healthy
    assert first.healthy
    assert named(trials, "He init").healthy
    assert not named(trials, "LeakyReLU for ReLU").healthy
    assert list(trials[1:]) == sorted(trials[1:], key=lambda trial: trial.rank)
    assert not any(len(trial.remedy.kinds) > 1 for trial in trials)  # one alone does it
    assert best(trials) == list(trials[1:3])
    for trial in trials:
        assert list(trial.descents) == list(OPTIMIZERS)
        assert all(len(x.before) == len(x.after) == 2 for x in trial.descents.values())
    adam = named(trials, "He init").descents["Adam 1e-3"]
    ratios = [after / before for before, after in zip(adam.before, adam.after, strict=True)]
    assert adam.change == pytest.approx((ratios[0] * ratios[1]) ** 0.5 - 1)
    assert adam.change < unchanged.descents["Adam 1e-3"].change


@pytest.mark.fast
def test_the_losses_are_those_of_a_plain_training_loop() -> None:
    unchanged = try_remedies(mlp, vectors, functional.cross_entropy, seeds=1)[0]
    for name, optimizer in (("Adam 1e-3", torch.optim.Adam), ("SGD 0.01", torch.optim.SGD)):
        model = made(mlp)
        stepping = optimizer(model.parameters(), lr=float(name.split()[1]))
        inputs, targets = vectors(42)
        losses = []
        for _ in range(21):
            stepping.zero_grad()
            loss = functional.cross_entropy(model(inputs), targets)
            losses.append(float(loss.detach()))
            loss.backward()  # type: ignore[no-untyped-call]
            stepping.step()
        found = unchanged.descents[name]  # type: ignore[index]
        assert (found.before, found.after) == ((losses[0],), (losses[-1],))


@pytest.mark.deep
def test_pairs_are_tried_where_no_remedy_alone_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remedy_trials, "STEPS", 2)

    def refuses_norms() -> nn.Module:
        """Sigmoids, and widths that change so that no residual fits."""
        widths = (12, *[16, 24] * 8)
        model = nn.Sequential(
            *(part for a, b in pairwise(widths) for part in (nn.Linear(a, b), nn.Sigmoid())), nn.Linear(24, 4)
        )
        for parameter in model.parameters():
            parameter.data *= 0.1
        model.register_forward_pre_hook(lambda m, _: _no_norms(m))
        return model

    trials = try_remedies(refuses_norms, vectors, functional.cross_entropy, seeds=2)
    assert named(trials, "LayerNorms").failure == "RuntimeError: no norms here"
    pairs = [trial for trial in trials if len(trial.remedy.kinds) == 2]
    assert not any(trial.healthy for trial in trials if len(trial.remedy.kinds) == 1)
    assert len(pairs) == MOST_COMBINATIONS
    assert list(trials[1:3]) == pairs
    assert all(pair.healthy for pair in pairs)
    assert {pair.remedy.name for pair in pairs} <= {f"{x} for sigmoid + He init" for x in ("ReLU", "GELU")}
    assert trials[-1].failure


def _no_norms(model: nn.Module) -> None:
    if any(isinstance(m, nn.LayerNorm | nn.BatchNorm1d) for m in model.modules()):
        raise RuntimeError("no norms here")


@pytest.mark.fast
@pytest.mark.parametrize("shared", ["the model", "its first layer"])
def test_a_users_own_model_is_never_changed(shared: str) -> None:
    mine = made(lambda: mlp(nn.Sigmoid))
    before, text = copy.deepcopy(mine.state_dict()), str(mine)
    factory = (lambda: mine) if shared == "the model" else lambda: nn.Sequential(mine[0], nn.Tanh(), nn.Linear(12, 4))
    try_remedies(factory, vectors, functional.cross_entropy, seeds=1)
    assert str(mine) == text
    assert all(torch.equal(before[name], value) for name, value in mine.state_dict().items())
    assert all(parameter.grad is None for parameter in mine.parameters())


@pytest.mark.fast
def test_a_loss_that_is_hardly_less_is_not_better() -> None:
    def trial(after: float) -> Trial:
        return Trial(Remedy("r", ()), Diagnosis(), 0.0, {"SGD 0.01": Descent((2.0,), (after,))})

    assert trial(1.0).better_than(trial(1.1))
    assert not trial(1.0).better_than(trial(1.01))
    assert not trial(1.0).better_than(trial(0.5))
    assert trial(1.0).better_than(trial(float("nan")))
    assert not trial(float("nan")).better_than(trial(1.0))
    assert not Trial(Remedy("r", ()), failure="it raised").better_than(trial(1.0))


@pytest.mark.fast
def test_missing_gradients_are_mended_in_forward_only() -> None:
    class Cut(Functional):
        def forward(self, x: Tensor) -> Tensor:
            logits: Tensor = self.last(self.first(x).detach())
            return logits

    (unchanged,) = try_remedies(Cut, vectors, functional.cross_entropy, seeds=2)
    assert not unchanged.healthy
    assert best([unchanged]) == []


@pytest.mark.fast
def test_records_hold_every_trial_and_no_nan() -> None:
    trials = try_remedies(
        lambda: mlp(depth=1), lambda seed: vectors(seed, 1e30), lambda y, t: y.square().mean(), seeds=2
    )
    records = remedies_as_records(trials)
    assert [record.remedy for record in records] == [trial.remedy.name for trial in trials]
    unchanged = records[0]
    assert unchanged.losses[1].after == (None, None)
    assert unchanged.losses[1].change is None
    scaled = next(record for record in records if record.remedy == "inputs ÷ their std")
    assert scaled.better
    assert scaled.healthy
    assert "inputs = inputs / inputs.std()" in scaled.code
    assert all(RemedyRecord.model_validate_json(record.model_dump_json()) == record for record in records)


@pytest.mark.fast
def test_an_optimizer_that_refuses_is_a_line_of_its_own() -> None:
    def sparse() -> nn.Module:
        return nn.Sequential(nn.Embedding(9, 12, sparse=True), nn.Flatten(), nn.Linear(24, 4))

    def words(seed: int) -> Batch:
        generator = torch.Generator().manual_seed(seed)
        return torch.randint(9, (8, 2), generator=generator), torch.randint(4, (8,), generator=generator)

    unchanged = try_remedies(sparse, words, functional.cross_entropy, seeds=1)[0]
    assert "sparse" in unchanged.descents["Adam 1e-3"].failure
    assert len(unchanged.descents["SGD 0.01"].after) == 1
