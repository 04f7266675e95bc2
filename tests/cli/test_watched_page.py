"""The page while a study trains: what it shows, what becomes of the one before it, what ends no training."""

import re
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from factories import make_result, make_run

from vgharness.claims.loading import load_claims
from vgharness.cli import watched_page as watch
from vgharness.cli.watched_page import WatchedPage
from vgharness.records import CellResult, Rounds, Run
from vgharness.report.study_page import INTERIM_MARK, render
from vgharness.study.judging import judged
from vgharness.study.looks import planned_looks

pytestmark = pytest.mark.fast

CLAIMS = load_claims()
SEEDS = range(42, 47)
FINAL = make_run([make_result(name, seed, curve=[45.0, 60.0]) for name in ("sigmoid", "relu") for seed in SEEDS])
BEGUN = FINAL.so_far("running", (), 0.0)


def running(result: CellResult, epochs: int) -> CellResult:
    return result.model_copy(update={"status": "running", "epochs": result.epochs[:epochs], "heatmap": None})


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def warnings() -> list[str]:
    return []


@pytest.fixture
def page(out: Path, warnings: list[str]) -> WatchedPage:
    return WatchedPage(out, CLAIMS, lambda: 100.0, warnings.append)


@pytest.fixture
def written(page: WatchedPage, monkeypatch: pytest.MonkeyPatch) -> WatchedPage:
    """A page of a study that has begun, which is written where the test says so."""
    monkeypatch.setattr(page._thread, "start", lambda: None)
    page.study_started(BEGUN, None)
    return page


def test_it_is_marked_reloads_itself_and_says_how_far_the_study_is(written: WatchedPage, out: Path) -> None:
    written.write(reload_after=12.4)
    first = (out / "index.html").read_text()
    written.cell_advanced(running(FINAL.results[0], 1))
    written.cell_done(FINAL.results[1])
    written.write()
    second = (out / "index.html").read_text()
    for text, seconds, done in ((first, 12, 0), (second, 5, 1)):
        assert INTERIM_MARK in text
        assert f'<meta http-equiv="refresh" content="{seconds}">' in text
        assert f"still training, {done} of 10 networks done; about 1 min 40 s left" in text
        assert "run.json" not in text  # there is none of this run
    assert "still training: 0 of 5 seeds" in first
    assert "still training: 2 of 5 seeds" in second
    assert [path.name for path in out.iterdir()] == ["index.html"]


def test_a_later_round_keeps_what_the_earlier_ones_measured(written: WatchedPage, out: Path) -> None:
    rounds = Rounds(looks=planned_looks(20), at=2)
    study = BEGUN.study.model_copy(update={"rounds": rounds})
    written.study_started(BEGUN.model_copy(update={"study": study, "results": FINAL.results[:3], "seconds": 9.0}), None)
    written.cell_done(FINAL.results[3])
    written.write()
    text = (out / "index.html").read_text()
    assert "still training, 4 of 10 networks done" in text
    assert "the others are, at 7 seeds" in text


def test_a_claim_settles_once_every_seed_has_what_it_takes(written: WatchedPage, out: Path) -> None:
    for result in FINAL.results[:4]:
        written.cell_done(result)
    written.write()
    text = (out / "index.html").read_text()
    assert "…</span> still training" in text
    assert "✓</span> reproduced" not in text
    written.cell_advanced(running(FINAL.results[4], 1))
    written.write()
    assert "✓</span> reproduced" in (out / "index.html").read_text()
    assert "after Holm" not in (out / "index.html").read_text()  # the others may change how many stand
    assert "after Holm" in render(judged(FINAL, CLAIMS))


def test_cells_that_are_split_begin_again(written: WatchedPage, out: Path) -> None:
    pack = FINAL.results[:5]
    ready = []
    for results, split in (((), ()), (pack, ()), ((), pack)):
        for result in results:
            written.cell_advanced(running(result, 1))
        written.pack_split([result.cell for result in split], "OutOfMemoryError")
        written.write()
        ready.append(re.findall(r"still training: \d of 5 seeds", (out / "index.html").read_text()))
    assert ready[0] == ready[2] != ready[1]


def test_the_finished_page_replaces_it_and_the_earlier_one(written: WatchedPage, out: Path) -> None:
    (out / "index.html").write_text("an earlier page")
    written.write()
    assert (out / "index.earlier.html").read_text() == "an earlier page"
    assert '<a href="index.earlier.html">' in (out / "index.html").read_text()
    written.__exit__(None)
    (out / "index.html").write_text("the finished page")
    written.replaced()
    assert [path.name for path in out.iterdir()] == ["index.html"]


def test_what_bears_the_name_of_the_kept_page_is_not_lost_and_an_interim_page_is_not_kept(
    written: WatchedPage, out: Path
) -> None:
    (out / "index.earlier.html").write_text("of a training that was killed")
    (out / "index.html").write_text("an earlier page")
    written.write()
    written.write()
    assert (out / "index.earlier.html").read_text() == "of a training that was killed"
    assert (out / "index.earlier2.html").read_text() == "an earlier page"
    assert len(list(out.iterdir())) == 3
    again = WatchedPage(out, CLAIMS, lambda: None, print)  # as after a kill
    again._run = BEGUN
    again.write()
    assert len(list(out.iterdir())) == 3


def test_a_link_to_the_page_stays_one(written: WatchedPage, out: Path) -> None:
    (out / "elsewhere.html").write_text("an earlier page")
    (out / "index.html").symlink_to("elsewhere.html")
    written.write()
    assert (out / "index.html").is_symlink()
    assert INTERIM_MARK in (out / "elsewhere.html").read_text()
    assert (out / "index.earlier.html").read_text() == "an earlier page"


@pytest.mark.parametrize("earlier", ["an earlier page", None])
def test_an_interrupted_run_has_its_own_page_and_the_earlier_one_is_kept(
    earlier: str | None, written: WatchedPage, out: Path
) -> None:
    if earlier:
        (out / "index.html").write_text(earlier)
    written.write()
    written.__exit__(None)
    said = written.interrupted(judged(FINAL.so_far("interrupted", FINAL.results[:2], 1.0), CLAIMS))
    text = (out / "index.html").read_text()
    assert "This run was interrupted." in text
    assert "http-equiv" not in text
    assert "still training" not in text
    assert str(out / "index.html") in said
    assert ("index.earlier.html" in text, "index.earlier.html" in said) == (bool(earlier), bool(earlier))
    assert (out / "index.earlier.html").exists() == bool(earlier)


@pytest.mark.parametrize("earlier", ["an earlier page", None])
@pytest.mark.parametrize("wrote", [True, False])
def test_a_training_that_raises_leaves_the_folder_as_it_was(
    earlier: str | None, wrote: bool, page: WatchedPage, out: Path
) -> None:
    if earlier:
        (out / "index.html").write_text(earlier)
    page._run = BEGUN
    if wrote:
        page.write()
    page.__exit__(RuntimeError)
    assert {path.name: path.read_text() for path in out.iterdir()} == ({"index.html": earlier} if earlier else {})


def test_a_page_that_cannot_be_written_is_one_warning_and_written_once_it_can_be(
    written: WatchedPage, out: Path, warnings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (out / "index.html").write_text("an earlier page")

    def full_disk(*_: object) -> None:
        raise OSError(28, "No space left on device")

    for name in ("write_whole", "write_text"):
        with monkeypatch.context() as patched:
            patched.setattr(watch, name, full_disk)
            written.write()
            written.write()
            assert (out / "index.html").read_text() == "an earlier page"
    assert warnings == [
        f"warning: {out / 'index.html'} is not rewritten (No space left on device); the training goes on"
    ]
    written.write()
    assert INTERIM_MARK in (out / "index.html").read_text()
    assert (out / "index.earlier.html").read_text() == "an earlier page"


def test_an_interrupted_run_whose_page_cannot_be_written_leaves_the_earlier_one(
    written: WatchedPage, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (out / "index.html").write_text("an earlier page")
    written.write()
    monkeypatch.setattr(watch, "render", lambda *_: 1 / 0)
    said = written.interrupted(FINAL.so_far("interrupted", (), 1.0))
    assert "could not be written (ZeroDivisionError: division by zero)" in said
    assert {path.name: path.read_text() for path in out.iterdir()} == {"index.html": "an earlier page"}


def test_it_is_written_by_a_thread_of_its_own_for_a_twentieth_of_the_time(
    page: WatchedPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    reloads: list[float] = []
    both = threading.Event()
    now = [0.0]
    monkeypatch.setattr(watch.time, "monotonic", lambda: now[0])
    ended_wait = page._ended.wait

    def wait(seconds: float) -> bool:
        waits.append(seconds)
        if len(waits) == 2:
            both.set()
            return ended_wait(60)
        return False

    def write(reload_after: float) -> None:
        reloads.append(reload_after)
        assert threading.current_thread().name == "page"
        now[0] += 0.5 if len(reloads) == 1 else 0.01
        page.cell_advanced(running(FINAL.results[0], 1))

    monkeypatch.setattr(page._ended, "wait", wait)
    monkeypatch.setattr(page, "write", write)
    with page:
        page.study_started(BEGUN, None)
        assert both.wait(60)
    assert waits == [pytest.approx(0.5 * 19), 2.0]
    assert reloads == [2.0, pytest.approx(0.5 * 19)]
    assert not page._thread.is_alive()


def test_nothing_is_written_after_the_end_nor_without_news(
    page: WatchedPage, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "_LEAST_SECONDS", 0.0)
    monkeypatch.setattr(watch, "_SHARE", 1.0)
    with page:
        page.study_started(BEGUN, None)
        while not (out / "index.html").exists():
            time.sleep(0.01)
        before = (out / "index.html").stat().st_mtime_ns
        time.sleep(0.1)
        assert (out / "index.html").stat().st_mtime_ns == before
    page.cell_done(FINAL.results[0])
    time.sleep(0.05)
    assert (out / "index.html").stat().st_mtime_ns == before


def test_a_second_ctrl_c_loses_no_run_and_what_was_being_judged_is_not_written(
    page: WatchedPage, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judging, interrupted = threading.Event(), threading.Event()
    judge, join = watch.judged, page._thread.join

    def slowly(*arguments: Any) -> Run:
        judging.set()
        assert interrupted.wait(60)
        return judge(*arguments)

    def interrupt() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(watch, "judged", slowly)
    monkeypatch.setattr(page._thread, "join", interrupt)
    with page:
        page.study_started(BEGUN, None)
        assert judging.wait(60)
    interrupted.set()
    join()
    assert not list(out.iterdir())


def test_a_page_that_stays_is_not_marked() -> None:
    text = render(judged(FINAL, CLAIMS))
    assert INTERIM_MARK not in text
    assert "http-equiv" not in text
    assert "Interim" not in text


def test_while_it_trains_there_is_no_headline_that_seeds_to_come_could_change() -> None:
    three = judged(FINAL.so_far("running", [FINAL.results[i] for i in (0, 1, 2, 5, 6, 7)], 1.0), CLAIMS)
    text = render(three)
    assert "still training: 3 of 5 seeds" in text
    assert re.search(r"<h1>Still training: \d+ of 14 claims not settled yet\.</h1>", text)
    assert "multiplies the error signal" not in text
    assert "multiplies the error signal" in render(judged(FINAL, CLAIMS))
