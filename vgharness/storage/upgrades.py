"""Upgrades of saved files: what turns the content of one version of a format into that of the next."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

Content = dict[str, Any]
Upgrades = Mapping[int, Callable[[Content], Content]]


def _run_2(content: Content) -> Content:
    """Fields of a layer got names that say what they hold."""
    results = [
        {
            **result,
            "initial": _flow_2(result.get("initial")),
            "epochs": [{**epoch, "flow": _flow_2(epoch["flow"])} for epoch in result.get("epochs", ())],
        }
        for result in content["results"]
    ]
    return {**content, "results": results}


def _run_3(content: Content) -> Content:
    """Numerical errors are of several moments; verdicts, which came of rules that were wrong, are judged anew."""
    results = [
        {**result, "numerics": [{"epoch": 0, "layers": errors}] if (errors := result.get("numerics")) else []}
        for result in content["results"]
    ]
    return {**content, "results": results, "verdicts": []}


def _session_2(content: Content) -> Content:
    samples = [{**sample, "flows": [_flow_2(flow) for flow in sample["flows"]]} for sample in content["samples"]]
    return {**content, "samples": samples}


def _session_3(content: Content) -> Content:
    """How tests and sessions ended is kept from here on; of older ones nobody knows, and the defaults say so."""
    return content


def _flow_2(flow: Content | None) -> Content | None:
    if flow is None:
        return None
    names = {"call": "forward_pass", "backward": "backward_pass"}
    return {**flow, "layers": [_renamed(layer, names) for layer in flow["layers"]]}


def _renamed(fields: Content, names: Mapping[str, str]) -> Content:
    renamed = {names.get(name, name): value for name, value in fields.items()}
    if "nonfinite" in fields:
        renamed["nonfinite"] = [names.get(name, name) for name in fields["nonfinite"]]
    return renamed


# By the version that a file has.
RUN_UPGRADES: Final[dict[int, Callable[[Content], Content]]] = {1: _run_2, 2: _run_3}
SESSION_UPGRADES: Final[dict[int, Callable[[Content], Content]]] = {1: _session_2, 2: _session_3}
TRAINING_UPGRADES: Final[dict[int, Callable[[Content], Content]]] = {}
