"""What is printed of saved sessions: the tables, in 80 columns and in Markdown, and the commands with their exit."""

import csv
import io
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from factories import MACHINE, make_flow, make_result, make_run, make_verdict
from rich.cells import cell_len
from rich.console import Console
from typer.testing import CliRunner, Result

from vgharness.cli.main import app
from vgharness.formatting import number, shorten
from vgharness.gradflow.comparison import Comparison, compare
from vgharness.gradflow.limits import parse_failures
from vgharness.records import GradientFlow, LayerGradient, Sample, Session
from vgharness.report.tables import (
    Sheet,
    comparison_table,
    conclusion,
    markdown,
    maybe_by_chance,
    session_table,
)
from vgharness.storage.store import RunStore

pytestmark = pytest.mark.fast

TEST = "tests/test_model.py::test_flow[relu]"
SPREAD = (0.96, 1.04, 0.98, 1.02, 1.0)


def sample(factor: float = 0.8, test: str = TEST, seeds: int = 5) -> Sample:
    flows = tuple(make_flow(factor, last=1e-3 * spread) for spread in SPREAD[:seeds])
    return Sample(test=test, seeds=tuple(range(seeds)), flows=flows)


def named(names: Sequence[str], values: Sequence[float], test: str = TEST, state: str = "ok", seeds: int = 1) -> Sample:
    flow = GradientFlow(
        layers=tuple(LayerGradient(name=n, state=state, signal_l2=v) for n, v in zip(names, values, strict=True))
    )
    return Sample(test=test, seeds=tuple(range(seeds)), flows=(flow,) * seeds)


def session(*samples: Sample) -> Session:
    return Session(created="2026-01-02T03:04:05+00:00", command="pytest", commit=None, machine=MACHINE, samples=samples)


def compared(before: Sample, after: Sample, *fail: str) -> Comparison:
    return compare(session(before), session(after), *parse_failures(fail))


def printed(*sheets: Sheet, colour: bool = False) -> str:
    console = Console(width=80, file=io.StringIO(), force_terminal=colour, color_system="truecolor" if colour else None)
    console.print(*sheets, sep="\n")
    text = console.file.getvalue()
    assert colour or all(cell_len(line) <= 80 for line in text.splitlines())
    return text


def cells(text: str, first: str) -> list[str]:
    return next(line.split() for line in text.splitlines() if line.split()[:1] == [first])


# --- tables ---------------------------------------------------------------------------------------


def test_a_session_shows_layers_from_input_to_output_with_mean_interval_factor_and_bar() -> None:
    text = printed(session_table(named(["in", "mid", "out"], [1e-4, 2e-4, 1e-2])))
    assert [line.split()[0] for line in text.splitlines()[4:7]] == ["in", "mid", "out"]
    assert cells(text, "in") == ["in", "0.000100", "–", "0.500", "█░░░░░░░"]
    assert cells(text, "mid") == ["mid", "0.000200", "–", "!", "0.0200", "█░░░░░░░"]
    assert cells(text, "out") == ["out", "0.0100", "–", "████████"]
    assert f"{TEST} (1 seed)" in text
    assert "! the factor that is farthest from 1" in text


def test_a_session_shows_the_geometric_mean_and_its_interval_over_seeds() -> None:
    sheet = session_table(sample())
    assert sheet.rows[3][:2] == ("conv4", number(1e-3 * math.prod(SPREAD) ** 0.2))
    low, high = map(float, sheet.rows[3][2].split(" to "))
    assert 0.0009 < low < 0.001 < high < 0.0011
    assert sheet.title.endswith("(5 seeds)")


def test_the_worst_step_is_marked_and_red() -> None:
    sheet = session_table(named(["a", "b", "c", "d"], [1, 2, 1e3, 1e2]))
    assert [row[3] for row in sheet.rows] == ["0.500", "! 0.00200", "10", ""]
    assert sheet.styles == ("", "red", "", "")
    assert "\x1b[31m" in printed(sheet, colour=True)


@pytest.mark.parametrize(("state", "value"), [("nonfinite", math.nan), ("unused", None), ("ok", None)])
def test_a_layer_without_a_value_says_its_state(state: str, value: float | None) -> None:
    flow = GradientFlow(
        layers=(
            LayerGradient(name="a", state="ok", signal_l2=1.0),
            LayerGradient(name="b", state=state, signal_l2=value),
            LayerGradient(name="c", state="ok", signal_l2=0.0),
        )
    )
    sheet = session_table(Sample(test="t", seeds=(1,), flows=(flow,)))
    assert sheet.rows[1][1:] == ("not measured" if state == "ok" else state, "–", "–", "░" * 8)
    assert sheet.rows[2][1] == "0"
    assert sheet.notes == ()


def test_a_session_beside_another_run_shows_the_change() -> None:
    before = named(["a", "b", "c", "d"], [1, 2, 0, 1])
    after = named(["a", "b", "c", "d", "e"], [0.5, 40, 1, 1, 1])
    sheet = session_table(after, compared(before, after))
    assert sheet.headings[-1] == "change"
    assert [row[-1] for row in sheet.rows] == ["-50.0%", "×20", "from 0", "unchanged", "new"]
    printed(sheet)


LONG = "encoder.layers.10.self_attention_with_relative_positions.output_projection"


def test_long_names_are_shortened_in_the_middle_and_lines_fit() -> None:
    assert shorten("abcdefghij", 10) == "abcdefghij"
    assert shorten("abcdefghijk", 10) == "abcd…ghijk"
    names = [f"{LONG}.{i}" for i in range(3)]
    wide = Sample(
        test=f"{TEST}{'x' * 100}",
        seeds=(1, 2, 3, 4, 5),
        flows=tuple(named(names, [1.234e-105 * s, 1.234e-5 * s, 1.234e100]).flows[0] for s in SPREAD),
    )
    text = printed(session_table(wide, compared(wide, wide)))
    assert "encoder.l…rojection.0" not in text
    assert "encoder.l…ojection.0" in text
    after = Sample(test=wide.test, seeds=wide.seeds, flows=wide.flows[:4] + wide.flows[:1])
    text = printed(*comparison_table(compared(after, wide, "signal_l2:0.001%")))
    assert "encoder…ection.0" in text
    assert LONG in markdown([session_table(wide)])


def test_a_comparison_shows_both_means_the_change_and_the_verdict() -> None:
    text = printed(*comparison_table(compared(sample(), sample(0.4), "signal_l2:-20%")))
    assert cells(text, "conv1")[:5] == ["conv1", "signal_l2", "0.000512", "6.40e-05", "-87.5%"]
    assert cells(text, "conv1")[-1] == "FAIL"
    assert cells(text, "conv4")[-1] == "ok"
    assert "conv1 signal_l2: beyond signal_l2:-20%; p < 1e-09, corrected for 5 decisions" in text
    assert "3 regressions in 21 values of 1 test" in text
    assert "weight_l2" not in text


def test_a_comparison_without_limits_shows_what_changed_by_more_than_chance_and_judges_nothing() -> None:
    before = named(["a", "b", "c"], [1, 2, 4])
    (few, claims) = comparison_table(compared(before, named(["a", "b", "c"], [0.1, 2, 4])))
    assert [row[:2] + row[-1:] for row in few.rows] == [
        ("all layers", "factor", ""),
        *((layer, "signal_l2", "") for layer in "abc"),
    ]
    assert claims.title == (
        "4 values of 1 test compared, no limit given (--fail): 2 unchanged; of the others fewer than 3 seeds do not "
        "rule out chance"
    )
    sheet, summary = comparison_table(compared(sample(), sample(0.4)))
    assert [row[:2] for row in sheet.rows[:6]] == [
        ("all layers", "factor"),
        *((layer, "signal_l2") for layer in ("conv1", "conv2", "conv3", "conv4", "fc")),
    ]
    assert [row[4:] for row in sheet.rows[4:6]] == [("unchanged", "")] * 2
    changed = [row[:2] for row in sheet.rows if row[-1] == "changed"]
    assert len(changed) == 13
    assert len(sheet.rows) == 15
    assert summary.title == "21 values of 1 test compared, no limit given (--fail): 13 changed by more than chance"
    other = Sample(test=TEST, seeds=tuple(range(10, 15)), flows=sample().flows)
    assert comparison_table(compared(sample(), other))[-1].title.endswith("(--fail): none changed by more than chance")
    assert comparison_table(compared(sample(), sample()))[-1].title.endswith("(--fail): all unchanged")


def test_where_only_comings_and_goings_may_fail_nothing_is_claimed_of_values() -> None:
    found = compared(named(["a", "b", "c"], [1, 2, 4]), named(["a", "b"], [1, 2]), "vanished")
    assert comparison_table(found)[-1].title == (
        "1 regression; 3 values of 1 test compared, no limit on a value given (--fail): all unchanged"
    )
    found = compared(named(["a", "b"], [1, 2]), named(["a", "b"], [1, 2]), "vanished")
    assert comparison_table(found)[-1].title.startswith(
        "no regressions; 3 values of 1 test compared, no limit on a value"
    )


def test_what_may_be_chance_is_counted_and_listed_with_the_seeds_that_would_tell() -> None:
    names = [f"l{i}" for i in range(12)]
    found = compared(named(names, [1.0] * 12), named(names, [0.5] * 12), "signal_l2:-20%")
    assert conclusion(found) == "no regressions in 13 values of 1 test; 12 beyond a limit, maybe by chance"
    lines = maybe_by_chance(found)
    assert lines[0] == (
        f"{TEST}: l0: signal_l2 1 → 0.500 (-50.0%), beyond signal_l2:-20%, but it may be chance: 1 seed; about 3 seeds "
        "on each side would tell"
    )
    assert (len(lines), lines[-1]) == (11, "and 2 more that may be chance")
    assert maybe_by_chance(compared(sample(), sample(), "signal_l2:-20%")) == ()


def test_what_is_lost_or_has_no_value_is_shown_whatever_the_limits() -> None:
    before = named(["a", "b", "c"], [1.0, math.nan, 1.0])
    after = named(["a", "b", "c"], [math.nan, math.nan, 1.0])
    sheet, summary = comparison_table(compared(before, after, "factor:1"))
    assert [(row[:4], row[5]) for row in sheet.rows] == [
        (("all layers", "factor", "–", "–"), "no value"),
        (("a", "signal_l2", "1", "–"), "FAIL"),
        (("b", "signal_l2", "–", "–"), "no value"),
    ]
    assert summary.title == "1 regression in 4 values of 1 test"
    assert "a signal_l2: no finite value for 1 of 1 seed" in printed(sheet)


def test_a_comparison_ends_with_what_is_new_gone_and_elsewhere() -> None:
    there = session(named(["a", "c"], [1, 1])).model_copy(update={"machine": MACHINE.model_copy(update={"id": "gpu"})})
    found = compare(session(named(["a", "b", "x"], [1, 1, 1])), there, (), ("vanished",))
    text = printed(*comparison_table(found))
    assert "another machine: Linux-x86_64-py3.11-cpu before, gpu after" in text
    assert f"FAIL vanished: layer b of {TEST}" in text
    assert "new: layer c of" in text


def test_nothing_compared_is_said() -> None:
    (summary,) = comparison_table(compare(session(), session()))
    assert summary.title == "nothing compared: no test with a value is in both runs"


NASTY = "t[a|b `c` <img> [red]x[/red] \x1b[31m\n*_]"


def test_names_are_never_taken_for_formatting() -> None:
    sheets = [session_table(named([NASTY, "b"], [1, 2], test=NASTY))]
    text = printed(*sheets)
    assert "[red]x[/red]" in text
    assert "\x1b" not in text
    table = markdown(sheets)
    assert "\x1b" not in table
    rows = [line for line in table.splitlines() if line.startswith("|")]
    assert len(rows) == 4
    assert {row.replace("\\|", "").count("|") for row in rows} == {6}
    assert "`t[a\\|b ´c´ <img> [red]x[/red] \\x1b[31m\\n*_]`" in rows[2]


def test_markdown_of_a_comparison_stands_whole() -> None:
    before, after = named(["a", "b_c"], [1, 2], seeds=3), named(["a", "new"], [0.5, 2], seeds=3)
    text = markdown(comparison_table(compared(before, after, "signal_l2:20%", "renamed")))
    assert text == (
        f"#### `{TEST}`\n"
        "\n"
        "| layer | quantity | before | after | change |   |\n"
        "| :--- | :--- | ---: | ---: | ---: | ---: |\n"
        "| `a` | `signal_l2` | 1 | 0.500 | -50.0% | **FAIL** |\n"
        "| `new` | `signal_l2` | 2 | 2 | unchanged | ok |\n"
        "\n"
        "- a signal\\_l2: beyond signal\\_l2:20%; p \\< 1e-09, corrected for 4 decisions\n"
        "\n"
        "#### 2 regressions in 3 values of 1 test\n"
        "\n"
        "- FAIL renamed: layer b\\_c of tests/test\\_model.py::test\\_flow\\[relu\\], now new\n"
    )


# --- commands -------------------------------------------------------------------------------------


@pytest.fixture
def store(tmp_path: Path) -> RunStore:
    return RunStore(tmp_path / "store")


def invoke(store: RunStore, *arguments: str) -> Result:
    return CliRunner().invoke(app, [*arguments, "--storage", str(store.root)], env={"COLUMNS": "80"})


def line_of(result: Result, command: str) -> str:
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"vgharness {command}: ")
    return line


def test_list_shows_every_run_and_says_what_it_skipped(store: RunStore) -> None:
    store.save(session(sample()), "main")
    store.save(make_run([make_result()]), "study")
    bad = store.save(session(), "cut")
    bad.write_bytes(b"{")
    result = invoke(store, "list")
    assert result.exit_code == 0
    assert cells(result.stdout, "0001")[:5] == ["0001", "main", "session", "2026-01-02", "03:04:05"]
    assert cells(result.stdout, "0002")[:3] == ["0002", "study", "run"]
    assert MACHINE.id in result.stdout
    assert "0003" not in result.stdout
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"skipped {bad}: not a whole JSON file")
    assert bad.read_bytes() == b"{"


def test_list_shows_of_a_study_how_many_verdicts_and_its_settings(store: RunStore) -> None:
    verdicts = [make_verdict(outcome, claim=outcome) for outcome in ("mixed", "not run", "not run")]
    results = [make_result(activation, seed, curve=[50.0, 60.0]) for seed in (1, 2) for activation in ("relu", "tanh")]
    saved = store.save(make_run([*results, make_result("gelu")], verdicts=tuple(verdicts)), "study")
    line = "        1 mixed, 2 not run; 5 networks: relu, tanh, gelu; script; 3 seeds; 2 epochs"
    assert invoke(store, "list").stdout.splitlines()[2] == line
    kept = saved.parent / ".digests" / saved.name
    kept.write_text(kept.read_text().replace("3 seeds", "from what is kept"))
    assert "from what is kept" in invoke(store, "list").stdout
    text = saved.read_text()
    saved.write_text(text.replace('"not run"', '"unheard"'))
    assert "        cannot be loaded: not a valid run: verdicts.1.outcome" in invoke(store, "list").stdout


def test_list_of_nothing_says_so(store: RunStore) -> None:
    result = invoke(store, "list")
    assert (result.exit_code, result.stdout) == (0, f"{store.root}: nothing is saved here\n")


def test_list_of_a_file_is_bad_input(store: RunStore) -> None:
    store.root.touch()
    assert "give the store's folder" in line_of(invoke(store, "list"), "list")


def test_show_prints_the_latest_or_the_one_that_is_named(store: RunStore) -> None:
    store.save(session(sample(test="first"), sample(test="second")), "a")
    store.save(session(sample(test="third")), "b")
    store.save(make_run([make_result()]), "study")
    assert "third (5 seeds)" in invoke(store, "show").stdout
    named_one = invoke(store, "show", "a").stdout
    assert "first (5 seeds)" in named_one
    assert "second (5 seeds)" in named_one
    assert "0001_a.json" in named_one.replace("\n", "")
    assert invoke(store, "show", "1", "--markdown").stdout.startswith("#### `first (5 seeds)`")


def test_show_against_another_run_shows_the_change(store: RunStore) -> None:
    store.save(session(sample()), "a")
    store.save(session(sample(0.4)), "b")
    assert cells(invoke(store, "show", "--against", "a").stdout, "conv1")[-1] == "-87.5%"


def test_compare_exits_1_only_for_a_regression(store: RunStore) -> None:
    store.save(session(sample()), "a")
    store.save(session(sample(0.4)), "b")
    for arguments, status in (
        (("1", "2"), 0),
        (("1", "--fail", "signal_l2:-20%"), 1),
        (("a", "b", "--fail", "signal_l2:+20%"), 0),
        (("2", "1", "--fail", "signal_l2:+20%", "--fail", "vanished"), 1),
        (("1", "2", "--fail", "factor:0.1", "--markdown"), 1),
        (("1", "2", "--fail", "factor:0.1", "--json"), 1),
        (("1", "2", "--fail", "factor:0.1", "--csv"), 1),
    ):
        assert invoke(store, "compare", *arguments).exit_code == status, arguments


def test_compare_exits_1_where_a_test_is_gone_if_asked_to(store: RunStore) -> None:
    store.save(session(sample(), sample(0.5, test="gone")), "a")
    store.save(session(sample()), "b")
    assert invoke(store, "compare", "1", "2").exit_code == 0
    result = invoke(store, "compare", "1", "2", "--fail", "vanished")
    assert result.exit_code == 1
    assert "FAIL vanished: test gone" in result.stdout


def test_compare_takes_a_baseline_file(store: RunStore, tmp_path: Path) -> None:
    store.save(session(sample(0.4)), "b")
    baseline = tmp_path / "baseline.json"
    baseline.write_text(session(sample()).model_dump_json(), encoding="utf-8")
    assert invoke(store, "compare", str(baseline), "--fail", "signal_l2:-20%").exit_code == 1


def test_compare_as_json_is_the_whole_comparison(store: RunStore) -> None:
    before, after = session(sample()), session(sample(0.4))
    store.save(before, "a")
    store.save(after, "b")
    text = invoke(store, "compare", "1", "2", "--json").stdout
    assert Comparison.model_validate_json(text) == compare(before, after)
    assert json.loads(text)["changes"][1]["layer"] == ["conv1", 0, 0]


def test_compare_as_markdown_has_the_verdict_first_and_folds_what_is_well(store: RunStore) -> None:
    store.save(session(sample()), "a")
    store.save(session(sample()), "b")
    text = invoke(store, "compare", "1", "2", "--markdown").stdout
    assert text.startswith(
        "#### 21 values of 1 test compared, no limit given (--fail): all unchanged\n".replace("_", "\\_")
    )
    assert text.count("<details>") == 1
    assert "|" not in text.split("<details>")[0]
    assert "(--fail): all unchanged" in invoke(store, "compare", "1", "2").stdout
    limited = invoke(store, "compare", "1", "2", "--fail", "signal_l2:5%").stdout
    assert limited.endswith("no regressions in 21 values of 1 test\n")


def test_compare_as_csv_is_every_value_and_what_is_new_or_gone(store: RunStore) -> None:
    store.save(session(named(["a", "b", "x"], [1, 2, 3])), "a")
    other = session(named(["a", "c"], [0.5, math.nan])).model_copy(
        update={"machine": MACHINE.model_copy(update={"versions": {"torch": "9"}})}
    )
    store.save(other, "b")
    result = invoke(store, "compare", "1", "2", "--csv", "--fail", "vanished")
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert [(row["layer"], row["quantity"], row["outcome"]) for row in rows] == [
        ("", "factor", "regression"),
        ("a", "signal_l2", "within"),
        ("b", "", "regression"),
        ("x", "", "regression"),
        ("c", "", "new"),
    ]
    assert (rows[1]["before"], rows[1]["after"], rows[1]["change"]) == ("1.0", "0.5", "-0.5")
    assert (rows[1]["seeds_before"], rows[1]["seeds_after"], rows[1]["p"]) == ("1", "1", "")
    assert result.stderr == "another torch: 2.11.0 before, 9 after\n"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("compare", "7"), "no session '7' here; `vgharness list` shows what is saved"),
        (("compare", "no/file.json"), "no/file.json: there is no such file"),
        (("compare", "1", "3"), "a pytest session, and the other is a study's run; name two of one kind"),
        (("compare", "1", "2", "--claims", "readme"), "--claims: is for studies' runs"),
        (("compare", "1", "--fail", "signal_l2"), "give QUANTITY:SIZE"),
        (
            ("compare", "1", "--fail", "signal_l2:-40"),
            "never fall so far; give a share with a percent sign, such as signal_l2:-40%",
        ),
        (("compare", "1", "--fail", "typo:1"), "no test has measured that; there are factor, signal_l2"),
        (("compare", "1", "--csv", "--json"), "--csv, --json and --markdown: give one of them"),
        (("compare", "1", "2"), "no test with a value is in both; compare runs of the same tests"),
        (("show", "7"), "no session or training log '7' here"),
        (("show", "3"), "a study's run, not a pytest session"),
        (("show", "1", "--against", "7"), "no session or training log '7' here"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(store: RunStore, arguments: tuple[str, ...], reason: str) -> None:
    store.save(session(sample()), "a")
    store.save(session(sample(0.5, test="other")), "b")
    store.save(make_run([make_result()]), "study")
    result = invoke(store, *arguments)
    assert reason in line_of(result, arguments[0])
    assert result.stdout == ""


def test_a_latest_run_that_is_cut_off_is_said_to_be_skipped(store: RunStore) -> None:
    store.save(session(sample()), "a")
    store.save(session(sample()), "b").write_bytes(b"")
    result = invoke(store, "show")
    assert result.exit_code == 0
    assert "0002_b.json: not a whole JSON file" in result.stderr


def test_what_a_file_holds_reaches_no_terminal_raw(store: RunStore) -> None:
    raw = "2026\x1b]0;title\x07\n9999  forged"
    forged = session(sample()).model_copy(
        update={"created": raw, "machine": MACHINE.model_copy(update={"system": raw, "processor": raw})}
    )
    path = store.root / "machine" / "0001_a.json"
    path.parent.mkdir(parents=True)
    path.write_text(forged.model_dump_json(), encoding="utf-8")
    (path.parent / "no\x1brun\n").touch()
    for command in (["list"], ["show"], ["compare", "1", "1"], ["compare", "1", "1", "--markdown"]):
        result = invoke(store, *command)
        assert result.exit_code == 0, result.output
        assert "\x1b" not in result.output
        assert "\n9999" not in result.output
    assert r"no\x1brun\n" in invoke(store, "list").stderr


def test_compare_takes_several_sessions_by_glob_and_commit(store: RunStore) -> None:
    for name, factor, commit in (("n1", 0.8, "a" * 40), ("n2", 0.8, "b" * 40), ("n3", 0.4, "c" * 40)):
        store.save(session(sample(factor)).model_copy(update={"commit": commit}), name)
    result = invoke(store, "compare", "n*", "--fail", "signal_l2:-20%")
    assert result.exit_code == 1
    assert result.stdout.count("before: ") == 2
    assert invoke(store, "compare", "a" * 8, "b" * 8, "--fail", "signal_l2:-20%").exit_code == 0
    assert invoke(store, "compare", "a" * 8, "c" * 8, "--fail", "signal_l2:-20%").exit_code == 1
    assert "name two" in line_of(invoke(store, "compare", "n*", "--json"), "compare")


def test_a_pipe_or_a_folder_in_the_store_is_skipped_and_never_opened(store: RunStore) -> None:
    path = store.save(session(sample()), "a")
    os.mkfifo(path.with_name("0002_pipe.json"))
    path.with_name("0003_folder.json").mkdir()
    result = invoke(store, "list")
    assert result.exit_code == 0
    assert [line.partition(": ")[2] for line in result.stderr.splitlines()] == [
        "cannot be read (this is no regular file)",
        "cannot be read (Is a directory)",
    ]
    assert invoke(store, "show").exit_code == 0


def test_list_and_show_say_how_a_session_ended(store: RunStore) -> None:
    store.save(session(sample()).model_copy(update={"status": "partial", "left_out": "-k relu"}), "a")
    assert cells(invoke(store, "list").stdout, "0001")[-1] == "partial"
    assert "the session is partial (-k relu): not all tests are in it" in invoke(store, "show").stdout
