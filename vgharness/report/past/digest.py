"""What later pages need of a saved run, kept beside it: a run of 200 networks is 10 MB, and a store holds many.

A digest is ``<store>/<machine id>/.digests/NNNN_name.json``. It counts only as long as the run's file has the size and
the time of change that it had when the digest was made; else, and where there is none, it is made anew from the file.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Literal

from pydantic import ValidationError

from vgharness.errors import UsageError
from vgharness.formatting import count, listing
from vgharness.records import Count, Document, Machine, Name, Outcome, Record, Run, Study, Verdict
from vgharness.report.past.values import KeyValue, key_values
from vgharness.report.verdict_table import deciding
from vgharness.storage.reading import read_content
from vgharness.storage.store import load_run
from vgharness.system.files import write_whole

DIGEST_VERSION: Final = 2
_FOLDER: Final = ".digests"
_MOST_NAMED: Final = 4


class DigestVerdict(Record):
    """A verdict's outcome.

    claim: its id.
    variant: as of the verdict.
    asks: a hash of the sentence and of what is expected: a claim that asks for something else is another one.
    outcome: what it came to.
    """

    claim: Name
    variant: Name
    asks: str
    outcome: Outcome


class Digest(Record):
    """What later pages need of a run.

    schema_version: of this format; version 1 had no ``settings``.
    file_size: of the run's file, in bytes.
    file_changed: when that was written, in nanoseconds.
    created, status, command, commit, machine, document: as of the run.
    preset: that its study was planned from.
    settings: of its networks, in short.
    images: in words.
    images_sha256: over their pixels and labels.
    verdicts: their outcomes.
    values: the key values.
    """

    schema_version: Literal[2] = DIGEST_VERSION
    file_size: Count
    file_changed: int
    created: Name
    status: Name
    command: Name
    commit: Name | None
    machine: Machine
    document: Document | None
    preset: Name
    settings: Name
    images: Name
    images_sha256: str
    verdicts: tuple[DigestVerdict, ...]
    values: tuple[KeyValue, ...]


def digest_of(run: Run, size: int = 0, changed: int = 0) -> Digest:
    """The digest of ``run``, whose file has that size and was changed at that time."""
    return Digest(
        file_size=size,
        file_changed=changed,
        created=run.created,
        status=run.status,
        command=run.command,
        commit=run.commit,
        machine=run.machine,
        document=run.document,
        preset=run.study.preset,
        settings=in_short(run.study),
        images=run.data.description,
        images_sha256=run.data.sha256,
        verdicts=tuple(_outcomes(run.verdicts)),
        values=tuple(key_values(run)),
    )


def digest_at(path: Path) -> Digest:
    """The digest of the run saved as ``path``: the one that is kept, where it is of the file as it is, else one made
    from the file and kept. Raises :class:`~vgharness.errors.UsageError` where that cannot be loaded."""
    kept = path.parent / _FOLDER / path.name
    try:
        seen = path.stat()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror})") from error
    with contextlib.suppress(UsageError, ValidationError):
        digest = Digest.model_validate(read_content(kept))
        if (digest.file_size, digest.file_changed) == (seen.st_size, seen.st_mtime_ns):
            return digest
    digest = digest_of(load_run(path), seen.st_size, seen.st_mtime_ns)
    # Where it cannot be kept, as in a store that is read only, it is made again the next time.
    with contextlib.suppress(OSError):
        kept.parent.mkdir(exist_ok=True)
        write_whole(kept, digest.model_dump_json(indent=1).encode())
    return digest


def in_short(study: Study) -> str:
    """``6 networks: sigmoid, relu; script / script, depth 8; 3 seeds; 2 epochs``."""
    cells = study.cells
    kinds = list(dict.fromkeys(cell.settings for cell in cells))
    more = f" and {len(kinds) - _MOST_NAMED} more" if len(kinds) > _MOST_NAMED else ""
    activations = listing(dict.fromkeys(cell.activation for cell in cells), most=_MOST_NAMED)
    epochs = sorted({cell.epochs for cell in cells if cell.epochs})
    trained = f"{listing(epochs, most=_MOST_NAMED)} epochs" if epochs else "at initialisation only"
    precision = [] if study.precision == "fp32" else [study.precision]
    seeds = count(len({cell.seed for cell in cells}), "seed")
    named = f"{' / '.join(kinds[:_MOST_NAMED])}{more}"
    return "; ".join([f"{count(len(cells), 'network')}: {activations}", named, seeds, trained, *precision])


def _outcomes(verdicts: Iterable[Verdict]) -> Iterable[DigestVerdict]:
    for verdict in verdicts:
        asked = [verdict.sentence, *sorted({reading.expected for reading in deciding(verdict)})]
        yield DigestVerdict(
            claim=verdict.claim,
            variant=verdict.variant,
            asks=hashlib.sha256("\0".join(asked).encode("utf-8", "backslashreplace")).hexdigest()[:16],
            outcome=verdict.outcome,
        )
