"""What arrives in the log of a real training by the Trainer of transformers, and in its own logs."""

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch

from vgharness.errors import UsageError
from vgharness.records import TrainingLog
from vgharness.storage.training_log import load_training_log

transformers = pytest.importorskip("transformers")

from vgharness.integrations.transformers import GradientFlowCallback  # noqa: E402 - needs transformers

pytestmark = [pytest.mark.integrations, pytest.mark.filterwarnings("ignore")]
STEPS = 6
QUERY = "bert.encoder.layer.0.attention.self.query"


def bert(**options: float) -> Any:
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = transformers.BertConfig(vocab_size=50, max_position_embeddings=16, num_labels=2, **sizes, **options)
    return transformers.BertForSequenceClassification(config)


def gpt() -> Any:
    torch.manual_seed(0)
    return transformers.GPT2LMHeadModel(
        transformers.GPT2Config(vocab_size=50, n_positions=16, n_embd=16, n_layer=2, n_head=2)
    )


def examples(*, labels: bool = True) -> list[dict[str, Any]]:
    tokens = torch.randint(50, (32, 8), generator=torch.Generator().manual_seed(0))
    return [{"input_ids": each, "labels": torch.tensor(at % 2) if labels else each} for at, each in enumerate(tokens)]


def trainer(folder: Path, model: Any = None, data: Any = None, **options: Any) -> Any:
    defaults = {"max_steps": STEPS, "per_device_train_batch_size": 4, "learning_rate": 1e-3, "logging_steps": 1,
                "report_to": [], "use_cpu": True, "disable_tqdm": True, "save_strategy": "no"}  # fmt: skip
    arguments = transformers.TrainingArguments(output_dir=str(folder / "out"), **{**defaults, **options})
    data = data or examples()
    made = transformers.Trainer(model or bert(), arguments, train_dataset=data, eval_dataset=data)
    made.remove_callback(transformers.PrinterCallback)
    return made


def train(folder: Path, model: Any = None, *, every: int = 2, data: Any = None, **options: Any) -> TrainingLog:
    made = trainer(folder, model, data, **options)
    callback = GradientFlowCallback(every=every, storage=folder / "store", on_problem=lambda problem: None)
    made.add_callback(callback)
    made.train()
    return saved(callback)


def saved(callback: GradientFlowCallback) -> TrainingLog:
    assert callback.watch is not None
    assert callback.watch.path is not None
    return load_training_log(callback.watch.path)


def check(log: TrainingLog, *, steps: int = STEPS, rows: int) -> None:
    assert (log.status, log.models[0].steps) == ("finished", steps)
    assert [each.step for each in log.snapshots][: steps // 2] == list(range(0, steps, 2))
    for each in log.snapshots:
        assert len(each.states) == rows
        assert all(each.values["relative_update"])
        assert each.not_optimized == ()
        assert each.learning_rates


def test_a_classifier_and_a_language_model_are_watched(tmp_path: Path) -> None:
    log = train(tmp_path)
    assert log.models[0].architecture == "BertForSequenceClassification"
    names = [row.name for row in log.rows[0]]
    assert QUERY in names
    check(log, rows=len(names))
    log = train(tmp_path, gpt(), data=examples(labels=False))
    assert "transformer.h.1.attn.c_attn" in [row.name for row in log.rows[0]]
    check(log, rows=len(log.rows[0]))


def test_it_trains_to_the_same_bits(tmp_path: Path) -> None:
    weights = []
    for callbacks in ([], [GradientFlowCallback(every=1, storage=tmp_path / "store")]):
        made = trainer(tmp_path)  # which seeds the generator
        for callback in callbacks:
            made.add_callback(callback)
        made.train()
        weights.append(made.model.state_dict())
    assert all(torch.equal(weights[1][name], weight) for name, weight in weights[0].items())


def test_evaluation_and_checkpoints_in_between_change_nothing(tmp_path: Path) -> None:
    dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}  # evaluation draws random numbers
    plain = train(tmp_path, bert(**dropout))
    log = train(tmp_path, bert(**dropout), eval_strategy="steps", eval_steps=1, save_strategy="steps", save_steps=2)
    assert [each.total_norm for each in log.snapshots] == [each.total_norm for each in plain.snapshots]
    assert [each.batch for each in log.snapshots] == [each.step for each in log.snapshots]


def test_a_step_is_one_of_the_optimizer_however_many_batches_it_takes(tmp_path: Path) -> None:
    log = train(tmp_path, gradient_accumulation_steps=2)
    check(log, rows=len(log.rows[0]))
    assert [(each.step, each.batch) for each in log.snapshots][:3] == [(0, 1), (2, 5), (4, 9)]


def test_the_norm_is_that_before_clipping_and_after_and_the_trainers_own(tmp_path: Path) -> None:
    made = trainer(tmp_path, max_grad_norm=0.01)
    callback = GradientFlowCallback(every=1, storage=tmp_path / "store")
    made.add_callback(callback)
    made.train()
    own = [line["grad_norm"] for line in made.state.log_history if "grad_norm" in line]
    snapshots = saved(callback).snapshots
    assert [each.total_norm for each in snapshots][:STEPS] == pytest.approx(own, rel=1e-3)
    assert all(each.clipped_norm == pytest.approx(0.01, rel=1e-3) for each in snapshots)


@pytest.mark.parametrize("options", [{"gradient_checkpointing": True}, {"bf16": True}])
def test_checkpointing_and_bf16(tmp_path: Path, options: dict[str, bool]) -> None:
    plain, log = train(tmp_path), train(tmp_path, **options)
    check(log, rows=len(plain.rows[0]))
    assert log.snapshots[0].total_norm == pytest.approx(plain.snapshots[0].total_norm, rel=0.1)


def test_a_step_that_the_scaler_leaves_out_is_no_problem(tmp_path: Path) -> None:
    model, passes = bert(), itertools.count()
    model.classifier.weight.register_hook(lambda gradient: gradient * (float("inf") if next(passes) == 2 else 1.0))
    made = trainer(tmp_path, model, max_grad_norm=0)
    made.accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)  # its fp16 asks for a GPU
    callback = GradientFlowCallback(every=1, storage=tmp_path / "store")
    made.add_callback(callback)
    made.train()
    log = saved(callback)
    assert [each.skipped for each in log.snapshots] == [False, False, True, False, False, False]
    assert [each.loss_scale for each in log.snapshots] == [1024.0] * 3 + [512.0] * 3
    assert (log.problems, log.births) == ((), ())


def test_a_resumed_training_goes_on_with_its_step(tmp_path: Path) -> None:
    trainer(tmp_path, save_strategy="steps", save_steps=3).train()
    made = trainer(tmp_path)
    callback = GradientFlowCallback(every=1, storage=tmp_path / "store")
    made.add_callback(callback)
    made.train(resume_from_checkpoint=str(tmp_path / "out" / "checkpoint-3"))
    log = saved(callback)
    assert log.first_step == 3
    assert [each.step for each in log.snapshots] == [3, 4, 5]


def test_on_request_its_own_logs_get_what_is_measured(tmp_path: Path) -> None:
    class Asking(transformers.TrainerCallback):
        def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            control.should_log = True

    made = trainer(tmp_path, logging_steps=1000)
    callback = GradientFlowCallback(every=2, storage=tmp_path / "store", trainer=made)
    made.add_callback(callback)
    made.add_callback(Asking())
    made.train()
    name = f"gradflow/signal_l2/{QUERY}"
    found = [(line["gradflow/step"], line[name]) for line in made.state.log_history if name in line]
    log = saved(callback)
    at = [row.name for row in log.rows[0]].index(QUERY)
    assert found == [(each.step, pytest.approx(each.values["signal_l2"][at], 1e-5)) for each in log.snapshots]
    assert sum("loss" in line for line in made.state.log_history) == STEPS  # not one is lost for it


def test_a_loop_that_raises_leaves_a_log_that_can_be_read(tmp_path: Path) -> None:
    class Ending(transformers.TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            if state.global_step == 3:
                raise RuntimeError("the end")

    made = trainer(tmp_path)
    callback = GradientFlowCallback(every=1, storage=tmp_path / "store")
    made.add_callback(callback)
    made.add_callback(Ending())
    with pytest.raises(RuntimeError, match="the end"):
        made.train()
    assert [each.step for each in saved(callback).snapshots] == [0, 1, 2]
    made.remove_callback(Ending)
    made.train()
    assert saved(callback).status == "finished"


def test_what_cannot_be_watched_is_refused_before_the_first_step(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="no option 'evry'; it has every, "):
        GradientFlowCallback(evry=3)
    made = trainer(tmp_path, torch_compile=True)
    made.add_callback(GradientFlowCallback(storage=tmp_path / "store"))
    with pytest.raises(UsageError, match="torch_compile"):
        made.train()
