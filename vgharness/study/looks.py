"""When a study in rounds of seeds, ``--seeds auto``, is judged, and at what level each time.

A study of five seeds is judged once, by intervals at 95 %. One that is judged again and again as seeds are added, and
that ends once its claims are decided, is wrong more often than that. So the looks are fixed before the first network is
trained, and each has a share of the error that all of them may make: of 5 %, a look spends in proportion to the seeds
that are new at it; at the first 5 of 20 it spends 1.25 %, and its intervals are at 98.75 %.

That is the spending function α·t of Lan & DeMets (1983, Biometrika 70, 659). They find a look's level from the joint
law of all looks, which is Brownian motion's for many values only. At 5 to 20 seeds, with Student's t, skewed values and
several claims that end a study together, only this is certain: all looks together are wrong no more often than the sum
of what each may be (Bonferroni). So a look's level is its share of the error itself.

What was weighed against it: equal shares (Pocock 1977, Biometrika 64, 191) widen the last interval more; with O'Brien &
Fleming's (1979, Biometrics 35, 549) next to nothing ends at five, where t has four degrees of freedom; confidence
sequences for t, valid at every seed (Wang & Ramdas 2023, arXiv 2310.03722), are wider at each of these looks.

The first look is at as many seeds as the presets for CIFAR-10 have, not at three: where some seeds stay at chance,
three are all of one kind too often, and what is reproduced because no seed refuted it would be on the word of three.
``vgharness bench verdicts --rounds`` measures what comes of it all.
"""

from __future__ import annotations

import math
from typing import Final

from vgharness.errors import UsageError
from vgharness.records import ONE_LOOK_CONFIDENCE, Look

MOST_BY_DEFAULT: Final = 20
FIRST_LOOK: Final = 5


def planned_looks(most: int) -> tuple[Look, ...]:
    """The looks of a study of up to ``most`` seeds: at five, then at about √2 times as many each, the last at
    ``most``: 5, 7, 10, 14, 20. Raises :class:`~vgharness.errors.UsageError` for fewer than five."""
    if most < FIRST_LOOK:
        raise UsageError(f"most seeds {most}: give {FIRST_LOOK} or more, as many as the first round has")
    # The second is at a third more than the first, or later.
    after_first = int(2 * math.log2(most / (4 / 3 * FIRST_LOOK))) + 1 if most > FIRST_LOOK else 0
    seeds = [FIRST_LOOK, *(round(most / math.sqrt(2) ** left) for left in reversed(range(after_first)))]
    added = [after - before for before, after in zip([0, *seeds[:-1]], seeds, strict=True)]
    return tuple(
        Look(seeds=many, error=(1 - ONE_LOOK_CONFIDENCE) * new / most) for many, new in zip(seeds, added, strict=True)
    )
