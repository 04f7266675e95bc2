"""Recording a step as a CUDA graph, and what comes of an error in it, on a made-up GPU that keeps CUDA's rules."""

import pytest
import torch
from fake_cuda import GPU, FakeCuda
from small_cells import pack_cells

from vgharness.data.on_device import DeviceImages
from vgharness.training import cuda_streams
from vgharness.training.callback import Callback
from vgharness.training.cuda_graph import Recorder
from vgharness.training.cuda_streams import Launches, NetworkStreams
from vgharness.training.loop import train_pack
from vgharness.training.pack import Pack

pytestmark = pytest.mark.fast


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    fake = FakeCuda()
    fake.install(monkeypatch)
    return fake


def side_by_side(streams: NetworkStreams, networks: int, fails: BaseException | None = None, at: int = 1) -> int:
    """Work on as many networks' streams; the network ``at`` raises."""
    for number in range(networks):
        with streams.of_network(number):
            if fails is not None and number == at:
                raise fails
    streams.join()
    return networks


def test_streams_fork_from_the_recording_and_join_it(cuda: FakeCuda) -> None:
    recorder, streams = Recorder(GPU), NetworkStreams(GPU, 2)
    with recorder.aside():
        side_by_side(streams, 2)
    cuda.log.clear()
    recorder.record(lambda: side_by_side(streams, 2), streams.join_recorded)
    forks = ["stream 1 waits for stream 0", "stream 2 waits for stream 0"]
    assert cuda.log == [*forks, "stream 0 waits for stream 1", "stream 0 waits for stream 2"]
    assert (cuda.graphs, cuda.current) == (1, cuda.main)


@pytest.mark.parametrize("networks", [2, 10])
@pytest.mark.parametrize("error", [torch.OutOfMemoryError("no memory"), ValueError("a bug"), KeyboardInterrupt()])
def test_an_error_while_recording_stays_the_error_that_it_is(
    cuda: FakeCuda, error: BaseException, networks: int
) -> None:
    recorder, streams = Recorder(GPU), NetworkStreams(GPU, networks)
    with pytest.raises(type(error)) as caught:
        recorder.record(lambda: side_by_side(streams, networks, error), streams.join_recorded)
    assert caught.value is error
    assert cuda.current is cuda.main
    recorder.record(lambda: side_by_side(streams, networks), streams.join_recorded)
    assert cuda.current is cuda.main


def test_a_recording_that_cannot_be_ended_says_so_where_the_work_did_not_raise(cuda: FakeCuda) -> None:
    recorder, streams = Recorder(GPU), NetworkStreams(GPU, 1)

    def without_joining() -> None:
        with streams.of_network(0):
            pass

    with pytest.raises(RuntimeError, match="unjoined work"):
        recorder.record(without_joining, streams.join_recorded)
    assert cuda.current is cuda.main


def on_fake_gpu(pack: Pack) -> Pack:
    pack._recorder, pack._streams = Recorder(GPU), NetworkStreams(GPU, len(pack))
    return pack


class FailsWhileRecorded:
    """A loss that raises while a step is recorded, of its third network there."""

    def __init__(self, pack: Pack, cuda: FakeCuda) -> None:
        self._loss, self._cuda, self._calls = pack._loss, cuda, 0

    def __call__(self, outputs: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        if self._cuda.current.recorded and torch.is_grad_enabled():
            self._calls += 1
            if self._calls == 3:
                raise torch.OutOfMemoryError("CUDA out of memory")
        return self._loss(outputs, labels)


@pytest.mark.usefixtures("without_first_batch")
def test_what_cannot_be_recorded_is_trained_without_and_that_is_said(
    cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch, few_images: DeviceImages
) -> None:
    cells = pack_cells(4, epochs=1)
    plain = train_pack(cells, few_images, "fp32")
    said: list[str] = []
    packs: list[Pack] = []

    class Says(Callback):
        def warned(self, message: str) -> None:
            said.append(message)

    def make(*arguments: object) -> Pack:
        pack = on_fake_gpu(Pack(*arguments))  # type: ignore[arg-type]
        pack._loss = FailsWhileRecorded(pack, cuda)
        packs.append(pack)
        return pack

    monkeypatch.setattr("vgharness.training.loop.Pack", make)
    found = train_pack(cells, few_images, "fp32", Says())
    assert said == ["4 networks: no CUDA graph, so training takes longer (OutOfMemoryError: CUDA out of memory)"]
    assert cuda.graphs == 2  # the evaluation's, and the step's, which was ended though it failed
    assert not packs[0]._recorded_steps
    assert packs[0]._recorded_evaluation is None
    assert [epochs_of(result) for result in found] == [epochs_of(result) for result in plain]


def epochs_of(result: object) -> object:
    return [epoch.model_dump(exclude={"seconds"}) for epoch in result.epochs]  # type: ignore[attr-defined]


@pytest.mark.parametrize("at", [1, 2])
def test_ctrl_c_is_heard_before_each_first_batch(few_images: DeviceImages, at: int) -> None:
    """On a CPU: at initialisation, and after the last epoch."""
    calls: list[int] = []

    class Stops(Callback):
        def waiting(self) -> None:
            calls.append(len(calls) + 1)
            if calls[-1] == at:
                raise KeyboardInterrupt

    (result,) = train_pack(pack_cells(1, epochs=1), few_images, "fp32", Stops())
    assert (result.status, calls[-1]) == ("interrupted", at)


@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_ctrl_c_is_heard_between_the_parts_of_a_recording(cuda: FakeCuda, few_images: DeviceImages, at: int) -> None:
    pack = on_fake_gpu(Pack(pack_cells(2), few_images, "fp32"))
    calls: list[int] = []

    def pause() -> None:
        calls.append(1)
        if len(calls) == at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pack.prepare(pause)
    assert cuda.current is cuda.main


def test_the_pauses_of_a_recording(cuda: FakeCuda, few_images: DeviceImages) -> None:
    pack = on_fake_gpu(Pack(pack_cells(2), few_images, "fp32"))
    paused: list[int] = []
    assert pack.prepare(lambda: paused.append(cuda.graphs)) == ""
    sizes = len(set(pack.batches.sizes))
    assert paused == [0, 0, *range(1, 1 + sizes)]
    assert pack.prepare(lambda: paused.append(-1)) == ""
    assert -1 not in paused


def test_the_host_is_never_far_ahead(cuda: FakeCuda, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda_streams, "_MOST_AHEAD", 3)
    launches = Launches(GPU)
    for _ in range(5):
        launches.launched()
    assert cuda.log == [
        *("event 0", "event 1", "event 2"),
        *("event 3", "waited for event 0"),
        *("event 4", "waited for event 1"),
    ]
    Launches(torch.device("cpu")).launched()
    assert len(cuda.events) == 5
