"""JSON Schemas of what is saved and printed, so that programs in any language can check and read it.

They lie in the package as ``vgharness/schemas/NAME.json``, made from the records by

    vgharness schema --out vgharness/schemas
"""

from __future__ import annotations

import inspect
import json
import re
from typing import Any, Final, Literal, NamedTuple

from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core.core_schema import ModelSchema

from vgharness.records import Baseline, Record, Run, Session, TrainingHead, TrainingLine
from vgharness.report.check_json import Checked, CheckedWithRemedies
from vgharness.report.verdict_json import Judged

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
# In a record's docstring the line that begins what is said of a field; what follows is indented further.
_FIELD: Final = re.compile(r"^(\w+): ", re.MULTILINE)
_IN_PYTHON: Final = "\nIts rows are "  # begins what a docstring says of the object, not of the file


class _Format(NamedTuple):
    """One kind of file or output.

    record: the class of it, or a union of classes.
    mode: ``serialization`` describes what this version writes, all fields in it; ``validation`` also what an earlier
        one wrote with the same ``schema_version``, from which fields that have a default may be missing.
    title: what it is.
    """

    record: Any
    mode: Literal["validation", "serialization"]
    title: str


_FORMATS: Final = {
    "run": _Format(Run, "validation", "a study's run: run.json, and the store's files of runs"),
    "session": _Format(Session, "validation", "a pytest session: the store's files of sessions"),
    "baseline": _Format(Baseline, "validation", "a baseline file, as --gradflow-baseline writes it"),
    "training": _Format(
        TrainingHead | TrainingLine,
        "validation",
        "a line of a training log (JSON Lines): its first, the head, or another",
    ),
    "report": _Format(Judged, "serialization", "verdicts: report.json, and what vgharness judge --json prints"),
    "check": _Format(Checked | CheckedWithRemedies, "serialization", "what vgharness check --json prints"),
}
SCHEMAS: Final = tuple(_FORMATS)


def schema_text(name: str) -> str:
    """The content of the schema's file; ``name`` is one of :data:`SCHEMAS`."""
    record, mode, title = _FORMATS[name]
    made = TypeAdapter(record).json_schema(mode=mode, schema_generator=_Described)
    return json.dumps({"$schema": _DIALECT, **made, "title": title}, indent=1, ensure_ascii=False) + "\n"


class _Described(GenerateJsonSchema):
    """Describes each record, and each of its fields, by what the docstrings say: its own, and of fields that it has
    from another record that one's."""

    def model_schema(self, schema: ModelSchema) -> JsonSchemaValue:
        made = super().model_schema(schema)
        first, *others = (cls for cls in schema["cls"].__mro__ if issubclass(cls, Record))
        made["description"], fields = _said(first)
        for cls in others:
            fields = {**_said(cls)[1], **fields}
        for name, field in made["properties"].items():
            field["description"] = fields[name]
        return made


def _said(record: type) -> tuple[str, dict[str, str]]:
    """What a record's docstring says of it, and of each field."""
    before, *said = _FIELD.split(inspect.cleandoc(record.__doc__ or ""))
    return _as_text(before.partition(_IN_PYTHON)[0]), dict(zip(said[::2], map(_as_text, said[1::2]), strict=True))


def _as_text(text: str) -> str:
    """A docstring's text in one line, with JSON's word for ``None``."""
    return re.sub(r":\w+:`(.*?)`", r"\1", " ".join(text.split())).replace("``None``", "null").replace("``", "`")
