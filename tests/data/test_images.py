"""The images: where they come from, and what is refused."""

import hashlib
import io
import os
import struct
import tarfile
import zlib
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import datasets

import vgharness.data.images
from vgharness.data.image_set import ImageSet
from vgharness.data.images import load_images
from vgharness.data.synthetic import SHAPES, synthetic
from vgharness.errors import UsageError
from vgharness.records import Cell
from vgharness.training.loop import DeviceImages, train

pytestmark = pytest.mark.fast


def assert_same_images(a: ImageSet, b: ImageSet) -> None:
    assert a.provenance == b.provenance
    assert torch.equal(a.train_images, b.train_images)
    assert torch.equal(a.train_labels, b.train_labels)
    assert torch.equal(a.test_images, b.test_images)
    assert torch.equal(a.test_labels, b.test_labels)


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


# --- CIFAR-10 ----------------------------------------------------------------------------------

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
PER_BATCH = 4


class Server(HTTPServer):
    """A local address of a CIFAR-10 of 5 × 4 training images and 4 test images, which come last."""

    images: np.ndarray[Any, Any]  # uint8 [24, 3, 32, 32]
    labels: list[int]
    archive: bytes
    answer: bytes  # what is really sent, head and all

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self._thread = Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def serve(self, content: bytes, status: str = "200 OK", length: int | None = None) -> None:
        length = len(content) if length is None else length
        self.answer = f"HTTP/1.0 {status}\r\nContent-Length: {length}\r\n\r\n".encode() + content

    def go_down(self) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()

    def handle_error(self, *_: object) -> None:
        """A client that hangs up early is none."""


class _Answer(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.wfile.write(self.server.answer)

    def log_message(self, *_: object) -> None: ...


def python2_pickle(value: object) -> bytes:
    """As the canonical batches were written, by Python 2 and a NumPy of 2009: no current pickler writes this."""

    def encode(value: object) -> bytes:
        match value:
            case None:
                return b"N"
            case bool():
                return b"\x88" if value else b"\x89"
            case int():
                return b"J" + struct.pack("<i", value)
            case bytes():
                return b"T" + struct.pack("<I", len(value)) + value
            case list():
                return b"](" + b"".join(map(encode, value)) + b"e"
            case tuple():
                return b"(" + b"".join(map(encode, value)) + b"t"
            case dict():
                return b"}(" + b"".join(encode(x) for item in value.items() for x in item) + b"u"
            case np.ndarray():
                dtype = b"cnumpy\ndtype\n" + encode((b"u1", 0, 1)) + b"R"
                dtype += encode((3, b"|", None, None, None, -1, -1, 0)) + b"b"
                empty = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n"
                empty += encode((0,)) + encode(b"b") + b"tR"
                state = encode(1) + encode(value.shape) + dtype + encode(False) + encode(value.tobytes())
                return empty + b"(" + state + b"tb"
        raise TypeError(type(value))

    return b"\x80\x02" + encode(value) + b"."


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    images = np.random.default_rng(0).integers(0, 256, (6 * PER_BATCH, 3, 32, 32), dtype=np.uint8)
    labels = [(3 * i + 7) % 10 for i in range(len(images))]
    members = {"batches.meta": python2_pickle({b"label_names": [name.encode() for name in CLASSES]})}
    for i, name in enumerate([*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]):
        part = slice(i * PER_BATCH, (i + 1) * PER_BATCH)
        members[name] = python2_pickle({b"data": images[part].reshape(PER_BATCH, 3072), b"labels": labels[part]})
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))

    server = Server()
    server.images, server.labels, server.archive = images, labels, archive.getvalue()
    server.serve(server.archive)
    md5 = {name: hashlib.md5(content).hexdigest() for name, content in members.items()}
    cifar10 = datasets.CIFAR10
    monkeypatch.setattr(cifar10, "url", f"http://127.0.0.1:{server.server_port}/cifar-10-python.tar.gz")
    monkeypatch.setattr(cifar10, "tgz_md5", hashlib.md5(server.archive).hexdigest())
    monkeypatch.setattr(cifar10, "train_list", [[name, md5[name]] for name, _ in cifar10.train_list])
    monkeypatch.setattr(cifar10, "test_list", [[name, md5[name]] for name, _ in cifar10.test_list])
    monkeypatch.setattr(cifar10, "meta", {**cifar10.meta, "md5": md5["batches.meta"]})
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield server
    server.go_down()


def test_cifar10_is_downloaded_and_decoded(server: Server, tmp_path: Path) -> None:
    images = load_images("cifar10", cache=tmp_path / "cache")

    np.testing.assert_array_equal(images.train_images.numpy(), server.images[:20])
    np.testing.assert_array_equal(images.test_images.numpy(), server.images[20:])
    assert images.train_labels.tolist() == server.labels[:20]
    assert images.test_labels.tolist() == server.labels[20:]
    assert images.train_labels.dtype == images.test_labels.dtype == torch.int64
    provenance = images.provenance
    assert (provenance.kind, provenance.cifar10, provenance.classes) == ("cifar10", "canonical", CLASSES)
    assert (provenance.train_images, provenance.test_images) == (20, 4)


def test_cifar10_loads_again_without_its_address_or_its_archive(server: Server, tmp_path: Path) -> None:
    first = load_images("cifar10", cache=tmp_path / "cache")
    server.go_down()
    (tmp_path / "cache" / "cifar-10-python.tar.gz").unlink()
    assert_same_images(load_images("cifar10", cache=tmp_path / "cache"), first)


def test_cifar10_takes_an_archive_that_was_put_there(server: Server, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "cifar-10-python.tar.gz").write_bytes(server.archive)
    server.go_down()
    np.testing.assert_array_equal(load_images("cifar10", cache=cache).train_images.numpy(), server.images[:20])


@pytest.mark.parametrize("name", ["data_batch_3", "test_batch", "batches.meta"])
def test_cifar10_mends_an_unpacked_file_from_its_archive(server: Server, tmp_path: Path, name: str) -> None:
    first = load_images("cifar10", cache=tmp_path / "cache")
    server.go_down()
    damaged = tmp_path / "cache" / "cifar-10-batches-py" / name
    damaged.write_bytes(damaged.read_bytes()[:-5])
    assert_same_images(load_images("cifar10", cache=tmp_path / "cache"), first)


def test_truncated_cifar10_archive_is_named_and_left_alone(server: Server, tmp_path: Path) -> None:
    archive = tmp_path / "cache" / "cifar-10-python.tar.gz"
    archive.parent.mkdir()
    truncated = server.archive[:-100]
    archive.write_bytes(truncated)

    with pytest.raises(UsageError) as caught:
        load_images("cifar10", cache=archive.parent)
    assert str(archive) in str(caught.value)
    assert "truncated or damaged" in str(caught.value)
    assert "delete it" in str(caught.value)
    assert archive.read_bytes() == truncated
    assert files_in(archive.parent) == [archive]


def test_without_a_network_cifar10_names_the_ways_out_and_leaves_no_file(server: Server, tmp_path: Path) -> None:
    server.go_down()
    with pytest.raises(UsageError) as caught:
        load_images("cifar10", cache=tmp_path / "cache")
    message = str(caught.value)
    assert message.startswith("cannot download CIFAR-10")
    assert not [w for w in ("--data DIR", "--data synthetic", str(tmp_path / "cache")) if w not in message]
    assert "\n" not in message
    assert files_in(tmp_path / "cache") == []


@pytest.mark.parametrize(
    "misbehave",
    [
        lambda server: server.serve(b"", "404 Not Found"),
        lambda server: server.serve(b"<html>Please log in to this network</html>"),
        lambda server: server.serve(server.archive[:5000], length=len(server.archive)),
        lambda server: setattr(server, "answer", b"not even HTTP\r\n"),
        lambda server: setattr(server, "answer", b""),
    ],
    ids=["not found", "another page", "cut short", "not HTTP", "hangs up"],
)
def test_a_failed_download_is_a_usage_error_and_leaves_no_file(
    server: Server, tmp_path: Path, misbehave: Callable[[Server], None]
) -> None:
    misbehave(server)
    with pytest.raises(UsageError, match="cannot download CIFAR-10"):
        load_images("cifar10", cache=tmp_path / "cache")
    assert files_in(tmp_path / "cache") == []


def test_an_interrupted_download_leaves_no_file(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(url: str, root: str, filename: str, md5: str) -> None:
        Path(root, filename).write_bytes(server.archive[:100])
        raise KeyboardInterrupt

    monkeypatch.setattr(vgharness.data.images, "download_url", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load_images("cifar10", cache=tmp_path / "cache")
    assert files_in(tmp_path / "cache") == []


def test_a_part_of_cifar10_is_not_called_canonical(server: Server, tmp_path: Path) -> None:
    part = load_images("cifar10", train_images=7, cache=tmp_path / "cache").provenance
    assert (part.cifar10, part.train_images, part.test_images) == ("part", 7, 4)


# --- a folder of images ------------------------------------------------------------------------


def random_pixels(seed: int, *shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(seed).integers(0, 256, shape or (32, 32, 3), dtype=np.uint8)


def write_image(path: Path, pixels: np.ndarray[Any, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


SPLITS = {"train": 3, "test": 2}


def make_folder(folder: Path, *, seed: int = 0, suffix: str = "png") -> Path:
    """Classes cat and ant, three training and two test images each."""
    for split, count in SPLITS.items():
        for name in ("cat", "ant"):
            for i in range(count):
                seed += 1
                write_image(folder / split / name / f"{name}{i}.{suffix}", random_pixels(seed))
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "animals")


@pytest.fixture
def load(tmp_path: Path) -> Callable[..., tuple[ImageSet, int]]:
    """Loads a folder with a cache of its own, and says how many files were decoded."""

    def load(folder: Path, **options: Any) -> tuple[ImageSet, int]:
        calls: list[tuple[int, int]] = []
        images = load_images(
            str(folder), cache=tmp_path / "cache", progress=lambda *call: calls.append(call), **options
        )
        assert calls == [(i, len(calls)) for i in range(1, len(calls) + 1)]
        return images, len(calls)

    return load


Load = Callable[..., tuple[ImageSet, int]]


def test_a_folder_is_decoded_exactly(folder: Path, load: Load) -> None:
    images, decoded = load(folder)

    # make_folder writes cats first, labels sort by name: ants first.
    for pixels, seeds in ((images.train_images, (4, 5, 6, 1, 2, 3)), (images.test_images, (9, 10, 7, 8))):
        expected = np.stack([random_pixels(seed) for seed in seeds]).transpose(0, 3, 1, 2)
        np.testing.assert_array_equal(pixels.numpy(), expected)
    assert images.train_labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert images.test_labels.tolist() == [0, 0, 1, 1]
    assert images.provenance.classes == ("ant", "cat")
    assert (images.provenance.kind, images.provenance.cifar10) == ("folder", "no")
    assert "animals" in images.provenance.description
    assert decoded == 10


def test_the_second_load_decodes_nothing(folder: Path, load: Load) -> None:
    first, _ = load(folder)
    again, decoded = load(folder)
    assert decoded == 0
    assert_same_images(again, first)


def _rewrite(folder: Path) -> None:
    write_image(folder / "test" / "cat" / "cat1.png", random_pixels(99))


def _touch(folder: Path) -> None:
    path = folder / "test" / "cat" / "cat1.png"
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))


def _add(folder: Path) -> None:
    write_image(folder / "train" / "cat" / "cat3.png", random_pixels(99))


def _remove(folder: Path) -> None:
    (folder / "train" / "cat" / "cat0.png").unlink()


def _move_to_the_other_class(folder: Path) -> None:
    (folder / "train" / "ant" / "ant2.png").rename(folder / "train" / "cat" / "ant2.png")


@pytest.mark.parametrize("change", [_rewrite, _touch, _add, _remove, _move_to_the_other_class])
def test_a_changed_folder_is_decoded_again(
    folder: Path, tmp_path: Path, load: Load, change: Callable[[Path], None]
) -> None:
    load(folder)
    change(folder)
    images, decoded = load(folder)
    assert decoded == len(images.train_images) + len(images.test_images)
    assert_same_images(images, load_images(str(folder), cache=tmp_path / "another cache"))


def test_folders_that_agree_in_names_sizes_and_times_are_told_apart(tmp_path: Path, load: Load) -> None:
    """Bitmaps of one size, unpacked from archives with normalised times: only the place differs."""
    loaded = []
    for seed in (0, 100):
        folder = make_folder(tmp_path / str(seed), seed=seed, suffix="bmp")
        for path in files_in(folder):
            os.utime(path, ns=(0, 0))
        loaded.append(load(folder)[0])
    assert not torch.equal(loaded[0].train_images, loaded[1].train_images)


def _change_a_pixel(content: bytes) -> bytes:
    image = random_pixels(4).transpose(2, 0, 1).tobytes()
    assert image in content
    return content.replace(image, bytes([image[0] ^ 1]) + image[1:])


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        _change_a_pixel,
        lambda content: b"",
        lambda content: b"not a pack at all",
        lambda content: content.replace(b"sha256", b"sha257"),
        lambda content: content.replace(b"arrays", b"array\xff"),
    ],
    ids=["truncated", "pixel changed", "empty", "garbage", "key renamed", "key not text"],
)
def test_a_damaged_pack_is_decoded_again(
    folder: Path, tmp_path: Path, load: Load, damage: Callable[[bytes], bytes]
) -> None:
    first, _ = load(folder)
    (pack,) = files_in(tmp_path / "cache")
    sound = pack.read_bytes()
    pack.write_bytes(damage(sound))
    assert pack.read_bytes() != sound

    images, decoded = load(folder)
    assert decoded == 10
    assert_same_images(images, first)
    assert load(folder)[1] == 0


def test_a_cache_that_cannot_be_written_is_a_warning(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.warns(UserWarning, match="not kept"):
        images = load_images(str(folder), cache=tmp_path / "file")
    assert len(images.train_images) == 6


def test_an_interrupted_decoding_leaves_no_pack(folder: Path, tmp_path: Path) -> None:
    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        load_images(str(folder), cache=tmp_path / "cache", progress=interrupt)
    assert files_in(tmp_path / "cache") == []


def _no_folder(folder: Path) -> None:
    folder.rename(folder.with_name("elsewhere"))


def _empty_folder(folder: Path) -> None:
    _no_folder(folder)
    folder.mkdir()


def _no_split(split: str) -> Callable[[Path], object]:
    return lambda folder: (folder / split).rename(folder / "validation")


def _class_in_one_split(split: str) -> Callable[[Path], None]:
    return lambda folder: write_image(folder / split / "bee" / "0.png", random_pixels(0))


def _empty_class(folder: Path) -> None:
    (folder / "train" / "bee").mkdir()
    write_image(folder / "test" / "bee" / "0.png", random_pixels(0))


def _one_class(folder: Path) -> None:
    for split in ("train", "test"):
        (folder / split / "cat").rename(folder / f"{split} cats")


def _spoil(pixels: np.ndarray[Any, Any]) -> Callable[[Path], None]:
    return lambda folder: write_image(folder / "train" / "cat" / "cat1.png", pixels)


def _spoil_bytes(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        path = folder / "train" / "cat" / "cat1.png"
        path.write_bytes(change(path.read_bytes()))

    return spoil


def _enormous(content: bytes) -> bytes:
    """A PNG whose header claims 30,000×30,000 pixels."""
    header = b"IHDR" + struct.pack(">II5B", 30_000, 30_000, 8, 2, 0, 0, 0)
    return content[:12] + header + struct.pack(">I", zlib.crc32(header)) + content[33:]


SPOILT = str(Path("train", "cat", "cat1.png"))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        pytest.param(_no_folder, ["no such folder", "'cifar10' or 'synthetic'"], id="missing"),
        pytest.param(_empty_folder, ["is empty", "train/<class>/"], id="empty"),
        pytest.param(_no_split("test"), ["no test/", "test/<class>/"], id="no test"),
        pytest.param(_no_split("train"), ["no train/", "train/<class>/"], id="no train"),
        pytest.param(_class_in_one_split("train"), ["'bee' is in train/ but not in test/"], id="class in train only"),
        pytest.param(_class_in_one_split("test"), ["'bee' is in test/ but not in train/"], id="class in test only"),
        pytest.param(_empty_class, ["no image in train/bee/"], id="empty class"),
        pytest.param(_one_class, ["fewer than two class folders"], id="one class"),
        pytest.param(_spoil(random_pixels(0, 32, 31, 3)), [SPOILT, "31×32 RGB", "not 32×32 RGB"], id="narrow"),
        pytest.param(_spoil(random_pixels(0, 64, 32, 3)), [SPOILT, "32×64 RGB", "not 32×32 RGB"], id="tall"),
        pytest.param(_spoil(random_pixels(0, 32, 32)), [SPOILT, "32×32 L", "not 32×32 RGB"], id="grey"),
        pytest.param(_spoil(random_pixels(0, 32, 32, 4)), [SPOILT, "32×32 RGBA", "not 32×32 RGB"], id="with alpha"),
        pytest.param(_spoil_bytes(lambda x: x[:500]), [SPOILT, "cannot be read"], id="truncated"),
        pytest.param(_spoil_bytes(lambda x: b"hello"), [SPOILT, "cannot be read"], id="not an image"),
        pytest.param(_spoil_bytes(lambda x: b""), [SPOILT, "cannot be read"], id="empty file"),
        pytest.param(_spoil_bytes(_enormous), [SPOILT], id="enormous"),
    ],
)
def test_a_bad_folder_is_refused_in_one_line_that_names_it(
    folder: Path, load: Load, spoil: Callable[[Path], object], words: list[str]
) -> None:
    spoil(folder)
    with pytest.raises(UsageError) as caught:
        load(folder)
    message = str(caught.value)
    assert not [word for word in (f"--data {folder}", *words) if word not in message], message
    assert "\n" not in message


def test_a_limit_takes_the_same_random_part_every_time(folder: Path, load: Load) -> None:
    whole, _ = load(folder)
    part, _ = load(folder, train_images=3, test_images=3)

    assert_same_images(part, load(folder, train_images=3, test_images=3)[0])
    for x, y, of_x, of_y, count in (
        (part.train_images, part.train_labels, whole.train_images, whole.train_labels, 3),
        (part.test_images, part.test_labels, whole.test_images, whole.test_labels, 3),
    ):
        place = [next(i for i in range(len(of_x)) if torch.equal(of_x[i], image)) for image in x]
        assert len(set(place)) == len(x) == count
        assert y.tolist() == of_y[place].tolist()
    assert set(part.train_labels.tolist()) == {0, 1}  # the head of a sorted folder would be one class
    assert (part.provenance.train_images, part.provenance.test_images) == (3, 3)
    assert "a part of it" in part.provenance.description
    assert part.provenance.sha256 != whole.provenance.sha256


def test_a_limit_beyond_the_end_takes_everything(folder: Path, load: Load) -> None:
    assert_same_images(load(folder, train_images=6, test_images=100)[0], load(folder)[0])


# --- synthetic ---------------------------------------------------------------------------------


def test_synthetic_images_are_the_same_everywhere() -> None:
    assert synthetic(600, 20).provenance.sha256 == "94eca901c5cdbff69dae569f76346aa9b633cb45a9e4869d379ba71f7ba9f4aa"


def test_synthetic_is_deterministic_and_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    first = synthetic(30, 10)
    torch.manual_seed(5)
    assert_same_images(synthetic(30, 10), first)
    torch.set_rng_state(before)
    synthetic(30, 10)
    assert torch.equal(torch.get_rng_state(), before)


def test_synthetic_is_what_load_images_gives(tmp_path: Path) -> None:
    assert_same_images(load_images("synthetic", train_images=30, test_images=10, cache=tmp_path), synthetic(30, 10))
    assert files_in(tmp_path) == []


@pytest.mark.parametrize("count", [1, 499, 500, 501, 1000])
def test_a_shorter_synthetic_set_is_the_beginning_of_a_longer(count: int) -> None:
    long, short = synthetic(1203, 1203), synthetic(count, count)
    assert torch.equal(short.train_images, long.train_images[:count])
    assert torch.equal(short.train_labels, long.train_labels[:count])
    assert torch.equal(short.test_images, long.test_images[:count])
    assert torch.equal(short.test_labels, long.test_labels[:count])


def test_synthetic_holds_all_ten_classes_in_even_shares() -> None:
    images = synthetic(2000, 2000)
    for labels in (images.train_labels, images.test_labels):
        counts = torch.bincount(labels).tolist()
        assert len(counts) == 10
        assert min(counts) > 140
    assert images.provenance.classes == SHAPES
    assert (images.provenance.kind, images.provenance.cifar10) == ("synthetic", "no")


def test_no_synthetic_image_is_drawn_twice() -> None:
    images = synthetic(1000, 1000)
    assert len(torch.cat([images.train_images, images.test_images]).flatten(1).unique(dim=0)) == 2000


def test_synthetic_can_be_learned_and_is_not_trivial() -> None:
    images = DeviceImages(synthetic(2560, 500), torch.device("cpu"))
    result = train(Cell(architecture="script", activation="relu", seed=42, epochs=1), images, "fp32")
    accuracy = result.epochs[0].test_accuracy
    assert accuracy is not None
    assert 20 < accuracy < 90


def test_images_move_between_devices_as_one() -> None:
    moved = synthetic(5, 5).to("meta")
    tensors = (moved.train_images, moved.train_labels, moved.test_images, moved.test_labels)
    assert {x.device.type for x in tensors} == {"meta"}
    assert moved.provenance == synthetic(5, 5).provenance
