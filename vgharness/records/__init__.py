"""The validated data that everything passes along: cells, gradient flows, verdicts, runs, sessions.

Every class is an immutable pydantic model, so what is written to disk is checked on its way out and again on its way
in. Knows nothing of torch. JSON has no NaN: a value that was not finite is stored as null and its name is listed in the
record's ``nonfinite``. Other packages import records from here.
"""

from vgharness.records.base import (
    ACTIVATIONS,
    ARCHITECTURES,
    FIRST_SEED,
    OUTCOMES,
    PRECISIONS,
    QUANTITIES,
    Activation,
    Architecture,
    FiniteRecord,
    Init,
    JsonObject,
    Name,
    Norm,
    Outcome,
    Precision,
    Quantity,
    Record,
    State,
    nan_if_none,
)
from vgharness.records.flow import (
    LAYER_QUANTITIES,
    GradientFlow,
    LayerGradient,
    LayerKey,
    NonfiniteOrigin,
    ParameterGradient,
    TimePath,
    factors_toward_input,
    last_passes,
    quotient,
)
from vgharness.records.provenance import Machine, Provenance
from vgharness.records.remedy import DescentRecord, RemedyRecord
from vgharness.records.run import (
    SCHEMA_VERSION,
    CellResult,
    Epoch,
    LayerError,
    LayerPrediction,
    LayerShape,
    Run,
)
from vgharness.records.session import SESSION_VERSION, Sample, Session, Steps
from vgharness.records.study import Cell, Study
from vgharness.records.verdict import Reading, SeedValue, Verdict

__all__ = [
    "ACTIVATIONS",
    "ARCHITECTURES",
    "FIRST_SEED",
    "LAYER_QUANTITIES",
    "OUTCOMES",
    "PRECISIONS",
    "QUANTITIES",
    "SCHEMA_VERSION",
    "SESSION_VERSION",
    "Activation",
    "Architecture",
    "Cell",
    "CellResult",
    "DescentRecord",
    "Epoch",
    "FiniteRecord",
    "GradientFlow",
    "Init",
    "JsonObject",
    "LayerError",
    "LayerGradient",
    "LayerKey",
    "LayerPrediction",
    "LayerShape",
    "Machine",
    "Name",
    "NonfiniteOrigin",
    "Norm",
    "Outcome",
    "ParameterGradient",
    "Precision",
    "Provenance",
    "Quantity",
    "Reading",
    "Record",
    "RemedyRecord",
    "Run",
    "Sample",
    "SeedValue",
    "Session",
    "State",
    "Steps",
    "Study",
    "TimePath",
    "Verdict",
    "factors_toward_input",
    "last_passes",
    "nan_if_none",
    "quotient",
]
