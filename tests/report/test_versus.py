"""Two runs side by side: which verdicts changed, by how much readings differ, and what else differs."""

import math

import pytest
from factories import MACHINE, SYNTHETIC, failure, make_reading, make_result, make_run, make_verdict

from vgharness.records import Bounds, Document, Reading, Run, SeedValue, Verdict
from vgharness.report.versus.page import render_comparison
from vgharness.report.versus.pairs import Versus, comparison_lines, difference, headline, versus
from vgharness.report.versus.settings import settings_of
from vgharness.statistics import difference_interval, mean_over_seeds

pytestmark = pytest.mark.fast

DOCUMENT = Document(title="A document")


def run_of(*verdicts: Verdict, **changes: object) -> Run:
    run = make_run([make_result(curve=[50])], document=DOCUMENT, verdicts=verdicts)
    return run.model_copy(update=changes)


def reading(numbers: tuple[float, ...], first_seed: int = 42, **fields: object) -> Reading:
    scale = fields.get("scale", "linear")
    values = [SeedValue(seed=seed, value=x) for seed, x in enumerate(numbers, first_seed)]
    value = float(mean_over_seeds(numbers, scale))  # type: ignore[arg-type]
    return make_reading(**{"values": values, "value": value, "method": "t", **fields})  # type: ignore[arg-type]


@pytest.fixture
def found() -> Versus:
    same, was = make_verdict("mixed", claim="same"), make_verdict("not reproduced", claim="flipped")
    gone = make_verdict("mixed", claim="gone")
    now, new = make_verdict("inconclusive", claim="flipped"), make_verdict("reproduced", claim="new")
    return versus(run_of(same, was, gone), run_of(now, same, new))


def test_what_changed_comes_first_in_words(found: Versus) -> None:
    assert [claim.in_words() for claim in found.changed] == ["flipped: not reproduced → inconclusive"]
    assert [claim.name for claim in found.unchanged] == ["same"]
    assert headline(found) == "1 of 2 verdicts changed: flipped"
    assert list(comparison_lines(found)) == [
        "flipped: not reproduced → inconclusive",
        "only before: gone",
        "only after: new",
        "1 of 2 verdicts changed",
    ]


def test_the_headline_where_nothing_changed() -> None:
    one = make_verdict("mixed")
    assert headline(versus(run_of(one), run_of(one))) == "No verdict changed, of 1 claim"
    other = make_verdict("mixed", claim="other")
    assert headline(versus(run_of(one), run_of(other))) == "No claim was judged in both runs"


def test_the_variant_is_named_where_there_are_several() -> None:
    runs = [run_of(*(make_verdict(outcome, variant=x) for x in ("readme", "script"))) for outcome in ("mixed", "error")]
    assert headline(versus(*runs)) == "2 of 2 verdicts changed: it-is-so-readme, it-is-so-script"


def test_runs_held_against_different_documents_are_refused_with_what_to_do() -> None:
    other = run_of(make_verdict(), document=Document(title="Another"))
    line = failure(lambda: versus(run_of(make_verdict()), other))
    assert "“A document” and “Another”: give --claims FILE" in line


# --- differences -----------------------------------------------------------------------------------------

BEFORE, AFTER = (50.0, 52.0, 57.0), (51.0, 53.5, 57.5)


def test_a_difference_is_paired_where_the_seeds_are_the_same() -> None:
    paired, _ = difference(reading(BEFORE), reading(AFTER))
    apart, _ = difference(reading(BEFORE), reading(AFTER, first_seed=7))
    assert paired is not None
    assert apart is not None
    assert paired.paired
    assert not apart.paired
    assert paired.value == apart.value == pytest.approx(1.0)
    import numpy as np

    assert (paired.low, paired.high) == difference_interval(np.array(BEFORE), np.array(AFTER), paired=True)
    assert (apart.low, apart.high) == difference_interval(np.array(BEFORE), np.array(AFTER), paired=False)
    assert not apart.is_clear
    assert paired.in_words() == "+1 points (-0.242 to 2.24)"


def test_seeds_are_paired_by_their_number_not_by_their_place() -> None:
    after = reading(AFTER)
    turned = after.model_copy(update={"values": after.values[::-1]})
    assert difference(reading(BEFORE), turned) == difference(reading(BEFORE), after)


def test_of_a_factor_it_is_a_factor() -> None:
    x, y = (0.1, 0.2, 0.4), (0.2, 0.41, 0.79)
    found, _ = difference(reading(x, scale="log", unit=""), reading(y, scale="log", unit=""))
    assert found is not None
    assert found.is_factor
    assert found.value == pytest.approx(math.prod(b / a for a, b in zip(x, y, strict=True)) ** (1 / 3))
    assert found.is_clear
    assert found.in_words().startswith("×2.01 (1.9")


def test_of_a_percentage_it_is_in_points_and_never_beyond_what_is_possible() -> None:
    found, _ = difference(reading((97.0, 99.0, 99.9), scale="logit"), reading((98.0, 99.5, 99.95), scale="logit"))
    assert found is not None
    assert found.unit == "points"
    assert found.value == pytest.approx(
        float(mean_over_seeds((98.0, 99.5, 99.95), "logit")) - float(mean_over_seeds((97.0, 99.0, 99.9), "logit"))
    )
    assert found.high is not None
    assert found.high < 100 - float(mean_over_seeds((97.0, 99.0, 99.9), "logit"))


@pytest.mark.parametrize(
    ("after", "why"),
    [
        (make_reading("not run", ()), "not measured in both runs"),
        (reading(AFTER, scale="log"), "not read on one scale in both runs"),
        (make_reading(numbers=(1.0, None, 2.0)), "not finite for every seed"),
        (
            reading(AFTER).model_copy(update={"values": (SeedValue(seed=42, value=9.0, bounds=Bounds(low=9.0)),)}),
            "a seed’s value is only known to lie beyond a bound",
        ),
        (reading(AFTER).model_copy(update={"value": 1.0}), "the value is not the mean of the seeds’"),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_where_there_is_no_difference_it_is_said_why(after: Reading, why: str) -> None:
    assert difference(reading(BEFORE), after) == (None, why)


def test_a_count_has_no_interval_and_one_seed_has_none() -> None:
    exact, _ = difference(reading(BEFORE, method="exact"), reading(AFTER, method="exact"))
    one, _ = difference(reading((50.0,)), reading((60.0,)))
    assert exact is not None
    assert exact.low is exact.high is None
    assert one is not None
    assert one.in_words() == "+10 points"
    assert not one.is_clear


# --- what else differs -----------------------------------------------------------------------------------


def test_settings_that_differ_are_named() -> None:
    machine = MACHINE.model_copy(update={"versions": {"torch": "2.12.0", "numpy": "2"}})
    images = SYNTHETIC.model_copy(update={"sha256": "1" * 64})
    after = run_of(make_verdict(), machine=machine, data=images, commit="def", command="another")
    changed = {x.name: (x.before, x.after) for x in settings_of(run_of(make_verdict()), after) if x.differs}
    assert changed["torch"] == ("2.11.0", "2.12.0")
    assert changed["numpy"] == ("–", "2")
    assert changed["commit"] == ("abc", "def")
    assert {"command", "images", "SHA-256 of pixels and labels"} <= changed.keys()
    assert not {"preset", "seeds", "precision", "processor"} & changed.keys()


# --- the page --------------------------------------------------------------------------------------------


def test_the_page_has_two_strips_on_one_axis_for_a_claim_that_changed() -> None:
    fields = {"unit": "", "scale": "log", "activation": "sigmoid"}
    before = make_verdict("not reproduced", reading((0.1, 0.2, 0.4), outcome="not reproduced", **fields))
    after = make_verdict("reproduced", reading((0.2, 0.41, 0.79), outcome="reproduced", **fields))
    page = render_comparison(versus(run_of(before), run_of(after)), "0001_a.json", "0002_a.json")
    assert page.count('class="strip hollow c-sigmoid"') == page.count('class="strip c-sigmoid"') == 1
    assert "<h1>1 of 1 verdict changed: it-is-so.</h1>" in page
    assert ".c-sigmoid {" in page
    assert "<b>×2.01 (1.92 to 2.10), same seeds</b>" in page


def test_of_many_claims_those_that_did_not_change_have_no_strips() -> None:
    verdicts = [make_verdict("mixed", reading(BEFORE), claim=f"claim-{i}") for i in range(41)]
    assert 'class="strip' not in render_comparison(versus(run_of(*verdicts), run_of(*verdicts)), "a", "b")
    assert render_comparison(versus(run_of(verdicts[0]), run_of(verdicts[0])), "a", "b").count('class="strip ') == 2


def test_whatever_the_runs_hold_is_text() -> None:
    odd = "<script>alert(1)</script>"
    verdict = make_verdict("mixed", make_reading("mixed", label=odd, expected=odd), sentence=odd, reason=odd)
    after = make_verdict("error", make_reading("error", label=odd, expected=odd), sentence=odd)
    page = render_comparison(versus(run_of(verdict), run_of(after, command=odd, commit=odd)), odd, odd)
    assert "<script" not in page
    assert page.count("&lt;script") > 5
