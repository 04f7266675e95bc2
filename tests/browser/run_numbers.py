"""The numbers that a study's page may show, part by part, worked out of the run's JSON on their own."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from fnmatch import fnmatchcase
from typing import Any, Final

import numpy as np
from scipy import stats

from vgharness.claims.published import published_curves
from vgharness.formatting import duration, number, percent

Content = dict[str, Any]  # a run's JSON
Values = Sequence[float]

NUMBER: Final = re.compile(r"(?<![\w.,])-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?(?:e[-+]?\d+)?")
# What pages say of every run: 95 % intervals; steady between ×0.5 and ×2; maps of the first 256 test images; images
# re-encoded cost up to 4 points; 32×32 crops, padded by 4; float64; SHA-256; CIFAR-10.
CONSTANTS: Final = {
    "": ("95", "0.5", "2", "4", "10"),
    "gradients": ("95", "0.5", "2"),
    "claims": ("95",),
    "accuracy": ("95",),
    "maps": ("256",),
    "depths": (),
    "theory": (),
    "numerics": (),
    "networks": (),
    "how": ("32", "4", "256"),
}


def numbers_in(text: str) -> list[str]:
    """Numbers as they are written, in their order; digits that belong to a name (``conv1``) are none."""
    return NUMBER.findall(text)


# --- statistics ------------------------------------------------------------------------------------------

SCALES: Final[dict[str, tuple[Callable[[Any], Any], Callable[[Any], Any]]]] = {
    "linear": (lambda x: x, lambda x: x),
    "log": (np.log, np.exp),
    "logit": (lambda x: np.log((x / 100) / (1 - x / 100)), lambda y: 100 / (1 + np.exp(-y))),
}


def summary(values: Values, scale: str, images: int = 0) -> list[float]:
    """Mean and, of two and more values, the ends of Student's 95 % interval, taken on ``scale``.

    images: of which an accuracy is a percentage: it has at least the scatter of a share of so many.
    """
    there, back = SCALES[scale]
    if len(set(values)) == 1 and not images:
        return [values[0]] * (3 if len(values) > 1 else 1)
    scaled = np.array([there(value) for value in values])
    middle = scaled.mean()
    mean = values[0] if len(set(values)) == 1 else float(back(middle))
    if len(values) < 2:
        return [mean]
    grain = 0.0
    if images:
        share = [(value / 100 * images + 0.5) / (images + 1) for value in values]
        points = float(np.mean([100 * math.sqrt(each * (1 - each) / images) for each in share]))
        straight = float(np.mean(values))
        grain = 100 * points / (straight * (100 - straight))  # the slope of the logit, in points
    spread = max(float(scaled.std(ddof=1)), grain)
    half = max(float(stats.t.ppf(0.975, len(values) - 1)) * spread / math.sqrt(len(values)), grain)
    return [mean, float(back(middle - half)), float(back(middle + half))]


def shown(values: Iterable[float | None]) -> Iterable[str]:
    """As pages write them, and as they would with the last bit of the computation otherwise."""
    for value in values:
        for bit in (0.0, 1e-12, -1e-12):
            yield number(None if value is None else value * (1 + bit))


# --- what a run holds ------------------------------------------------------------------------------------


def kinds(run: Content) -> dict[tuple[Any, ...], list[Content]]:
    """Results of networks that differ in their seed only."""
    found: dict[tuple[Any, ...], list[Content]] = {}
    for result in run["results"]:
        fields = {key: value for key, value in result["cell"].items() if key not in ("seed", "epochs")}
        found.setdefault(tuple(sorted(fields.items(), key=str)), []).append(result)
    return found


def norms(flow: Content, quantity: str) -> list[float]:
    """Of each convolution, from the input on."""
    return [layer[quantity] for layer in flow["layers"] if fnmatchcase(layer["name"], "conv*")]


def factor(flow: Content, quantity: str) -> float:
    sizes = norms(flow, quantity)
    return float((sizes[0] / sizes[-1]) ** (1 / (len(sizes) - 1)))


def moments(results: Sequence[Content], value: Callable[[Content], float]) -> dict[int, list[float]]:
    """By epoch (0: at initialisation) a value of each seed's gradients, as far as all of them got."""
    found = {}
    if all(result["initial"] for result in results):
        found[0] = [value(result["initial"]) for result in results]
    for epoch in range(1, 1 + min(len(result["epochs"]) for result in results)):
        found[epoch] = [value(result["epochs"][epoch - 1]["flow"]) for result in results]
    return found


def _sure(run: Content) -> Iterable[str]:
    yield from map(str, sorted({result["cell"]["seed"] for result in run["results"]}))
    yield str(len({result["cell"]["seed"] for result in run["results"]}))


# --- what each part may show -----------------------------------------------------------------------------


def factors(run: Content, quantity: str, first_and_last: bool = False) -> Iterable[str]:
    for results in kinds(run).values():
        if not any(result["epochs"] for result in results) and not first_and_last:
            continue
        by_epoch = moments(results, lambda flow: factor(flow, quantity))
        for epoch, values in by_epoch.items():
            if not first_and_last or epoch in (min(by_epoch), max(by_epoch)):
                yield from shown([*summary(values, "log"), *values])
        yield from _turns({epoch: summary(values, "log") for epoch, values in by_epoch.items()})


def _turns(means: dict[int, list[float]]) -> Iterable[str]:
    """The epochs from which on a factor is within, below or above ×0.5 to ×2 for good, and the last one."""
    states = {}
    for epoch, (_, *ends) in means.items():
        low, high = ends or (math.nan, math.nan)
        inside = low >= 0.5 and high <= 2
        states[epoch] = "shrink" if high < 0.5 else "grow" if low > 2 else "steady" if inside else "open"
    last = max(states)
    yield str(last)
    yield str(1 + max((epoch for epoch, state in states.items() if state != states[last]), default=last - 1))


def layers(run: Content) -> Iterable[str]:
    for results in kinds(run).values():
        for quantity in ("signal_l2", "weight_mean_abs"):
            for place in range(len(norms(results[0]["initial"], quantity))):
                by_epoch = moments(results, lambda flow, q=quantity, p=place: norms(flow, q)[p])  # type: ignore[misc]
                for values in by_epoch.values():
                    yield from shown(summary(values, "log"))


def accuracies(run: Content) -> Iterable[str]:
    for results in kinds(run).values():
        for epoch in range(min(len(result["epochs"]) for result in results)):
            for name, scale, images in (
                ("test_accuracy", "logit", run["data"]["test_images"]),
                ("test_loss", "log", 0),
            ):
                values = [result["epochs"][epoch][name] for result in results]
                yield from shown([*summary(values, scale, images), *values])
    for curve in published_curves().values():
        yield from shown([curve[-1]["test_accuracy_percent"], curve[-1]["test_loss"]])


def maps(run: Content) -> Iterable[str]:
    for group in settings(run).values():
        means = []
        for results in group:
            if maps_of_seeds := [result["heatmap"] for result in results if result["heatmap"]]:
                means.append(np.exp(np.log(np.array(maps_of_seeds)).mean(axis=0)))
        sizes = [float(each.mean()) for each in means]
        yield from shown([*sizes, *(float(end) for each in means for end in (each.min(), each.max()))])
        if sizes:
            yield from shown([max(sizes) / min(sizes)])


def settings(run: Content) -> dict[tuple[Any, ...], list[list[Content]]]:
    """Kinds by what they have in common but the activation."""
    found: dict[tuple[Any, ...], list[list[Content]]] = {}
    for kind, results in kinds(run).items():
        found.setdefault(tuple(each for each in kind if each[0] != "activation"), []).append(results)
    return found


def depths(run: Content) -> Iterable[str]:
    for results in kinds(run).values():
        yield str(results[0]["cell"]["depth"])
        signals = [norms(result["initial"], "signal_l2") for result in results]
        yield from shown([float(np.mean([math.log10(each[0] / each[-1]) for each in signals]))])
        if results[0]["epochs"]:
            last = [result["epochs"][-1]["test_accuracy"] for result in results]
            yield from shown(summary(last, "logit")[:1])


def theory(run: Content) -> Iterable[str]:
    apart = [0.0]
    for results in kinds(run).values():
        for steps in zip(*(result["predictions"] for result in results), strict=True):
            mean = {
                key: summary([step[key] for step in steps], "log")[0]
                for key in ("measured", "predicted", "bound", "twin_measured", "twin_predicted")
                if steps[0][key] is not None
            }
            yield from shown(mean.values())
            for measured, predicted in (("measured", "predicted"), ("twin_measured", "twin_predicted")):
                if predicted in mean:
                    apart.append(abs(math.log(mean[measured] / mean[predicted])))
    yield from shown([math.exp(max(apart))])


def numerics(run: Content) -> Iterable[str]:
    every = [0.0]
    for results in kinds(run).values():
        for quantity in ("weight_l2", "signal_l2"):
            by_epoch: dict[int, list[float]] = {}
            for result in results:
                for moment in result["numerics"]:
                    by_epoch.setdefault(moment["epoch"], []).extend(layer[quantity] for layer in moment["layers"])
            for epoch, errors in by_epoch.items():
                yield str(epoch)
                yield percent(max(errors))
                every += errors
    yield percent(max(every))


def networks(run: Content) -> Iterable[str]:
    yield str(len(run["results"]))
    yield str(len(settings(run)))
    for results in kinds(run).values():
        yield f"{results[0]['parameters']:,}"
        for layer in results[0]["layers"]:
            yield "×".join(map(str, layer["shape"]))
        yield duration(float(np.mean([result["seconds"] for result in results])))
        if results[0]["epochs"]:
            yield str(len(results[0]["epochs"]))
            last = [result["epochs"][-1] for result in results]
            yield from shown([float(np.mean([epoch["train_loss"] for epoch in last]))])
            yield from shown(summary([epoch["test_accuracy"] for epoch in last], "logit")[:1])


def claim(verdict: Content) -> Iterable[str]:
    """Of one claim's row: its texts, and the numbers of its readings."""
    yield from (verdict["claim"], verdict["variant"], verdict["sentence"], verdict["reason"], verdict["command"])
    outcomes = [reading["outcome"] for reading in verdict["readings"] if not reading["context"]]
    yield from (str(outcomes.count(each)) for each in set(outcomes))
    for reading in verdict["readings"]:
        yield from (reading["label"], reading["expected"], reading["reason"], reading["words"], reading["unit"])
        yield str(len(reading["values"]))
        yield from shown([reading[key] for key in ("value", "low", "high", "further_low", "further_high")])
        for each in reading["values"]:
            yield str(each["seed"])
            yield from shown([each["value"], *(each["bounds"] or {}).values()])
        yield from (f"{each:,.6g}" for each in reading["printed"])
        if reading["numerical_error"] is not None:
            yield percent(reading["numerical_error"])
        yield from shown(_miss(reading))


def _miss(reading: Content) -> Iterable[float]:
    """By how much a value lies beyond an end of what is accepted: in its unit, or as a factor."""
    value = reading["value"]
    for end in (reading["accepted"] or {}).values():
        if value is not None and end is not None:
            yield abs(value - end)
            if reading["scale"] == "log" and value > 0 and end > 0:
                yield max(value / end, end / value)


def standing(verdicts: Sequence[Content]) -> Iterable[str]:
    """How many claims ran, how many were decided, and how many of those stand after Holm's correction."""
    ran = [each for each in verdicts if each["outcome"] not in ("not run", "error")]
    levels = sorted(
        1.0 if each["p"] is None else each["p"]
        for each in ran
        if each["outcome"] in ("reproduced", "mixed", "not reproduced")
    )
    stand = 0
    while stand < len(levels) and levels[stand] * (len(ran) - stand) <= 0.05:
        stand += 1
    yield from map(str, (len(ran), len(levels), stand))


def head(run: Content) -> Iterable[str]:
    outcomes = [verdict["outcome"] for verdict in run["verdicts"]]
    yield from (str(outcomes.count(each)) for each in set(outcomes))
    yield str(len(outcomes))
    yield from standing(run["verdicts"])
    yield from (verdict["claim"] for verdict in run["verdicts"])
    yield from ((run["document"] or {}).get("title", ""), run["data"]["description"], run["machine"]["processor"])
    yield f"{run['data']['train_images']:,}"
    yield duration(run["seconds"])
    yield run["created"][:10]
    yield from numerics(run)
    yield from factors(run, "signal_l2", first_and_last=True)


def texts_of(part: object) -> Iterable[str]:
    """Every text and number within a part of the JSON, as it stands there."""
    if isinstance(part, dict):
        for key, value in part.items():
            yield str(key)
            yield from texts_of(value)
    elif isinstance(part, list):
        for value in part:
            yield from texts_of(value)
    elif part is not None:
        yield f"{part:,}" if isinstance(part, int) else str(part)


def how(run: Content) -> Iterable[str]:
    yield from texts_of([run["command"], run["created"], run["commit"], run["data"], run["machine"]])
    yield from texts_of({key: value for key, value in run["study"].items() if key != "cells"})
    yield from (str(value) for value in run["study"]["cells"][0].values())
    yield from (str(len(run["study"]["cells"])), str(len(run["data"]["classes"])), duration(run["seconds"]))


def words_of(run: Content) -> Iterable[str]:
    """Names of networks and claims, seeds and epochs: what stands beside numbers everywhere."""
    yield from _sure(run)
    yield from map(str, range(1 + max(len(result["epochs"]) for result in run["results"])))
    yield from (f"{verdict['claim']}-{verdict['variant']}" for verdict in run["verdicts"])
    yield from (f"depth {result['cell']['depth']}" for result in run["results"])


def explained(run: Content) -> dict[str, set[str]]:
    """By the id of a part of the page (empty: its head) the numbers that it may show."""
    parts: dict[str, Callable[[Content], Iterable[str]]] = {
        "": head,
        "gradients": lambda run: (
            *factors(run, "signal_l2"), *factors(run, "weight_mean_abs"), *layers(run),
        ),
        "claims": lambda run: (str(len(run["verdicts"])),),
        "accuracy": accuracies,
        "maps": maps,
        "depths": depths,
        "theory": theory,
        "numerics": numerics,
        "networks": networks,
        "how": how,
    }  # fmt: skip
    common = set(numbers_in(" ; ".join(words_of(run))))
    return {
        part: common | set(CONSTANTS[part]) | set(numbers_in(" ; ".join(texts(run)))) for part, texts in parts.items()
    }
