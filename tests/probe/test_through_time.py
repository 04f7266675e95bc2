"""The signals inside recurrent modules, against loops of PyTorch's own cells; and what a pass leaves alone."""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence, pad_packed_sequence
from torch.utils.checkpoint import checkpoint

from vgharness.probe.through_time import RecurrentPass, TimePath, gradient_reached, time_ratio

pytestmark = pytest.mark.fast

Step = Callable[[Tensor, tuple[Tensor, ...]], tuple[Tensor, ...]]
SIZE, HIDDEN = 3, 4
MODES: dict[str, Callable[..., nn.RNNBase]] = {
    "tanh": nn.RNN,
    "relu": lambda *args, **options: nn.RNN(*args, nonlinearity="relu", **options),
    "lstm": nn.LSTM,
    "gru": nn.GRU,
}
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "batch first": {"batch_first": True},
    "three layers": {"num_layers": 3},
    "both directions": {"bidirectional": True, "num_layers": 2},
    "no biases": {"bias": False},
    "all": {"batch_first": True, "bidirectional": True, "num_layers": 2, "bias": False},
}
LENGTHS = {"equal": [5, 5, 5], "packed": [5, 3, 2], "packed unsorted": [2, 5, 1, 3], "unbatched": [5], "one step": [1]}


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def make(mode: str, **options: Any) -> nn.RNNBase:
    torch.manual_seed(1)
    return MODES[mode](SIZE, HIDDEN, dtype=torch.float64, **options)


def watch(module: nn.RNNBase) -> list[RecurrentPass]:
    passes: list[RecurrentPass] = []

    def remember(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        passes.append(RecurrentPass(module, args, kwargs, output))  # type: ignore[arg-type]

    module.register_forward_hook(remember, with_kwargs=True)
    return passes


def loss_of(outputs: list[Tensor], states: list[list[Tensor]]) -> Tensor:
    """Of a batch: per sequence its outputs [T, …], and the states it ends with. Uses all of them, each otherwise."""
    used = [*outputs, *(x for parts in states for x in parts)]
    return torch.stack([(x * noise(*x.shape, seed=i)).sum().sin() for i, x in enumerate(used)]).sum()


# --- the same by cells -----------------------------------------------------------------------------------


def cell_of(
    module: nn.RNNBase, layer: int, backward: bool
) -> Callable[[Tensor, tuple[Tensor, ...]], tuple[Tensor, ...]]:
    """One step of ``module`` by PyTorch's cell, or, as that knows no projection, by a module that is given one step."""
    weights = {
        name.removesuffix("_reverse").replace(f"_l{layer}", ""): p
        for name, p in module.named_parameters()
        if f"_l{layer}" in name and name.endswith("_reverse") == backward
    }
    size = weights["weight_ih"].shape[1]
    if module.proj_size:
        whole = nn.LSTM(size, HIDDEN, proj_size=module.proj_size, bias=module.bias, dtype=torch.float64)
        whole.load_state_dict({f"{name}_l0": p for name, p in weights.items()})
        return lambda x, state: tuple(s[0] for s in whole(x[None], tuple(s[None] for s in state))[1])
    if isinstance(module, nn.RNN):
        cell: nn.RNNCellBase = nn.RNNCell(size, HIDDEN, module.bias, module.nonlinearity, dtype=torch.float64)
    else:
        kind = nn.LSTMCell if isinstance(module, nn.LSTM) else nn.GRUCell
        cell = kind(size, HIDDEN, module.bias, dtype=torch.float64)
    cell.load_state_dict(weights)
    if isinstance(module, nn.LSTM):
        return lambda x, state: tuple(cell(x, state))
    return lambda x, state: (cell(x, state[0]),)


def by_cells(
    module: nn.RNNBase, sequence: Tensor, initial: list[Tensor]
) -> tuple[Tensor, list[Tensor], dict[str, list[Tensor]]]:
    """One sequence [T, size] alone, from states [places, …]: outputs, final states, and h by part and time."""
    hidden: dict[str, list[Tensor]] = {}
    final: list[tuple[Tensor, ...]] = []
    steps = list(sequence)
    for layer in range(module.num_layers):
        handed = []
        for backward in [False, True][: 2 if module.bidirectional else 1]:
            cell = cell_of(module, layer, backward)
            state = tuple(x[len(final)][None] for x in initial)
            ran = []
            for x in reversed(steps) if backward else steps:
                state = cell(x[None], state)
                state[0].retain_grad()
                ran.append(state[0])
            final.append(state)
            handed.append(ran[::-1] if backward else ran)
            hidden[f"layer {layer} backward" if backward else f"layer {layer}"] = handed[-1]
        steps = [torch.cat(parts, dim=1)[0] for parts in zip(*handed, strict=True)]
    return torch.stack(steps), [torch.cat(parts) for parts in zip(*final, strict=True)], hidden


def expected(module: nn.RNNBase, sequences: list[Tensor], initial: list[Tensor]) -> dict[str, list[float]]:
    """Norms by part, over time. ``initial`` [places, B, …]."""
    module.requires_grad_(True)
    runs = [by_cells(module, x, [s[:, b] for s in initial]) for b, x in enumerate(sequences)]
    loss_of([run[0] for run in runs], [run[1] for run in runs]).backward()
    found = {}
    for part in runs[0][2]:
        steps = [
            [h[t].grad for run in runs if t < len(h := run[2][part])] for t in range(max(len(x) for x in sequences))
        ]
        norms = [math.hypot(*(0.0 if g is None else g.norm().item() for g in step)) for step in steps]
        found[part] = norms[::-1] if part.endswith("backward") else norms
    return found


def run_whole(module: nn.RNNBase, sequences: list[Tensor], given: list[Tensor] | None, layout: str) -> Tensor:
    """The loss of one call of ``module``."""
    one = layout == "unbatched"
    states = None if given is None else [x[:, 0] if one else x for x in given]
    hx: Any = None if states is None else tuple(states) if isinstance(module, nn.LSTM) else states[0]
    batch_dim = 0 if module.batch_first else 1
    if layout.startswith("packed"):
        packed, final = module(pack_sequence(sequences, enforce_sorted=layout == "packed"), hx)
        padded, lengths = pad_packed_sequence(packed, batch_first=True)
        outputs = [x[:n] for x, n in zip(padded, lengths.tolist(), strict=True)]
    elif one:
        output, final = module(sequences[0], hx=hx)
        outputs = [output]
    else:
        output, final = module(input=torch.stack(sequences, dim=batch_dim), hx=hx)
        outputs = list(output.unbind(batch_dim))
    finals = list(final) if isinstance(module, nn.LSTM) else [final]
    return loss_of(outputs, [[x if one else x[:, b] for x in finals] for b in range(len(sequences))])


def check(mode: str, layout: str, given: bool, **options: Any) -> None:
    module = make(mode, **options)
    sequences = [noise(n, SIZE, seed=10 + i) for i, n in enumerate(LENGTHS[layout])]
    places = module.num_layers * (2 if module.bidirectional else 1)
    sizes = [module.proj_size or HIDDEN, HIDDEN][: 2 if mode == "lstm" else 1]
    states = [noise(places, len(sequences), size, seed=20 + i) * given for i, size in enumerate(sizes)]
    passes = watch(module)
    run_whole(module, sequences, states if given else None, layout).backward()
    found = {path.part: path.signals for path in passes[0].paths()}
    right = expected(module, sequences, states)
    assert list(found) == list(right)
    for part, signals in right.items():
        assert found[part] == pytest.approx(signals, rel=1e-9, abs=1e-15), part
    assert passes[0].not_judged == ()


@pytest.mark.parametrize("layout", LENGTHS)
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("mode", MODES)
def test_signals_are_those_of_a_loop_of_cells(mode: str, options: str, layout: str) -> None:
    check(mode, layout, given=True, **OPTIONS[options])


@pytest.mark.parametrize("layout", LENGTHS)
@pytest.mark.parametrize("mode", MODES)
def test_without_initial_states_the_pass_begins_at_zero(mode: str, layout: str) -> None:
    check(mode, layout, given=False, num_layers=2, bidirectional=True)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("given", [True, False])
@pytest.mark.parametrize("layout", ["equal", "packed unsorted", "unbatched"])
def test_an_lstms_projection_is_part_of_its_step(layout: str, given: bool, bias: bool) -> None:
    check("lstm", layout, given=given, num_layers=2, bidirectional=True, proj_size=2, bias=bias)


# --- parts of the outputs, dtypes, modes -----------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_a_loss_on_the_final_state_alone_gives_the_same_as_on_the_last_output(mode: str) -> None:
    found = []
    for use in (lambda out, h: out[-1], lambda out, h: h[0]):
        module = make(mode)
        passes = watch(module)
        out, final = module(noise(6, 2, SIZE))
        use(out, final[0] if mode == "lstm" else final).sin().sum().backward()
        found.append(passes[0].paths()[0])
    assert found[0].signals == pytest.approx(found[1].signals, rel=1e-12)
    assert found[0].direct == pytest.approx(found[1].direct) == pytest.approx(found[0].signals[-1])


def test_a_loss_on_the_cell_state_alone() -> None:
    module = make("lstm")
    passes = watch(module)
    module(noise(6, 2, SIZE))[1][1].sum().backward()
    (path,) = passes[0].paths()
    assert path.signals[-1] == 0  # the last h is not used by the last c
    assert all(path.signals[:-1])
    assert path.direct == pytest.approx(math.sqrt(2 * HIDDEN))


def test_packed_sequences_are_measured_against_what_came_to_all_their_ends() -> None:
    """Not against the last step, which is the longest sequence's alone."""
    module = make("gru")
    passes = watch(module)
    module(pack_sequence([noise(n, SIZE, seed=n) for n in (9, 4, 4, 2)]))[1].sum().backward()
    (path,) = passes[0].paths()
    assert path.signals[-1] == pytest.approx(math.sqrt(HIDDEN))
    assert path.direct == pytest.approx(math.sqrt(4 * HIDDEN))


def test_what_comes_directly_is_that_of_one_step() -> None:
    module = make("gru", batch_first=True)
    passes = watch(module)
    out, _ = module(noise(2, 6, SIZE))
    (out.mean(1).sum() + out[:, 2].sum()).backward()
    (path,) = passes[0].paths()
    assert path.direct == pytest.approx((1 + 1 / 6) * math.sqrt(2 * HIDDEN))
    assert path.signals[-1] == pytest.approx(1 / 6 * math.sqrt(2 * HIDDEN))


@pytest.mark.parametrize(("dtype", "rel"), [(torch.float32, 1e-5), (torch.bfloat16, 0.05)])
def test_low_precision_is_replayed_in_at_least_float32(dtype: torch.dtype, rel: float) -> None:
    found = []
    for kind in (torch.float64, dtype):
        module = make("gru", num_layers=2).to(kind)
        passes = watch(module)
        module(noise(6, 2, SIZE).to(kind))[0].sin().sum().backward()
        found.append([x for path in passes[0].paths() for x in path.signals])
    assert found[1] == pytest.approx(found[0], rel=rel)


def test_gradients_too_small_for_half_precision_are_seen() -> None:
    module = make("tanh").to(torch.bfloat16)
    with torch.no_grad():
        module.weight_hh_l0.copy_(1e-10 * torch.eye(HIDDEN))
        module.weight_ih_l0.zero_()
        module.bias_ih_l0.zero_()
        module.bias_hh_l0.zero_()
    passes = watch(module)
    module(torch.zeros(4, 1, SIZE, dtype=torch.bfloat16))[0][-1].sum().backward()
    assert passes[0].paths()[0].signals == pytest.approx([2e-30, 2e-20, 2e-10, 2], rel=0.02)


@pytest.mark.parametrize(
    "context", [torch.no_grad, torch.inference_mode, lambda: torch.autocast("cpu", torch.bfloat16)]
)
def test_whatever_the_caller_is_in_the_middle_of(context: Callable[[], Any]) -> None:
    module = make("lstm").float()
    passes = watch(module)
    module(noise(5, 2, SIZE).float())[0][-1].sum().backward()
    before = passes[0].paths()
    with context():
        assert passes[0].paths() == before
    assert len(before[0].signals) == 5


# --- what may happen to the module and its tensors -------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_nothing_of_the_models_pass_changes(mode: str, dropout: float) -> None:
    results = []
    for watched in (False, True):
        module = make(mode, num_layers=2, bidirectional=True, dropout=dropout)
        passes = watch(module) if watched else []
        x = noise(5, 2, SIZE).requires_grad_()
        torch.manual_seed(3)
        out, final = module(x)
        (out.sin().sum() + out[-1].sum()).backward()
        for forward in passes:
            forward.paths()
        grads = [p.grad for p in module.parameters()]
        assert x.grad is not None
        results.append([out, final[0], x.grad, *grads, torch.get_rng_state()])
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_what_is_done_to_weights_inputs_and_states_later_does_no_harm() -> None:
    module = make("lstm")
    passes = watch(module)
    x, states = noise(5, 2, SIZE), (noise(1, 2, HIDDEN, seed=1), noise(1, 2, HIDDEN, seed=2))
    out, _ = module(x, states)
    out[-1].sum().backward()
    before = passes[0].paths()
    torch.optim.SGD(module.parameters(), lr=10).step()
    with torch.no_grad():
        for tensor in (x, *states, out):
            tensor.zero_()
    assert passes[0].paths() == before


def test_passes_share_a_copy_of_the_weights_until_these_change() -> None:
    module = make("gru")
    passes = watch(module)
    optimizer = torch.optim.SGD(module.parameters(), lr=10)
    for _ in range(2):
        for _ in range(2):
            optimizer.zero_grad()
            module(noise(5, 2, SIZE))[0][-1].sum().backward()
        optimizer.step()
    first, second, third, fourth = (forward._kept.weights for forward in passes if forward._kept)
    assert first is second
    assert third is fourth
    assert first is not third
    signals = [forward.paths()[0].signals for forward in passes]
    assert signals[0] == signals[1] != signals[2] == signals[3]


def test_weights_whose_memory_is_exchanged_are_copied_again() -> None:
    module = make("gru")
    passes = watch(module)
    for _ in range(2):
        module(noise(5, 2, SIZE))[0][-1].sum().backward()
        module.weight_hh_l0.data = 2 * module.weight_hh_l0.data
    assert passes[0].paths() != passes[1].paths()


def test_parametrized_weights_are_those_that_the_pass_used() -> None:
    found = []
    for parametrized in (False, True):
        module = make("tanh")
        if parametrized:
            nn.utils.parametrizations.weight_norm(module, "weight_hh_l0")
        passes = watch(module)
        module(noise(5, 2, SIZE))[0][-1].sum().backward()
        found.append(passes[0].paths()[0].signals)
    assert found[0] == pytest.approx(found[1], rel=1e-9)


@pytest.mark.parametrize("reentrant", [True, False])
def test_under_checkpointing_one_of_the_passes_gets_the_gradients(reentrant: bool) -> None:
    module = make("gru")
    passes = watch(module)
    x = noise(5, 2, SIZE).requires_grad_()
    checkpoint(lambda x: module(x)[0], x, use_reentrant=reentrant)[-1].sum().backward()
    reached = [forward for forward in passes if gradient_reached(forward)]
    plain = make("gru")
    right = watch(plain)
    plain(x)[0][-1].sum().backward()
    assert [forward.paths() for forward in reached] == [right[0].paths()]


# --- backward passes -------------------------------------------------------------------------------------


def test_of_several_backward_passes_the_last_counts() -> None:
    module = make("tanh")
    passes = watch(module)
    x = noise(5, 2, SIZE).requires_grad_()
    out, final = module(x)
    torch.autograd.grad(out.sum() + final.sum(), x, retain_graph=True)
    (3 * out[-1].sum()).backward()
    (path,) = passes[0].paths()
    assert path.signals[-1] == pytest.approx(3 * math.sqrt(2 * HIDDEN))


def test_a_pass_that_no_gradient_reached() -> None:
    module = make("gru")
    passes = watch(module)
    state = None
    for i in range(3):
        out, state = module(noise(1, 2, SIZE, seed=i), None if state is None else state.detach())
    with torch.no_grad():
        module(noise(1, 2, SIZE))
    out.sum().backward()
    assert [gradient_reached(forward) for forward in passes] == [False, False, True, False]
    assert passes[0].paths() == ()
    assert time_ratio(passes[2].paths()[0]) is None  # one step is no path


@pytest.mark.parametrize("mode", ["gru", "lstm"])
def test_a_state_cut_from_the_pass_before(mode: str) -> None:
    module = make(mode, num_layers=2)
    passes = watch(module)
    state: Any = None
    for i, change in enumerate(["none", "cut", "keep", "none"]):
        if change == "none":
            state = None
        elif change == "cut":
            state = tuple(x.detach().clone() for x in state) if mode == "lstm" else state.detach()
        state = module(noise(2, 3, SIZE, seed=i), state)[1]
    pairs = [later.detached_from(earlier) for earlier, later in pairwise(passes)]
    assert pairs == [True, False, False]


# --- what cannot be judged -------------------------------------------------------------------------------


def test_with_dropout_between_layers_only_the_last_is_judged() -> None:
    module = make("lstm", num_layers=3, bidirectional=True, dropout=0.3)
    passes = watch(module)
    for training in (True, False):
        module.train(training)
        module(noise(5, 2, SIZE))[0].sin().sum().backward()
    lower = ("layer 0", "layer 0 backward", "layer 1", "layer 1 backward")
    last = ("layer 2", "layer 2 backward")
    assert [forward.not_judged for forward in passes] == [lower, ()]
    assert [tuple(path.part for path in forward.paths()) for forward in passes] == [last, lower + last]


@pytest.mark.parametrize("mode", MODES)
def test_the_last_layer_above_dropout_is_approximate(mode: str) -> None:
    """Against two modules with the dropout between them seen."""
    whole = MODES[mode](SIZE, 32, num_layers=2, dropout=0.3)
    above = MODES[mode](32, 32)
    above.load_state_dict({n.replace("_l1", "_l0"): p for n, p in whole.state_dict().items() if "_l1" in n})
    passes = [*map(watch, (whole, above))]
    x = noise(20, 8, SIZE).float()
    whole(x)[0][-1].sum().backward()
    below = MODES[mode](SIZE, 32)
    below.load_state_dict({n: p for n, p in whole.state_dict().items() if "_l0" in n})
    above(nn.functional.dropout(below(x)[0], 0.3))[0][-1].sum().backward()
    approximate, exact = (time_ratio(found[0].paths()[0]) for found in passes)
    assert approximate is not None
    assert exact is not None
    assert 0.5 < approximate / exact < 2


def test_a_class_with_a_forward_of_its_own_is_not_judged() -> None:
    class Normed(nn.GRU):
        def forward(self, input: Tensor) -> Tensor:  # type: ignore[override]
            return super().forward(nn.functional.layer_norm(input, (SIZE,)))[0]  # type: ignore[no-any-return]

    module = Normed(SIZE, HIDDEN, num_layers=2)
    passes = watch(module)
    module(noise(5, 2, SIZE).float())[-1].sum().backward()
    assert passes[0].not_judged == ("layer 0", "layer 1")
    assert gradient_reached(passes[0])
    assert passes[0].paths() == ()


# --- ratios ----------------------------------------------------------------------------------------------


def ratios(module: nn.RNNBase, steps: int, read: Callable[[Tensor], Tensor]) -> list[float | None]:
    """A class told at step 0, read from the outputs [B, T, …]."""
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(8, steps, 6, generator=generator), torch.randint(3, (8,), generator=generator)
    x[:, 0, :3] += 3 * nn.functional.one_hot(y, 3)
    passes = watch(module)
    pooled = read(module(x)[0])
    torch.manual_seed(0)
    nn.functional.cross_entropy(nn.Linear(pooled.shape[1], 3)(pooled), y).backward()
    return [time_ratio(path) for path in passes[0].paths()]


def last_step(out: Tensor) -> Tensor:
    return out[:, -1]


@pytest.mark.parametrize("steps", [16, 30, 60, 200])
@pytest.mark.parametrize("seed", range(3))
def test_a_plain_rnn_loses_what_it_was_told_at_the_first_step(seed: int, steps: int) -> None:
    torch.manual_seed(seed)
    (ratio,) = ratios(nn.RNN(6, 24, batch_first=True), steps, last_step)
    assert ratio is not None
    assert ratio < 1 / 300


def test_an_orthogonal_rnn_an_identity_and_an_open_forget_gate_keep_it() -> None:
    torch.manual_seed(0)
    orthogonal, identity = nn.RNN(6, 24, batch_first=True), nn.RNN(6, 24, batch_first=True, nonlinearity="relu")
    nn.init.orthogonal_(orthogonal.weight_hh_l0)
    nn.init.eye_(identity.weight_hh_l0)
    nn.init.normal_(identity.weight_ih_l0, std=0.01)
    lstm = nn.LSTM(6, 24, batch_first=True)
    with torch.no_grad():
        lstm.bias_ih_l0[24:48] = 4
    for module, steps in ((orthogonal, 16), (identity, 200), (lstm, 60)):
        (ratio,) = ratios(module, steps, last_step)
        assert ratio is not None
        assert 0.01 < ratio < 3


@pytest.mark.parametrize("kind", [nn.RNN, nn.LSTM, nn.GRU])
def test_pooling_over_time_reaches_every_step(kind: type[nn.RNNBase]) -> None:
    torch.manual_seed(0)
    found = ratios(kind(6, 24, batch_first=True, bidirectional=True), 60, lambda out: out.mean(1))  # type: ignore[call-arg, arg-type]
    assert all(ratio is not None and 0.5 < ratio < 5 for ratio in found)


def test_growth_through_time_is_seen() -> None:
    torch.manual_seed(0)
    module = nn.RNN(6, 24, batch_first=True, nonlinearity="relu")
    nn.init.orthogonal_(module.weight_hh_l0, gain=3)
    (ratio,) = ratios(module, 30, last_step)
    assert ratio is not None
    assert ratio > 3000


def test_a_direction_that_begins_where_the_loss_reads_has_not_exploded() -> None:
    """Of two layers in both directions, read at the last step: what layer 0 hands on is used most at that step, and
    the direction that goes backward begins there."""
    torch.manual_seed(0)
    found = ratios(nn.LSTM(6, 24, num_layers=2, batch_first=True, bidirectional=True), 30, last_step)
    assert found[1] == pytest.approx(1, rel=0.1)


def test_padding_at_the_end_hides_nothing() -> None:
    torch.manual_seed(0)
    (ratio,) = ratios(nn.RNN(6, 24, batch_first=True), 60, lambda out: out[:, 40])
    assert ratio is not None
    assert ratio < 1 / 300


@pytest.mark.parametrize(
    ("signals", "direct", "ratio"),
    [
        ((1.0, 2.0, 4.0), 4.0, 0.25),
        ((0.0, 1e-30, 4.0), 4.0, 0.0),
        ((0.0, 0.0), 0.0, None),
        ((1.0,), 1.0, None),
        ((math.nan, 1.0), 1.0, None),
        ((1.0, math.inf), math.inf, None),
    ],
)
def test_the_ratio_of_a_path(signals: tuple[float, ...], direct: float, ratio: float | None) -> None:
    assert time_ratio(TimePath("rnn", "layer 0", signals, direct)) == ratio
