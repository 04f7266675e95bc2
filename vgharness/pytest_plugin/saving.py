"""What a session leaves behind: in the store, in files, in a baseline, on a page. One failure keeps no other back."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from vgharness.errors import UsageError
from vgharness.formatting import count, listing
from vgharness.system.files import check_file, shown

if TYPE_CHECKING:
    from vgharness.pytest_plugin.comparing import Compared
    from vgharness.pytest_plugin.selection import Selection
    from vgharness.records import Session

_MOST_NAMED: Final = 5


class Saving:
    """Where the options say that a session goes. Says with notes what was done."""

    def __init__(self, config: pytest.Config, compared: Compared) -> None:
        """Checks all that can be known before the tests run. Raises :class:`~vgharness.errors.UsageError`."""
        self._option = config.option
        self._compared = compared
        self.notes: list[str] = []
        self._update = self._baseline()
        if hasattr(config, "workerinput"):  # a worker of pytest-xdist, which saves nothing
            return
        option = self._option
        if option.gradflow_save is not None:
            from vgharness.storage.store import check_name

            check_name(option.gradflow_save)
        if self._is_to_be_stored:
            from vgharness.storage.store import RunStore

            RunStore(option.gradflow_storage).check("--gradflow-storage")
        if option.gradflow_json is not None:
            self._check_json(option.gradflow_json)
        if option.gradflow_html is not None:
            check_file(option.gradflow_html, "--gradflow-html")
        if self._update is not None:
            from vgharness.storage.baseline import load_baseline

            check_file(self._update, "--gradflow-update")
            load_baseline(self._update)

    @property
    def is_asked_for(self) -> bool:
        files = (self._option.gradflow_json, self._option.gradflow_html, self._update)
        return self._is_to_be_stored or any(each is not None for each in files)

    @property
    def _is_to_be_stored(self) -> bool:
        return self._option.gradflow_save is not None or bool(self._option.gradflow_autosave)

    def _baseline(self) -> Path | None:
        """The file that ``--gradflow-update`` means."""
        given = self._option.gradflow_update
        if given is None:
            return None
        path = Path(given or self._option.gradflow_compare or "")
        if not path.is_absolute():  # a name, or nothing
            raise UsageError("--gradflow-update: give the baseline's file, such as --gradflow-update=gradients.json")
        storage = self._option.gradflow_storage
        if path.resolve().is_relative_to(storage.resolve()):
            raise UsageError(f"--gradflow-update {shown(path)}: saved sessions are never changed; give another file")
        return path

    def _check_json(self, path: Path) -> None:
        from vgharness.storage.baseline import is_baseline

        check_file(path, "--gradflow-json")
        if path.is_file() and path.stat().st_size and is_baseline(path):
            name = shown(self._compared.short(path))
            raise UsageError(
                f"--gradflow-json {name}: this is a baseline, of which --gradflow-update={name} writes what was "
                "measured and leaves the rest; give another file for the whole session"
            )

    def save(self, session: Session | None, selection: Selection) -> bool:
        """Does all of it. Returns whether all that was asked for is saved."""
        if session is None:
            self.notes.append("nothing was measured, so nothing is saved")
            return True
        option = self._option
        steps: list[Callable[[], str]] = []
        if self._is_to_be_stored:
            steps.append(lambda: self._store(session))
        if option.gradflow_json is not None:
            steps.append(lambda: self._write_json(session, option.gradflow_json))
        if (baseline := self._update) is not None:
            steps.append(lambda: self._write_baseline(session, baseline, selection))
        if option.gradflow_html is not None:
            steps.append(lambda: self._write_page(session, option.gradflow_html))
        done = [self._has_done(step) for step in steps]
        return all(done)

    def _has_done(self, step: Callable[[], str]) -> bool:
        try:
            self.notes.append(step())
        except (UsageError, OSError) as error:
            self.notes.append(f"not saved: {error}")
            return False
        return True

    def _store(self, session: Session) -> str:
        from vgharness.storage.store import RunStore

        commit = (session.commit or "no-commit")[:8]
        name = self._option.gradflow_save or f"{datetime.now(UTC):%Y%m%d-%H%M%S}_{commit}"
        path = RunStore(self._option.gradflow_storage).save(session, name)
        return f"saved as {self._compared.short(path)}{''.join(f'; {x}' for x in session.caveats)}"

    def _write_json(self, session: Session, path: Path) -> str:
        """Whole; but one that was cut short or left tests out takes nothing from a file that has more."""
        from vgharness.storage.store import load_session, to_json
        from vgharness.system.files import write_whole

        name = shown(self._compared.short(path))
        if path.is_file() and path.stat().st_size and session.caveats:
            here = {sample.label for sample in session.as_baseline().samples}
            lost = [x.label for x in load_session(path).as_baseline().samples if x.label not in here]
            if lost:
                tests = listing(lost, most=_MOST_NAMED)
                raise UsageError(
                    f"{name} holds what this session did not measure, or not of a test that passed: {tests}; give "
                    f"another file, or --gradflow-update={name} to keep the rest"
                )
        write_whole(path, to_json(session))
        return f"written to {name}"

    def _write_baseline(self, session: Session, path: Path, selection: Selection) -> str:
        from vgharness.storage.baseline import load_baseline, update_baseline

        name = shown(self._compared.short(path))
        if session.status not in ("finished", "partial"):
            raise UsageError(f"{name} is as it was, for the session is {session.status}; run it to its end")
        measured = {sample.label for sample in session.samples}
        gone = [x.label for x in load_baseline(path).samples if x.label not in measured and selection.is_gone(x.test)]
        done = update_baseline(path, session, gone)
        said = [
            f"{count(len(done.written), 'test')} written" if done.written else "",
            f"{len(done.unchanged)} unchanged" if done.unchanged else "",
            f"{len(done.kept)} kept as before" if done.kept else "",
            f"dropped, for they are gone: {listing(done.dropped, most=_MOST_NAMED)}" if done.dropped else "",
        ]
        failed = [sample.label for sample in session.samples if not sample.can_be_baseline]
        if failed:
            said.append(f"not taken, for they did not pass: {listing(failed, most=_MOST_NAMED)}")
        return f"baseline {name}: {', '.join(filter(None, said)) or 'nothing to write'}"

    def _write_page(self, session: Session, path: Path) -> str:
        from vgharness.report.session_page import write_session_page

        return f"page written to {self._compared.short(write_session_page(session, path))}"
