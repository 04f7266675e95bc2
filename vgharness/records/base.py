"""What every record shares: immutable, validated, without NaN; and the words that several records use."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final, Literal, Self, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from vgharness.formatting import escaped, shorten

Architecture = Literal["readme", "script"]
Activation = Literal[
    "sigmoid",
    "tanh",
    "relu",
    "gelu",
    "silu",
    "identity",
    "leaky_relu",
    "elu",
    "selu",
    "celu",
    "mish",
    "prelu",
    "softplus",
    "softsign",
    "hardtanh",
    "hardsigmoid",
    "hardswish",
    "relu6",
    "logsigmoid",
    "tanhshrink",
    "softshrink",
    "hardshrink",
    "own",  # what a user's own network has, where its study does not say
]
Init = Literal["default", "xavier", "kaiming"]
Norm = Literal["batch"]
OptimizerName = Literal["adam", "sgd"]
Schedule = Literal["constant", "cosine"]
Precision = Literal["fp32", "tf32", "bf16"]
Quantity = Literal["weight_mean_abs", "weight_l2", "signal_l2", "signal_rms"]
State = Literal["ok", "zero", "frozen", "unused", "nonfinite"]
Outcome = Literal["reproduced", "mixed", "not reproduced", "inconclusive", "not run", "error"]

ARCHITECTURES: tuple[Architecture, ...] = get_args(Architecture)
ACTIVATIONS: tuple[Activation, ...] = tuple(name for name in get_args(Activation) if name != "own")
INITS: tuple[Init, ...] = get_args(Init)
OPTIMIZERS: tuple[OptimizerName, ...] = get_args(OptimizerName)
SCHEDULES: tuple[Schedule, ...] = get_args(Schedule)
# Activations with parameters of their own, which make each of them a layer whose gradient is measured.
TRAINED_ACTIVATIONS: Final[frozenset[Activation]] = frozenset({"prelu"})
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
QUANTITIES: tuple[Quantity, ...] = get_args(Quantity)
OUTCOMES: tuple[Outcome, ...] = get_args(Outcome)

ONE_LOOK_CONFIDENCE = 0.95  # of the intervals by which a study that is judged once is
FIRST_SEED = 42  # the published run's only seed; seeds that are not listed are counted from it


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return escaped(value, keep=_is_a_character)
    if isinstance(value, dict):
        return {_without_surrogates(key): _without_surrogates(each) for key, each in value.items()}
    return [_without_surrogates(each) for each in value] if isinstance(value, list | tuple) else value


def _is_a_character(char: str) -> bool:
    return not "\ud800" <= char <= "\udfff"


# A name from outside. A lone surrogate (half a character, as a file name that is no UTF-8 gives) cannot be stored as
# JSON: it is kept as the text \udXXX.
Name = Annotated[str, BeforeValidator(_without_surrogates)]
# What a user adds to a record, with the same done to every text in it.
JsonObject = Annotated[dict[str, JsonValue], BeforeValidator(_without_surrogates)]

Count = Annotated[int, Field(ge=0, lt=2**63)]
Size = Annotated[int, Field(ge=1, lt=2**63)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Percent = Annotated[float, Field(ge=0, le=100)]

# What a record that comes from a file is validated with. JSON has no number that is not finite, so there is none to
# flag: 1e999 and the like are refused.
FROM_FILE: Final[Mapping[str, bool]] = {"from_file": True}


_PYDANTICS: Final = frozenset(dir(BaseModel))


class Record(BaseModel):
    """Immutable, no unknown fields, no NaN or infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def fields(self) -> dict[str, Any]:
        """The value of each field by its name. Not ``dict(record)``: some records give their rows when iterated."""
        return {name: getattr(self, name) for name in type(self).model_fields}

    def changed(self, **changes: Any) -> Self:
        """The same record with other values for some of its fields, validated anew."""
        return type(self)(**{**self.fields(), **changes})

    def __dir__(self) -> Iterable[str]:
        """What completes in a notebook: the names of this package, without the forty of pydantic's, which work too."""
        return [name for name in super().__dir__() if name.startswith("__") or name not in _PYDANTICS]


class FiniteRecord(Record):
    """A record of measured values: a NaN or an infinity becomes ``None``.

    nonfinite: names of the fields whose value was NaN or infinite.
    """

    nonfinite: tuple[str, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _flag_nonfinite(cls, fields: Any, info: ValidationInfo) -> Any:
        if info.context is FROM_FILE or not isinstance(fields, Mapping):
            return fields
        bad = [k for k, v in fields.items() if isinstance(v, float) and not math.isfinite(v)]
        if not bad:
            return fields
        return {**fields, **dict.fromkeys(bad), "nonfinite": (*fields.get("nonfinite", ()), *bad)}


def first_of(error: ValidationError) -> str:
    """The first thing that is wrong with a record, in one line that names its field."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = shorten(".".join(map(str, first["loc"])), 200) or "as a whole"
    return escaped(f"{where}: {first['msg'].removeprefix('Value error, ')}")


def nan_if_none(value: float | None) -> float:
    """The number, or NaN for what was not measured: NaN is inside no interval."""
    return math.nan if value is None else value
