"""Which test and which layer of one session is which of another."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from vgharness.records import LayerKey, Sample


def matched_samples(before: Sequence[Sample], after: Mapping[str, Sample]) -> dict[str, str | None]:
    """By label of each sample of ``before``, what it is called in ``after``; None for one that has vanished.

    One is renamed where a new one has the same layers, seeds and values as it.
    """
    known = {sample.label for sample in before}
    fresh = [sample for sample in after.values() if sample.label not in known]
    matched: dict[str, str | None] = {}
    for old in before:
        twins = (s.label for s in fresh if (s.seeds, s.flows, s.custom) == (old.seeds, old.flows, old.custom))
        matched[old.label] = old.label if old.label in after else next(twins, None)
        fresh = [sample for sample in fresh if sample.label != matched[old.label]]
    return matched


def matched_layers(before: Sequence[LayerKey], after: Sequence[LayerKey]) -> dict[LayerKey, LayerKey | None]:
    """By layer of ``before``, what it is called in ``after``; None for one that has vanished.

    Layers are renamed where between the same neighbours as many are new as have vanished, in their order.
    """
    common = set(before) & set(after)
    matched: dict[LayerKey, LayerKey | None] = {key: key if key in common else None for key in before}
    gaps = _gaps(after, common)
    for neighbours, vanished in _gaps(before, common).items():
        fresh = gaps.get(neighbours, [])
        if len(fresh) == len(vanished):
            matched.update(zip(vanished, fresh, strict=True))
    return matched


def _gaps(
    keys: Sequence[LayerKey], common: Collection[LayerKey]
) -> dict[tuple[LayerKey | None, LayerKey | None], list[LayerKey]]:
    """The runs of keys that are not common, by the common ones before and after."""
    gaps = {}
    previous: LayerKey | None = None
    between: list[LayerKey] = []
    for key in (*keys, None):
        if key is not None and key not in common:
            between.append(key)
            continue
        gaps[previous, key] = between
        previous, between = key, []
    return gaps
