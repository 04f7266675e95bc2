"""Reads claims files: TOML, of which nothing is evaluated."""

from __future__ import annotations

import csv
import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from vgharness.claims.accept import Accept
from vgharness.claims.consistency import check_in_recipe
from vgharness.claims.quantities import quantity_of
from vgharness.claims.source import WrongError, read_table, read_text
from vgharness.claims.spec import Claim, Epochs, Layers, Passes, ReadingSpec, Recipe, Row, moment_words
from vgharness.claims.subject import KNOWN_FACTORS, Subject, Value, check_factor, shown
from vgharness.errors import UsageError
from vgharness.formatting import escaped, listing, shorten
from vgharness.records import Document

MOST_READINGS: Final = 10_000
_LONGEST_LINE: Final = 1000
_TOP_KEYS: Final = ("document", "recipe", "factors", "for_each", "claim")
_CLAIM_KEYS: Final = ("id", "sentences", "words", "data", "variant", "diverged_holds", "reading")
_EXPANDED: Final = ("quantity", "at", "layer")
_OF_SAVED: Final = ("test", "training", "name")  # of a subject that is no study's
_NO_FACTORS: Final = (*_OF_SAVED, "seed", "epochs", "data")
# How a document's own markup is written; the quotes in a claims file leave it out.
_MARKUP: Final = re.compile(r"[*_`#]|&nbsp;")

_PARTS: Final[dict[str, type[BaseModel]]] = {
    "layers": Layers,
    "over": Epochs,
    "passes": Passes,
    "rows": Row,
    "accept": Accept,
}

Model = TypeVar("Model", bound=BaseModel)


def load_claims(path: Path | str | None = None) -> tuple[Claim, ...]:
    """Reads the claims in a TOML file, by default those of the studied README.

    Raises :class:`~vgharness.errors.UsageError`, one line with the file, the claim and the key, where one is not valid,
    and where a sentence is no longer in the document's own file.
    """
    return _studied_readmes() if path is None else _loaded(Path(path), path)


@cache
def _studied_readmes() -> tuple[Claim, ...]:
    """They come with the package, and pages and figures ask for them again and again."""
    source = files("vgharness.claims") / "document" / "claims.toml"
    return _loaded(source, source.name)


def _loaded(source: Traversable | Path, name: Path | str) -> tuple[Claim, ...]:
    try:
        return _File(read_table(source), source).claims()
    except WrongError as error:
        line = escaped(" ".join(f"{name}: {error}".split()))
        raise UsageError(shorten(line, _LONGEST_LINE)) from None


class _File:
    """One claims file: its content, and the folder that its own paths are relative to."""

    def __init__(self, table: dict[str, Any], source: Traversable | Path) -> None:
        self.table, self.source = table, source
        _check_keys("", table, _TOP_KEYS)
        self.declared = self._declared()
        self.document, self.text = self._document()
        self.recipe = self._recipe()
        self.for_each = self._for_each()

    def claims(self) -> tuple[Claim, ...]:
        entries = self.table.get("claim")
        if not isinstance(entries, tuple) or not entries:
            raise WrongError("no claims in it; each begins with [[claim]]")
        claims: dict[str, Claim] = {}
        readings = 0
        for number, entry in enumerate(entries, 1):
            name = _name_of(entry, number)
            try:
                claim = self._claim(entry, MOST_READINGS - readings)
            except ValidationError as error:
                raise WrongError(f"{name}: {_first(error, Claim)}") from error
            except (WrongError, ValueError) as error:
                raise WrongError(f"{name}: {error}") from error
            if claim.id in claims:
                raise WrongError(f"{name}: id: it is there twice; give each claim its own")
            claims[claim.id] = claim
            readings += len(claim.readings)
        return tuple(claims.values())

    def _claim(self, entry: Mapping[str, Any], most: int) -> Claim:
        """``most``: how many readings it may have."""
        _check_keys("", entry, _CLAIM_KEYS)
        readings: list[ReadingSpec] = []
        tables = entry.get("reading", ())
        if not isinstance(tables, tuple) or not tables:
            raise WrongError("reading: a claim needs at least one [[claim.reading]]")
        for number, table in enumerate(tables, 1):
            for fields in self._each_reading(table, f"reading {number}"):
                if len(readings) >= most:
                    raise WrongError(f"reading {number}: over {MOST_READINGS:,} readings in one file; split it")
                reading = _valid(ReadingSpec, fields, f"reading {number}")
                try:
                    check_in_recipe(reading, self.recipe)
                except ValueError as error:
                    raise WrongError(f"reading {number}: {error}") from error
                readings.append(reading)
        own = {key: value for key, value in entry.items() if key not in ("reading", "data")}
        if "variant" in own and self.for_each:
            check_factor(self.for_each, own["variant"], self.declared)
            own["variant"] = shown(own["variant"])
        recipe = dict(self.recipe)
        if "data" in entry:
            recipe["data"] = entry["data"]
        claim = Claim(
            **own,
            readings=tuple(readings),
            document=self.document,
            recipe=_valid(Recipe, recipe, ""),
            for_each=self.for_each,
        )
        for sentence in claim.sentences if self.text is not None else ():
            if _plain(sentence) not in str(self.text):
                raise WrongError(f"sentences: no longer in {self.table['document']['file']}: {sentence!r}")
        return claim

    def _each_reading(self, table: object, where: str) -> Iterator[dict[str, Any]]:
        """Yields, of a reading with lists of quantities, layers or moments, one for each combination."""
        if not isinstance(table, dict):
            raise WrongError(f"{where}: it is no table")
        _check_keys(f"{where}: ", table, tuple(ReadingSpec.model_fields))
        fields = dict(table)
        for key in ("of", "against"):
            if key in fields:
                fields[key] = self._subject(fields[key], f"{where}: {key}")
        accept = fields.get("accept")
        if isinstance(accept, dict) and "printed" in accept and not isinstance(accept["printed"], tuple):
            fields["accept"] = {**accept, "printed": (accept["printed"],)}
        if isinstance(fields.get("curve"), dict):
            fields["curve"] = self._curve(fields["curve"], where)
        lists = {key: value for key in _EXPANDED if isinstance(value := fields.get(key), tuple)}
        for key, value in lists.items():
            if not value:
                raise WrongError(f"{where}: {key}: it is empty")
        for combination in itertools.product(*lists.values()):
            one = {**fields, **dict(zip(lists, combination, strict=True))}
            if lists and isinstance(one.get("label"), str) and one["label"]:
                of = one.get("of")
                of_training = isinstance(of, Subject) and of.training is not None
                words = (_word(key, value, of_training) for key, value in zip(lists, combination, strict=True))
                one["label"] = ", ".join([one["label"], *words])
            yield one

    def _subject(self, table: object, where: str) -> Subject:
        if not isinstance(table, dict):
            raise WrongError(f'{where}: it is no table such as {{ activation = "relu" }}')
        own = {key: value for key, value in table.items() if key in _OF_SAVED}
        factors = {key: value for key, value in table.items() if key not in own}
        return _valid(Subject, {**own, "factors": self._factors(factors, where)}, where)

    def _factors(self, table: Mapping[str, Any], where: str) -> dict[str, Value]:
        for name, value in table.items():
            try:
                check_factor(name, value, self.declared)
            except ValueError as error:
                raise WrongError(f"{where}.{error}") from None
        return dict(table)

    def _curve(self, table: Mapping[str, Any], where: str) -> tuple[float, ...]:
        _check_keys(f"{where}: curve.", table, ("file", "column", "where"))
        for key in ("file", "column"):
            if not isinstance(table.get(key), str) or not table[key]:
                raise WrongError(f"{where}: curve.{key}: it needs the name of a {key}")
        wanted = table.get("where", {})
        if not isinstance(wanted, dict):
            raise WrongError(f'{where}: curve.where: it is no table such as {{ activation = "relu" }}')
        try:
            text = read_text(self._beside(table["file"]))
        except WrongError as error:
            raise WrongError(f"{where}: curve.file: {table['file']} {error}") from None
        try:
            rows = csv.DictReader(text.splitlines(), strict=True)
            chosen = [row for row in rows if all(row[key] == shown(value) for key, value in wanted.items())]
            return tuple(float(row[table["column"]]) for row in chosen)
        except KeyError as error:
            columns = listing(rows.fieldnames or ("none",), most=20)
            raise WrongError(f"{where}: curve: {table['file']} has no column {error}; it has {columns}") from None
        except (ValueError, TypeError, csv.Error) as error:
            wrong = f"{where}: curve: column {table['column']} of {table['file']} is not one of numbers"
            raise WrongError(f"{wrong} ({error})") from None

    def _declared(self) -> dict[str, tuple[Value, ...]]:
        declared = self.table.get("factors", {})
        if not isinstance(declared, dict):
            raise WrongError("factors: it is no table")
        for name, values in declared.items():
            if not name.isidentifier() or name in _NO_FACTORS:
                raise WrongError(f"factors.{name}: a factor cannot be called so")
            if not isinstance(values, tuple) or not values or not all(map(_is_value, values)):
                raise WrongError(f"factors.{name}: give the values that it can have, as skip = [true, false]")
        return dict(declared)

    def _for_each(self) -> str:
        name = self.table.get("for_each", "")
        known = (*KNOWN_FACTORS, *self.declared)
        if "for_each" in self.table and name not in known:
            raise WrongError(f"for_each: {name!r} is no factor; known: {listing(dict.fromkeys(known))}")
        if name in self.recipe.factors:
            raise WrongError(f"recipe.{name}: the claims are judged for each {name}: it is no part of the recipe")
        return str(name)

    def _document(self) -> tuple[Document, str | None]:
        table = self.table.get("document")
        if not isinstance(table, dict):
            raise WrongError("document: say what the claims are about: [document] with a title, an address or a file")
        _check_keys("document.", table, ("title", "address", "file"))
        given = {key: " ".join(value.split()) if isinstance(value, str) else "" for key, value in table.items()}
        for key, value in given.items():
            if not value:
                raise WrongError(f"document.{key}: it is no text, or empty")
        if not given:
            raise WrongError("document: give a title, an address or a file")
        text = None
        if "file" in table:
            try:
                text = _plain(read_text(self._beside(table["file"])))
            except WrongError as error:
                raise WrongError(f"document.file: {table['file']} {error}") from None
        title = given.get("title") or given.get("file") or given["address"]
        return Document(title=title, address=given.get("address", "")), text

    def _recipe(self) -> Recipe:
        table = self.table.get("recipe", {})
        if not isinstance(table, dict):
            raise WrongError("recipe: it is no table")
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
        raise WrongError(": ".join(part for part in (where, _first(error, model)) if part)) from error


def _first(error: ValidationError, model: type[BaseModel]) -> str:
    """What is wrong, of several things the first: its key, and the known ones where it is none of them."""
    first = error.errors(include_url=False, include_input=False)[0]
    # Of a value that may be of several types pydantic says which of them it was held against: that is no key.
    where = ".".join(str(part) for part in first["loc"] if isinstance(part, int) or part.isidentifier())
    message = first["msg"].removeprefix("Value error, ")
    if first["type"] == "extra_forbidden":
        *parents, _ = first["loc"]
        message = f"unknown key; known: {listing(_fields_at(model, parents))}"
    if first["type"] == "missing":
        message = "it is missing"
    # A message of our own that begins with the key stands for itself.
    named = re.match(r"\w+(\.\w+)?: ", message)
    return message if not where or (named and not first["loc"]) else f"{where}: {message}"


def _fields_at(model: type[BaseModel], parents: Sequence[int | str]) -> Iterator[str]:
    """The names of the fields of that part of a model."""
    part: Any = model
    for key in parents:
        if isinstance(key, str):
            part = _PARTS.get(key, part)
    return iter(part.model_fields)


def _check_keys(where: str, table: object, known: Sequence[str]) -> None:
    if not isinstance(table, dict):
        raise WrongError(f"{where or 'claim'}: it is no table")
    for key in table:
        if key not in known:
            raise WrongError(f"{where}{key}: unknown key; known: {listing(known)}")


def _name_of(entry: object, number: int) -> str:
    name = entry.get("id") if isinstance(entry, dict) else None
    return f"claim {name!r}" if isinstance(name, str) else f"claim {number}"


def _word(key: str, value: object, of_training: bool) -> str:
    if key == "quantity":
        found = quantity_of(value) if isinstance(value, str) else None
        return found.words if found is not None else str(value)
    return moment_words(value, of_training=of_training) if key == "at" else str(value)  # type: ignore[arg-type]


def _plain(text: str) -> str:
    return " ".join(_MARKUP.sub("", text).split())


def _is_value(value: object) -> bool:
    return bool(value.strip()) if isinstance(value, str) else isinstance(value, int | float) and math.isfinite(value)
