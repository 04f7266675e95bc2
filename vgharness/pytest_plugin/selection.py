"""Which tests a session had, which of them it left out and by what, and how each ended.

What a comparison misses is gone only if its test was to run, ran and measured nothing, or is no longer there: not if it
was left out, skipped, or did not come to its turn. With pytest-xdist the workers say what they collected as they end.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from vgharness.formatting import count

if TYPE_CHECKING:
    from vgharness.records import SessionStatus, TestOutcome

_OUTPUT: Final = "gradflow"  # its name among what a worker says
_WITH_FAILURE: Final = ("failed", "error", "xfailed")
_LONGEST_FAILURE: Final = 4000  # characters
TEST_ID: Final = pytest.StashKey[str]()


def test_id(item: pytest.Item) -> str:
    """A test's node id, without what pytest-xdist adds to that of a group."""
    return item.stash.get(TEST_ID, item.nodeid)


class Selection:
    """Registered as a plugin for as long as one session lasts."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self.outcomes: dict[str, TestOutcome] = {}  # by node id, as reports have it
        self._failures: dict[str, str] = {}  # by node id, what was raised
        self._node_ids: dict[str, str] = {}  # by test, the node id of each that was to run
        self._left_out: set[str] = set()  # tests
        self._measuring_left_out: set[str] = set()  # those of them that use the fixture
        self._not_collected: set[str] = set()  # node ids of files and folders
        self._collected = False

    def status(self, exitstatus: int) -> SessionStatus:
        """How the session ended."""
        if exitstatus == pytest.ExitCode.INTERNAL_ERROR:
            return "crashed"
        if exitstatus == pytest.ExitCode.INTERRUPTED:
            return "interrupted"
        if self._node_ids.values() - self.outcomes.keys():
            return "stopped"
        return "partial" if self.left_out_by() else "finished"

    def left_out_by(self) -> str:
        """What left tests out, as it was typed, beside what the project always leaves out (``addopts``)."""
        option, usual = self._config.option, _usual(self._config)
        flags = {"-k": "keyword", "-m": "markexpr"}
        said = [f"{flag} {getattr(option, name)}" for flag, name in flags.items() if _differs(option, usual, name)]
        said += [
            f"{flag} {value}"
            for flag, name in {"--ignore": "ignore", "--ignore-glob": "ignore_glob", "--deselect": "deselect"}.items()
            for value in (getattr(option, name, None) or ())
            if str(value) not in map(str, getattr(usual, name) or ())
        ]
        said += ["--lf"] if getattr(option, "lf", False) else []
        said += [arg for arg in self._typed_args() if self._is_narrow(arg)]
        if not said and self._measuring_left_out and not (usual.keyword or usual.markexpr):
            said.append(f"{count(len(self._measuring_left_out), 'test')} deselected")
        return " ".join(said)

    def outcome(self, test: str) -> TestOutcome | None:
        """How a test ended; None: it did not run to its end."""
        return self.outcomes.get(self._node_ids.get(test, test))

    def failure(self, test: str) -> str:
        """The message of what a test raised, where it failed or was expected to; empty: nothing."""
        return self._failures.get(self._node_ids.get(test, test), "")

    def is_gone(self, test: str) -> bool:
        """Of a test that measured nothing: whether it is no longer there, or ran, passed, and measures no more."""
        if test in self._node_ids:
            return self.outcome(test) in ("passed", "xpassed")
        return (
            self._collected
            and test not in self._left_out
            and not any(_is_in(test, node) for node in self._not_collected)
            and not self._may_hide_files()
            and any(self._covers(arg, test) for arg in self._config.args)
        )

    # --- hooks -----------------------------------------------------------------------------------------

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        for item in items:
            item.stash[TEST_ID] = item.nodeid

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if not report.passed:
            self._not_collected.add(report.nodeid)

    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        self._left_out |= {test_id(item) for item in items}
        self._measuring_left_out |= {test_id(x) for x in items if "gradflow" in getattr(x, "fixturenames", ())}

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        if session.items:  # of pytest-xdist's own process there are none
            self._collected = True
            self._node_ids |= {test_id(item): item.nodeid for item in session.items}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        found = _outcome(report)
        if found is not None:
            self.outcomes[report.nodeid] = found
            self._failures[report.nodeid] = _failure(report) if found in _WITH_FAILURE else ""

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        output: dict[str, Any] | None = getattr(self._config, "workeroutput", None)
        if output is not None:
            output[_OUTPUT] = {
                "collected": self._collected,
                "node_ids": self._node_ids,
                "left_out": sorted(self._left_out),
                "measuring_left_out": sorted(self._measuring_left_out),
                "not_collected": sorted(self._not_collected),
            }

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        said = getattr(node, "workeroutput", {}).get(_OUTPUT)
        if said:
            self._collected |= said["collected"]
            self._node_ids |= said["node_ids"]
            self._left_out |= set(said["left_out"])
            self._measuring_left_out |= set(said["measuring_left_out"])
            self._not_collected |= set(said["not_collected"])

    # --- arguments -------------------------------------------------------------------------------------

    def _typed_args(self) -> Sequence[str]:
        return self._config.args if self._config.args_source == pytest.Config.ArgsSource.ARGS else ()

    def _is_narrow(self, arg: str) -> bool:
        """Whether it names a test or a file, or a folder beside those that the project's tests are in."""
        path = self._path(arg)
        if "::" in arg or path.is_file():
            return True
        usual = [self._config.rootpath / folder for folder in self._config.getini("testpaths")]
        return any(not any(folder.is_relative_to(self._path(x)) for x in self._typed_args()) for folder in usual)

    def _may_hide_files(self) -> bool:
        """Whether files are left out without their tests being named."""
        usual = _usual(self._config)
        return bool(getattr(self._config.option, "lf", False)) or any(
            _differs(self._config.option, usual, name) for name in ("ignore", "ignore_glob")
        )

    def _covers(self, arg: str, test: str) -> bool:
        file, _, inside = test.partition("::")
        path, _, wanted = arg.partition("::")
        if not (self._config.rootpath / file).is_relative_to(self._path(path)):
            return False
        return not wanted or inside == wanted or inside.startswith((f"{wanted}::", f"{wanted}["))

    def _path(self, arg: str) -> Path:
        return Path(self._config.invocation_params.dir, arg.partition("::")[0]).resolve()


def _outcome(report: pytest.TestReport) -> TestOutcome | None:
    """What a report says of the whole test; None: nothing yet."""
    expected = hasattr(report, "wasxfail")
    if report.outcome not in ("passed", "failed", "skipped"):  # to be run again
        return None
    if report.when != "call" and report.failed:
        return "error"
    if report.skipped:
        return "xfailed" if expected else "skipped"
    if report.when != "call":
        return None
    return "xpassed" if expected and report.passed else report.outcome


def _failure(report: pytest.TestReport) -> str:
    """The message of what a test raised, without the way there; the beginning of a long one."""
    crash = getattr(report.longrepr, "reprcrash", None)
    message = getattr(crash, "message", None) or (report.longrepr if isinstance(report.longrepr, str) else "")
    message = message.encode("utf-8", "backslashreplace").decode()  # JSON takes no half of a character
    return message if len(message) <= _LONGEST_FAILURE else f"{message[: _LONGEST_FAILURE - 1]}…"


def _usual(config: pytest.Config) -> argparse.Namespace:
    """What the project's ``addopts`` leave out in every session."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("-k", dest="keyword", default="")
    parser.add_argument("-m", dest="markexpr", default="")
    for flag in ("--ignore", "--ignore-glob", "--deselect"):
        parser.add_argument(flag, action="append", default=[])
    try:
        return parser.parse_known_args(config.getini("addopts"))[0]
    except argparse.ArgumentError:  # pytest has refused them itself
        return parser.parse_known_args([])[0]


def _differs(option: argparse.Namespace, usual: argparse.Namespace, name: str) -> bool:
    value = getattr(option, name, None) or ""
    return bool(value) and list(map(str, value)) != list(map(str, getattr(usual, name) or ""))


def _is_in(test: str, node: str) -> bool:
    return node in ("", ".") or test == node or test.startswith((f"{node}::", f"{node}/"))
