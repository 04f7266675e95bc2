"""What a session is compared with: whether a test is a regression, what changed as a whole, how to accept it."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from vgharness.errors import UsageError
from vgharness.formatting import count, listing
from vgharness.pytest_plugin.options import AUTO, SEEDS
from vgharness.system.files import shown

if TYPE_CHECKING:
    from vgharness.gradflow.comparison import Appearance, Change, Comparison
    from vgharness.gradflow.limits import Limit, Presence
    from vgharness.pytest_plugin.selection import Selection
    from vgharness.records import Sample, Session

_MOST_NAMED: Final = 5  # tests, in a command to copy


class Compared:
    """The session that this one is held against, of which only tests that passed count; or that there is none yet."""

    def __init__(self, config: pytest.Config) -> None:
        """Finds and loads it, as the options say. Raises :class:`~vgharness.errors.UsageError`."""
        self._config = config
        self._option = config.option
        self.path: Path | None = None
        self.session: Session | None = None
        self.notes: list[str] = []
        self.limits: tuple[Limit, ...] = ()
        self.fail_on: tuple[Presence, ...] = ()
        self._not_passed: frozenset[str] = frozenset()  # labels
        which = self._option.gradflow_compare
        if which is None and self._option.gradflow_update:
            which = self._option.gradflow_update  # to show what is accepted
        if which is not None:
            self._find(which)
        elif self._option.gradflow_require_baseline:
            raise UsageError("--gradflow-require-baseline: give --gradflow-compare too")
        if self._option.gradflow_compare_fail:
            self._read_limits(which)

    def _find(self, which: str) -> None:
        from vgharness.storage.store import NotFoundError, RunStore, load_session

        try:
            found = RunStore(self._option.gradflow_storage).find(which or None, whole=True)
        except NotFoundError as error:
            if self._option.gradflow_require_baseline:
                raise UsageError(f"--gradflow-require-baseline: {error}") from error
            if self._option.gradflow_update is None:
                self.notes.append(f"nothing to compare with yet: {self._how_to_begin(which)}")
            return
        self.notes += [f"passed over {shown(path)}: {reason}" for path, reason in found.skipped]
        self.path, loaded = found.path, load_session(found.path)
        self.session = loaded.as_baseline()
        self._not_passed = frozenset(sample.label for sample in loaded.samples if not sample.can_be_baseline)
        self.notes += [f"of what is compared with: {caveat}" for caveat in loaded.caveats]

    def _how_to_begin(self, which: str) -> str:
        if Path(which).name == which and not which.endswith(".json"):
            return f"pytest --gradflow-save={shlex.quote(which or 'main')} saves a session"
        path = shown(self.short(Path(which)))
        return f"there is no {path}; {shlex.join(['pytest', f'--gradflow-update={path}'])} makes it"

    def _read_limits(self, which: str | None) -> None:
        from vgharness.gradflow.limits import check_limits, parse_failures

        if which is None:
            raise UsageError("--gradflow-compare-fail has nothing to compare with: give --gradflow-compare too")
        self.limits, self.fail_on = parse_failures(self._option.gradflow_compare_fail)
        if self.session is not None:
            check_limits(self.limits, self.session)

    # --- one test --------------------------------------------------------------------------------------

    def regressions(self, test: str, samples: Sequence[Sample], own: Sequence[str] = ()) -> list[str]:
        """A line for each value and layer of a test's ``samples`` that the options, or the test's ``own`` limits, say
        must fail; then one that says how to accept them."""
        limits, fail_on = self._with_own(own)
        if self.session is None or not (limits or fail_on) or self._option.gradflow_update is not None:
            return []
        from vgharness.gradflow.comparison import compare_samples

        labels = {sample.label for sample in samples}
        before = [sample for sample in self.session.samples if sample.label in labels]
        found = compare_samples(before, samples, limits, {*fail_on}, self._decisions(limits))
        # Whether a test is new or gone can only be said of the whole session.
        lines = [str(each) for each in found.regressions if not is_of_a_test(each)]
        return [*lines, f"to accept it: {self.accepting([test])}"] if lines else []

    def further_seeds(self, own: Sequence[str], sample: Sample, looks: int) -> tuple[int, ...]:
        """Which seeds to measure beside those of ``sample``, so that the session's limits and the test's ``own`` are
        decided. ``looks``: how often that was asked of the measurement before."""
        from vgharness.gradflow.more_seeds import MOST_LOOKS, further_seeds

        baseline = self.session.sample(sample.label) if self.session else None
        limits = self._with_own(own)[0]
        if baseline is None or not limits or looks + 1 >= MOST_LOOKS:
            return ()
        return further_seeds(sample, baseline, limits, self._decisions(limits))

    def _with_own(self, texts: Sequence[str]) -> tuple[tuple[Limit, ...], tuple[Presence, ...]]:
        """The session's limits and a test's own."""
        if not texts:
            return self.limits, self.fail_on
        from vgharness.gradflow.limits import check_limits, parse_failures

        limits, fail_on = parse_failures(texts)
        if self.session is not None:
            check_limits(limits, self.session)
        return (*self.limits, *limits), (*self.fail_on, *fail_on)

    def _decisions(self, limits: Sequence[Limit]) -> int:
        """How many the whole build makes, as if each test had these limits."""
        if self.session is None:
            return 0
        from vgharness.gradflow.judging import number_of_decisions
        from vgharness.gradflow.more_seeds import MOST_LOOKS

        looks = MOST_LOOKS if AUTO in self._config.stash[SEEDS] else 1
        return looks * number_of_decisions(self.session.samples, limits)

    # --- the whole session -----------------------------------------------------------------------------

    def with_all(self, samples: Sequence[Sample], now: Session | None, selection: Selection) -> Comparison | None:
        """What changed, of the tests that ran or are gone; None where there is nothing to compare with.

        ``now``: the session of ``samples``, of which machine and versions are compared too.
        """
        if self.session is None:
            return None
        from vgharness.gradflow.comparison import compare, compare_samples

        labels = {sample.label for sample in samples}
        before = [x for x in self.session.samples if x.label in labels or selection.is_gone(x.test)]
        after = [sample for sample in samples if sample.label not in self._not_passed]
        fail_on = () if self._option.gradflow_update is not None else self.fail_on
        decisions = self._decisions(self.limits)
        if now is None:
            return compare_samples(before, after, self.limits, fail_on, decisions)
        sides = (self.session.model_copy(update={"samples": before}), now.model_copy(update={"samples": after}))
        return compare(*sides, self.limits, fail_on, decisions)

    def verdict(self, comparison: Comparison, red: Sequence[str]) -> str | None:
        """The last line of a session that the comparison has turned red: why, and how to accept it. ``red``: tests
        whose own failure is that they changed."""
        found = [x for x in comparison.appearances if is_of_a_test(x) and x.fails]
        if not found and not red:
            return None
        reasons = [f"{count(len(red), 'test')} changed by more than a limit"] if red else []
        for presence in dict.fromkeys(x.presence for x in found):
            tests = [x.sample for x in found if x.presence == presence]
            named = listing(tests, most=_MOST_NAMED)
            reasons.append(f"{named} {presence} (--gradflow-compare-fail={presence})")
        return f"FAILED: {'; '.join(reasons)}. To accept: {self.accepting([] if found else red)}"

    def accepting(self, tests: Sequence[str]) -> str:
        """The command that makes what was measured what is compared with: for ``tests``, or for all."""
        named = [self._from_here(test) for test in tests] if len(tests) <= _MOST_NAMED else []
        if self.is_in_store:
            name = self.path.stem.partition("_")[2] if self.path else "main"
            return shlex.join(["pytest", f"--gradflow-save={name}"])
        return shlex.join(["pytest", f"--gradflow-update={self.short(self.path or Path())}", *named])

    @property
    def is_in_store(self) -> bool:
        """Whether what is compared with is a saved session, of which none is overwritten."""
        storage = self._option.gradflow_storage
        return self.path is not None and Path(self.path).resolve().is_relative_to(storage.resolve())

    def short(self, path: Path) -> Path:
        """A path as it can be typed here."""
        here = self._config.invocation_params.dir
        return path.relative_to(here) if path.is_relative_to(here) else path

    def _from_here(self, test: str) -> str:
        """A test's node id, which begins with a path from the project's folder, as an argument."""
        file, colons, inside = test.partition("::")
        here = self._config.invocation_params.dir
        path = file if here == self._config.rootpath else os.path.relpath(self._config.rootpath / file, here)
        return f"{path}{colons}{inside}"


def is_of_a_test(found: Change | Appearance) -> bool:
    """Whether it says that a test as a whole is new, gone or renamed."""
    from vgharness.gradflow.comparison import Appearance

    return isinstance(found, Appearance) and found.layer is None
