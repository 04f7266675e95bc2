"""The files of the three figures: titles made by rule, what is drawn, what is kept apart, and text that stays text."""

from collections.abc import Callable, Iterator
from io import BytesIO
from itertools import combinations, pairwise
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from factories import CANONICAL, SYNTHETIC, make_flow, make_reading, make_result, make_run, make_verdict, paired
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from PIL import Image

from vgharness.claims.loading import load_claims
from vgharness.records import CellResult, Document, Run
from vgharness.report.figures.accuracy import accuracy_sheet
from vgharness.report.figures.gradients import gradients_sheet
from vgharness.report.figures.maps import maps_sheet
from vgharness.report.figures.pictures import DRAWINGS, FIGURES, draw
from vgharness.report.figures.sheet import Sheet, shades, style, tick, written
from vgharness.report.svg.axis import apart
from vgharness.theory import FUNCTIONS

pytestmark = pytest.mark.fast

SHEETS = (accuracy_sheet, gradients_sheet, maps_sheet)
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(autouse=True)
def _coarse(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr("vgharness.report.figures.sheet.DPI", 20)
    with style():
        yield


def changed(result: CellResult, **cell: Any) -> CellResult:
    return result.model_copy(update={"cell": result.cell.model_copy(update=cell)})


def bright(result: CellResult, value: float) -> CellResult:
    return result.model_copy(update={"heatmap": ((value,) * 32,) * 32})


def study(**changes: Any) -> Run:
    """Two activations, three seeds, two epochs."""
    curves = {"sigmoid": lambda seed: [10.0, 20.0], "relu": lambda seed: [50.0, 60.0]}
    return make_run(paired((42, 43, 44), curves), **changes)


def of_the_readme(**changes: Any) -> Run:
    reading = make_reading(networks="script", activation="sigmoid", epoch=2, printed=(72.0, 74.0))
    return study(document=load_claims()[0].document, verdicts=(make_verdict("reproduced", reading),), **changes)


def panels(sheet: Sheet) -> list[Axes]:
    every: list[Axes] = sheet.axes.ravel().tolist()
    return [ax for ax in every if ax.get_visible()]


def texts(sheet: Sheet) -> list[str]:
    every = [*sheet.figure.texts, *(text for ax in panels(sheet) for text in ax.texts)]
    return [text.get_text() for text in every]


def thick(ax: Axes) -> list[np.ndarray]:
    return [np.asarray(line.get_ydata(), float) for line in ax.lines if line.get_linewidth() == 2]


def dashed(sheet: Sheet) -> int:
    return sum(line.get_linestyle() == "--" for ax in panels(sheet) for line in ax.lines)


# --- titles ----------------------------------------------------------------------------------------------


def test_the_title_says_the_accuracies_with_their_intervals() -> None:
    title = accuracy_sheet(study()).title
    assert title.startswith("Test accuracy after epoch 2: Sigmoid 20 % (")
    assert "ReLU 60 % (" in title


def test_a_title_says_the_epoch_that_all_seeds_reached() -> None:
    stopped = make_result(seed=43, curve=[12.0], epochs=2, status="diverged", reason="the loss is not finite")
    run = make_run([make_result(seed=42, curve=[12.0, 30.0]), stopped, make_result("relu", curve=[50.0, 60.0])])
    sheet = accuracy_sheet(run)
    assert "Sigmoid 12 %" in sheet.title
    assert "after epoch 1, ReLU 60 % after epoch 2" in sheet.title
    assert any("×: where a training stopped (1 network)" in note for note in sheet.notes)
    assert sum(line.get_marker() == "x" for line in sheet.axes[0, 0].lines) == 1


def test_a_title_says_the_factors_first_and_last() -> None:
    result = make_result(curve=[10.0, 20.0], factor=0.5)
    last = result.epochs[-1].model_copy(update={"flow": make_flow(2.0)})
    sigmoid = result.model_copy(update={"epochs": (result.epochs[0], last)})
    start, _, said = gradients_sheet(make_run([sigmoid, make_result("relu", curve=[9.0, 9.0])])).title.partition(": ")
    assert start == "Gradients toward the input, per layer"
    assert said == "Sigmoid ×0.500 at initialisation, ×2 over epoch 2; ReLU ×0.800, ×0.800"


def test_a_value_that_is_not_finite_is_said_to_be_none() -> None:
    result = make_result(curve=[10.0])
    gone = tuple(layer.model_copy(update={"signal_l2": None}) for layer in result.epochs[0].flow.layers)
    broken = result.epochs[0].model_copy(
        update={"flow": result.epochs[0].flow.model_copy(update={"layers": gone}), "test_accuracy": None}
    )
    run = make_run([result.model_copy(update={"epochs": (broken,)})])
    assert "Sigmoid ×0.800 at initialisation, not finite over epoch 1" in gradients_sheet(run).title
    assert accuracy_sheet(run).title == "Test accuracy after epoch 1: Sigmoid not finite"


def test_a_title_says_how_much_greater_one_map_is() -> None:
    results = [bright(make_result(curve=[10.0]), 1e-6), bright(make_result("relu", curve=[50.0]), 4e-6)]
    assert maps_sheet(make_run(results)).title == "|∂L/∂h| at conv1 after training: ReLU 4 × Sigmoid"


def test_the_title_of_several_groups_is_a_range() -> None:
    run = make_run([make_result(curve=[20.0]), make_result(depth=6, curve=[30.0])])
    assert accuracy_sheet(run).title == "Test accuracy after epoch 1, over 2 kinds of network: Sigmoid 20 to 30 %"


@pytest.mark.parametrize("make", SHEETS)
def test_a_run_without_training_says_so(make: Callable[[Run], Sheet]) -> None:
    for run in (make_run([make_result(epochs=0)]), make_run([make_result(status="failed", reason="x", epochs=2)])):
        assert "no network was trained" in make(run).title.lower()


@pytest.mark.parametrize("make", SHEETS)
def test_notes_say_images_network_and_seeds(make: Callable[[Run], Sheet]) -> None:
    data = CANONICAL.model_copy(update={"cifar10": "re-encoded"})
    notes = " ".join(make(study(data=data)).notes)
    for fact in ("CIFAR-10, re-encoded", "50,000 training", "“script”", "4 convolutions", "3 seeds (42, 43, 44)"):
        assert fact in notes, fact
    assert "README" not in notes


# --- what is drawn -----------------------------------------------------------------------------------------


def test_networks_that_differ_in_anything_are_drawn_apart() -> None:
    first = make_result("gelu", curve=[30.0])
    others: list[dict[str, Any]] = [{"norm": "batch"}, {"init": "kaiming"}, {"learning_rate": 0.1}, {"depth": 6}]
    run = make_run([first, *(changed(first, **each) for each in others)])
    for sheet, rows in zip((make(run) for make in SHEETS), (5, 10, 5), strict=True):
        assert len(sheet.axes) == rows
        assert {"script", "script, norm batch", "script, init kaiming", "script, depth 6"} <= set(texts(sheet))
    assert all(len(thick(ax)) == 1 for ax in panels(accuracy_sheet(run)))


def test_what_there_is_no_room_for_is_named() -> None:
    first = make_result(curve=[30.0])
    run = make_run([changed(first, batch_size=size) for size in range(1, 31)])
    sheet = accuracy_sheet(run)
    assert len(sheet.axes) == 24
    assert "The first 24 of 30 kinds of network; not drawn: script, batch size 25; " in sheet.notes[-1]
    assert sheet.notes[-1].endswith("; and 2 more.")
    assert "over 30 kinds" in sheet.title


def test_means_of_gradients_are_geometric_as_their_axis_is() -> None:
    """Two seeds of three say that conv1 is smaller than conv2: so does their mean, whatever the third says."""
    factors = {42: 0.01, 43: 0.01, 44: 100.0}
    run = make_run([make_result("relu", seed, curve=[50.0], factor=factor) for seed, factor in factors.items()])
    ax = gradients_sheet(run).axes[0, 0]
    assert ax.get_yscale() == "log"
    conv1, conv2 = thick(ax)[:2]
    # At the initial weights, apart from what follows, and over epoch 1.
    assert conv1[[0, 2]] == pytest.approx([0.01 ** (3 * 2 / 3) * 100 ** (3 / 3)] * 2)
    assert np.isnan(conv1[1])
    assert (conv1[[0, 2]] < conv2[[0, 2]]).all()


def test_all_maps_are_on_one_scale() -> None:
    results = [bright(make_result(curve=[10.0]), 1e-9), bright(make_result("relu", curve=[50.0]), 1e-3)]
    sheet = maps_sheet(make_run(results))
    norms = [image.norm for ax in panels(sheet) for image in ax.images]
    assert [(norm.vmin, norm.vmax) for norm in norms] == [(1e-9, 1e-3)] * 2
    assert "|∂L/∂h|" in [ax.get_title(loc="left") for ax in sheet.figure.axes]


def test_maps_of_zeros_are_drawn_too() -> None:
    assert maps_sheet(make_run([bright(make_result(curve=[10.0]), 0.0)])).title.endswith(": 0 on average")


def test_the_readmes_plots_and_numbers_are_on_its_own_network_only() -> None:
    sheet = accuracy_sheet(of_the_readme())
    assert dashed(sheet) == 4
    assert "Sigmoid printed: 72–74 %" not in texts(sheet)  # its plots go on to epoch 20
    assert "72–74" in texts(sheet)
    assert "script: as the README’s author ran it." in " ".join(sheet.notes)
    other = accuracy_sheet(study(document=Document(title="A paper")))
    own_data = accuracy_sheet(of_the_readme(data=SYNTHETIC))
    assert dashed(other) == dashed(own_data) == 0
    assert "72–74" not in texts(own_data)
    results = [changed(result, architecture="readme") for result in study().results]
    assert dashed(accuracy_sheet(make_run(results, document=load_claims()[0].document))) == 0


@pytest.mark.parametrize("make", SHEETS)
def test_what_came_from_outside_is_one_line_and_no_mathematics(make: Callable[[Run], Sheet]) -> None:
    nasty = "$\\frac$ <b>\u202eevil\n" + "x" * 10_000
    sheet = make(study(data=SYNTHETIC.model_copy(update={"description": nasty})))
    assert all("\n" not in text and "\u202e" not in text for text in texts(sheet))
    assert max(map(len, sheet.notes)) < 300


# --- files -------------------------------------------------------------------------------------------------


def test_files_are_pictures_and_drawings_with_their_finding_as_text() -> None:
    pictures = draw(study(data=SYNTHETIC.model_copy(update={"description": "a <b> & $c$"})))
    assert FIGURES == ("loss_acc_comparison.png", "grad_norms_per_layer.png", "activation_gradmaps_conv1.png")
    assert tuple(f"{picture.name}.svg" for picture in pictures) == DRAWINGS
    for picture in pictures:
        with Image.open(BytesIO(picture.png)) as image:
            assert image.format == "PNG"
        root = ElementTree.fromstring(picture.svg)
        assert [each.tag for each in root[:2]] == [f"{SVG}title", f"{SVG}desc"]
        assert root[0].text == picture.title
        assert "a <b> & $c$" in (root[1].text or "")
        assert any("seeds (42, 43, 44)" in "".join(each.itertext()) for each in root.iter(f"{SVG}text"))
        assert b"<dc:date>" not in picture.svg


def test_files_are_the_same_whenever_they_are_written() -> None:
    run = make_run([make_result(curve=[10.0])])
    for make in (accuracy_sheet, maps_sheet):
        assert written(make(run)) == written(make(run))


# --- small things --------------------------------------------------------------------------------------------


def test_labels_are_moved_apart_in_their_order_and_not_above_the_panel() -> None:
    moved = apart([0.1, 0.5, 0.51, 0.99], 0.1, 1.0)
    assert moved[0] == 0.1
    assert all(b - a >= 0.1 - 1e-9 for a, b in pairwise(moved))
    assert max(apart([0.99, 0.995, 1.0], 0.1, 1.0)) == pytest.approx(1.0)


def test_layers_grow_paler_toward_the_output() -> None:
    ramp = shades("#B84A00", 10)
    assert ramp[0] == pytest.approx(to_rgb("#B84A00"))
    assert all(sum(a) < sum(b) for a, b in pairwise(ramp))
    assert shades("#B84A00", 1) == [pytest.approx(to_rgb("#B84A00"))]


def test_numbers_beside_an_axis() -> None:
    assert [tick(value, True) for value in (1e-12, 1e-3, 0.01, 0.1, 1.0, 100.0, 1e5)] == [
        "10⁻¹²", "10⁻³", "0.01", "0.1", "1", "100", "10⁵",
    ]  # fmt: skip
    assert [tick(value, False) for value in (0.0, 0.5, 20.0)] == ["0", "0.5", "20"]


def test_colours_of_activations_stay_apart_without_green_and_are_read_on_white() -> None:
    """Deuteranopia after Machado, Oliveira and Fernandes (2009); distances in CIELAB, contrast after WCAG."""
    seen = np.array([[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]])
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])

    def lab(light: np.ndarray) -> np.ndarray:
        x, y, z = np.cbrt(to_xyz @ light.clip(0) / [0.9505, 1.0, 1.089])
        return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])

    linear = {}
    for name, function in FUNCTIONS.items():
        values = np.array(to_rgb(function.color))
        linear[name] = np.where(values > 0.04045, ((values + 0.055) / 1.055) ** 2.4, values / 12.92)
        assert 1.05 / (to_xyz[1] @ linear[name] + 0.05) >= 4.5, name
    own = [name for name, function in FUNCTIONS.items() if not function.dash]  # the others are told apart by dashes
    for a, b in combinations([*own, "mish"], 2):
        assert np.linalg.norm(lab(seen @ linear[a]) - lab(seen @ linear[b])) > 12, (a, b)
