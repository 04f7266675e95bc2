"""The gallery: networks with a known problem in their gradients, and healthy ones, on which any diagnosis can be tried.

>>> from vgharness.benchmarks.gallery import SICK, measure
>>> measure(SICK[0]).diagnosis
"""

from vgharness.benchmarks.gallery.cases import SEEDS, Case, measure
from vgharness.benchmarks.gallery.healthy import HEALTHY
from vgharness.benchmarks.gallery.sick import SICK

__all__ = ["HEALTHY", "SEEDS", "SICK", "Case", "measure"]
