"""Showing something touches nothing global: no backend is chosen, and matplotlib only comes with a plot."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.processes


def test_a_plot_leaves_pyplot_and_the_backend_alone() -> None:
    code = (
        "import sys, vgharness\n"
        "from vgharness import GradientFlow, LayerGradient\n"
        "flow = GradientFlow(layers=(LayerGradient(name='a', state='ok', signal_l2=1.0),))\n"
        "repr(flow), str(flow), flow._repr_html_()\n"
        "assert 'matplotlib' not in sys.modules and 'torch' not in sys.modules and 'pandas' not in sys.modules\n"
        "flow.plot()\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
