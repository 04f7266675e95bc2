"""Claims files: what they may say, and that whatever else is in one is an error of one line that names it."""

import copy
import itertools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from factories import failure

from vgharness.claims.loading import MOST_READINGS, load_claims
from vgharness.claims.spec import Claim

pytestmark = pytest.mark.fast

GOOD = '''
for_each = "architecture"

[document]
title = "A document"
file = "DOCUMENT.md"

[recipe]
epochs = 20
depth = 4

[factors]
skip = [true, false]
depth = [4, 22, 30]

[[claim]]
id = "a-claim"
sentences = ["Gradients shrink", "It is 45 % at first"]
words = ["shrink"]
data = "CIFAR-10"

[[claim.reading]]
label = "a reading"
words = "45 %"
quantity = "signal_l2"
of = { activation = "sigmoid", skip = true }
against = { activation = "relu", depth = 30 }
by = "ratio"
layers = { match = "conv*", take = "factor" }
at = "init"
accept = { below = 1 }

[[claim.reading]]
quantity = "test_accuracy"
of = { activation = "sigmoid" }
over = { epochs = [1, 3], take = "mean" }
accept = { printed = 45, within = 3 }
either = "one way"

[[claim.reading]]
quantity = "test_accuracy"
of = { activation = "sigmoid" }
passes = { above = 50 }
accept = { at_least = 2 }
either = "one way"
context = true

[[claim.reading]]
quantity = "rows_that_differ"
of = { activation = "sigmoid" }
rows = [{ layers = "conv*", shapes = [[32, 32, 32]] }]
accept = { printed = 0, within = 0 }

[[claim.reading]]
quantity = "custom:largest"
of = { test = "tests/t.py::test_it", name = "wide" }
layer = "0"
at = "init"
accept = { printed = [1e-7, 1e-6], within_factor = 10 }

[[claim.reading]]
quantity = "test_accuracy"
of = { activation = "relu" }
curve = { file = "curve.csv", column = "accuracy", where = { net = "relu" } }
'''


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "DOCUMENT.md").write_text("# **Gradients   shrink**\n\n| It is 45 % at\nfirst |\n", encoding="utf-8")
    rows = "".join(f"relu,{epoch},{40 + epoch}\n" for epoch in range(1, 21))
    (tmp_path / "curve.csv").write_text(f"net,epoch,accuracy\n{rows}sigmoid,1,10\n", encoding="utf-8")
    return tmp_path


def load(folder: Path, text: str) -> tuple[Claim, ...]:
    path = folder / "claims.toml"
    path.write_text(text, encoding="utf-8")
    return load_claims(path)


def wrong(folder: Path, text: str) -> str:
    line = failure(lambda: load(folder, text))
    assert line.startswith(f"{folder / 'claims.toml'}: ")
    return line.removeprefix(f"{folder / 'claims.toml'}: ")


def test_all_of_the_language_is_read(folder: Path) -> None:
    (claim,) = load(folder, GOOD)
    assert (claim.document.title, claim.recipe.epochs, claim.recipe.data) == ("A document", 20, "CIFAR-10")
    assert claim.sentence == "Gradients shrink … It is 45 % at first"
    ratio, mean, passes, rows, custom, curve = claim.readings
    assert (ratio.of.factors, ratio.scale, ratio.unit) == ({"activation": "sigmoid", "skip": True}, "log", "×")
    assert (mean.scale, mean.unit, str(mean.accept)) == ("logit", "%", "45 ± 3")
    assert (passes.scale, passes.unit, passes.context) == ("log", "epochs", True)
    assert rows.rows is not None
    assert rows.rows[0].shapes == ((32, 32, 32),)
    assert (custom.of.label, str(custom.accept)) == ("tests/t.py::test_it wide", "1e-07 to 1e-06 within ×10")
    assert curve.curve == tuple(float(40 + epoch) for epoch in range(1, 21))
    assert ratio.in_words == "a reading"
    assert mean.in_words == "sigmoid, mean over epochs 1 to 3, test accuracy"


def test_a_list_stands_for_a_reading_of_each_labelled_with_it(folder: Path) -> None:
    text = GOOD.replace('"signal_l2"', '["signal_l2", "weight_l2"]').replace('at = "init"', 'at = ["init", 1, "last"]', 1)
    found = load(folder, text)[0].readings[:6]
    assert [(x.quantity, x.at) for x in found] == list(itertools.product(("signal_l2", "weight_l2"), ("init", 1, "last")))
    assert len({reading.in_words for reading in found}) == 6
    assert found[-1].in_words == "a reading, ‖∂L/∂W‖₂, over the last epoch"


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("for_each =", "for_all =", "for_all: unknown key; known: document, recipe, factors, for_each, claim"),
        ('"architecture"', '"colour"', "for_each: 'colour' is no factor; known: architecture, activation"),
        ('title = "A document"', 'titel = "A document"', "document.titel: unknown key; known: title, address, file"),
        ("DOCUMENT.md", "GONE.md", "document.file: GONE.md cannot be read (No such file or directory)"),
        ("Gradients shrink", "Gradients grow", "claim 'a-claim': sentences: no longer in DOCUMENT.md: 'Gradients grow'"),
        ("depth = 4\n", "detph = 4\n", "recipe.detph: unknown key; known: architecture, activation"),
        ("epochs = 20", "epochs = 0", "recipe: epochs: Input should be greater than or equal to 1"),
        ("skip = [true, false]", "skip = []", "factors.skip: give the values that it can have"),
        ('id = "a-claim"', 'id = "A claim"', "claim 'A claim': id: String should match pattern"),
        ('words = ["shrink"]', 'words = ["grow"]', "claim 'a-claim': words: 'grow' is in none of its sentences"),
        ('words = "45 %"', 'words = "60 %"', "claim 'a-claim': words: '60 %' is in none of its sentences"),
        ('label = "a reading"', 'lable = "a reading"', "claim 'a-claim': reading 1: lable: unknown key; known: label, "),
        ('"signal_l2"', '"signal"', "claim 'a-claim': reading 1: quantity: 'signal' is unknown; known: test_accuracy, "),
        ('activation = "sigmoid", s', 'activation = "rleu", s', "claim 'a-claim': reading 1: of.activation: 'rleu': "),
        ("skip = true", "skip = 1", "claim 'a-claim': reading 1: of.skip: 1 is not among those declared: true, false"),
        ("depth = 30", "depth = 5", "claim 'a-claim': reading 1: against.depth: 5 is not among those declared: 4, 22"),
        ("skip = true", "colour = 1", "claim 'a-claim': reading 1: of.colour: unknown key; known: architecture, "),
        ("skip = true", 'test = "t.py"', "claim 'a-claim': reading 1: of: no run can hold it: activation is of a"),
        ('by = "ratio"', 'by = "product"', "claim 'a-claim': reading 1: by: Input should be 'ratio' or 'difference'"),
        ('by = "ratio"\n', "", "claim 'a-claim': reading 1: by: give against and by"),
        ('take = "factor"', 'take = "first"', "claim 'a-claim': reading 1: layers.take: Input should be 'factor', "),
        ('take = "factor" }', 'take = "factor", from = 1 }', "layers.from: unknown key; known: match, take"),
        ('at = "init"', 'at = "later"', "claim 'a-claim': reading 1: at: "),
        ("below = 1", 'below = "1"', "claim 'a-claim': reading 1: accept.below: Input should be a valid number"),
        ("below = 1", "below = true", "claim 'a-claim': reading 1: accept.below: Input should be a valid number"),
        ("below = 1", "below = nan", "claim 'a-claim': reading 1: accept.below: Input should be a finite number"),
        ("below = 1", "below = 1, above = 2", "claim 'a-claim': reading 1: accept: its ends are swapped: 2 to 1"),
        ("below = 1", "beneath = 1", "reading 1: accept.beneath: unknown key; known: at_least, above, at_most, below"),
        ("epochs = [1, 3]", "epochs = [3, 1]", "reading 2: over: its ends are swapped: epochs 3 to 1"),
        ("above = 50", "above = 50, below = 2", "reading 3: passes: give above or below"),
        ('name = "wide"', 'depth = 4', "reading 5: of: no run can hold it: depth is of a study's cells"),
        ('"custom:largest"', '"test_accuracy"', "reading 5: layer: it does not go with 'test_accuracy'"),
        ('"accuracy", where', '"loss", where', "reading 6: curve: not a column of numbers (KeyError: 'loss')"),
        ('net = "relu"', 'net = "sigmoid"', "reading 6: curve: 1 values; it needs one for each of the recipe's epochs"),
        ("curve.csv", "gone.csv", "reading 6: curve: gone.csv cannot be read (No such file or directory)"),
        ("[document]", "[[document]]", "document: say what the claims are about"),
        ("[[claim]]", "[claim]", "no claims in it; each begins with [[claim]]"),
        ("[recipe]", "[recipe", "not valid TOML: "),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line_with_file_claim_and_key(folder: Path, old: str, new: str, line: str) -> None:
    assert old in GOOD
    text = GOOD.replace(old, new, 1)
    if new == "[claim]":
        text = text.split("[[claim.reading]]")[0].replace("[[claim]]", "[claim]")
    assert line in wrong(folder, text)


def test_an_id_that_is_there_twice(folder: Path) -> None:
    claim = GOOD[GOOD.index("[[claim]]") :]
    assert wrong(folder, f"{GOOD}\n{claim}") == "claim 'a-claim': id: it is there twice; give each claim its own"


def test_a_million_readings_are_refused_at_once(folder: Path) -> None:
    moments = ", ".join(map(str, range(1, 1001)))
    many = GOOD.replace('at = "init"', f"at = [{moments}]", 1).replace(
        '"signal_l2"', "[" + ", ".join(['"signal_l2"'] * 1000) + "]", 1
    )
    assert f"over {MOST_READINGS:,} readings; split the claim" in wrong(folder, many)


@pytest.mark.parametrize("depth", [30, 100_000])
def test_nesting_is_refused(folder: Path, depth: int) -> None:
    assert "nested too deeply" in wrong(folder, f"{GOOD}\nx = {'[' * depth}{']' * depth}".replace("\nx", "\nx"))


def test_what_is_no_file_is_refused_without_waiting(folder: Path) -> None:
    assert "cannot be read" in failure(lambda: load_claims(folder))
    os.mkfifo(folder / "fifo.toml")
    assert "no regular file" in failure(lambda: load_claims(folder / "fifo.toml"))
    assert "cannot be read" in failure(lambda: load_claims(str(folder / "gone.toml")))
    (folder / "latin.toml").write_bytes(b'x = "\xe9"')
    assert "not valid TOML" in failure(lambda: load_claims(folder / "latin.toml"))


# --- whatever is wrong ----------------------------------------------------------------------------

ODD: tuple[Any, ...] = (True, -1, 0, 10**400, 1.5, float("nan"), float("inf"), "", "x\ny", (), (1,), ((),), {}, {"a": 1})


def changed(value: Any) -> Iterator[Any]:
    """``value`` with each part of it, whatever its depth, replaced by each odd value, and left out."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, tuple) else ()
    for key, part in parts:
        for other in (*ODD, *changed(part)):
            yield {**value, key: other} if isinstance(value, dict) else (*value[:key], other, *value[key + 1 :])
        if isinstance(value, dict):
            yield {name: each for name, each in value.items() if name != key}


def test_whatever_a_file_holds_it_is_read_or_refused_in_one_line(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every part of a file in turn: nothing raises but the one error, and what is read means what it says."""
    from vgharness.claims import loading

    (folder / "claims.toml").write_text(GOOD, encoding="utf-8")
    table = loading._table(folder / "claims.toml")
    tried = read = 0
    for odd in changed(table):
        tried += 1
        given = copy.deepcopy(odd)
        monkeypatch.setattr(loading, "_table", lambda source, given=given: given)
        try:
            claims = load_claims(folder / "claims.toml")
        except loading.UsageError as error:
            assert "\n" not in str(error)
            assert str(error).startswith(str(folder))
            continue
        read += 1
        for reading in claims[0].readings:
            assert reading.in_words
            assert reading.accept is None or not isinstance(reading.accept.low, bool)
    assert tried > 1000
    assert read < tried / 4
