"""Claims: the document's own words and numbers, and what a claims file may not say."""

import csv
import itertools
import re
from collections import Counter
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from vgharness.claims.measures import MEASURES
from vgharness.claims.spec import Accept, Claim, Subject, load_claims
from vgharness.errors import UsageError

pytestmark = pytest.mark.fast

DOCUMENT = files("vgharness.claims") / "document"
CLAIMS = {claim.id: claim for claim in load_claims()}

FLOWS = tuple(itertools.product(("signal_l2", "weight_mean_abs"), ("init", "epoch 1", "last")))
ZERO = Accept(at_least=0, at_most=0)
# EXPERIMENT.md, "The claims": (measure, of, against, of what, accepted).
TABLE: dict[str, list[tuple[str, str, str, Any, Accept]]] = {
    "architecture": [
        ("table_rows_that_differ", "relu", "", None, ZERO),
        ("parameters", "relu", "", None, Accept(at_least=261_322, at_most=261_322)),
        ("differences_but_for_activation", "relu", "sigmoid", None, ZERO),
    ],
    "sigmoid-epoch-1": [("accuracy", "sigmoid", "", (1,), Accept(at_least=42, at_most=48))],
    "relu-epoch-1": [("accuracy", "relu", "", (1,), Accept(at_least=57, at_most=63))],
    "sigmoid-final": [("accuracy", "sigmoid", "", "last", Accept(at_least=71, at_most=75))],
    "relu-final": [("accuracy", "relu", "", "last", Accept(at_least=81, at_most=84))],
    "sigmoid-slow-start": [("accuracy_gap", "relu", "sigmoid", (1, 2, 3), Accept(above=10))],
    "convergence": [("epochs_ratio", "sigmoid", "relu", 50, Accept(at_least=2))],
    "sigmoid-learns-less": [
        ("accuracy", "sigmoid", "", "last", Accept(above=50)),
        ("accuracy_gap", "relu", "sigmoid", "last", Accept(above=0)),
    ],
    "sigmoid-gradient-shrinks": [
        *(("factor", "sigmoid", "", flow, Accept(below=0.5)) for flow in FLOWS),
        *(("largest_factor", "sigmoid", "", flow, Accept(below=1)) for flow in FLOWS),
    ],
    "relu-gradient-stable": [("factor", "relu", "", flow, Accept(at_least=0.5, at_most=2)) for flow in FLOWS],
    "tanh-squashes": [
        ("factor", "sigmoid", "", ("signal_l2", "init"), Accept(below=1)),
        ("factor", "tanh", "", ("signal_l2", "init"), Accept(below=1)),
    ],
    "shallow-is-fine": [("accuracy_gap", "relu at depth 2", "sigmoid at depth 2", "last", Accept(below=5))],
    "deep-collapses": [
        row
        for depth in (6, 8, 10)
        for row in (
            ("accuracy", f"sigmoid at depth {depth}", "", "last", Accept(at_most=15)),
            ("epochs_ratio", f"sigmoid at depth {depth}", "sigmoid", 15, Accept(at_least=2)),
        )
    ],
    "published-curves": [("curve_distance", name, "", None, Accept(at_most=3)) for name in ("sigmoid", "relu")],
}


def plain(markdown: str) -> str:
    """Without emphasis and code marks, every run of blanks one blank."""
    return re.sub(r"\s+", " ", re.sub(r"\*\*|`", "", markdown))


def row_of(reading: Any) -> tuple[str, str, str, Any, Accept]:
    flow = (reading.quantity, reading.moment) if reading.quantity else None
    of_what = next((x for x in (reading.epoch, reading.threshold, flow) if x is not None), None)
    return reading.measure, str(reading.of), str(reading.against or ""), of_what, reading.accept


# --- the document's claims ------------------------------------------------------------------------


def test_the_claims_are_those_of_the_experiments_table_in_its_order() -> None:
    assert [claim.id for claim in load_claims()] == list(TABLE)


@pytest.mark.parametrize("name", TABLE)
def test_a_claim_measures_and_accepts_what_the_table_says(name: str) -> None:
    assert Counter(map(row_of, CLAIMS[name].readings)) == Counter(TABLE[name])


@pytest.mark.parametrize(("name", "sentence"), [(claim.id, s) for claim in CLAIMS.values() for s in claim.sentences])
def test_a_quoted_sentence_stands_in_the_document_verbatim(name: str, sentence: str) -> None:
    assert plain(sentence) in plain((DOCUMENT / "README.md").read_text(encoding="utf-8")), name


@pytest.mark.parametrize("name", TABLE)
def test_a_claims_readings_are_told_apart_by_their_labels(name: str) -> None:
    labels = [reading.label for reading in CLAIMS[name].readings]
    assert len(set(labels)) == len(labels)


def test_only_the_published_curves_are_bound_to_an_architecture() -> None:
    assert {name: claim.architecture for name, claim in CLAIMS.items() if claim.architecture} == {
        "published-curves": "script"
    }


def test_every_claim_that_names_an_accuracy_of_the_document_needs_cifar10() -> None:
    general = {name for name, claim in CLAIMS.items() if not claim.about_cifar10}
    assert general == {
        "architecture",
        "sigmoid-gradient-shrinks",
        "relu-gradient-stable",
        "tanh-squashes",
        "shallow-is-fine",
        "deep-collapses",
    }


def test_the_document_trains_20_epochs() -> None:
    assert {claim.document_epochs for claim in CLAIMS.values()} == {20}


def test_each_depth_may_collapse_in_either_of_two_ways_and_nothing_else_is_optional() -> None:
    groups = {name: Counter(r.either for r in claim.readings if r.either) for name, claim in CLAIMS.items()}
    assert {name: group for name, group in groups.items() if group} == {
        "deep-collapses": {"depth 6": 2, "depth 8": 2, "depth 10": 2}
    }
    for reading in CLAIMS["deep-collapses"].readings:
        assert reading.of is not None
        assert reading.either == f"depth {reading.of.depth}"


def test_the_published_curves_have_20_epochs_for_each_activation() -> None:
    rows = list(csv.DictReader((DOCUMENT / "published_curves.csv").read_text(encoding="utf-8").splitlines()))
    assert len(rows) == 40
    for activation in ("sigmoid", "relu"):
        assert [int(row["epoch"]) for row in rows if row["activation"] == activation] == list(range(1, 21))
    finals = {row["activation"]: float(row["test_accuracy_percent"]) for row in rows if row["epoch"] == "20"}
    assert finals == {"sigmoid": pytest.approx(66.9, abs=0.2), "relu": pytest.approx(81.7, abs=0.2)}


def test_a_claims_sentence_joins_what_it_quotes() -> None:
    assert CLAIMS["architecture"].sentence == "Model Architecture (Same for Both) … Only activation function changes"


@pytest.mark.parametrize(
    ("subject", "words"),
    [(Subject(activation="relu"), "relu"), (Subject(activation="sigmoid", depth=6), "sigmoid at depth 6")],
)
def test_a_subject_says_its_depth_where_that_is_not_the_documents(subject: Subject, words: str) -> None:
    assert str(subject) == words


# --- claims files ---------------------------------------------------------------------------------

GOOD = """
epochs = 3

[[claim]]
id = "first"
sentences = ["It is so."]

[[claim.reading]]
label = "a reading"
measure = "factor"
of = { activation = "relu" }
quantity = "signal_l2"
moment = "init"
accept = { at_least = 1 }
"""


def load(folder: Path, text: str) -> tuple[Claim, ...]:
    path = folder / "claims.toml"
    path.write_text(text, encoding="utf-8")
    return load_claims(path)


def test_a_claims_file_of_ones_own_is_read(tmp_path: Path) -> None:
    (claim,) = load(tmp_path, GOOD)
    (reading,) = claim.readings
    assert (claim.id, claim.sentences, claim.document_epochs) == ("first", ("It is so.",), 3)
    assert row_of(reading) == ("factor", "relu", "", ("signal_l2", "init"), Accept(at_least=1))


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('measure = "factor"', 'measure = "factro"', "factro"),
        ('measure = "factor"\n', "", "measure"),
        ('label = "a reading"\n', "", "label"),
        ('of = { activation = "relu" }\n', "", "of"),
        ('quantity = "signal_l2"\n', "", "quantity"),
        ('moment = "init"\n', "", "moment"),
        ("accept = { at_least = 1 }\n", "", "accept"),
        ('sentences = ["It is so."]\n', "", "sentences"),
        ("[[claim.reading]]", "[[claim.readnig]]", "readnig|reading"),
        ('label = "a reading"', 'label = "a reading"\ncolour = "red"', "colour"),
        ('activation = "relu"', 'activation = "relu6"', "relu6|activation"),
        ('moment = "init"', 'moment = "noon"', "noon|moment"),
        ('quantity = "signal_l2"', 'quantity = ["signal_l2", "noise"]', "noise|quantity"),
        ("{ at_least = 1 }", "{ at_least = 2, at_most = 1 }", "empty"),
        ("{ at_least = 1 }", "{ above = 1, below = 1 }", "empty"),
        ("{ at_least = 1 }", "{}", "bound"),
        ("{ at_least = 1 }", "{ at_least = nan }", "at_least|finite"),
        ("{ at_least = 1 }", '{ at_least = "one" }', "at_least|number"),
        ('["It is so."]', "[]", "sentences|at least 1"),
        ("epochs = 3\n", "", "epochs"),
    ],
)
def test_a_bad_claim_is_refused_in_one_line_that_names_it_and_what_is_wrong(
    tmp_path: Path, old: str, new: str, named: str
) -> None:
    assert old in GOOD
    with pytest.raises(UsageError, match=r"\A[^\n]*'first'[^\n]*\Z") as caught:
        load(tmp_path, GOOD.replace(old, new))
    assert re.search(named, str(caught.value).replace("'first'", ""))


@pytest.mark.parametrize("name", ["First", "first claim", "", "a/b"])
def test_a_claims_id_is_lower_case_words_joined_by_dashes(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match=rf"\Aclaim '{name}': [^\n]*pattern[^\n]*\Z"):
        load(tmp_path, GOOD.replace('"first"', f'"{name}"'))


def test_a_claim_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    _, claim = GOOD.split("[[claim]]")
    with pytest.raises(UsageError, match=r"\Aclaim 'first' is there twice[^\n]*\Z"):
        load(tmp_path, f"{GOOD}[[claim]]{claim}")


@pytest.mark.parametrize("text", ["epochs = ", "[[claim]", "epochs = 3\nepochs = 4\n", "\x00"])
def test_a_file_that_is_not_toml_is_refused_by_name(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match=r"\A[^\n]*claims\.toml: not valid TOML[^\n]*\Z"):
        load(tmp_path, text)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(GOOD.replace("[[claim]]", "[claim]"), id="one pair of brackets"),
        pytest.param(GOOD.replace("[[claim", "[[claims"), id="another word"),
        pytest.param("epochs = 20\n", id="no claim"),
        pytest.param("", id="empty"),
    ],
)
def test_a_file_without_claims_is_refused_not_judged_as_nothing(tmp_path: Path, text: str) -> None:
    with pytest.raises(UsageError, match=r"\A[^\n]*claim[^\n]*\Z"):
        load(tmp_path, text)


@pytest.mark.parametrize("measure", MEASURES)
def test_a_measure_says_which_field_it_lacks(tmp_path: Path, measure: str) -> None:
    fields = {
        "of": 'of = { activation = "relu" }',
        "against": 'against = { activation = "sigmoid" }',
        "epoch": "epoch = 1",
        "threshold": "threshold = 50",
        "quantity": 'quantity = "signal_l2"',
        "moment": 'moment = "init"',
    }
    needs = MEASURES[measure].needs
    head = (
        f'epochs = 3\n[[claim]]\nid = "x"\nsentences = ["s"]\n[[claim.reading]]\nmeasure = "{measure}"\nlabel = "l"\n'
    )
    head += "accept = { at_most = 1 }\n"
    assert load(tmp_path, head + "\n".join(fields[name] for name in needs))
    for missing in needs:
        with pytest.raises(UsageError, match=f"claim 'x'.*'{measure}' needs '{missing}'"):
            load(tmp_path, head + "\n".join(fields[name] for name in needs if name != missing))


def test_lists_of_quantities_and_moments_stand_for_a_reading_each(tmp_path: Path) -> None:
    text = GOOD.replace('"signal_l2"', '["signal_l2", "weight_mean_abs"]').replace('"init"', '["init", "last"]')
    (claim,) = load(tmp_path, text)
    found = [(reading.quantity, reading.moment) for reading in claim.readings]
    assert found == list(itertools.product(("signal_l2", "weight_mean_abs"), ("init", "last")))
    assert len({reading.label for reading in claim.readings}) == 4
    assert all(reading.label.startswith("a reading, ") for reading in claim.readings)
