"""Reads claims files: TOML, of which nothing is evaluated."""

from __future__ import annotations

import csv
import itertools
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from vgharness.claims.quantities import QUANTITIES
from vgharness.claims.spec import Claim, Layers, ReadingSpec, Recipe, moment_words
from vgharness.claims.subject import KNOWN_FACTORS, Subject, Value, check_factor
from vgharness.errors import UsageError
from vgharness.formatting import escaped, listing
from vgharness.records import Document

MOST_BYTES: Final = 5_000_000
MOST_READINGS: Final = 10_000
_TOP_KEYS: Final = ("document", "recipe", "factors", "for_each", "claim")
_CLAIM_KEYS: Final = ("id", "sentences", "words", "data", "variant", "diverged_holds", "reading")
_EXPANDED: Final = ("quantity", "at", "layer")
# How a document's own markup is written; the quotes in a claims file leave it out.
_MARKUP: Final = re.compile(r"[*_`#]|&nbsp;")


Model = TypeVar("Model", bound=BaseModel)


class _WrongError(Exception):
    """Something in a claims file is wrong; the message says where, from the claim on, and what."""


def load_claims(path: Path | str | None = None) -> tuple[Claim, ...]:
    """Reads the claims in a TOML file, by default those of the studied README.

    Raises :class:`~vgharness.errors.UsageError`, one line with the file, the claim and the key, where one is not valid,
    and where a sentence is no longer in the document's own file.
    """
    source = files("vgharness.claims") / "document" / "claims.toml" if path is None else Path(path)
    try:
        return _File(_table(source), source).claims()
    except _WrongError as error:
        raise UsageError(escaped(" ".join(f"{path or source.name}: {error}".split()))) from None


def _table(source: Traversable | Path) -> dict[str, Any]:
    try:
        content = source.read_bytes()
    except OSError as error:
        raise _WrongError(f"cannot be read ({error.strerror})") from error
    if len(content) > MOST_BYTES:
        raise _WrongError(f"{len(content):,} bytes; a claims file has at most {MOST_BYTES:,}")
    try:
        table = tomllib.loads(content.decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise _WrongError(f"not valid TOML: {error}") from error
    except RecursionError:
        raise _WrongError("not valid TOML: nested too deeply") from None
    return {key: _as_tuples(value) for key, value in table.items()}


def _as_tuples(value: Any, depth: int = 0) -> Any:
    if depth > 20:
        raise _WrongError("nested too deeply")
    if isinstance(value, list):
        return tuple(_as_tuples(each, depth + 1) for each in value)
    if isinstance(value, dict):
        return {key: _as_tuples(each, depth + 1) for key, each in value.items()}
    return value


class _File:
    """One claims file: its content, and the folder that its own paths are relative to."""

    def __init__(self, table: dict[str, Any], source: Traversable | Path) -> None:
        self.table, self.source = table, source
        _check_keys("", table, _TOP_KEYS)
        self.declared = self._declared()
        self.document, self.text = self._document()
        self.recipe = self._recipe()

    def claims(self) -> tuple[Claim, ...]:
        entries = self.table.get("claim")
        if not isinstance(entries, tuple) or not entries:
            raise _WrongError("no claims in it; each begins with [[claim]]")
        for_each = self.table.get("for_each", "")
        if for_each and for_each not in (*KNOWN_FACTORS, *self.declared):
            raise _WrongError(
                f"for_each: {for_each!r} is no factor; known: {listing((*KNOWN_FACTORS, *self.declared))}"
            )
        claims: list[Claim] = []
        for number, entry in enumerate(entries, 1):
            name = _name_of(entry, number)
            try:
                claims.append(self._claim(entry, for_each))
            except ValidationError as error:
                raise _WrongError(f"{name}: {_first(error, Claim)}") from error
            except (_WrongError, ValueError) as error:
                raise _WrongError(f"{name}: {error}") from error
            if sum(len(claim.readings) for claim in claims) > MOST_READINGS:
                raise _WrongError(f"{name}: over {MOST_READINGS:,} readings in one file; split it")
            if [claim.id for claim in claims].count(claims[-1].id) > 1:
                raise _WrongError(f"{name}: id: it is there twice; give each claim its own")
        return tuple(claims)

    def _claim(self, entry: Mapping[str, Any], for_each: str) -> Claim:
        _check_keys("", entry, _CLAIM_KEYS)
        readings: list[ReadingSpec] = []
        tables = entry.get("reading", ())
        if not isinstance(tables, tuple) or not tables:
            raise _WrongError("reading: a claim needs at least one [[claim.reading]]")
        for number, table in enumerate(tables, 1):
            for fields in self._each_reading(table, f"reading {number}"):
                if len(readings) >= MOST_READINGS:
                    raise _WrongError(f"over {MOST_READINGS:,} readings; split the claim")
                readings.append(_valid(ReadingSpec, fields, f"reading {number}"))
        claim = Claim(
            **{key: value for key, value in entry.items() if key not in ("reading", "data")},
            readings=tuple(readings),
            document=self.document,
            recipe=self.recipe.model_copy(update={"data": entry.get("data", self.recipe.data)}),
            for_each=for_each,
        )
        self._check_sentences(claim)
        if claim.variant:
            check_factor(for_each or "variant", claim.variant, self.declared)
        return claim

    def _check_sentences(self, claim: Claim) -> None:
        if self.text is not None:
            for sentence in claim.sentences:
                if _plain(sentence) not in self.text:
                    raise _WrongError(f"sentences: no longer in {self.table['document']['file']}: {sentence!r}")

    def _each_reading(self, table: object, where: str) -> Iterator[dict[str, Any]]:
        """Yields, of a reading with lists of quantities, layers or moments, one for each combination."""
        if not isinstance(table, dict):
            raise _WrongError(f"{where}: it is no table")
        fields = dict(table)
        for key in ("of", "against"):
            if key in fields:
                fields[key] = self._subject(fields[key], f"{where}: {key}")
        accept = fields.get("accept")
        if isinstance(accept, dict) and isinstance(accept.get("printed"), int | float):
            fields["accept"] = {**accept, "printed": (accept["printed"],)}
        if isinstance(fields.get("curve"), dict):
            fields["curve"] = self._curve(fields["curve"], where)
        lists = {key: value for key in _EXPANDED if isinstance(value := fields.get(key), tuple)}
        for combination in itertools.product(*lists.values()):
            one = {**fields, **dict(zip(lists, combination, strict=True))}
            if lists and isinstance(one.get("label"), str) and one["label"]:
                one["label"] = ", ".join([one["label"], *map(_word, lists, combination)])
            yield one

    def _subject(self, table: object, where: str) -> Subject:
        if not isinstance(table, dict):
            raise _WrongError(f'{where}: it is no table such as {{ activation = "relu" }}')
        own = {key: value for key, value in table.items() if key in ("test", "name")}
        factors = {key: value for key, value in table.items() if key not in own}
        for key, value in own.items():
            if not isinstance(value, str):
                raise _WrongError(f"{where}.{key}: it is no text")
        return _valid(Subject, {**own, "factors": self._factors(factors, where)}, where)

    def _factors(self, table: Mapping[str, Any], where: str) -> dict[str, Value]:
        for name, value in table.items():
            try:
                check_factor(name, value, self.declared)
            except ValueError as error:
                raise _WrongError(f"{where}.{error}") from None
        return dict(table)

    def _curve(self, table: Mapping[str, Any], where: str) -> tuple[float, ...]:
        _check_keys(f"{where}: curve.", table, ("file", "column", "where"))
        try:
            text = self._beside(str(table["file"])).read_text(encoding="utf-8")
            rows = list(csv.DictReader(text.splitlines()))
            wanted = table.get("where", {})
            values = tuple(float(row[table["column"]]) for row in rows if all(row[k] == v for k, v in wanted.items()))
        except (KeyError, ValueError, TypeError, AttributeError, csv.Error) as error:
            raise _WrongError(f"{where}: curve: not a column of numbers ({type(error).__name__}: {error})") from error
        except OSError as error:
            raise _WrongError(f"{where}: curve: {table['file']} cannot be read ({error.strerror})") from error
        if self.recipe.epochs is None or len(values) != self.recipe.epochs:
            raise _WrongError(f"{where}: curve: {len(values)} values; it needs one for each of the recipe's epochs")
        return values

    def _declared(self) -> dict[str, tuple[Value, ...]]:
        declared = self.table.get("factors", {})
        for name, values in declared.items() if isinstance(declared, dict) else [("", None)]:
            if not isinstance(values, tuple) or not values or not all(isinstance(v, str | int | float) for v in values):
                raise _WrongError(f"factors.{name}: give the values that it can have, as skip = [true, false]")
        return dict(declared)

    def _document(self) -> tuple[Document, str | None]:
        table = self.table.get("document")
        if not isinstance(table, dict):
            raise _WrongError("document: say what the claims are about: [document] with a title, an address or a file")
        _check_keys("document.", table, ("title", "address", "file"))
        if not all(isinstance(value, str) and value for value in table.values()) or not table:
            raise _WrongError("document: title, address and file are texts, at least one of them given")
        text = None
        if "file" in table:
            try:
                text = _plain(self._beside(table["file"]).read_text(encoding="utf-8"))
            except (OSError, UnicodeDecodeError) as error:
                raise _WrongError(f"document.file: {table['file']} cannot be read ({_why(error)})") from error
        title = table.get("title") or table.get("file") or table["address"]
        return Document(title=title, address=table.get("address", "")), text

    def _recipe(self) -> Recipe:
        table = self.table.get("recipe", {})
        if not isinstance(table, dict):
            raise _WrongError("recipe: it is no table")
        own = {key: value for key, value in table.items() if key in ("epochs", "data")}
        factors = {key: value for key, value in table.items() if key not in own}
        return _valid(Recipe, {**own, "factors": self._factors(factors, "recipe")}, "recipe")

    def _beside(self, name: str) -> Traversable | Path:
        if isinstance(self.source, Path):
            return self.source.parent / name
        return files("vgharness.claims") / "document" / name


def _valid(model: type[Model], fields: Mapping[str, Any], where: str) -> Model:
    try:
        return model.model_validate(fields)
    except ValidationError as error:
        raise _WrongError(f"{where}: {_first(error, model)}") from error


def _first(error: ValidationError, model: Any) -> str:
    """What is wrong, of several things the first: its key, and the known ones where it is none of them."""
    first = error.errors()[0]
    where = ".".join(
        str(part) for part in first["loc"] if not str(part).startswith(("constrained", "literal", "tuple"))
    )
    if first["type"] == "extra_forbidden":
        known = {"layers": Layers.model_fields}.get(where.split(".")[0], model.model_fields)
        names = listing(known) if "." not in where or where.startswith("layers") else "see the README"
        return f"{where}: unknown key; known: {names}"
    if first["type"] == "missing":
        return f"{where}: it is missing"
    message = first["msg"].removeprefix("Value error, ")
    # A message of our own that begins with the key stands for itself.
    named = re.match(r"\w+(\.\w+)?: ", message)
    return message if named and not where else f"{where}: {message}" if where else message


def _check_keys(where: str, table: object, known: Sequence[str]) -> None:
    if not isinstance(table, dict):
        raise _WrongError(f"{where or 'claim'}: it is no table")
    for key in table:
        if key not in known:
            raise _WrongError(f"{where}{key}: unknown key; known: {listing(known)}")


def _name_of(entry: object, number: int) -> str:
    name = entry.get("id") if isinstance(entry, dict) else None
    return f"claim {name!r}" if isinstance(name, str) else f"claim {number}"


def _word(key: str, value: object) -> str:
    if key == "quantity":
        return QUANTITIES[value].words if isinstance(value, str) and value in QUANTITIES else str(value)
    return moment_words(value) if key == "at" else str(value)  # type: ignore[arg-type]


def _plain(text: str) -> str:
    return " ".join(_MARKUP.sub("", text).split())


def _why(error: Exception) -> str:
    return getattr(error, "strerror", None) or type(error).__name__
