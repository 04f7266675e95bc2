"""The other runs of the store that a run is saved in: what its page shows below it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from vgharness.errors import UsageError
from vgharness.records import Run
from vgharness.report.history import STUDY, Saved, Series, history_of
from vgharness.report.past.digest import Digest, digest_at, digest_of
from vgharness.storage.entries import Entry, Place, Skipped, place_of
from vgharness.storage.reading import without_path
from vgharness.storage.store import RunStore

FOLDER: Final = "runs"  # of the pages of single runs, beside index.html
_MOST_READ: Final = 20  # runs before this one; `vgharness list` has all
_LONGEST_NAME: Final = 60


class PastRun(NamedTuple):
    """A run of the store, and the file name of its own page."""

    place: Place
    digest: Digest
    page: str

    @property
    def label(self) -> str:
        """``0003 script``."""
        return f"{self.place.number:04} {self.place.name}"


class Past(NamedTuple):
    """What a run's page says of other runs.

    this: the run itself.
    earlier: those that began before it, the newest first.
    newer: the newest of those that began after it; ``None``: it is the newest.
    left_out: how many earlier ones there are beyond those.
    skipped: files of the store that cannot be read.
    pages: names of the pages of single runs that are there.
    """

    this: PastRun
    earlier: tuple[PastRun, ...]
    newer: PastRun | None
    left_out: int
    skipped: tuple[Skipped, ...]
    pages: frozenset[str]

    def series(self) -> tuple[Series, ...]:
        """The key values that this run has, from the first of these runs to this one, on its machine and images."""
        own = self.this.digest
        wanted = {(f"{STUDY}{value.of}", value.layer, value.quantity) for value in own.values}
        comparable = [
            Saved(run.place.number, run.place.name, run.digest)
            for run in (*reversed(self.earlier), self.this)
            if (run.digest.machine.id, run.digest.images_sha256) == (own.machine.id, own.images_sha256)
        ]
        found = history_of(comparable).series
        return tuple(series for series in found if (series.of, series.layer, series.quantity) in wanted)


class Change(NamedTuple):
    """A claim whose verdict is another than that of the last earlier run in which it ran."""

    claim: str
    before: str
    after: str


def past_of(saved: Path, run: Run, out: Path) -> Past | None:
    """What the page of ``run``, written into ``out``, says of the other runs of its store.

    saved: the run's file; a store is known by it: ``<store>/<machine id>/NNNN_name.json``. ``None`` is returned for a
    file that lies in none. Raises :class:`~vgharness.errors.UsageError` where the store cannot be read.
    """
    place = place_of(saved)
    folder = saved.parent if saved.parent.name and saved.parent.parent.name else saved.absolute().parent
    if place is None or folder.name != run.machine.id:
        return None
    this = _past_run(place, digest_of(run))
    listing = RunStore(folder.parent).entries()
    others = [x for x in listing.entries if x.kind == "run" and not _same_file(x.path, saved)]
    own = (run.created, run.machine.id, place.number)
    before = sorted((entry for entry in others if _order(entry) < own), key=_order, reverse=True)
    after = sorted((entry for entry in others if _order(entry) > own), key=_order, reverse=True)
    skipped = list(listing.skipped)
    return Past(
        this=this,
        earlier=tuple(_digested(before[:_MOST_READ], skipped)),
        newer=next(_digested(after, skipped), None),
        left_out=max(len(before) - _MOST_READ, 0),
        skipped=tuple(skipped),
        pages=frozenset(path.name for path in (out / FOLDER).glob("*.html") if path.is_file()),
    )


def changes_of(run: PastRun, earlier: Sequence[PastRun]) -> list[Change]:
    """The verdicts of ``run`` that are other than they were the last time that the claim ran, in one of ``earlier``
    (the newest first) that was held against the same document."""
    before: dict[tuple[str, str, str], str] = {}
    for each in earlier:
        if each.digest.document == run.digest.document:
            for verdict in each.digest.verdicts:
                if verdict.outcome != "not run":
                    before.setdefault((verdict.claim, verdict.variant, verdict.asks), verdict.outcome)
    several = len({verdict.variant for verdict in run.digest.verdicts}) > 1
    changed = []
    for verdict in run.digest.verdicts:
        was = before.get((verdict.claim, verdict.variant, verdict.asks))
        if was is not None and verdict.outcome not in ("not run", was):
            name = f"{verdict.claim}-{verdict.variant}" if several else verdict.claim
            changed.append(Change(name, was, verdict.outcome))
    return changed


def page_name(place: Place, created: str, machine: str) -> str:
    """The file name of a run's own page. Its last part sets it apart from a run of that number and name of another
    machine or store."""
    identity = hashlib.sha256(f"{machine}\0{created}".encode("utf-8", "backslashreplace")).hexdigest()[:8]
    return f"{place.number:04}_{place.name[:_LONGEST_NAME]}-{identity}.html"


def _digested(entries: Iterable[Entry], skipped: list[Skipped]) -> Iterator[PastRun]:
    for entry in entries:
        try:
            digest = digest_at(entry.path)
        except UsageError as error:
            skipped.append(Skipped(entry.path, without_path(entry.path, error)))
            continue
        yield _past_run(Place(entry.path, entry.number, entry.name), digest)


def _past_run(place: Place, digest: Digest) -> PastRun:
    return PastRun(place, digest, page_name(place, digest.created, digest.machine.id))


def _order(entry: Entry) -> tuple[str, str, int]:
    return entry.created, entry.machine, entry.number


def _same_file(a: Path, b: Path) -> bool:
    try:
        return a.samefile(b)
    except OSError:
        return False
