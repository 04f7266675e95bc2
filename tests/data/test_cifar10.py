"""CIFAR-10's canonical files: the download, the archive and what was unpacked from it."""

import hashlib
import io
import os
import struct
import tarfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
import torch
from factories import failure
from image_files import assert_same_images, files_in
from torchvision import datasets

from vgharness.data.images import load_images
from vgharness.errors import UsageError

pytestmark = pytest.mark.fast

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


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to("nowhere")])
def test_what_is_no_file_in_place_of_the_archive_is_named(
    server: Server, tmp_path: Path, make: Callable[[Path], None]
) -> None:
    archive = tmp_path / "cifar-10-python.tar.gz"
    make(archive)
    line = failure(lambda: load_images("cifar10", cache=tmp_path))
    assert line == f"{archive}: this is no file, so not CIFAR-10's archive: remove it and run again"


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

    monkeypatch.setattr("vgharness.data.cifar10.download_url", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load_images("cifar10", cache=tmp_path / "cache")
    assert files_in(tmp_path / "cache") == []


def test_a_part_of_cifar10_is_not_called_canonical(server: Server, tmp_path: Path) -> None:
    part = load_images("cifar10", train_images=7, cache=tmp_path / "cache").provenance
    assert (part.cifar10, part.train_images, part.test_images) == ("part", 7, 4)
