"""Claims files: what they may say, and that whatever else is in one is an error of one line that names it."""

import itertools
import math
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from factories import failure

from vgharness.claims.loading import MOST_READINGS, load_claims
from vgharness.claims.source import read_table
from vgharness.claims.spec import Claim
from vgharness.errors import UsageError

pytestmark = pytest.mark.fast

GOOD = """
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
"""


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
    text = GOOD.replace('"signal_l2"', '["signal_l2", "weight_l2"]').replace(
        'at = "init"', 'at = ["init", 1, "last"]', 1
    )
    found = load(folder, text)[0].readings[:6]
    assert [(x.quantity, x.at) for x in found] == list(
        itertools.product(("signal_l2", "weight_l2"), ("init", 1, "last"))
    )
    assert len({reading.in_words for reading in found}) == 6
    assert found[-1].in_words == "a reading, ‖∂L/∂W‖₂, over the last epoch"


OF = 'of = { activation = "sigmoid", skip = true }'


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("for_each =", "for_all =", "for_all: unknown key; known: document, recipe, factors, for_each, claim"),
        ('"architecture"', '"colour"', "for_each: 'colour' is no factor; known: architecture, activation"),
        ('"architecture"', '""', "for_each: '' is no factor"),
        ('"architecture"', '["depth"]', "for_each: ('depth',) is no factor"),
        ('"architecture"', '"depth"', "recipe.depth: the claims are judged for each depth: it is no part of the recip"),
        ('title = "A document"', 'titel = "A document"', "document.titel: unknown key; known: title, address, file"),
        ('title = "A document"', 'title = " "', "document.title: it is no text, or empty"),
        ('title = "A document"', "title = 5", "document.title: it is no text, or empty"),
        ("DOCUMENT.md", "GONE.md", "document.file: GONE.md cannot be read (No such file or directory)"),
        ("DOCUMENT.md", "../GONE.md", "document.file: ../GONE.md cannot be read (No such file or directory)"),
        ("DOCUMENT.md", ".", "document.file: . cannot be read (it is no regular file)"),
        ("DOCUMENT.md", "\\u0000", "document.file: \\x00 cannot be read (embedded null byte)"),
        ("DOCUMENT.md", "latin.txt", "document.file: latin.txt cannot be read (it is not UTF-8)"),
        ("DOCUMENT.md", "pipe", "document.file: pipe cannot be read (it is no regular file)"),
        ("DOCUMENT.md", "/dev/zero", "document.file: /dev/zero cannot be read (it is no regular file)"),
        ("is 45 % at f", "is 60 % at f", "claim 'a-claim': words: '45 %' is in none of its sentences"),
        ("Gradients shrink", "Gradients shrink fast", "sentences: no longer in DOCUMENT.md: 'Gradients shrink fast'"),
        ("depth = 4\n", "detph = 4\n", "recipe.detph: unknown key; known: architecture, activation"),
        ("depth = 4\n", 'test = "t.py"\n', "recipe.test: unknown key"),
        ("epochs = 20", "epochs = 0", "recipe: epochs: Input should be greater than or equal to 1"),
        ("epochs = 20", "epochs = true", "recipe: epochs: Input should be a valid integer"),
        ("epochs = 20", "epochs = 0x1" + "0" * 9000, "recipe: a whole number of more than 64 bits"),
        ("epochs = 20", "epochs = 1" + "0" * 9000, "not valid TOML: Exceeds the limit (4300"),
        ("skip = [true, false]", "skip = []", "factors.skip: give the values that it can have"),
        ("skip = [true, false]", "skip = [nan]", "factors.skip: give the values that it can have"),
        ("skip = [true, false]", "seed = [1]", "factors.seed: a factor cannot be called so"),
        ("skip = [true, false]", '"a b" = [1]', "factors.a b: a factor cannot be called so"),
        ('id = "a-claim"', 'id = "A claim"', "claim 'A claim': id: String should match pattern"),
        ('id = "a-claim"', "id = 5", "claim 1: id: Input should be a valid string"),
        ('id = "a-claim"\n', "", "claim 1: id: it is missing"),
        ('data = "CIFAR-10"', "data = 10", "claim 'a-claim': data: Input should be a valid string"),
        ('data = "CIFAR-10"', 'variant = "mine"', "claim 'a-claim': architecture: 'mine'"),
        ('data = "CIFAR-10"', "diverged_holds = 1", "claim 'a-claim': diverged_holds: Input should be a valid boolean"),
        ('words = ["shrink"]', 'words = ["grow"]', "claim 'a-claim': words: 'grow' is in none of its sentences"),
        ('words = ["shrink"]', 'words = [" "]', "claim 'a-claim': words.0: it is empty"),
        ('words = ["shrink"]', 'words = "shrink"', "claim 'a-claim': words: Input should be a valid tuple"),
        ('words = "45 %"', 'words = "60 %"', "claim 'a-claim': words: '60 %' is in none of its sentences"),
        ('label = "a reading"', 'lable = "a reading"', "reading 1: lable: unknown key; known: label, quantity, of, "),
        ('label = "a reading"', 'label = ""', "reading 1: label: it is empty"),
        ('"signal_l2"', '"signal"', "reading 1: quantity: 'signal' is unknown; known: test_accuracy, "),
        ('"signal_l2"', "[]", "reading 1: quantity: it is empty"),
        ('"signal_l2"', "7", "reading 1: quantity: Input should be a valid string"),
        ('quantity = "signal_l2"\n', "", "reading 1: quantity: it is missing"),
        (f"{OF}\n", "", "reading 1: of: it is missing"),
        (OF, 'of = "sigmoid"', "reading 1: of: it is no table such as { activation = "),
        ('activation = "sigmoid", s', 'activation = "rleu", s', "reading 1: of.activation: 'rleu': "),
        ('activation = "sigmoid", s', "activation = true, s", "reading 1: of.activation: True: "),
        ("skip = true", "skip = 1", "reading 1: of.skip: 1 is not among those declared: true, false"),
        ("depth = 30", "depth = 99", "reading 1: against.depth: 99 is not among those declared: 4, 22"),
        ("skip = true", "batch_size = 0", "reading 1: of.batch_size: 0: Input should be greater than or equal to 1"),
        ("skip = true", "learning_rate = nan", "reading 1: of.learning_rate: nan: Input should be a finite number"),
        ("skip = true", "colour = 1", "reading 1: of.colour: unknown key; known: architecture, "),
        ("skip = true", 'test = "t.py"', "reading 1: of: no run can hold it: activation is of a"),
        (OF, 'of = { test = "t.py" }', "reading 1: against: no run can hold it: one is a study's network"),
        (OF, 'of = { name = "wide" }', "reading 1: of: name needs test"),
        (OF, 'of = { activation = "relu", depth = 30 }', "reading 1: against: it is the same as of"),
        ('by = "ratio"', 'by = "product"', "reading 1: by: Input should be 'ratio' or 'difference'"),
        ('by = "ratio"\n', "", "reading 1: by: give against and by"),
        ('match = "conv*"', 'match = ""', "reading 1: layers.match: it is empty"),
        ('take = "factor"', 'take = "first"', "reading 1: layers.take: Input should be 'factor', "),
        ('take = "factor"', 'take = "slope"', "reading 1: by: slopes are compared by difference"),
        ('take = "factor" }', 'take = "factor", from = 1 }', "layers.from: unknown key; known: match, take"),
        ('layers = { match = "conv*", take = "factor" }\n', "", "reading 1: layers: 'signal_l2' needs layer, or"),
        ('at = "init"', 'at = "later"', "reading 1: at: Input should be 'init', 'first' or 'last'"),
        ('at = "init"', "at = 21", "reading 1: at: no run can hold it: epoch 21 is after the last of [recipe], 20"),
        ('at = "init"\n', "", "reading 1: at: 'signal_l2' needs one of at, over, passes, curve"),
        ("below = 1", 'below = "1"', "reading 1: accept.below: Input should be a valid number"),
        ("below = 1", "below = true", "reading 1: accept.below: Input should be a valid number"),
        ("below = 1", "below = nan", "reading 1: accept.below: Input should be a finite number"),
        ("below = 1", "below = inf", "reading 1: accept.below: Input should be a finite number"),
        ("below = 1", "below = 1, above = 2", "reading 1: accept: its ends are swapped: 2 to 1"),
        ("below = 1", "below = 0", "reading 1: accept: no run can hold it: no value of it is < 0"),
        ("below = 1", "at_least = 1, at_most = 1", "reading 1: accept: no mean over seeds is exactly 1"),
        ("below = 1", "beneath = 1", "reading 1: accept.beneath: unknown key; known: at_least, above, at_most, below"),
        ("accept = { below = 1 }", "accept = 1", "reading 1: accept: Input should be a valid dictionary"),
        ("accept = { below = 1 }\n", "", "reading 1: accept: a reading needs what is accepted, or a published"),
        ("epochs = [1, 3]", "epochs = [3, 1]", "reading 2: over: its ends are swapped: epochs 3 to 1"),
        ("epochs = [1, 3]", "epochs = [1, 30]", "reading 2: over: no run can hold it: epoch 30 is after the last"),
        ("epochs = [1, 3]", "epochs = [1]", "reading 2: over.epochs.1: it is missing"),
        ("epochs = [1, 3]", "epochs = [1.5, 3]", "reading 2: over.epochs.0: Input should be a valid integer"),
        ('[1, 3], take = "mean"', '[3, 3], take = "rises"', "reading 2: over: rises need two epochs"),
        ("printed = 45, within = 3", "printed = [74, 72]", "reading 2: accept: its ends are swapped: printed 74 to 72"),
        ("printed = 45, within = 3", "printed = 145", "reading 2: accept: no run can hold it: no value of it is 145"),
        ("printed = 45, within = 3", "printed = [true]", "reading 2: accept.printed.0: Input should be a valid number"),
        ("printed = 45, within = 3", "printed = 45, within = 0", "reading 2: accept: no mean over seeds is exactly 45"),
        ("above = 50", "above = 50, below = 2", "reading 3: passes: give above or below"),
        ("above = 50", "above = 100", "reading 3: passes: no run can hold it: test accuracy is never over 100"),
        ("above = 50", "beyond = 50", "reading 3: passes.beyond: unknown key; known: above, below"),
        ('either = "one way"\ncontext', "context", "claim 'a-claim': either: only one reading has 'one way'"),
        ("[[32, 32, 32]]", "[[32, 0, 32]]", "reading 4: rows.0.shapes.0.1: Input should be greater than or equal to 1"),
        ('layers = "conv*", shapes', 'layer = "conv*", shapes', "reading 4: rows.0.layers: it is missing"),
        ('name = "wide"', "depth = 4", "reading 5: of: no run can hold it: depth is of a study's cells"),
        ('test = "tests/t.py::test_it"', "test = 1", "reading 5: of: test: Input should be a valid string"),
        ('"custom:largest"', '"test_accuracy"', "reading 5: layer: it does not go with 'test_accuracy'"),
        ('"custom:largest"', '"bound"', "reading 5: of: no run can hold it: a test of a session has no the greatest"),
        ('"custom:largest"', '"custom:"', "reading 5: quantity: 'custom:' is unknown; known: "),
        ('layer = "0"\nat = "init"', 'layer = "0"\nat = 1', "reading 5: at: a test of a session is measured at init o"),
        ('"accuracy", where', '"loss", where', "reading 6: curve: curve.csv has no column 'loss'; it has net, epoch"),
        ('"accuracy", where', '"net", where', "reading 6: curve: column net of curve.csv is not one of numbers"),
        ("where = {", "were = {", "reading 6: curve.were: unknown key; known: file, column, where"),
        ('{ net = "relu" }', '"relu"', "reading 6: curve.where: it is no table such as"),
        ('net = "relu"', 'net = "sigmoid"', "reading 6: curve: 1 values; it needs one for each epoch of [recipe], whi"),
        ("curve.csv", "gone.csv", "reading 6: curve.file: gone.csv cannot be read (No such file or directory)"),
        ("curve.csv", "pipe", "reading 6: curve.file: pipe cannot be read (it is no regular file)"),
        ("curve.csv", "ragged.csv", "reading 6: curve: column accuracy of ragged.csv is not one of numbers"),
        ("curve.csv", "nan.csv", "reading 6: curve.0: Input should be a finite number"),
        ("[document]", "[[document]]", "document: say what the claims are about"),
        ("[[claim]]", "[claim]", "no claims in it; each begins with [[claim]]"),
        ("[recipe]", "[recipe", "not valid TOML: "),
    ],
)  # fmt: skip
def test_what_is_wrong_is_one_line_with_file_claim_and_key(folder: Path, old: str, new: str, line: str) -> None:
    os.mkfifo(folder / "pipe")
    (folder / "latin.txt").write_bytes(b"Gradients shrink \xe9")
    (folder / "ragged.csv").write_text("net,epoch,accuracy\nrelu,1,41\nrelu,2\n", encoding="utf-8")
    (folder / "nan.csv").write_text("net,epoch,accuracy\nrelu,1,nan\n", encoding="utf-8")
    assert old in GOOD
    text = GOOD.replace(old, new, 1)
    if new == "[claim]":
        text = text.split("[[claim.reading]]")[0].replace("[[claim]]", "[claim]")
    found = wrong(folder, text)
    assert line in found
    assert found.startswith("claim 'a-claim': reading") or not line.startswith("reading")


def reading(text: str) -> str:
    return f'[document]\ntitle = "A document"\n[[claim]]\nid = "a"\nsentences = ["So."]\n[[claim.reading]]\n{text}'


ACCEPT = "\naccept = { above = 0.5 }"
CELL, TEST = "\nof = {}", '\nof = { test = "t.py::test_it" }'


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('quantity = "saturated"\nlayer = "0"\nat = "init"' + CELL, "of: no run can hold it: 'saturated' is measured "),
        ('quantity = "output_spread"\nat = "init"' + CELL, "of: no run can hold it: 'output_spread' is measured in a"),
        ('quantity = "custom:x"\nlayer = "0"\nat = "init"' + CELL, "of: no run can hold it: 'custom:x' is measured in"),
        ('quantity = "test_accuracy"\nat = "last"' + TEST, "of: no run can hold it: a test of a session has no test a"),
        ('quantity = "parameters"' + TEST, "of: no run can hold it: a test of a session has no parameters"),
        ('quantity = "test_loss"\nat = "init"' + CELL, "at: 'test_loss' is measured after an epoch: give its number, "),
        ('quantity = "parameters"\nat = 1' + CELL, "at: it does not go with 'parameters'"),
        ('quantity = "chi"\nlayer = "0"\nat = 1' + CELL, "at: it does not go with 'chi'"),
        ('quantity = "chi"\nlayers = { take = "factor" }' + CELL, "layers.take: 'chi' is a factor already; use mean"),
        ('quantity = "chi"' + CELL, "layers: 'chi' needs layer, or layers = { match, take }"),
        ('quantity = "rows_that_differ"' + CELL, "rows: 'rows_that_differ' needs it"),
        ('quantity = "rows_that_differ"\nrows = []' + CELL, "rows: Tuple should have at least 1 item"),
        ('quantity = "network_differences"' + CELL, "against: 'network_differences' needs it"),
        ('quantity = "network_differences"\nagainst = {depth = 6}\nby = "ratio"' + CELL, "by: it does not go with 'ne"),
        ('quantity = "weight_l2"\nlayers = { take = "slope" }\nover = { epochs = [1, 2], take = "spread" }' + CELL,
         "over.take: a slope can be negative; use greatest, least or mean"),
        ('quantity = "test_loss"\ncurve = [1, 2]' + CELL, "accept: a reading needs what is accepted, or a published c"),
        ('quantity = "weight_l2"\nlayer = "0"\ncurve = [1]' + CELL, "curve: it does not go with 'weight_l2'"),
        ('quantity = "test_loss"\nat = 1\ncontext = true' + CELL, "context: every reading is context: one must decide"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_or_no_run_can_hold_is_named(tmp_path: Path, text: str, line: str) -> None:
    assert line in wrong(tmp_path, reading(text) + ACCEPT)


def test_a_curve_needs_the_epochs_of_the_recipe(tmp_path: Path) -> None:
    text = reading('quantity = "test_loss"\ncurve = [2, 1.5, 1]' + CELL)
    assert "curve: 3 values; it needs one for each epoch of [recipe], which gives none" in wrong(tmp_path, text)
    (claim,) = load(tmp_path, "recipe.epochs = 3\n" + text)
    assert (claim.readings[0].curve, claim.readings[0].unit) == ((2.0, 1.5, 1.0), "nats")


def test_a_variant_needs_for_each(tmp_path: Path) -> None:
    text = reading('quantity = "test_loss"\nat = 1' + CELL + ACCEPT)
    named = text.replace('id = "a"', 'id = "a"\nvariant = 6')
    assert "claim 'a': variant: Input should be a valid string" in wrong(tmp_path, named)
    assert "variant: it is one of the values of for_each" in wrong(tmp_path, named.replace("= 6", '= "6"'))
    (claim,) = load(tmp_path, 'for_each = "depth"\n' + named)
    assert claim.variant == "6"


def test_texts_are_one_line_however_they_are_broken_in_the_file(folder: Path) -> None:
    text = GOOD.replace('"It is 45 % at first"', '"""It is\n   45 % at first"""').replace(
        '"a reading"', '"a\\n reading"'
    )
    (claim,) = load(folder, text.replace('"A document"', '"A\\tdocument"'))
    assert (claim.sentences[1], claim.readings[0].label) == ("It is 45 % at first", "a reading")
    assert claim.document.title == "A document"


def test_an_id_that_is_there_twice(folder: Path) -> None:
    claim = GOOD[GOOD.index("[[claim]]") :]
    assert wrong(folder, f"{GOOD}\n{claim}") == "claim 'a-claim': id: it is there twice; give each claim its own"


# --- size -----------------------------------------------------------------------------------------


def many_claims() -> str:
    one = (
        '[[claim]]\nid = "c{}"\nsentences = ["s"]\n[[claim.reading]]\nquantity = "test_loss"\nof = {{}}\nat = {}\n{}\n'
    )
    epochs = f"[{', '.join(map(str, range(1, 3001)))}]"
    return '[document]\ntitle = "d"\n' + "".join(one.format(i, epochs, ACCEPT) for i in range(4))


LISTS = (
    GOOD.replace('at = "init"', f"at = [{', '.join(map(str, range(1, 1001)))}]", 1)
    .replace('"signal_l2"', "[" + '"signal_l2", ' * 1000 + "]", 1)
    .replace("epochs = 20", "epochs = 1000")
)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        pytest.param(LISTS, f"claim 'a-claim': reading 1: over {MOST_READINGS:,} readings in one file", id="lists"),
        pytest.param(many_claims(), "claim 'c3': reading 1: over 10,000 readings in one file; split it", id="claims"),
        pytest.param("[[claim.reading]]\n" * 1_000_000, "cannot be read (it is larger than 2,000,000 b", id="bytes"),
        pytest.param(f"x = {'[' * 30}{']' * 30}", "x: nested too deeply", id="nested"),
        pytest.param(f"x = {'[' * 100_000}{']' * 100_000}", "not valid TOML: nested too deeply", id="deeply nested"),
        pytest.param("a." * 400_000 + "b = 1", "not valid TOML: nested too deeply", id="a dotted key"),
        pytest.param("[" + '"a" . ' * 300_000 + "b]", "not valid TOML: nested too deeply", id="a dotted header"),
        pytest.param('"' + "k" * 100_000 + '" = 1', "kkkk", id="a long key"),
    ],
)  # fmt: skip
def test_a_file_that_is_far_too_much_is_refused_soon_in_a_line_that_can_be_read(
    folder: Path, text: str, line: str
) -> None:
    began = time.process_time()
    found = wrong(folder, text)
    assert time.process_time() - began < 5
    assert line in found
    assert len(found) <= 1000


def test_what_is_no_file_is_refused_without_waiting(folder: Path) -> None:
    assert "cannot be read (it is no regular file)" in failure(lambda: load_claims(folder))
    os.mkfifo(folder / "fifo.toml")
    assert "cannot be read (it is no regular file)" in failure(lambda: load_claims(folder / "fifo.toml"))
    assert "cannot be read (No such file or directory)" in failure(lambda: load_claims(str(folder / "gone.toml")))
    assert "cannot be read (embedded null byte)" in failure(lambda: load_claims("a\0b"))
    (folder / "latin.toml").write_bytes(b'x = "\xe9"')
    assert "cannot be read (it is not UTF-8)" in failure(lambda: load_claims(folder / "latin.toml"))


# --- whatever is wrong ----------------------------------------------------------------------------

ODD: tuple[Any, ...] = (True, -1, 0, 1.5, math.nan, math.inf, 2**62, "", "x\ny", (), (1,), ((),), {}, {"a": 1})


def changed(value: Any) -> Iterator[Any]:
    """``value`` with each part of it, whatever its depth, replaced by each odd value, and left out."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, tuple) else ()
    for key, part in parts:
        for other in (*ODD, *changed(part)):
            yield {**value, key: other} if isinstance(value, dict) else (*value[:key], other, *value[key + 1 :])
        if isinstance(value, dict):
            yield {name: each for name, each in value.items() if name != key}
            yield {**value, f"{key}_": part}


def toml(value: Any) -> str:
    """As an inline value."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml(each)}" for key, each in value.items()) + "}"
    if isinstance(value, tuple):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'"{escaped}"'
    return str(value).lower() if isinstance(value, bool) else str(value)


def numbers_in(value: Any) -> Iterator[float]:
    if isinstance(value, float):
        yield value
    elif isinstance(value, dict | tuple):
        for each in value.values() if isinstance(value, dict) else value:
            yield from numbers_in(each)


def test_whatever_a_file_holds_it_is_read_or_refused_in_one_line(folder: Path) -> None:
    """Every part of a file in turn: nothing raises but the one error, and what is read means what it says."""
    path = folder / "claims.toml"
    path.write_text(GOOD, encoding="utf-8")
    good = read_table(path)
    cases = list(changed(good))
    assert len(cases) > 1500
    read = 0
    for case in cases:
        text = "\n".join(f"{key} = {toml(value)}" for key, value in case.items())
        path.write_text(text, encoding="utf-8")
        try:
            claims = load_claims(path)
        except UsageError as error:
            line = str(error)
            assert "\n" not in line
            assert line.startswith(f"{path}: ")
            if {**case, "claim": ()} == {**good, "claim": ()}:
                assert line.startswith((f"{path}: claim ", f"{path}: no claims in it"))
            continue
        read += 1
        for claim in claims:
            assert claim.sentence.strip()
            assert all(map(math.isfinite, numbers_in(claim.model_dump())))
            assert all(spec.in_words and spec.scale for spec in claim.readings)
    assert read < len(cases) / 5
