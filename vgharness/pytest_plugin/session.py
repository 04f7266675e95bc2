"""What one pytest session does with its gradient flows: gathers, compares, saves and shows them.

Each measurement comes with its test's report, from a worker of pytest-xdist as from the session's own process, so that
it is saved once and where the session was started. Imports nothing heavy until there is a measurement.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from vgharness.errors import UsageError
from vgharness.formatting import escaped, listing
from vgharness.pytest_plugin.options import AUTO, SEEDS

if TYPE_CHECKING:
    from vgharness.gradflow.comparison import Appearance, Change, Comparison
    from vgharness.gradflow.limits import Limit, Presence
    from vgharness.records import Sample, Session

_STEP_SUMMARY = "GITHUB_STEP_SUMMARY"  # the file of Markdown that GitHub shows on a job's page


class GradflowSession:
    """Registered as a plugin for as long as one session lasts."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._samples: dict[str, Sample] = {}
        self._notes: list[str] = []  # for the end of the summary
        option = config.option
        self._storage = config.rootpath / option.gradflow_storage
        self._compared: Session | None = None
        self._compared_path: Path | None = None
        self._limits: tuple[Limit, ...] = ()
        self._fail_on: tuple[Presence, ...] = ()
        self._comparison: Comparison | None = None  # of the whole session, when it is over
        if option.gradflow_save is not None:
            from vgharness.storage.store import check_name

            check_name(option.gradflow_save)
        if (option.gradflow_save is not None or option.gradflow_autosave) and not self._is_worker:
            from vgharness.storage.store import RunStore

            RunStore(self._storage).check("--gradflow-storage")
        if option.gradflow_json is not None and not self._is_worker:
            from vgharness.system.files import check_file

            check_file(config.rootpath / option.gradflow_json, "--gradflow-json")
        if option.gradflow_html is not None and not self._is_worker:
            from vgharness.system.files import check_file

            check_file(config.rootpath / option.gradflow_html, "--gradflow-html")
        if option.gradflow_compare is not None:
            from vgharness.storage.store import RunStore, load_session

            found = RunStore(self._storage).find(option.gradflow_compare or None)
            self._notes += [f"passed over {path}: {reason}" for path, reason in found.skipped]
            self._compared_path, self._compared = found.path, load_session(found.path)
        if option.gradflow_compare_fail:
            from vgharness.gradflow.limits import check_limits, parse_failures

            if self._compared is None:
                raise UsageError("--gradflow-compare-fail has nothing to compare with: give --gradflow-compare too")
            self._limits, self._fail_on = parse_failures(option.gradflow_compare_fail)
            check_limits(self._limits, self._compared)

    @property
    def _is_worker(self) -> bool:
        return hasattr(self._config, "workerinput")

    def regressions(self, samples: Sequence[Sample], own: Sequence[str] = ()) -> list[str]:
        """A line for each value and layer of ``samples`` that the options, or the test's ``own`` limits, say must
        fail."""
        found = self._compared_with(samples, own)
        if found is None:
            return []
        # Whether a test is new or gone can only be said of the whole session.
        return [str(each) for each in found.regressions if not _is_of_a_test(each)]

    def further_seeds(self, own: Sequence[str], sample: Sample, looks: int) -> tuple[int, ...]:
        """Which seeds to measure beside those of ``sample``, so that the session's limits and the test's ``own`` are
        decided. ``looks``: how often that was asked of the measurement before."""
        from vgharness.gradflow.more_seeds import MOST_LOOKS, further_seeds

        baseline = self._compared.sample(sample.label) if self._compared else None
        limits = (*self._limits, *self._own(own)[0])
        if baseline is None or not limits or looks + 1 >= MOST_LOOKS:
            return ()
        return further_seeds(sample, baseline, limits, self._decisions(limits))

    def _own(self, texts: Sequence[str]) -> tuple[tuple[Limit, ...], tuple[Presence, ...]]:
        """A test's own limits."""
        from vgharness.gradflow.limits import check_limits, parse_failures

        found = parse_failures(texts)
        if self._compared is not None:
            check_limits(found[0], self._compared)
        return found

    def _decisions(self, limits: Sequence[Limit]) -> int:
        """How many the whole build makes, as if each test had these limits."""
        if self._compared is None:
            return 0
        from vgharness.gradflow.judging import number_of_decisions
        from vgharness.gradflow.more_seeds import MOST_LOOKS

        looks = MOST_LOOKS if AUTO in self._config.stash[SEEDS] else 1
        return looks * number_of_decisions(self._compared.samples, limits)

    def _compared_with(self, samples: Sequence[Sample], own: Sequence[str]) -> Comparison | None:
        """What changed in one test's ``samples``, held against the session's limits and its ``own``; None where there
        are none, or nothing to compare with."""
        if self._compared is None or not (self._limits or self._fail_on or own):
            return None
        from vgharness.gradflow.comparison import compare_samples

        limits, fail_on = self._own(own)
        labels = {sample.label for sample in samples}
        before = [sample for sample in self._compared.samples if sample.label in labels]
        every = (*self._limits, *limits)
        return compare_samples(before, samples, every, {*self._fail_on, *fail_on}, self._decisions(every))

    # --- hooks -----------------------------------------------------------------------------------------

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for text in getattr(report, "gradflow", ()):
            from vgharness.records import Sample

            sample = Sample.model_validate_json(text)
            self._samples[sample.label] = sample  # of a test that was run again, the last time

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._is_worker:
            return
        try:
            measured = self._session() if self._samples and (self._compared or self._is_to_be_saved) else None
            self._note_what_changed(session, measured)
            if self._is_to_be_saved:
                self._save(measured)
        except (UsageError, OSError) as error:
            self._notes.append(f"not saved: {error}")
            session.exitstatus = session.exitstatus or pytest.ExitCode.TESTS_FAILED
        self._write_step_summary()

    def _note_what_changed(self, session: pytest.Session, measured: Session | None) -> None:
        if self._compared is None:
            return
        from vgharness.gradflow.comparison import compare, compare_samples

        if measured is None:
            comparison = compare_samples(self._compared.samples, (), self._limits, self._fail_on)
        else:
            comparison = compare(self._compared, measured, self._limits, self._fail_on, self._decisions(self._limits))
        from vgharness.report.tables import maybe_by_chance

        self._comparison = comparison
        self._notes += maybe_by_chance(comparison)
        self._notes += comparison.notes
        self._notes += [str(found) for found in comparison.appearances if _is_of_a_test(found)]
        if any(_is_of_a_test(found) for found in comparison.regressions):
            session.exitstatus = session.exitstatus or pytest.ExitCode.TESTS_FAILED

    @property
    def _is_to_be_saved(self) -> bool:
        option = self._config.option
        files = (option.gradflow_save, option.gradflow_json, option.gradflow_html)
        return option.gradflow_autosave or any(each is not None for each in files)

    def _save(self, session: Session | None) -> None:
        if session is None:
            self._notes.append("nothing was measured, so nothing is saved")
            return
        from vgharness.storage.store import RunStore, to_json
        from vgharness.system.files import write_whole

        option = self._config.option
        if option.gradflow_save is not None or option.gradflow_autosave:
            commit = (session.commit or "no-commit")[:8]
            name = option.gradflow_save or f"{datetime.now(UTC):%Y%m%d-%H%M%S}_{commit}"
            self._notes.append(f"saved as {self._short(RunStore(self._storage).save(session, name))}")
        if option.gradflow_json is not None:
            path = self._config.rootpath / option.gradflow_json
            write_whole(path, to_json(session))
            self._notes.append(f"written to {self._short(path)}")
        if option.gradflow_html is not None:
            from vgharness.report.session_page import write_session_page

            page = write_session_page(session, self._config.rootpath / option.gradflow_html)
            self._notes.append(f"page written to {self._short(page)}")

    def _short(self, path: Path) -> Path:
        return path.relative_to(self._config.rootpath) if path.is_relative_to(self._config.rootpath) else path

    def _session(self) -> Session:
        from pydantic import ValidationError

        from vgharness.gradflow.session import as_session

        info: dict[str, Any] = {}
        extra: dict[str, Any] = {}
        self._config.hook.pytest_gradflow_machine_info(config=self._config, machine_info=info)
        self._config.hook.pytest_gradflow_session(config=self._config, extra=extra)
        try:
            return as_session(
                list(self._samples.values()),
                command=shlex.join(["pytest", *map(str, self._config.invocation_params.args)]),
                folder=self._config.rootpath,
                extra={**extra, **({"machine_info": info} if info else {})},
            )
        except ValidationError as error:
            raise UsageError(f"what a hook added is no JSON: {error.errors()[0]['msg']}") from error

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if not self._samples and not self._notes:
            return
        from vgharness.system.terminal import encodable

        writer = self._config.get_terminal_writer()
        encoding = getattr(getattr(writer, "_file", None), "encoding", None)

        def write(text: str) -> None:
            terminalreporter.write_line(encodable(text, encoding))

        terminalreporter.section("gradient flow", sep="=")
        if self._samples:
            from vgharness.pytest_plugin.summary import Writer, texts

            where = Writer(writer.fullwidth, writer.hasmarkup)
            for text in texts(list(self._samples.values()), self._config.option, self._comparison, where):
                write(text)
        if self._compared_path is not None:
            write(f"compared with {escaped(str(self._short(self._compared_path)))}: {self._conclusion()}")
        for note in self._notes:
            write(escaped(note))

    def _conclusion(self) -> str:
        from vgharness.report.tables import conclusion

        if self._comparison is None:
            return "not compared"
        limits = [limit.text for limit in self._limits] + list(self._fail_on)
        found = conclusion(self._comparison, "--gradflow-compare-fail")
        return f"{found}{f', limits: {escaped(listing(limits))}' if limits else ''}"

    def _write_step_summary(self) -> None:
        """On GitHub: adds the tables to the summary of the job."""
        path = os.environ.get(_STEP_SUMMARY)
        if not path or not self._samples:
            return
        from vgharness.pytest_plugin.summary import as_markdown

        text = as_markdown(list(self._samples.values()), self._config.option, self._comparison)
        try:
            with Path(path).open("a", encoding="utf-8") as file:
                file.write(text)
        except OSError as error:
            self._notes.append(f"nothing was added to {_STEP_SUMMARY}: {error}")


def _is_of_a_test(found: Change | Appearance) -> bool:
    """Whether it says that a test as a whole is new, gone or renamed."""
    from vgharness.gradflow.comparison import Appearance

    return isinstance(found, Appearance) and found.layer is None
