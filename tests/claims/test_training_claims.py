"""Claims about trainings: what is read from their logs, and what is left open or not run."""

import math
from pathlib import Path
from typing import Any

import pytest
from factories import failure, make_result, make_run
from training_logs import changed, make_log, make_problem, make_snapshot

from vgharness.claims.evidence import Evidence
from vgharness.claims.loading import load_claims
from vgharness.claims.trainings import Training
from vgharness.claims.verdicts import judge
from vgharness.records import Birth, Reading, TrainingLog, WatchedModel

pytestmark = pytest.mark.fast

SCATTER = (0.0, 0.01, -0.01)  # of three trainings: none is another's copy


def load(folder: Path, *readings: str, of: str = '{ training = "net" }') -> Any:
    parts = ['[document]\ntitle = "A paper"', '[[claim]]\nid = "it-is"\nsentences = ["It is so."]']
    parts += [f"[[claim.reading]]\nof = {of}\n{text}" for text in readings]
    file = folder / "claims.toml"
    file.write_text("\n".join(parts), encoding="utf-8")
    return load_claims(file)


@pytest.fixture
def read(tmp_path: Path) -> Any:
    """Judges one reading, as a claims file has it, on logs that are saved as ``net``."""

    def it(text: str, *logs: TrainingLog, name: str = "net", of: str = '{ training = "net" }') -> Reading:
        evidence = Evidence.of(*(Training(name, log) for log in logs))
        (verdict,) = judge(load(tmp_path, text, of=of), evidence)
        (reading,) = verdict.readings
        assert verdict.outcome == reading.outcome
        return reading

    return it


def values(reading: Reading) -> list[float | None]:
    return [each.value for each in reading.values]


def three(**fields: Any) -> list[TrainingLog]:
    return [make_log(scatter=scatter, **fields) for scatter in SCATTER]


STAYS = """
quantity = "relative_update"
layer = "conv1"
over = { steps = [0, "last"], take = "least" }
accept = { above = 1e-4 }
"""


def test_three_trainings_are_three_values_of_a_claim_and_fewer_decide_nothing(read: Any) -> None:
    found = read(STAYS, *three())
    assert (found.outcome, found.label) == (
        "reproduced",
        "net, least over steps 0 to last, update ratio ‖ΔW‖₂ ÷ ‖W‖₂ of conv1",
    )
    assert values(found) == pytest.approx([1e-3, 1.01e-3, 0.99e-3])
    assert read(STAYS, *three()[:2]).reason == "2 seeds; a verdict needs 3"


def test_a_layer_that_stops_moving_in_every_training_refutes_that_it_does_not(read: Any) -> None:
    stopped = [
        changed(
            log,
            lambda each: (
                {"values": {**each.values, "relative_update": (0.0, 1e-3, 1e-3, 1e-3)}} if each.step == 700 else {}
            ),
        )
        for log in three()
    ]
    assert read(STAYS, *stopped).outcome == "not reproduced"
    assert read(STAYS.replace("conv1", "conv2"), *stopped).outcome == "reproduced"
    before = STAYS.replace('[0, "last"]', "[0, 600]")
    assert read(before, *stopped).outcome == "reproduced"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('quantity = "signal_l2"\nlayers = { take = "factor" }\nat = "first"', 0.8),
        ('quantity = "signal_l2"\nlayers = { match = "conv*", take = "total" }\nat = 500', 0.8**2),
        ('quantity = "signal_l2"\nlayers = { take = "factor" }\nover = { steps = [0, 300], take = "mean" }', 0.8),
        ('quantity = "loss"\nat = "last"', 1.0),
        ('quantity = "loss"\nover = { steps = [0, "last"], take = "rises" }', 0.0),
        ('quantity = "loss"\npasses = { below = 1.7 }', 200.0),
        ('quantity = "dead_units"\nlayers = { take = "mean" }\nat = "last"', 0.02),
        ('quantity = "learning_rate"\nat = 0', 0.01),
        ('quantity = "weight_norm"\nlayer = "fc"\nat = 1000', 2.0),
        ('quantity = "total_norm"\nagainst = { training = "net", name = "b" }\nby = "ratio"\nat = 0', 1.5 / 3),
    ],
)  # fmt: skip
def test_what_a_log_holds_can_be_read_at_a_step_and_over_steps(read: Any, text: str, value: float) -> None:
    log = make_log()
    if "against" in text:
        both = (
            WatchedModel(name="a", architecture="Net", parameters=1),
            WatchedModel(name="b", architecture="Net", parameters=1),
        )
        log = make_log([make_snapshot(0, model="a"), make_snapshot(0, model="b", total_norm=3.0)], models=both)
        found = read(f"{text}\naccept = {{ at_least = 0 }}", log, of='{ training = "net", name = "a" }')
    else:
        found = read(f"{text}\naccept = {{ at_least = 0 }}", log)
    assert values(found) == pytest.approx([value]), found.reason


def test_the_greatest_total_norm_is_of_every_step_not_of_the_snapshots_alone(read: Any) -> None:
    never = 'quantity = "total_norm"\nover = { steps = [201, "last"], take = "greatest" }\naccept = { at_most = 10 }'

    def spiked(step: int) -> list[TrainingLog]:
        return [changed(log, lambda each: {"greatest_norm": 30.0} if each.step == step else {}) for log in three()]

    assert read(never, *three()).outcome == "reproduced"
    assert read(never, *spiked(500)).outcome == "not reproduced"
    assert read(never, *spiked(100)).outcome == "reproduced"
    assert read(never.replace("201", "250"), *spiked(300)).outcome == "inconclusive"  # before step 250, or after it
    passes = read('quantity = "total_norm"\npasses = { above = 10 }\naccept = { at_least = 0 }', spiked(500)[0])
    assert [(each.value, each.bounds and each.bounds.low) for each in passes.values] == [(500.0, 400.0)]


# --- problems --------------------------------------------------------------------------------------------

NONE_AFTER = 'quantity = "problems"\nover = { steps = [101, "last"], take = "sum" }\naccept = { at_most = 0 }'


@pytest.mark.parametrize(
    ("problem", "outcome"),
    [
        ({"began": 50}, "reproduced"),
        ({"began": 101}, "not reproduced"),
        ({"began": 300, "ended": 400}, "not reproduced"),
        ({"began": 300, "severity": "warning"}, "reproduced"),
        ({"began": 50, "times": 3}, "inconclusive"),  # when it came again is not known
        ({"began": 50, "times": 3, "ended": 90}, "reproduced"),
    ],
)
def test_no_problem_begins_after_a_step(read: Any, problem: dict[str, Any], outcome: str) -> None:
    assert read(NONE_AFTER, *three(problems=[make_problem(**problem)])).outcome == outcome


def test_problems_are_counted_by_kind_and_layer_and_at_a_step_those_that_go_on(read: Any) -> None:
    problems = [
        make_problem("dead", "conv2", 200, ended=600),
        make_problem("stopped", "conv1", 300),
        make_problem("dead", "conv1", 700),
    ]
    log = make_log(problems=problems)

    def many(text: str) -> float | None:
        (value,) = values(read(f"{text}\naccept = {{ at_least = 0 }}", log))
        return value

    assert many('quantity = "problems"') == 3
    assert many('quantity = "problems:dead"') == 2
    assert many('quantity = "problems:dead"\nlayer = "conv1"') == 1
    assert many('quantity = "problems:dead"\nat = 300') == 1
    assert many('quantity = "problems"\nat = "last"') == 2
    assert many('quantity = "warnings"') == 0


def test_a_birth_whose_problem_was_not_saved_any_more_is_a_problem(read: Any) -> None:
    logs = three(births=[Birth(step=500, noticed=501)])
    assert read(NONE_AFTER, *logs).outcome == "not reproduced"
    assert values(
        read(NONE_AFTER, make_log(births=[Birth(step=500, noticed=501)], problems=[make_problem("nonfinite", "", 501)]))
    ) == [1.0]


# --- what is not run, or left open -----------------------------------------------------------------------

LAST = 'quantity = "loss"\nat = "last"\naccept = { below = 9 }'
FROZEN = {"states": ("frozen", "ok", "ok", "ok"), "values": {"relative_update": (None, 1e-3, 1e-3, 1e-3)}}


@pytest.mark.parametrize(
    ("text", "log", "reason"),
    [
        (LAST, make_log(status="running"), "net still goes on or was killed at step 1,000: name a step up to"),
        (NONE_AFTER, make_log(status="failed"), "net ended in an exception at step 1,000: name a step up to that"),
        (NONE_AFTER.replace('"last"', "5000"), make_log(), "needs step 5,000 of net, whose last is 1,000"),
        (LAST.replace('"last"', "150"), make_log(), "net has no snapshot of step 150; the nearest are of 100 and 200"),
        (LAST.replace("loss", "loss_scale"), make_log(), "net has no loss scale at step 1,000"),
        (LAST.replace('"loss"', '"weight_l2"\nlayer = "gone"'), make_log(), "net has no layer gone at step 1,000"),
        (LAST.replace('"last"', "500"), make_log([]), "net has no snapshot"),
        (STAYS.replace('"last"', "900"), changed(make_log(), lambda each: FROZEN if each.step == 400 else {}),
         "net has no update ratio ‖ΔW‖₂ ÷ ‖W‖₂ of conv1 at step 400: it is frozen"),
    ],
)  # fmt: skip
def test_what_a_log_lacks_is_named(read: Any, text: str, log: TrainingLog, reason: str) -> None:
    found = read(text, log)
    assert (found.outcome, reason in found.reason) == ("not run", True), found.reason


def test_of_a_clipped_training_the_norm_between_snapshots_is_known_after_clipping_alone(read: Any) -> None:
    """At each snapshot it is 1.5 before and 1 after; between them it may have been anything before."""
    clipped = [changed(log, lambda each: {"clipped_norm": 1.0, "greatest_norm": 1.0}) for log in three()]
    text = 'quantity = "{}"\nover = {{ steps = [0, "last"], take = "greatest" }}\naccept = {{ at_most = {} }}'
    assert read(text.format("total_norm", 10), *clipped).outcome == "inconclusive"
    assert read(text.format("total_norm", 1), *clipped).outcome == "not reproduced"
    assert read(text.format("clipped_norm", 1.1), *clipped).outcome == "reproduced"
    burst = [changed(log, lambda each: {"greatest_norm": 5.0} if each.step == 500 else {}) for log in clipped]
    assert read(text.format("clipped_norm", 1.1), *burst).outcome == "not reproduced"


def test_a_step_that_a_grad_scaler_left_out_is_held_against_nothing(read: Any) -> None:
    left_out = {"skipped": True, "total_norm": math.inf, "states": ("nonfinite",) * 4}
    left_out["values"] = {"relative_update": (0.0,) * 4, "weight_l2": (None,) * 4}
    skipped = changed(make_log(), lambda each: left_out if each.step == 100 else {})
    assert values(read(STAYS, skipped)) == [1e-3]
    for quantity in ('"total_norm"', '"weight_l2"\nlayer = "fc"'):
        text = f'quantity = {quantity}\nover = {{ steps = [0, "last"], take = "greatest" }}\naccept = {{ at_most = 9 }}'
        assert values(read(text, skipped)) == [1.5 if "total" in text else 0.5]


def test_a_training_that_became_nan_leaves_open_what_its_size_was(read: Any) -> None:
    broken = changed(make_log(), lambda each: {"total_norm": math.nan, "nonfinite": ()} if each.step >= 500 else {})
    never = 'quantity = "total_norm"\nover = { steps = [0, "last"], take = "greatest" }\naccept = { at_most = 10 }'
    found = read(never, broken, *three()[1:])
    assert (found.outcome, found.reason) == ("inconclusive", "1 of 3 seeds diverged")


def test_a_training_is_meant_by_its_log_s_name_a_pattern_of_it_or_a_model_s(tmp_path: Path) -> None:
    gan = (
        WatchedModel(name="generator", architecture="G", parameters=1),
        WatchedModel(name="critic", architecture="C", parameters=1),
    )
    log = make_log([make_snapshot(0, model=each.name, loss=place) for place, each in enumerate(gan)], models=gan)
    text = 'quantity = "loss"\nat = 0\naccept = { above = -9 }'

    def read(of: str, *trainings: Training) -> Reading:
        (verdict,) = judge(load(tmp_path, text, of=of), Evidence.of(*trainings))
        return verdict.readings[0]

    saved = Training("gan", log)
    assert values(read('{ training = "critic" }', saved)) == [1.0]
    assert values(read('{ training = "gan", name = "generator" }', saved)) == [0.0]
    assert read('{ training = "gan" }', saved).reason == "gan has the models generator, critic: say which, with name"
    assert read('{ training = "net" }', saved).reason == "needs a training log of net"
    named = [Training(f"run-{place}", make_log(scatter=place / 10, extra={"seed": 7 + place})) for place in range(3)]
    assert [each.seed for each in read('{ training = "run-*" }', *named).values] == [7, 8, 9]


def test_a_copy_of_a_training_is_no_further_value(read: Any) -> None:
    assert (
        read(STAYS, *[make_log(created=f"2026-01-0{day}") for day in (1, 2, 3)]).reason == "1 seed; a verdict needs 3"
    )


def test_runs_sessions_and_trainings_are_judged_together(tmp_path: Path) -> None:
    text = [LAST, STAYS]
    study = make_run([make_result("relu", seed, curve=[50.0, 60.0]) for seed in (42, 43, 44)])
    (verdict,) = judge(load(tmp_path, *text), Evidence.of(study, *(Training("net", log) for log in three())))
    assert verdict.outcome == "reproduced"


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ('at = "last"', 'at = "init"', "at: a training log has steps: give the number of one, first or last"),
        ('at = "last"', 'over = { epochs = [1, 2], take = "mean" }', "over: a training log has steps: give those, as"),
        ('at = "last"', 'over = { steps = [5, 2], take = "mean" }', "over: its ends are swapped: steps 5 to 2"),
        ('at = "last"', 'over = { steps = [5, 9], take = "sum" }', 'over.take: "sum" is of problems and warnings'),
        ('at = "last"', 'over = { take = "mean" }', "over: give epochs, or of a training steps"),
        ('"loss"', '"problems:deaf"', "quantity: 'problems:deaf' is unknown; known: test_accuracy"),
        ('"loss"', '"test_loss"', "of: no run can hold it: a training log has no test loss"),
        ('training = "net"', 'training = "net", test = "t.py"', "of: no run can hold it: test is of a session"),
        ('training = "net"', 'training = "net", depth = 4', "of: no run can hold it: depth is of a study's"),
        ('training = "net"', "depth = 4", "of: no run can hold it: 'loss' is measured in a training: name its log"),
        ('at = "last"', 'at = "last"\nagainst = { test = "t.py" }\nby = "ratio"', "one is a test of a session, the o"),
        ("below = 9", "below = -1", ""),
        ('"loss"', '"total_norm"', ""),
    ],
)  # fmt: skip
def test_what_a_claim_about_a_training_cannot_say_is_one_line(tmp_path: Path, old: str, new: str, line: str) -> None:
    text = f'of = {{ training = "net" }}\n{LAST}'
    assert old in text
    whole = (
        f'[document]\ntitle = "d"\n[[claim]]\nid = "a"\nsentences = ["s"]\n[[claim.reading]]\n{text.replace(old, new)}'
    )
    file = tmp_path / "claims.toml"
    file.write_text(whole, encoding="utf-8")
    if line:
        assert line in failure(lambda: load_claims(file))
    else:
        assert load_claims(file)


def test_a_study_s_network_has_no_steps(tmp_path: Path) -> None:
    file = tmp_path / "claims.toml"
    begin = '[document]\ntitle = "d"\n[[claim]]\nid = "a"\nsentences = ["s"]\n[[claim.reading]]\nof = {}\n'
    for text in ('at = "first"', "at = 0", 'over = { steps = [1, 2], take = "mean" }'):
        file.write_text(f'{begin}quantity = "test_loss"\n{text}\naccept = {{ below = 9 }}')
        said = failure(lambda: load_claims(file)).partition("reading 1: ")[2]
        assert said.startswith(("at: use init", "over: only a training has steps"))
