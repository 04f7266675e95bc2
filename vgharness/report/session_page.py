"""A session → one self-contained HTML page: each model's layers, and what they are ill with."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vgharness.gradflow.diagnosis import diagnose, summary
from vgharness.records import GradientFlow
from vgharness.records.session import LayerKey, Sample, Session, key_of
from vgharness.report.templates import environment
from vgharness.statistics import geometric_mean, interval
from vgharness.system.files import write_whole


def write_session_page(session: Session, page: Path) -> Path:
    """Writes ``page`` and returns its path."""
    page.parent.mkdir(parents=True, exist_ok=True)
    write_whole(page, render_session(session).encode())
    return page


def render_session(session: Session) -> str:
    """The page as a string. Whatever the session holds is escaped."""
    samples = [_sample(sample) for sample in session.samples]
    return environment().get_template("session.html.j2").render(session=session, samples=samples)


def _sample(sample: Sample) -> dict[str, Any]:
    diagnosis = diagnose(sample.flows)
    signal, weight, saturated = (sample.values(name) for name in ("signal_l2", "weight_l2", "saturated"))
    factors = {below: values for (below, _), values in sample.factors().items()}
    return {
        "label": sample.label,
        "seeds": sample.seeds,
        "extra_info": sample.extra_info,
        "diagnosis": diagnosis,
        "summary": summary(diagnosis),
        "saturation": "saturated" in sample.quantities,
        "rows": [
            {
                "layer": str(key),
                "state": _states(sample.flows, key),
                "signal": _mean(signal[key]),
                "factor": _factor(factors[key]) if key in factors else "",
                "weight": _mean(weight[key]),
                "saturated": _mean(saturated[key]),
            }
            for key in sample.keys
        ],
    }


def _states(flows: Sequence[GradientFlow], key: LayerKey) -> str:
    """Each state with the number of seeds, where seeds differ."""
    counts = Counter(layer.state for flow in flows for layer in flow.layers if key_of(layer) == key)
    return next(iter(counts)) if len(counts) == 1 else ", ".join(f"{state} ({n})" for state, n in counts.items())


def _mean(values: Sequence[float]) -> str:
    if not all(map(math.isfinite, values)):
        return "–"
    if len(values) == 1:
        return f"{values[0]:.3g}"
    found = interval(values)
    return f"{found.mean:.3g} [{found.low:.3g}, {found.high:.3g}]"


def _factor(values: Sequence[float]) -> str:
    mean = geometric_mean(values)
    return f"{mean:.3g}" if mean > 0 else "–"
