"""What one pytest session does with its gradient flows: gathers, compares, saves and shows them.

Each measurement comes with its test's report, from a worker of pytest-xdist as from the session's own process, so that
it is saved once and where the session was started. Imports nothing heavy until there is a measurement.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from vgharness.errors import UsageError
from vgharness.formatting import escaped, listing
from vgharness.pytest_plugin.comparing import Compared, is_of_a_test
from vgharness.pytest_plugin.saving import Saving
from vgharness.pytest_plugin.selection import Selection

if TYPE_CHECKING:
    from vgharness.gradflow.comparison import Comparison
    from vgharness.records import Sample, Session

_STEP_SUMMARY: Final = "GITHUB_STEP_SUMMARY"  # the file of Markdown that GitHub shows on a job's page


class GradflowSession:
    """Registered as a plugin for as long as one session lasts."""

    def __init__(self, config: pytest.Config) -> None:
        """Raises :class:`~vgharness.errors.UsageError` for what cannot be compared with, or written."""
        self._config = config
        self.compared = Compared(config)
        self._saving = Saving(config, self.compared)
        self.selection = Selection(config)
        self._samples: dict[str, Sample] = {}
        self._red: dict[str, None] = {}  # tests that failed for what they are compared with, as an ordered set
        self._comparison: Comparison | None = None  # of the whole session, when it is over
        self._verdict: str | None = None

    # --- hooks -----------------------------------------------------------------------------------------

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "setup":  # it may be run again
            test = getattr(report, "gradflow_test", report.nodeid)
            self._samples = {label: sample for label, sample in self._samples.items() if sample.test != test}
            self._red.pop(test, None)
        for text in getattr(report, "gradflow", ()):
            from vgharness.records import Sample

            sample = Sample.model_validate_json(text)
            self._samples[sample.label] = sample
        if getattr(report, "gradflow_is_red", False):
            self._red[getattr(report, "gradflow_test", report.nodeid)] = None

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        if hasattr(self._config, "workerinput"):  # of pytest-xdist's processes one saves
            return
        needed = self._samples and (self.compared.session is not None or self._saving.is_asked_for)
        try:
            measured = self._session(exitstatus) if needed else None
        except UsageError as error:
            self._saving.notes.append(f"not saved: {error}")
            self._turn_red(session)
        else:
            samples = list(self._samples.values())
            self._comparison = self.compared.with_all(samples, measured, self.selection)
            if self._comparison is not None:
                self._verdict = self.compared.verdict(self._comparison, list(self._red))
                if self._verdict:
                    self._turn_red(session)
            if self._saving.is_asked_for and not self._saving.save(measured, self.selection):
                self._turn_red(session)
        self._write_step_summary()

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        notes = [*self.compared.notes, *self._what_changed(), *self._saving.notes]
        if not self._samples and not notes:
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
        if self.compared.path is not None:
            write(f"compared with {escaped(str(self.compared.short(self.compared.path)))}: {self._conclusion()}")
        for note in notes:
            write(escaped(note))
        if self._verdict:
            write(escaped(self._verdict))

    # --- at the end ------------------------------------------------------------------------------------

    def _session(self, exitstatus: int) -> Session:
        from pydantic import ValidationError

        from vgharness.gradflow.session import as_session

        info: dict[str, Any] = {}
        extra: dict[str, Any] = {}
        self._config.hook.pytest_gradflow_machine_info(config=self._config, machine_info=info)
        self._config.hook.pytest_gradflow_session(config=self._config, extra=extra)
        ended = self.selection
        samples = [
            x.model_copy(update={"outcome": ended.outcome(x.test), "failure": ended.failure(x.test)})
            for x in self._samples.values()
        ]
        try:
            return as_session(
                samples,
                command=shlex.join(["pytest", *map(str, self._config.invocation_params.args)]),
                folder=self._config.rootpath,
                extra={**extra, **({"machine_info": info} if info else {})},
                status=self.selection.status(exitstatus),
                left_out=self.selection.left_out_by(),
            )
        except ValidationError as error:
            raise UsageError(f"what a hook added is no JSON: {error.errors()[0]['msg']}") from error

    def _turn_red(self, session: pytest.Session) -> None:
        session.exitstatus = session.exitstatus or pytest.ExitCode.TESTS_FAILED

    def _what_changed(self) -> list[str]:
        if self._comparison is None:
            return []
        from vgharness.report.tables import maybe_by_chance

        of_tests = [str(found) for found in self._comparison.appearances if is_of_a_test(found)]
        return [*maybe_by_chance(self._comparison), *self._comparison.notes, *of_tests]

    def _conclusion(self) -> str:
        from vgharness.report.tables import conclusion

        if self._comparison is None:
            return "not compared"
        limits = [limit.text for limit in self.compared.limits] + list(self.compared.fail_on)
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
            self._saving.notes.append(f"nothing was added to {_STEP_SUMMARY}: {error}")
