"""A real cluster of two nodes in this machine: the same run as here, also where a node is lost or it is interrupted."""

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from factories import without_seconds
from small_cells import pack_cells

from vgharness.data.image_set import ImageSet
from vgharness.data.synthetic import synthetic_images
from vgharness.errors import UsageError
from vgharness.records import Cell, CellResult, Epoch, Run, Study
from vgharness.storage.store import RunStore
from vgharness.study.run import run_study
from vgharness.training.callback import Callback
from vgharness.training.executor import WorkerLostError
from vgharness.training.ray_cluster import RayExecutor

pytestmark = pytest.mark.ray

EPOCHS = 15
CELLS = tuple(pack_cells(3, epochs=EPOCHS))
STUDY = Study(preset="tiny", cells=CELLS)


@pytest.fixture(scope="module")
def images() -> ImageSet:
    return synthetic_images(60, 10)


@pytest.fixture(scope="module")
def here(images: ImageSet) -> list[dict[str, Any]]:
    return [without_seconds(each) for each in run_study(STUDY, images, claims=(), jobs=1).results]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    nodes.lost = nodes.add_node(num_cpus=1)
    ray.init(address=nodes.address, log_to_driver=False, logging_level="ERROR")

    def imported() -> int:
        import vgharness.training.ray_cluster  # noqa: F401

        time.sleep(1)  # so that no worker does both
        return os.getpid()

    # A worker on each node that has imported all: else one trains everything before the other has begun.
    warm = ray.remote(num_cpus=1)(imported)
    assert len(set(ray.get([warm.remote(), warm.remote()]))) == 2
    yield nodes
    ray.shutdown()
    nodes.shutdown()


class Watch(Callback):
    """Calls ``then`` once, while two cells train that have an epoch each."""

    def __init__(self, then: Callable[[], object]) -> None:
        self.then: Callable[[], object] | None = then
        self.trained: list[tuple[Cell, int]] = []
        self.started: list[Cell] = []

    def cell_started(self, cell: Cell) -> None:
        self.started.append(cell)

    def epoch_done(self, cell: Cell, epoch: Epoch) -> None:
        self.trained.append((cell, epoch.epoch))
        reached = dict(self.trained)
        if self.then and len(reached) == 2 and max(reached.values()) < EPOCHS:
            then, self.then = self.then, None
            then()


def run(images: ImageSet, store: Path, watch: Watch) -> Run:
    return run_study(STUDY, images, claims=(), store=RunStore(store), callback=watch, cluster="auto")


def test_no_cluster_is_one_line(images: ImageSet) -> None:
    pytest.importorskip("ray")
    with pytest.raises(UsageError, match=r"--address 127.0.0.1:1: no Ray cluster answers there .*ray start --head"):
        run_study(STUDY, images, claims=(), cluster="127.0.0.1:1")


def test_ctrl_c_ends_what_trains_and_the_same_study_goes_on_here(
    cluster: Any, images: ImageSet, here: list[dict[str, Any]], tmp_path: Path
) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    first = run(images, tmp_path, Watch(interrupt))
    assert first.status == "interrupted"
    assert [each.status for each in first.results] == ["interrupted", "interrupted"]
    assert all(each.epochs for each in first.results)
    second = run_study(STUDY, images, claims=(), store=RunStore(tmp_path), jobs=1)
    assert [without_seconds(each) for each in second.results] == here


def test_a_cell_that_raises_there_fails_as_here(cluster: Any, images: ImageSet) -> None:
    broken = ImageSet(images.provenance, *(x.clone() for x in (images.train_images, images.train_labels)),
                      images.test_images, torch.full_like(images.test_labels, 99))  # fmt: skip
    study = Study(preset="tiny", cells=CELLS[:1])
    there = run_study(study, broken, claims=(), cluster="auto")
    local = run_study(study, broken, claims=())
    assert [(each.status, each.reason) for each in there.results] == [(x.status, x.reason) for x in local.results]
    assert there.results[0].status == "failed"


# The last with both nodes.
def test_a_node_that_is_lost_costs_only_what_was_not_kept(
    cluster: Any, images: ImageSet, here: list[dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses: list[str] = []
    train = RayExecutor.train

    def noted(*arguments: Any) -> tuple[CellResult, ...]:
        try:
            return train(*arguments)
        except WorkerLostError as error:
            losses.append(str(error))
            raise

    monkeypatch.setattr(RayExecutor, "train", noted)
    watch = Watch(lambda: cluster.remove_node(cluster.lost, allow_graceful=False))
    found = run(images, tmp_path, watch)
    assert len(losses) == 1
    assert watch.then is None
    assert found.status == "finished"
    assert [without_seconds(each) for each in found.results] == here
    assert set(watch.trained) == {(cell, epoch) for cell in CELLS for epoch in range(1, EPOCHS + 1)}
    assert len(watch.trained) <= 3 * EPOCHS + 2
    assert watch.started == list(CELLS)
